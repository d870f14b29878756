"""Configs of data: refused values are named as flags; reading them needs no library of audio."""

import subprocess
import sys

import pytest

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError


@pytest.mark.parametrize(
    "change",
    [
        {"heldout_percent": 100},
        {"heldout_percent": -1},
        {"min_seconds": 0.0},
        {"min_seconds": 31.0},
        {"sample_rate_hz": 16},
        {"dataset": "a/b"},
        {"dataset": ""},
    ],
)
def test_config_names_the_refused_field(change):
    (field,) = change
    with pytest.raises(InputError, match=f"--data.{field.replace('_', '-')} = "):
        AudioDataConfig(source="x", **change)


def test_configs_import_only_the_standard_library():
    program = (
        "import sys\n"
        "import audiolm_jax.data.sources, audiolm_jax.data.tokens.config\n"
        "print({'numpy', 'av', 'soxr', 'jax', 'apache_beam', 'tensorflow'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "set()"
