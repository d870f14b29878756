"""Two hosts of which one is not as it should be: what each says, and after how long (`-s` prints
it; docs/guide/machines.md has the figures)."""

import contextlib
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support import lm_run
from support.hosts import flags, hosts

pytestmark = pytest.mark.slow
SAID = "audiolm train: "
# Without TensorFlow a start is the interpreter, JAX and what is asked for.
BLOCKED = "import sys; sys.modules['seqio'] = None\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    root = tmp_path_factory.mktemp("hosts")
    lm_run.make_store(root)
    (root / "config.py").write_text(
        "from pathlib import Path\n"
        "from support import lm_run\n"
        "from audiolm_jax.training.mesh import MeshConfig\n"
        "def experiment():\n"
        f"    return lm_run.experiment(Path({str(root)!r}), 20, MeshConfig('fsdp'))\n"
    )
    return root


def words(root, run, number, *more, cwd=None, path=None):
    """One host's command; `cwd` is its working folder, `path` comes before other modules."""
    before = ["env", *(["-C", str(cwd)] if cwd else [])]
    if path:
        before.append(f"PYTHONPATH={path}:{Path(__file__).parents[2]}:{Path(__file__).parents[1]}")
    own = ["train", str(root / "config.py"), "--directory", run, *more, *number]
    return [*before, sys.executable, "-m", "audiolm_jax", *own]


class Listener:
    """When a process first said each of its lines of error, and when it ended."""

    def __init__(self, process, start):
        self.process, self.start, self.lines = process, start, []
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()
        # Whoever writes on must not be held up by a full pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()

    def _listen(self):
        for line in self.process.stderr:
            self.lines.append((time.monotonic() - self.start, line.decode().rstrip()))

    def said(self):
        """Seconds and text of its first line about the run, after its end."""
        self._thread.join(timeout=200)
        assert not self._thread.is_alive()
        self.process.wait(timeout=60)
        return next(((at, x[len(SAID) :]) for at, x in self.lines if x.startswith(SAID)), None)


@contextlib.contextmanager
def listened(commands):
    with hosts(commands, devices=4, JAX_PLATFORMS="cpu") as started:
        start = time.monotonic()
        yield [Listener(process, start) for process in started]


def report(case, number, answer, since=0.0):
    print(f"{case}: process {number} after {answer[0] - since:.1f} s: {answer[1]}")


def test_without_a_shared_disk(store, tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    both = [words(store, "runs/x", n, cwd=at) for n, at in zip(flags(2), folders, strict=True)]
    with listened(both) as listeners:
        for number, listener in enumerate(listeners):
            answer = listener.said()
            report("no shared disk", number, answer)
            assert "process 1 does not see what process 0 writes there" in answer[1]
            assert listener.process.returncode == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_with_another_config(store, tmp_path):
    one, other = flags(2)
    run = str(tmp_path / "run")
    more = ["--optimizer.learning-rate", "0.02"]
    with listened([words(store, run, one), words(store, run, other, *more)]) as listeners:
        answers = [listener.said() for listener in listeners]
        for number, answer in enumerate(answers):
            report("another config", number, answer)
            line = "process 1 was started with another config"
            assert line in answer[1]
            assert "config.optimizer.learning_rate is 0.02, not 0.01" in answer[1]
        assert {listener.process.returncode for listener in listeners} == {2}
    assert not list(Path(run).rglob("*"))


def test_one_that_dies(store, tmp_path):
    """Killed after its first checkpoint; the other ends by itself, and the run goes on later."""
    run = tmp_path / "run"
    both = [words(store, str(run), n, "--loop.steps", "1000000") for n in flags(2)]
    with listened(both) as listeners:
        deadline = time.monotonic() + 300
        while not list(run.glob("checkpoints/[1-9]*")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        listeners[1].process.send_signal(signal.SIGKILL)
        died = time.monotonic() - listeners[0].start
        first = listeners[0]
        answer = first.said()
        lasted = time.monotonic() - first.start - died
        if answer is not None:
            report("one dies", 0, answer, died)
        print(f"one dies: process 0 ended {lasted:.1f} s later with {first.process.returncode}")
        assert first.process.returncode not in (0, 2, 75)
        assert lasted < 150


def test_one_without_the_extra(store, tmp_path):
    """Found once both have joined, and before the directory is claimed."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKED)
    one, other = flags(2)
    run = tmp_path / "run"
    commands = [
        words(store, str(run), one, "--reader", "seqio"),
        words(store, str(run), other, "--reader", "seqio", path=tmp_path),
    ]
    with listened(commands) as listeners:
        for number, listener in enumerate(listeners):
            answer = listener.said()
            report("without the extra", number, answer)
            assert "seqio is not installed (pip install 'audiolm_jax[data]')" in answer[1]
            assert answer[1].startswith("process 1: ") == (number == 0)
            assert listener.process.returncode == 2
    assert not list(run.rglob("*"))
