"""Prompts as they are taken from recordings and arrays."""

import hashlib

import numpy as np
import pytest
import soundfile

from audiolm_jax.errors import InputError
from audiolm_jax.generation.prompts import Hearing, take_prompt

HEARING = Hearing(16000, 640, 3.0)


def noise(seconds, rate=16000, seed=0, level=0.5):
    rng = np.random.default_rng(seed)
    return rng.uniform(-level, level, round(seconds * rate)).astype(np.float32)


def written(path, sound, rate=16000, subtype="FLOAT"):
    soundfile.write(path, sound, rate, subtype=subtype)
    return path


def test_no_more_of_a_recording_than_asked_for_is_heard(tmp_path):
    sound = noise(1.5)
    path = written(tmp_path / "long.wav", sound)
    prompt = take_prompt(path, None, HEARING)
    np.testing.assert_array_equal(prompt.samples, sound)
    assert (prompt.name, prompt.notes) == (str(path), ())
    assert prompt.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for audio, rate in ((str(path), None), (sound, 16000)):
        first = take_prompt(audio, rate, HEARING, 0.5).samples
        np.testing.assert_array_equal(first, sound[:8000])
        for seconds, words in ((1.6, "has only 1.50 s"), (0.0, "more than 0"), (np.nan, "more")):
            with pytest.raises(InputError, match=rf"--prompt-seconds {seconds}: .*{words}"):
                take_prompt(audio, rate, HEARING, seconds)


def test_what_is_cut_off_cannot_leak_into_the_prompt(tmp_path):
    first, rest = np.random.default_rng(1).uniform(-0.5, 0.5, (2, 22050)).astype(np.float32)
    prompts = []
    for number, tail in enumerate((rest, -rest)):
        whole = np.concatenate([first, tail])
        path = written(tmp_path / f"{number}.wav", whole, 22050)
        prompts += [take_prompt(path, None, HEARING, 1.0), take_prompt(whole, 22050, HEARING, 1.0)]
    for prompt in prompts:
        np.testing.assert_array_equal(prompt.samples, prompts[0].samples)
        assert len(prompt.samples) == 16000


@pytest.mark.parametrize("rate", [8000, 44100])
@pytest.mark.parametrize("is_file", [True, False])
def test_of_a_long_prompt_the_end_is_heard_and_it_says_so(tmp_path, caplog, rate, is_file):
    sound = noise(70.3, rate)
    end = sound[-3 * rate :]
    audio = written(tmp_path / "a.wav", sound, rate) if is_file else sound
    prompt = take_prompt(audio, None if is_file else rate, HEARING, name="my array")
    expected = take_prompt(end, rate, HEARING)
    np.testing.assert_array_equal(prompt.samples, expected.samples)
    assert expected.notes == ()
    assert prompt.notes == ("70.30 s long, its last 3.00 s are heard",)
    assert any(record.getMessage().endswith(prompt.notes[0]) for record in caplog.records)


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (np.zeros(16000), r"silent \(all zeros\)"),
        (noise(1, level=1e-4), r"silent \(-85 dBFS\), expected sound above -80"),
        (noise(0.039), "0.039 s, expected at least 0.04 s"),
        (np.append(noise(1), np.nan), "NaN or infinite"),
        (np.append(noise(1), np.inf), "NaN or infinite"),
    ],
)
def test_what_cannot_be_gone_on_from_is_named(tmp_path, sound, words):
    path = written(tmp_path / "voice.wav", sound.astype(np.float32))
    with pytest.raises(InputError, match=rf"voice\.wav: .*{words}"):
        take_prompt(path, None, HEARING)
    with pytest.raises(InputError, match=f"^prompt 3: .*{words}"):
        take_prompt(sound, 16000, HEARING, name="prompt 3")


def test_a_quiet_prompt_and_one_frame_are_enough():
    assert not take_prompt(noise(1, level=4e-4), 16000, HEARING).notes
    assert len(take_prompt(noise(0.04), 16000, HEARING).samples) == 640


def test_clipped_sound_is_taken_with_a_warning(caplog):
    tone = np.sin(np.arange(16000) / 20)
    loudest = np.append(noise(1), 1.0)
    assert take_prompt(loudest, 16000, HEARING).notes == ()  # normalised, not clipped
    pcm = (np.clip(2 * tone, -1, 1) * 32767).astype(np.int16)
    share = np.mean(np.abs(pcm) == 32767)
    (note,) = take_prompt(pcm, 16000, HEARING).notes
    assert note == f"clipped: {share:.1%} of the samples are at full scale"
    assert note in caplog.text


def test_arrays_of_all_types_are_the_same_sound():
    sound = np.round(noise(0.5) * 127) / 128
    forms = [
        (sound * 128).astype(np.int8),
        (sound * 128 + 128).astype(np.uint8),
        (sound * 2**15).astype(np.int16),
        (sound.astype(np.float64) * 2**31).astype(np.int32),
        sound.astype(np.float64),
        np.stack([sound, sound], axis=1),
        np.stack([2 * sound, 0 * sound], axis=1),
        sound.tolist(),
    ]
    for form in forms:
        np.testing.assert_array_equal(take_prompt(form, 16000, HEARING).samples, sound)


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (noise(1), None, "rate_hz: expected the rate"),
        (noise(1), 0, "outside"),
        (noise(1), 10**9, "outside"),
        (noise(1)[None], 16000, "transpose"),
        (np.zeros((0,), np.float32), 16000, "expected numbers"),
        (np.zeros((4, 4, 4), np.float32), 16000, "expected numbers"),
        (np.array(["a"]), 16000, "expected numbers"),
        (np.array([None, 1]), 16000, "expected numbers"),
        (noise(1).astype(np.complex64), 16000, "expected numbers"),
        ("voice.wav", 16000, "says its own"),
        ("nowhere.wav", None, "nowhere.wav: cannot be read"),
    ],
)
def test_what_is_no_sound_is_refused(audio, rate, words):
    with pytest.raises(InputError, match=words):
        take_prompt(audio, rate, HEARING)
