"""Tokenizing: interrupted equals uninterrupted, and nothing that does not fit is accepted."""

import dataclasses
import hashlib
import re
import time
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.fake_tokenizers import FakeCodec, FakeSemantic, load

from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens import tokenize as module
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.tokens.tokenize import precompute
from audiolm_jax.data.workers import Worker, read_worker
from audiolm_jax.errors import InputError
from audiolm_jax.stages import EOS, StageConfig
from audiolm_jax.types import AudioBatch

LOADED = []


@dataclasses.dataclass(frozen=True)
class Loader:
    """As that of the command line: equal copies mean the same tokenizers."""

    name: str

    def __call__(self):
        LOADED.append(self.name)
        return (FakeCodec(fail_after=1), FakeSemantic()) if self.name == "failing" else load()


PLACES = set()


class CodecOnDevice(FakeCodec):
    def __init__(self):
        super().__init__()
        self.scale = jnp.float32(100.0)

    def encode(self, audio):
        PLACES.update((self.scale * 2).devices())
        time.sleep(0.01)  # for the others to come to something
        return super().encode(audio)


def load_on_device():
    return CodecOnDevice(), FakeSemantic()


def load_failing():
    return FakeCodec(fail_after=4), FakeSemantic()


def load_other_codec():
    return FakeCodec(fingerprint="other"), FakeSemantic()


def load_wrong_rate():
    return FakeCodec(sample_rate_hz=24000), FakeSemantic()


def load_wrong_hop():
    return FakeCodec(hop_samples=400), FakeSemantic()


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    rng = np.random.default_rng(0)
    for number in range(24):
        samples = rng.normal(0, 0.1, rng.integers(6000, 30000)).astype(np.float32)
        (folder / f"speaker{number % 3}").mkdir(exist_ok=True)
        write_wav(folder / f"speaker{number % 3}" / f"{number}.wav", samples, 16000, None)
    (folder / "bad.wav").write_text("prose")
    return scan(AudioDataConfig(source=str(folder), dataset="fake", heldout_percent=25))


def contents(directory: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()
    }


def test_store_holds_every_clip_once(index, tmp_path):
    store = precompute(index, load, tmp_path / "store", TokenizeConfig(shards=4, batch_clips=3))
    for split in ("train", "heldout"):
        clips = {clip.clip_id: clip for clip in index.clips if clip.split == split}
        records = list(store.records(split))
        assert sorted(record.clip_id for record in records) == sorted(clips)
        for record in records:
            clip = clips[record.clip_id]
            assert len(record.clusters) == -(-clip.num_samples // 640)
            assert record.codes.shape == (2 * len(record.clusters), 3)
            assert (record.speaker, record.dataset) == (clip.speaker, "fake")
            # Whatever fills the last frame is no sound to the encoder.
            samples = index.load(clip)
            noise = np.random.default_rng(0).normal(0, 9, -len(samples) % 640)
            filled = np.append(samples, noise.astype(np.float32))[None]
            expected = FakeSemantic().encode(AudioBatch(filled, np.array([len(samples)])))
            np.testing.assert_array_equal(record.clusters, expected.ids[0])
        assert store.num_records(split) == len(clips)
    # A clip alone in its batch gets the tokens it got among others.
    alone = precompute(index, load, tmp_path / "alone", TokenizeConfig(shards=4, batch_clips=1))
    for ours, theirs in zip(store.records("train"), alone.records("train"), strict=True):
        np.testing.assert_array_equal(ours.codes, theirs.codes)
    statistics = store.manifest["splits"]["train"]["statistics"]
    assert statistics["clips"] == store.num_records("train")
    assert statistics["seconds"] == sum(len(r.codes) for r in store.records("train")) / 50
    assert 0 < statistics["semantic_entropy_nats"] <= np.log(8)
    assert len(statistics["acoustic_used"]) == 3
    assert store.manifest["bad"] == [
        {
            "path": "bad.wav",
            "reason": "not audio: it is a text file named .wav; remove it or put the audio there",
        }
    ]


def test_a_file_that_is_cut_ends_once(tmp_path):
    """Through all of it, from the file to the sequences of the stage."""
    folder = tmp_path / "audio"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 240_000).astype(np.float32)
    write_wav(folder / "long#0001.wav", noise, 16000, None)
    config = AudioDataConfig(str(folder), "fake", heldout_percent=0, max_seconds=6.0)
    store = precompute(scan(config), load, tmp_path / "store", TokenizeConfig(shards=2))
    assert store.num_records("train") == 3
    stage = StageConfig("semantic", 8, 16, 3, coarse_levels=2, crop_seconds=2.0)
    ends = [EOS in sequence.tokens for sequence in store.sequences("train", stage)]
    assert len(ends) == 9
    assert sum(ends) == 1


