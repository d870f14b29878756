"""Audio crops are a pure function of seed and position, and cover the audio evenly."""

import itertools
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audio_files import encoded

from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.resample import resample
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import ClipIndex, load_clip, scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.stream import generator, shuffled_index, spread
from audiolm_jax.errors import InputError

CROP = 0.25  # seconds: 4000 samples


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number, seconds in enumerate([0.3, 0.31, 0.5, 0.75, 1.0, 2.0, 3.0, 0.4, 1.7, 0.35]):
        samples = rng.uniform(-0.5, 0.5, int(seconds * 16000)).astype(np.float32)
        write_wav(folder / f"{number}.wav", samples, 16000, None)
    return scan(AudioDataConfig(source=str(folder), heldout_percent=40))


def take(iterator, count):
    batches = list(itertools.islice(iterator, count))
    return np.stack([b.samples for b in batches]), np.stack([b.lengths for b in batches])


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 400), st.integers(0, 2**70), st.integers(0, 10**9))
def test_every_epoch_is_a_permutation(size, seed, epoch):
    order = [shuffled_index(epoch * size + i, size, seed) for i in range(size)]
    assert sorted(order) == list(range(size))


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {
        tuple(shuffled_index(epoch * 50 + i, 50, seed) for i in range(50))
        for epoch in range(10)
        for seed in range(10)
    }
    assert len(orders) == 100
    first = [shuffled_index(epoch * 7, 7, 0) for epoch in range(7000)]
    assert np.bincount(first, minlength=7) == pytest.approx(1000, abs=150)


def test_random_numbers_belong_to_their_position():
    draws = [
        generator(seed, position, purpose).random()
        for seed in (0, 1, -1)
        for position in (0, 1, 10**15)
        for purpose in (0, 1)
    ]
    assert len(set(draws)) == len(draws)
    assert generator(1, 10**15, 1).random() in draws


def test_resumed_stream_is_the_stream(index):
    crops = AudioCrops(index, "train", CROP, 4, seed=3)
    samples, lengths = take(crops.batches(0), 30)
    later, later_lengths = take(crops.batches(21), 9)
    np.testing.assert_array_equal(later, samples[21:])
    np.testing.assert_array_equal(later_lengths, lengths[21:])
    assert take(crops.batches(10**12), 1)[0].shape == (1, 4, 4000)
    other, _ = take(AudioCrops(index, "train", CROP, 4, seed=4).batches(0), 30)
    assert not np.array_equal(other, samples)


def test_hosts_together_are_one_host(index):
    """Rows need not be neighbours, and two hosts may need the same."""
    whole, _ = take(AudioCrops(index, "train", CROP, 6, seed=3).batches(5), 7)
    for share in ((0, 3), (1, 2, 4, 5), (0, 3)):
        part, _ = take(AudioCrops(index, "train", CROP, 6, seed=3, rows=share).batches(5), 7)
        np.testing.assert_array_equal(part, whole[:, list(share)])


@pytest.mark.parametrize("share", [(0,), (1,), None])
def test_a_host_reads_its_clips_only_and_each_once(index, monkeypatch, share):
    read, load = [], ClipIndex.load
    monkeypatch.setattr(
        ClipIndex, "load", lambda self, clip: (read.append(clip.clip_id), load(self, clip))[1]
    )
    crops = AudioCrops(index, "train", 4.0, 2, seed=0, rows=share)  # no clip is longer
    list(crops.heldout_batches())
    clips = [clip.clip_id for clip in index.of("train")]
    assert len(clips) > 4
    # A last row without a clip costs no reading.
    assert sorted(read) == sorted(c for n, c in enumerate(clips) if share is None or n % 2 in share)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
