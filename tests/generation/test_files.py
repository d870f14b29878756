"""Prompts as they are read from recordings."""

import numpy as np
import pytest
import soundfile

from audiolm_jax.errors import InputError
from audiolm_jax.generation.files import read_prompt


def test_no_more_of_a_recording_than_asked_for_is_heard(tmp_path):
    path = tmp_path / "long.wav"
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 24000).astype(np.float32)
    soundfile.write(path, sound, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(read_prompt(path, 16000), sound)
    np.testing.assert_array_equal(read_prompt(path, 16000, 0.5), sound[:8000])
    for seconds, words in ((1.6, "has only 1.50 s"), (0.0, "expected more than 0")):
        with pytest.raises(InputError, match=rf"--prompt-seconds {seconds}: .*{words}"):
            read_prompt(path, 16000, seconds)


def test_what_is_cut_off_cannot_leak_into_the_prompt(tmp_path):
    first, rest = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 22050)).astype(np.float32)
    prompts = []
    for number, tail in enumerate((rest, -rest)):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, np.concatenate([first, tail]), 22050, subtype="FLOAT")
        prompts.append(read_prompt(path, 16000, 1.0))
    np.testing.assert_array_equal(*prompts)
    assert len(prompts[0]) == 16000
