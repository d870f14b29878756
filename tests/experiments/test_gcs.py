"""The whole road with everything in a bucket, on two processes, against the same on folders."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.fake_gcs import BUCKET, fake_gcs
from support.tiny_models import voice
from support.tiny_runs import BUNDLED, write_configs
from training.test_multihost import finish, flags, hosts

from audiolm_jax.audio.files import write_wav

CLIPS = 24
STAGES = ("semantic_lm", "coarse_lm", "fine_lm")
COPY = """
import sys
from pathlib import Path
from audiolm_jax.artifacts.storage import at, download, upload
source, target = map(at, sys.argv[1:])
download(source, target) if isinstance(target, Path) and "://" in str(source) else upload(source, target)
"""


def audiolm(environment, *words):
    command = [sys.executable, "-m", "audiolm_jax", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
