"""Every test runs on the CPU with eight forced devices, and rank promotion is an error.

AUDIOLM_TEST_PLATFORM=cuda or tpu has JAX see that platform first, for `-m gpu` or `-m tpu`.
"""

import gc
import importlib.metadata
import logging
import os
import sys
import uuid
from pathlib import Path

os.environ.setdefault("AUDIOLM_TEST_PLATFORM", "cpu")
os.environ["JAX_PLATFORMS"] = ",".join({os.environ["AUDIOLM_TEST_PLATFORM"]: 0, "cpu": 0})
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
if importlib.metadata.version("jaxlib") < "0.12":
    # Fused loops through LLVM alone compile in half the time; later ones refuse the flag.
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
# Equal programs are compiled once, whichever worker or subprocess needs them; small ones are faster
# compiled again than kept.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".pytest_cache/jax")
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(os.environ["JAX_PLATFORMS"] == "cpu"))
# No one reads where in a test an operation of a compiled program comes from.
os.environ["JAX_INCLUDE_FULL_TRACEBACKS_IN_LOCATIONS"] = "0"

import hypothesis
import jax
import pytest

# No test is timed: how long an example takes is the machine's affair.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")

jax.config.update("jax_numpy_rank_promotion", "raise")
# Walking through all that thousands of tests keep takes a tenth of the time: none of it is garbage.
gc.disable()


def pytest_collection_finish(session):
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    gc.enable()


def pytest_runtest_setup(item):
    """A test of an accelerator that is asked for without one fails, rather than being skipped."""
    wanted = {mark.name for mark in item.iter_markers()} & {"gpu", "tpu"}
    if wanted and jax.default_backend() not in wanted:
        platforms = " or ".join(sorted({"gpu": "cuda", "tpu": "tpu"}[kind] for kind in wanted))
        given = f"AUDIOLM_TEST_PLATFORM={os.environ['AUDIOLM_TEST_PLATFORM']}"
        pytest.fail(f"{given}: expected {platforms}", pytrace=False)


@pytest.fixture(autouse=True)
def console_of_its_own():
    """What a command called in a test makes of the log is over with the test."""
    yield
    if (console := sys.modules.get("audiolm_jax.cli.console")) is not None:
        console.Console.is_stdout_free = False
        if logging.getLogger("audiolm_jax").handlers:
            console.show_log()


@pytest.fixture
def bucket():
    """An address below which there is nothing yet; `memory://` is the same in all tests."""
    from audiolm_jax.artifacts.storage import at, remove_tree

    address = at(f"memory://test-{uuid.uuid4().hex}")
    yield address
    remove_tree(address)


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory):
    """Folder of a bundle of tiny untrained models; its parts lie in ../parts."""
    from support.tiny_models import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("tiny"))
