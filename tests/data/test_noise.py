"""Noise is a function of seed and position, at the level and with the switch asked for."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.batch_contents import describe_noisy_audio
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import scan
from audiolm_jax.data.noise import NoisyCrops, draw_mixture, noise_seed
from audiolm_jax.data.sources import AudioDataConfig, NoiseConfig
from audiolm_jax.errors import InputError

CROP, BATCH, SEED = 0.25, 6, 3  # seconds; rows


@pytest.fixture(scope="module")
def indices(tmp_path_factory):
    rng = np.random.default_rng(0)
    found = []
    for name, level in (("speech", 0.5), ("noise", 0.05)):
        folder = tmp_path_factory.mktemp(name)
        for number, seconds in enumerate([0.4, 0.5, 0.75, 1.0, 0.31, 0.6, 0.8, 0.9]):
            samples = rng.uniform(-level, level, int(seconds * 16000)).astype(np.float32)
            write_wav(folder / f"{number}.wav", samples, 16000, None)
        found.append(scan(AudioDataConfig(source=str(folder), heldout_percent=40)))
    return found


@pytest.fixture(scope="module")
def config(indices):
    return NoiseConfig(indices[1].config, probability=0.7, gain_db=(-20.0, -5.0))


def make(indices, config, split="train", rows=None):
    return NoisyCrops(*indices, split, CROP, BATCH, SEED, rows, config)


def take(iterator, count):
    batches = list(itertools.islice(iterator, count))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *batches)


def test_a_resumed_stream_is_the_stream(indices, config):
    whole = take(make(indices, config).batches(0), 12)
    later = take(make(indices, config).batches(7), 5)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[7:], b), whole, later)
    assert whole.noise.shape == whole.clean.samples.shape == (12, BATCH, 4000)


def test_hosts_together_are_one_host(indices, config):
    whole = take(make(indices, config).batches(2), 4)
    for rows in ((0, 3), (1, 2, 4, 5)):
        part = take(make(indices, config, rows=rows).batches(2), 4)
        jax.tree.map(
            lambda a, b, rows=rows: np.testing.assert_array_equal(a[:, list(rows)], b), whole, part
        )


def test_speech_is_that_without_noise_and_noise_is_a_crop_at_its_level(indices, config):
    """Peaks of noise and speech are as far apart as the mixture of the position says."""
    batch = take(make(indices, config).batches(0), 20)
    speech = take(AudioCrops(indices[0], "train", CROP, BATCH, SEED).batches(0), 20)
    np.testing.assert_array_equal(batch.clean.samples, speech.samples)
    crops = take(AudioCrops(indices[1], "train", CROP, BATCH, noise_seed(SEED)).batches(0), 20)
    levels, switches = [], []
    for position in range(20 * BATCH):
        at = divmod(position, BATCH)
        noise, clean, crop = batch.noise[at], batch.clean.samples[at], crops.samples[at]
        mixture = draw_mixture(config, SEED, position)
        assert batch.denoise[at] == mixture.denoise
        switches.append((mixture.gain_db is None, mixture.denoise))
        if mixture.gain_db is None:
            assert not noise.any()
            continue
        levels.append(20 * np.log10(np.abs(noise).max() / np.abs(clean).max()))
        assert levels[-1] == pytest.approx(mixture.gain_db, abs=1e-3)
        scale = np.abs(noise).max() / np.abs(crop).max()
        np.testing.assert_allclose(noise, crop * scale, rtol=1e-5, atol=1e-9)
    assert -20 <= min(levels) < -19
    assert -6 < max(levels) <= -5
    assert len(levels) == pytest.approx(0.7 * 120, abs=15)
    assert set(switches) == set(itertools.product((True, False), repeat=2))  # clean gets either


def test_speech_and_noise_are_never_the_same_slot_again(indices):
    """With folders of equal size the seeds keep the pairs of an epoch from coming back."""
    seeds = (SEED, noise_seed(SEED))
    streams = [AudioCrops(indices[0], "train", CROP, BATCH, seed) for seed in seeds]
    pairs = [tuple(s.locate(p) for s in streams) for p in range(3 * streams[0].epoch_crops)]
    assert sum(a == b for a, b in pairs) < len(pairs) / 4


def test_evaluation_has_noise_in_every_clip_and_the_switch_on(indices, config):
    first, again = (list(make(indices, config, "heldout").heldout_batches()) for _ in range(2))
    clean = list(AudioCrops(indices[0], "heldout", CROP, BATCH, SEED).heldout_batches())
    assert len(first) == len(clean)
    for batch, same, speech in zip(first, again, clean, strict=True):
        jax.tree.map(np.testing.assert_array_equal, batch, same)
        np.testing.assert_array_equal(batch.clean.samples, speech.samples)
        np.testing.assert_array_equal(batch.noise.any(1), speech.lengths > 0)
        assert batch.denoise.all()
    (one,) = make(indices, config, "heldout").heldout_batches(1)
    assert one.noise.any(1).all()


def test_silence_stays_silent(indices, config, tmp_path):
    samples = np.zeros(16000, np.float32)
    samples[-100:] = 0.5  # most crops of it are silent
    write_wav(tmp_path / "a.wav", samples, 16000, None)
    quiet = scan(AudioDataConfig(source=str(tmp_path), heldout_percent=0))
    for pair in ((quiet, indices[1]), (indices[0], quiet)):
        batch = take(make(pair, config).batches(0), 5)
        assert np.isfinite(batch.noise).all()
        assert (~batch.noise.any(-1)).sum() > 5


def test_a_bad_batch_can_be_named(indices, config):
    lines = describe_noisy_audio(*indices, CROP, BATCH, SEED, config)(4)
    assert len(lines) == BATCH
    for row, line in enumerate(lines):
        mixture = draw_mixture(config, SEED, 4 * BATCH + row)
        assert line.endswith("switch on" if mixture.denoise else "switch off")
        assert line.count(".wav") == (1 if mixture.gain_db is None else 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probability": 1.5}, "--noise.probability = 1.5"),
        ({"denoise_probability": -0.1}, "--noise.denoise-probability"),
        ({"gain_db": (0.0, -30.0)}, "lower level first"),
        ({"gain_db": (float("nan"), 0.0)}, "lower level first"),
    ],
)
def test_bad_config_is_refused(config, changes, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(config, **changes)