@pytest.mark.parametrize("rate_hz", [16000, 22050])
def test_a_small_cache_changes_nothing(tmp_path, monkeypatch, suffix, rate_hz):
    """What can be sought in is read where the crop is, to the same samples, and nothing else is."""
    rng = np.random.default_rng(0)
    codecs = {"wav": "pcm_s16le", "flac": "flac", "mp3": "libmp3lame"}
    for number in range(3):
        samples = rng.normal(0, 0.1, int(rng.uniform(2, 5) * rate_hz)).clip(-1, 1)
        content = encoded(suffix, codecs[suffix], samples.astype(np.float32), rate_hz)
        (tmp_path / f"{number}.{suffix}").write_bytes(content)
    index = scan(AudioDataConfig(str(tmp_path), heldout_percent=0, max_seconds=1.7))
    whole, _ = take(AudioCrops(index, "train", CROP, 4, seed=3).batches(0), 20)
    starved = AudioCrops(index, "train", CROP, 4, seed=3, cache_bytes=1)
    loaded = []
    monkeypatch.setattr(
        ClipIndex, "load", lambda self, clip: loaded.append(clip) or load_clip(self.config, clip)
    )
    np.testing.assert_array_equal(take(starved.batches(0), 20)[0], whole)
    assert bool(loaded) == (suffix == "mp3" or rate_hz != 16000)
    # In order the windows of a clip follow each other: it is decoded as a whole.
    starved = AudioCrops(index, "train", CROP, 4, seed=3, cache_bytes=1)
    loaded.clear()
    rows = [row for batch in starved.heldout_batches() for row in zip(*batch, strict=True)]
    assert {clip.clip_id for clip in loaded} == {clip.clip_id for clip in index.clips}
    sound = [samples[:length] for samples, length in rows]
    np.testing.assert_array_equal(
        np.concatenate(sound), np.concatenate([index.load(clip) for clip in index.clips])
    )


def test_crops_are_stretches_of_their_clips_padded_with_zeros(index):
    crops = AudioCrops(index, "train", 0.6, 5, seed=0)
    samples, lengths = take(crops.batches(0), 40)
    clips = index.of("train")
    short = 0
    for position, (row, length) in enumerate(
        zip(samples.reshape(-1, 9600), lengths.reshape(-1), strict=True)
    ):
        number, start, stop = crops.locate(position)
        assert length == stop - start == min(9600, clips[number].num_samples)
        np.testing.assert_array_equal(row[:length], index.load(clips[number])[start:stop])
        assert not row[length:].any()
        short += length < 9600
    assert samples.dtype == np.float32
    assert lengths.dtype == np.int32
    assert 0 < short < len(samples) * 5


