"""What a process loads: inference nothing of training, help next to nothing."""

import os
import subprocess
import sys

import numpy as np
import pytest
from support.tiny_models import voice

import audiolm_jax
from audiolm_jax.audio.files import write_wav
from audiolm_jax.experiments.load import KINDS

HEAVY = {"tensorflow", "seqio", "apache_beam", "torch", "librosa", "numba", "sklearn", "joblib"}
HEAVY |= {"matplotlib", "jinja2", "wandb", "huggingface_hub"}
TRAINING = {"optax", "orbax", "tensorstore"}
# Modules of ours that only training needs, by their last name.
OF_TRAINING = {"losses", "discriminators", "adversarial", "balancer", "train", "fit", "seeding"}


def loaded_by(code: str, before: str = "") -> set[str]:
    """The modules that some code loads in a fresh interpreter, beside those that are there before
    it."""
    script = f"{before}\nimport sys; there = set(sys.modules)\n{code}\n"
    script += "print('loaded', *set(sys.modules) - there)"
    caches = {"NUMBA_CACHE_DIR", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"}
    kept = {name: value for name, value in os.environ.items() if name not in caches}
    # As in a container: no home, nothing to be written beside the packages.
    env = kept | {"HOME": "/proc/nowhere", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def packages(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


@pytest.fixture(scope="module")
def continuation(tiny_bundle, tmp_path_factory):
    """What a continuation from the command line loads, beside what flax loads by itself."""
    folder = tmp_path_factory.mktemp("imports")
    write_wav(folder / "prompt.wav", voice(1.0, 130), 16000, None)
    words = ["continue", str(folder / "prompt.wav"), "--models", str(tiny_bundle)]
    words += ["--out", str(folder / "out.wav"), "--seconds", "0.4"]
    words += ["--generation.context-seconds", "1"]
    code = f"from audiolm_jax.cli.main import main; assert main({words!r}) == 0"
    loaded = loaded_by(code, before="import flax.nnx")
    assert (folder / "out.wav").is_file()
    return loaded


def test_inference_is_free_of_training(continuation):
    assert packages(continuation) & (HEAVY | TRAINING) == set()
    own = {name for name in continuation if name.startswith("audiolm_jax.")}
    assert "audiolm_jax.tokenizers.acoustic.soundstream.codec" in own
    assert "audiolm_jax.tokenizers.semantic.w2v_bert.model" in own
    assert {n for n in own if n.startswith(("audiolm_jax.training", "audiolm_jax.exp"))} == set()
    assert {n for n in own if n.rpartition(".")[2] in OF_TRAINING} == set()


def test_kinds_of_experiments_are_described_without_their_libraries():
    modules = [place.partition(":")[0] for places in KINDS.values() for place in places]
    assert len(modules) > 10
    loaded = loaded_by("\n".join(f"import audiolm_jax.{module}" for module in modules))
    assert packages(loaded) & (HEAVY | TRAINING | {"flax"}) == set()


def test_measures_and_pages_need_no_library_that_caches_on_import():
    """numba, and librosa by it, fail where neither home nor site-packages can be written."""
    loaded = loaded_by(
        "import sys, numpy as np\n"
        "sys.modules |= {'numba': None, 'librosa': None}\n"
        "from audiolm_jax.evaluation.abx.features import mfcc\n"
        "from audiolm_jax.evaluation.measures.waveform import mel_distance\n"
        "from audiolm_jax.evaluation.page.sound import spectrogram_data_uri\n"
        "from audiolm_jax.evaluation.measures.spectra import band_of_hz\n"
        "x = np.random.default_rng(0).normal(size=8000).astype(np.float32)\n"
        "mfcc(x), mel_distance(x, x, 16000), band_of_hz(100, 16000)\n"
        "spectrogram_data_uri(x, 16000, 0.0)"
    )
    assert "audiolm_jax.evaluation.page.sound" in loaded


def test_the_public_interface_is_lazy_and_whole():
    loaded = loaded_by("import audiolm_jax")
    assert not any(name.startswith("audiolm_jax.") for name in loaded)
    assert set(audiolm_jax.__all__) == set(audiolm_jax._PLACES)
    for name in audiolm_jax.__all__:
        assert getattr(audiolm_jax, name).__module__.startswith("audiolm_jax.")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        audiolm_jax.nonsense  # noqa: B018


def cpu_seconds(*words: str) -> float:
    """User and system time of a command, the least of three runs."""
    best = np.inf
    for _ in range(3):
        before = os.times()
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spent = after.children_user + after.children_system
        best = min(best, spent - before.children_user - before.children_system)
    return best


def test_help_comes_at_once():
    """A loaded machine is slow at everything: in multiples of a bare interpreter's start."""
    bare = cpu_seconds("-c", "import json, importlib, argparse")
    assert cpu_seconds("-m", "audiolm_jax", "--help") < 4 * bare
