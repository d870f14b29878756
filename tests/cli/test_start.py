"""A run says where it runs and which it is; devices that are missing or idle are one line."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.cli import start
from audiolm_jax.cli.start import introduce
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.training.config import MeshConfig

CONFIGS = Path(__file__).parents[2] / "configs"


@dataclasses.dataclass
class Device:
    platform: str
    device_kind: str


@pytest.fixture
def said(monkeypatch):
    lines = []
    for level in ("info", "warning"):
        monkeypatch.setattr(
            start.logger,
            level,
            lambda text, *values, level=level: lines.append((level, text % values)),
        )
    return lines


def test_two_lines_say_where_and_which(said, monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [Device("tpu", "TPU v5 lite")] * 16)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    experiment = load_experiment(CONFIGS / "librilight_paper" / "coarse.py")
    introduce(experiment)
    assert said == [
        ("info", "16 x TPU v5 lite on 4 hosts, mesh fsdp, products in bfloat16"),
        (
            "info",
            f"{experiment.directory}: StageExperiment {config_hash(experiment)[:16]}, "
            f"seed {experiment.loop.seed}",
        ),
    ]


@pytest.mark.parametrize(
    ("platform", "preset", "devices", "is_told"),
    [
        ("gpu", "none", 8, True),
        ("gpu", "dp", 8, False),
        ("gpu", "none", 1, False),
        ("cpu", "none", 8, False),  # each of them has all cores
    ],
)
def test_idle_devices_are_told(said, monkeypatch, platform, preset, devices, is_told):
    monkeypatch.setattr(jax, "devices", lambda: [Device(platform, "X")] * devices)
    experiment = load_experiment(CONFIGS / "demo" / "coarse_lm.py")
    introduce(dataclasses.replace(experiment, mesh=MeshConfig(preset=preset)))
    warnings = [text for level, text in said if level == "warning"]
    idle = ["--mesh.preset none: 7 of 8 devices stand idle; --mesh.preset dp uses all"]
    assert warnings == (idle if is_told else [])


@pytest.mark.parametrize(("platforms", "is_told"), [("", True), ("cpu", False)])
def test_an_accelerator_that_jax_does_not_use_is_told(
    said, monkeypatch, tmp_path, platforms, is_told
):
    (tmp_path / "nvidia0").touch()
    places = (("GPU", str(tmp_path / "nvidia0"), "cuda"), ("TPU", str(tmp_path / "accel0"), "tpu"))
    monkeypatch.setattr(start, "_ACCELERATORS", places)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    introduce(load_experiment(CONFIGS / "demo" / "tokens.py"))
    warnings = [text for level, text in said if level == "warning"]
    line = f"{tmp_path}/nvidia0: a GPU is here, but this JAX is the CPU's: "
    assert warnings == ([line + "pip install 'audiolm_jax[cuda]'"] if is_told else [])


@pytest.mark.parametrize(("platform", "verb"), [("cuda", "train"), ("nonsense", "continue")])
def test_a_platform_that_is_not_there_is_one_line(platform, verb, tmp_path):
    """With a config and without, before anything is written."""
    out = tmp_path / "out"
    words = {
        "train": [str(CONFIGS / "demo" / "codec.py"), "--directory", str(out)],
        "continue": [str(tmp_path / "prompt.wav"), "--out", str(out)],
    }[verb]
    code = "import sys, jax\nfrom audiolm_jax.cli.main import main\n"
    if verb == "continue":  # whatever first asks for a device
        code += "import audiolm_jax.cli.main as m\nm.dispatch = lambda *_: jax.devices()\n"
    code += f"sys.exit(main({[verb, *words]!r}))"
    environment = os.environ | {"JAX_PLATFORMS": platform}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 2, done.stderr
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("audiolm")]
    expected = rf"audiolm {verb}: JAX_PLATFORMS={platform}: no such device can be used \(.+\); "
    assert re.match(expected + r"pip install 'audiolm_jax\[cuda\]'", line)
    assert not out.exists()
