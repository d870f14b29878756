"""A copied run goes on, bit for bit, for another user under other mounts, where nothing but
the run directory can be written: no home, no package, no /tmp (TensorFlow needs some TMPDIR)."""

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.lm_run import experiment as stage_experiment
from support.lm_run import make_store
from support.loudness import loudness, outcome, speak

from audiolm_jax.training.config import MeshConfig

ROOT = Path(__file__).parents[2]
AS_NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
NOBODY = 65534
STAGE = """
from pathlib import Path

from experiments.test_elsewhere import stage


def experiment():
    return stage(Path("mnt/tokens"), "runs/stage", 4)
"""
LOUDNESS = """
from pathlib import Path

from support.loudness import loudness


def experiment():
    return loudness(Path("mnt"), directory="runs/loudness")
"""


def why_not() -> str | None:
    """Why this cannot be tried here."""
    if os.geteuid() != 0:
        return "needs root, to become another user and to mount"
    if not shutil.which("unshare") or not shutil.which("setpriv"):
        return "needs unshare and setpriv"
    mounts = "mount --bind /usr /usr && mount -o remount,ro,bind /"
    if subprocess.run(["unshare", "-m", "sh", "-c", mounts], capture_output=True).returncode:
        return "this system lets nobody mount"
    python = [*AS_NOBODY, sys.executable, "-c", f"open({str(ROOT / 'setup.cfg')!r})"]
    if subprocess.run(python, capture_output=True).returncode:
        return "another user cannot start this Python, or not read this folder"
    return None


def stage(store: Path, directory: str, steps: int):
    made = stage_experiment(store, steps, MeshConfig(), directory=directory)
    loop = dataclasses.replace(made.loop, evaluate_every=2, checkpoint_every=2)
    return dataclasses.replace(made, loop=loop)


@pytest.fixture
def base():
    """A folder that everybody can enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_another_user_goes_on_where_nothing_else_can_be_written(base, monkeypatch):
    here, there = base / "here", base / "there"
    (here / "tokens").mkdir(parents=True)
    make_store(here / "tokens")
    speak(here / "data", 0)
    for name, steps in (("whole", 4), ("run", 2)):
        stage(here / "tokens", str(here / f"{name}_stage"), steps).run()
        loudness(here, steps, directory=str(here / f"{name}_loudness")).run()
    expected = {name: outcome(here / f"whole_{name}") for name in ("stage", "loudness")}
    for name in expected:
        shutil.copytree(here / f"run_{name}", there / "runs" / name)
    shutil.copytree(here / "tokens", base / "disk1")
    shutil.copytree(here / "data", base / "disk2")
    shutil.rmtree(here)
    for name in ("mnt/tokens", "mnt/data"):
        (there / name).mkdir(parents=True)
    for name, text in (("stage", STAGE), ("loudness", LOUDNESS)):
        (there / f"{name}.py").write_text(text)
    runs = there / "runs"
    for path in (runs, *runs.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    train = f"{' '.join(AS_NOBODY)} {sys.executable} -m audiolm_jax train"
    script = f"""
set -e
mount --bind {base}/disk1 mnt/tokens
mount --bind {base}/disk2 mnt/data
mount --bind runs runs
mount -o remount,ro,bind mnt/tokens
mount -o remount,ro,bind mnt/data
mount -o remount,ro,bind /
if touch {base}/x {there}/x /tmp/x {ROOT}/x 2> /dev/null; then exit 9; fi
cd {there}
{train} stage.py
{train} loudness.py
{train} loudness.py
"""
    environment = os.environ | {"HOME": "/nowhere", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    environment["TMPDIR"] = str(runs)
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script], cwd=there, env=environment, text=True,
        capture_output=True, timeout=500,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for name, result in expected.items():
        assert f"runs/{name}: going on from step 2" in done.stdout
        assert outcome(runs / name) == result
        assert {path.stat().st_uid for path in runs.rglob("*")} == {NOBODY}
    assert "nothing to do" in done.stdout
