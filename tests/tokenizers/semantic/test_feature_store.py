"""Features of clips on disk: how many of how many, and going on where a start ended."""

import json

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans import feature_store
from audiolm_jax.tokenizers.semantic.kmeans.feature_store import choose_clips, store_features
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig

HOP = 640


class Loudness:
    """An encoder of one dimension: the mean square of each frame."""

    sample_rate_hz, hop_samples, fingerprint = 16000, HOP, "f"
    layers = ("x", "y")

    def __init__(self):
        self.clips = 0

    def features(self, audio, layer):
        lengths = -(-audio.lengths // HOP)
        self.clips += len(lengths)
        x = np.pad(audio.samples, ((0, 0), (0, -audio.samples.shape[1] % HOP)))
        return np.square(x).reshape(len(x), -1, HOP).mean(2)[:, :, None], lengths


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    for i in range(12):
        write_wav(folder / f"{i}.wav", voice(0.2 + 0.11 * i, 90 + 9 * i, i), 16000, None)
    return scan(AudioDataConfig(str(folder), heldout_percent=20))


def store(folder, index, choice, encoder, layer="x"):
    return store_features(folder, index, choice, encoder, layer, WindowConfig(), 2)


def test_all_frames_of_all_training_clips(index, tmp_path):
    choice = choose_clips(index, HOP, 10_000, 0)
    clips = sorted(index.of("train"), key=lambda clip: clip.num_samples)
    assert choice.clips == tuple(clips)
    assert choice.frames == tuple(-(-clip.num_samples // HOP) for clip in clips)
    total = sum(choice.frames)
    assert str(choice) == f"{total} of {total} frames, {len(clips)} of {len(clips)} training clips"
    made = store(tmp_path / "a", index, choice, Loudness())
    assert made.shape == (total, 1)
    expected = []
    for clip in clips:
        samples = index.load(clip)
        samples = np.pad(samples, (0, -len(samples) % HOP))
        expected.append(np.square(samples).reshape(-1, HOP).mean(1))
    np.testing.assert_array_equal(made[:, 0], np.concatenate(expected))


def test_a_choice_of_clips_has_just_so_many_frames_and_is_seeded(index):
    counts = {clip.clip_id: -(-clip.num_samples // HOP) for clip in index.of("train")}
    choices = [choose_clips(index, HOP, 61, seed) for seed in (0, 0, 1)]
    assert choices[0] == choices[1] != choices[2]
    for choice in choices:
        assert sum(choice.frames) == 61
        assert choice.facts["available_frames"] == sum(counts.values())
        assert choice.facts["clips"] == len(choice.clips) < choice.facts["available_clips"]
        short = [c for c, n in zip(choice.clips, choice.frames, strict=True)
                 if n < counts[c.clip_id]]  # fmt: skip
        assert len(short) <= 1


def test_an_interrupted_start_is_gone_on_with(index, tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "SAVE_FRAMES", 40)
    choice = choose_clips(index, HOP, 10_000, 0)
    whole = store(tmp_path / "whole", index, choice, Loudness())

    class Killed(Loudness):
        def features(self, audio, layer):
            if self.clips >= 6:
                raise KeyboardInterrupt
            return super().features(audio, layer)

    with pytest.raises(KeyboardInterrupt):
        store(tmp_path / "cut", index, choice, Killed())
    file = tmp_path / "cut" / "features.f32"
    file.write_bytes(file.read_bytes() + b"not whole")  # as a power cut may leave it
    rest = Loudness()
    again = store(tmp_path / "cut", index, choice, rest)
    assert 0 < rest.clips < len(choice.clips)
    np.testing.assert_array_equal(again, whole)
    finished = Loudness()
    np.testing.assert_array_equal(store(tmp_path / "cut", index, choice, finished), whole)
    assert finished.clips == 0
    facts = json.loads((tmp_path / "cut" / "features.json").read_text())
    assert facts["layer"] == "x"
    with pytest.raises(InputError, match=r"features\.json: holds features of another encoder, l"):
        store(tmp_path / "cut", index, choice, rest, layer="y")


def test_audio_of_another_rate_is_refused(index, tmp_path):
    encoder = Loudness()
    encoder.sample_rate_hz = 8000
    with pytest.raises(InputError, match=r"--data\.sample-rate-hz = 16000: the encoder takes 8000"):
        store(tmp_path, index, choose_clips(index, HOP, 99, 0), encoder)