@pytest.mark.parametrize("speed", [1.2, 2.0])
def test_stretched_crops_are_their_stretch_resampled(index, speed):
    crops = AudioCrops(index, "train", CROP, 4, seed=3, speed=speed)
    plain = AudioCrops(index, "train", CROP, 4, seed=3)
    (samples, lengths), clips, sizes = take(crops.batches(0), 30), index.of("train"), []
    for position in range(120):
        number, start, stop = crops.locate(position)
        size, length = stop - start, clips[number].num_samples
        row = samples[position // 4, position % 4]
        assert lengths[position // 4, position % 4] == min(length, plain.crop_samples)
        assert 0 <= start <= start + size <= length
        if length <= plain.crop_samples:
            assert (number, start, stop) == plain.locate(position)
            continue
        assert number == plain.locate(position)[0]  # clips still come as often as they are long
        sizes.append(size / plain.crop_samples)
        stretch = index.load(clips[number])[start:stop]
        np.testing.assert_array_equal(row, resample(stretch, size, len(row), "soxr_hq"))
    assert 1 / speed - 0.01 <= min(sizes) < 1 < max(sizes) <= speed + 0.01
    np.testing.assert_array_equal(take(crops.batches(20), 1)[0][0], samples[20])  # resumed
    held = zip(take(crops.heldout_batches(), 5), take(plain.heldout_batches(), 5), strict=True)
    for as_it_is, plainly in held:  # windows of all, as they are
        np.testing.assert_array_equal(as_it_is, plainly)


def test_clips_come_as_often_as_they_are_long(index):
    crops = AudioCrops(index, "train", CROP, 1, seed=1)
    clips = index.of("train")
    epochs = 100
    visits = np.zeros(len(clips))
    for position in range(epochs * crops.epoch_crops):
        visits[crops.locate(position)[0]] += 1
    share = np.array([clip.num_samples for clip in clips])
    np.testing.assert_allclose(visits / visits.sum(), share / share.sum(), rtol=0.1)


def test_crops_begin_anywhere_in_their_clip(index):
    clips = index.of("train")
    longest = max(range(len(clips)), key=lambda number: clips[number].num_samples)
    spare = clips[longest].num_samples - 4000
    crops = AudioCrops(index, "train", CROP, 4, seed=3)
    located = [crops.locate(position) for position in range(4000)]
    starts = np.array([start for number, start, _ in located if number == longest])
    assert len(starts) > 500
    assert (min(starts), max(starts)) == pytest.approx((0, spare), abs=spare / 50)
    assert np.histogram(starts, 8, (0, spare + 1))[0] == pytest.approx(len(starts) / 8, rel=0.4)


def test_heldout_batches_hold_every_sample_once(index):
    crops = AudioCrops(index, "heldout", CROP, 4, seed=0)
    seen = []
    for batch in crops.heldout_batches():
        assert batch.samples.shape == (4, 4000)
        seen += [row[:length] for row, length in zip(batch.samples, batch.lengths, strict=True)]
        assert not any(r[n:].any() for r, n in zip(batch.samples, batch.lengths, strict=True))
    whole = np.concatenate([index.load(clip) for clip in index.of("heldout")])
    np.testing.assert_array_equal(np.concatenate(seen), whole)


def test_a_limited_pass_is_spread_over_all_clips_and_the_same_on_any_hosts(index):
    def windows(limit, rows=None):
        crops = AudioCrops(index, "train", CROP, 4, seed=0, rows=rows)
        batches = list(crops.heldout_batches(limit))
        return np.stack([batch.samples for batch in batches])

    whole, few = windows(None), windows(3)
    np.testing.assert_array_equal(windows(len(whole)), whole)
    np.testing.assert_array_equal(windows(3), few)
    parts = [windows(3, rows) for rows in ((0, 2), (1, 3))]
    np.testing.assert_array_equal(np.stack(parts, axis=2).reshape(few.shape), few)
    count = sum(-(-clip.num_samples // 4000) for clip in index.of("train"))
    chosen = whole.reshape(-1, 4000)[spread(count, 12)]
    np.testing.assert_array_equal(few.reshape(-1, 4000), chosen)


def test_abandoned_stream_ends_its_thread_and_errors_arrive(index, tmp_path):
    stream = AudioCrops(index, "train", CROP, 4, seed=0).batches(0)
    next(stream)
    assert any(thread.name == "prefetch" for thread in threading.enumerate())
    stream.close()
    assert not any(thread.name == "prefetch" for thread in threading.enumerate())
    path = tmp_path / "a.wav"
    write_wav(path, np.full(8000, 0.1, np.float32), 16000, None)
    gone = scan(AudioDataConfig(source=str(tmp_path), heldout_percent=0))
    path.unlink()
    with pytest.raises(InputError, match=r"a\.wav: cannot be read"):
        next(AudioCrops(gone, "train", CROP, 4, seed=0).batches(0))


def test_a_stream_left_open_does_not_disturb_the_exit(index):
    program = (
        "from audiolm_jax.data.crops import AudioCrops\n"
        "from audiolm_jax.data.index import scan\n"
        "from audiolm_jax.data.sources import AudioDataConfig\n"
        f"config = AudioDataConfig(source={index.config.source!r})\n"
        "stream = AudioCrops(scan(config), 'train', 0.25, 4, 0).batches(0)\n"
        "next(stream)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_sizes_that_do_not_fit_are_refused(index):
    with pytest.raises(InputError, match="whole number of samples"):
        AudioCrops(index, "train", 1 / 3, 4, seed=0)
    with pytest.raises(InputError, match=r"rows = \(4,\): expected some of 0 to 3"):
        AudioCrops(index, "train", CROP, 4, seed=0, rows=(4,))
