"""Where the model of a run lies, read without its weights and without jax."""

import subprocess
import sys

import numpy as np
import pytest

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.artifacts.run_folder import MODEL, fingerprint_of, model_folder
from audiolm_jax.errors import InputError


def test_the_model_of_a_run_is_found_from_the_run_or_by_itself(tmp_path):
    with pytest.raises(InputError, match=r"no trained model here \(no model/model.json\)"):
        model_folder(tmp_path)
    arrays = {"layer.kernel": np.ones((2, 3), np.float32)}
    fingerprint = save_model(tmp_path / MODEL, "toy", {"width": 3}, arrays, {"steps": 1})
    assert model_folder(tmp_path) == model_folder(str(tmp_path / MODEL)) == tmp_path / MODEL
    assert fingerprint_of(tmp_path) == fingerprint == load_model(tmp_path / MODEL).fingerprint


def test_model_folders_are_read_without_jax():
    program = (
        "import sys, audiolm_jax.artifacts.run_folder\nprint({'jax', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.stdout.decode().strip() == "set()"