def test_interrupted_equals_uninterrupted(index, tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    config = TokenizeConfig(shards=5, batch_clips=4)
    precompute(index, load, tmp_path / "whole", config)
    with pytest.raises(Exception, match="the machine went away"):
        precompute(index, load_failing, tmp_path / "broken", config)
    written = [name for name in contents(tmp_path / "broken") if name.endswith(".json")]
    assert 0 < len(written) < 5
    with pytest.raises(InputError, match="unfinished"):
        TokenStore.open(tmp_path / "broken")
    # What a process leaves that is killed while it writes a shard.
    leftover = ".0123456789ab.train-00000-of-00005.array_record"
    (tmp_path / "broken" / leftover).write_bytes(b"half")
    caplog.clear()
    precompute(index, load, tmp_path / "broken", config)
    assert caplog.text.count("already written") == len(written)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")
    # Complete: nothing is begun again.
    monkeypatch.setattr(module, "_write_here", None)
    precompute(index, load, tmp_path / "broken", config)
    assert "nothing to do" in caplog.text


def test_workers_share_the_shards(index, tmp_path, caplog):
    """Each begins with its own and goes on with what nobody has begun."""
    caplog.set_level("INFO")
    config = TokenizeConfig(shards=5, batch_clips=4)
    whole = precompute(index, load, tmp_path / "whole", config)
    store = tmp_path / "shared"
    names = [shard.name for shard in module.plan_shards(index, config)[0]]
    with only_writer(store / names[0], True), only_writer(store / names[3], True):
        assert precompute(index, load, store, config, Worker(1, 3)) is None
        assert "2 of 6 shards are others' work" in caplog.text
        caplog.clear()
        assert precompute(index, load, store, config) is None
        assert caplog.text.count("already written") == 4
    assert not re.findall(r"shard \d of 6: \d\.", caplog.text)
    assert precompute(index, load, store, config, Worker(2, 3)) is not None
    order = re.findall(r"shard (\d) of 6: \d\.", caplog.text)
    assert order == ["1", "4"]
    assert contents(store) == contents(tmp_path / "whole")
    assert whole.fingerprint == TokenStore.open(store).fingerprint


@hypothesis.given(st.integers(0, 30), st.integers(1, 9), st.data())
def test_a_worker_begins_with_its_share_and_comes_to_all(items, workers, data):
    number = data.draw(st.integers(0, workers - 1))
    worker, everything = Worker(number, workers), list(range(items))
    order = worker.in_order(everything)
    assert sorted(order) == everything
    share = worker.share(everything)
    assert order[: len(share)] == list(share) == list(range(number, items, workers))


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "1/0", "1/4/5", "a/b"])
def test_what_is_no_worker_is_refused(text):
    with pytest.raises(InputError, match=r"--worker .*expected a number below another"):
        read_worker(text)


def test_all_devices_work_and_write_the_same(index, tmp_path, monkeypatch):
    config = TokenizeConfig(shards=5, batch_clips=4)
    precompute(index, load_on_device, tmp_path / "one", config)
    PLACES.clear()
    monkeypatch.setattr(module, "_devices", lambda: jax.devices()[:3])
    precompute(index, load_on_device, tmp_path / "three", config)
    assert PLACES <= set(jax.devices()[:3])
    assert len(PLACES) > 1
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    # What fails on one device ends all of them.
    with pytest.raises(MemoryError, match="the machine went away"):
        precompute(index, Loader("failing"), tmp_path / "broken", config)
    assert not list((tmp_path / "broken").glob(".*"))


BEAM = ("runner=PortableRunner", "job_endpoint=embed", "--environment_type=LOOPBACK")


def test_beam_writes_the_same(index, tmp_path):
    config = TokenizeConfig(shards=3, batch_clips=4)
    precompute(index, load, tmp_path / "here", config)
    through_beam = dataclasses.replace(config, beam_options=BEAM)
    with pytest.raises(InputError, match="omit --worker"):
        precompute(index, load, tmp_path / "beam", through_beam, Worker(0, 2))
    precompute(index, load, tmp_path / "beam", through_beam)
    assert contents(tmp_path / "beam") == contents(tmp_path / "here")


