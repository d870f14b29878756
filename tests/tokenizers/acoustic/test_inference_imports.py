"""What is imported: encoding and decoding need no training, and a config needs no network."""

import subprocess
import sys

INFERENCE = """
import sys
import flax.nnx  # imports optax itself
before = set(sys.modules)
import audiolm_jax.tokenizers.acoustic.load
loaded = set(sys.modules) - before
users = {n for n in loaded for v in vars(sys.modules[n]).values()
         if getattr(v, "__name__", "") == "optax" and n.startswith("audiolm_jax")}
print(*sorted(loaded | {f"optax (by {n})" for n in users}), sep="\\n")
"""
CONFIG = """
import sys
import audiolm_jax.tokenizers.acoustic.dac.config
import audiolm_jax.tokenizers.acoustic.soundstream.config
print(*sorted(sys.modules), sep="\\n")
"""
OF_TRAINING = {"losses", "discriminators", "adversarial", "balancer", "train", "training"}
HEAVY = {"optax", "orbax", "torch", "tensorflow", "librosa", "seqio", "matplotlib"}


def modules(code):
    """Names of the modules that `code` prints."""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    return result.stdout.splitlines()


def unwanted(names, packages):
    ours = [n for n in names if n.startswith("audiolm_jax.") and OF_TRAINING & {*n.split(".")}]
    return ours + [n for n in names if n.replace(" ", ".").split(".")[0] in packages]


def test_encoding_and_decoding_import_nothing_of_training():
    names = modules(INFERENCE)
    assert "audiolm_jax.tokenizers.acoustic.soundstream.codec" in names
    assert unwanted(names, HEAVY) == []


def test_configs_import_no_network():
    names = modules(CONFIG)
    assert "audiolm_jax.tokenizers.acoustic.soundstream.config" in names
    assert unwanted(names, HEAVY | {"jax", "flax", "numpy"}) == []