def test_tokenizers_are_loaded_once_in_a_process(index, tmp_path):
    precompute(index, Loader("one"), tmp_path / "store", TokenizeConfig(shards=4))
    precompute(index, Loader("one"), tmp_path / "store", TokenizeConfig(shards=4))
    assert LOADED.count("one") == 1


def test_other_tokens_are_not_overwritten(index, tmp_path):
    precompute(index, load, tmp_path / "store", TokenizeConfig(shards=1))
    before = contents(tmp_path / "store")
    with pytest.raises(InputError, match="holds tokens of fingerprint"):
        precompute(index, load_other_codec, tmp_path / "store", TokenizeConfig(shards=1))
    assert contents(tmp_path / "store") == before


def load_other_semantic():
    return FakeCodec(), FakeSemantic(clusters=5, fingerprint="other")


def load_other_semantic_and_no_codec():
    return FakeCodec(fail_after=0), FakeSemantic(clusters=5, fingerprint="other")


def test_codes_of_a_store_are_taken_for_those_of_its_codec(index, tmp_path):
    """The same bytes as with the codec, however the first store was cut into shards."""
    config = TokenizeConfig(shards=3)
    whole = precompute(index, load_other_semantic, tmp_path / "whole", config)
    precompute(index, load, tmp_path / "first", TokenizeConfig(shards=2))
    taken = precompute(
        index,
        load_other_semantic_and_no_codec,
        tmp_path / "taken",
        config,
        codes=tmp_path / "first",
    )
    assert contents(tmp_path / "taken") == contents(tmp_path / "whole")
    assert (taken.fingerprint, taken.sizes.semantic_clusters) == (whole.fingerprint, 5)


@pytest.mark.parametrize(
    ("load_now", "heldout_percent", "reason"),
    [
        (load_other_codec, 25, "the codec of that store: 'codec', of this run: 'other'"),
        (load_other_semantic, 50, "the recordings of that store"),
        (
            lambda: (FakeCodec(), FakeSemantic(hop_samples=3200, fingerprint="slow")),
            25,
            "filled up to whole semantic tokens of 25 Hz, this run's have 5 Hz",
        ),
    ],
)
def test_codes_of_anything_else_are_refused(index, tmp_path, load_now, heldout_percent, reason):
    precompute(index, load, tmp_path / "first", TokenizeConfig(shards=1))
    other = dataclasses.replace(index.config, heldout_percent=heldout_percent)
    with pytest.raises(InputError, match=f"--codes .*{reason}"):
        precompute(
            scan(other),
            load_now,
            tmp_path / "store",
            TokenizeConfig(),
            codes=tmp_path / "first",
        )
    assert not (tmp_path / "store").exists()


def test_unfinished_shards_of_another_codec_are_written_again(index, tmp_path):
    config = TokenizeConfig(shards=2)
    precompute(index, load_other_codec, tmp_path / "store", config)
    (tmp_path / "store" / "MANIFEST.json").unlink()
    store = precompute(index, load, tmp_path / "store", config)
    assert store.provenance.codec_fingerprint == "codec"


@pytest.mark.parametrize(
    ("loader", "reason"), [(load_wrong_rate, "24000 Hz"), (load_wrong_hop, "hop of 640")]
)
def test_tokenizers_that_do_not_fit_are_refused(index, tmp_path, loader, reason):
    with pytest.raises(InputError, match=reason):
        precompute(index, loader, tmp_path / "store", TokenizeConfig())


def test_file_changed_since_the_scan_is_one_line(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    write_wav(folder / "a.wav", noise, 16000, None)
    index = scan(AudioDataConfig(source=str(folder), heldout_percent=0))
    write_wav(folder / "a.wav", noise[:9000], 16000, None)
    with pytest.raises(InputError, match=r"a\.wav: the file changed since it was") as caught:
        precompute(index, load, tmp_path / "store", TokenizeConfig())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["shards", "batch_clips"])
def test_config_refuses_zero(field):
    with pytest.raises(InputError, match=f"--tokenize.{field.replace('_', '-')} = 0"):
        TokenizeConfig(**{field: 0})
