"""Recordings in a bucket are those of a folder with the same files."""

import contextlib

import numpy as np
import pytest
from support.audio_files import container

from audiolm_jax.artifacts import local_copy
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.storage import BucketPath, StorageError, files_below, upload
from audiolm_jax.audio.files import FORMATS, WavWriter, probe, read_audio, write_wav
from audiolm_jax.audio.wav import read_wav_provenance
from audiolm_jax.data import file_facts
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.file_index import index_share
from audiolm_jax.data.index import index_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.workers import Worker
from audiolm_jax.errors import InputError

FOUND = "a.wav", "b/c.flac", "b/d.ogg", "e/f/g h.wav"


def sound(seed, seconds=1.0, rate_hz=16000):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate_hz))


@pytest.fixture
def corpus(tmp_path, bucket):
    """(a folder, an address) with the same files, good and bad."""
    folder = tmp_path / "audio"
    formats = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
    for seed, name in enumerate([*FOUND, ".hidden/x.wav", "b/._c.wav", "b/.h/d/e.flac"]):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind, subtype = formats[path.suffix]
        path.write_bytes(container(kind, subtype, sound(seed), 16000))
    cut = (folder / "a.wav").read_bytes()[:-1000]
    for name, data in {"cut.wav": cut, "empty.wav": b"", "x.aiff": b"FORM", "n.txt": b"?"}.items():
        (folder / name).write_bytes(data)
    (folder / "b" / "d.txt").write_text("what is said in d")
    (folder / "metadata.tsv").write_text("path\tspeaker\na.wav\tAnna\nb/c.flac\tBert\nx\tY\n")
    upload(folder, bucket / "audio")
    return folder, bucket / "audio"


def config(place, **rules):
    return AudioDataConfig(str(place), **{"heldout_percent": 40, "split_by": "speaker", **rules})


def test_the_index_crops_and_fingerprint_are_those_of_a_folder(corpus):
    here, there = (index_folder(config(place)) for place in corpus)
    assert [clip.path for clip in there.clips] == list(FOUND)
    assert there.fingerprint == here.fingerprint
    assert there.bad == here.bad
    assert len(there.bad) == 6
    assert (there.odd, there.other_files, there.notes) == (here.odd, here.other_files, here.notes)
    facts = [[(c.speaker, c.text, c.split, c.num_samples) for c in x.clips] for x in (here, there)]
    assert facts[0] == facts[1]
    crops = [AudioCrops(x, "train", 0.25, 4, seed=1, cache_bytes=0) for x in (here, there)]
    for one, two, _ in zip(*(x.batches(3) for x in crops), range(3), strict=False):
        np.testing.assert_array_equal(one.samples, two.samples)


@pytest.fixture
def decoded(monkeypatch):
    names, file = [], file_facts._file
    monkeypatch.setattr(file_facts, "_file", lambda root, n: names.append(n) or file(root, n))
    return names


def test_an_index_is_trusted_until_it_is_looked_at(corpus, decoded, monkeypatch):
    place, rules = corpus[1], {"split_by": "file"}
    assert len(index_folder(config(place, **rules)).clips) == 4
    assert sorted(decoded) == sorted([*FOUND, "cut.wav", "empty.wav"])
    decoded.clear()
    asked, stat = [], BucketPath.stat
    monkeypatch.setattr(BucketPath, "stat", lambda self: asked.append(self) or stat(self))
    write_wav(place / "new.wav", sound(9), 16000, None)
    write_wav(place / "a.wav", sound(10, 1.5), 16000, None)
    asked.clear()
    assert len(index_folder(config(place, **rules)).clips) == 4
    assert decoded == []
    assert not any(path.name.endswith(tuple(FORMATS)) for path in asked)
    found = index_folder(config(place, **rules), looks_at_all=True)
    assert sorted(decoded) == ["a.wav", "new.wav"]
    assert {clip.path: clip.num_samples for clip in found.clips}["a.wav"] == 24000
    assert len(found.clips) == 5


def test_a_file_that_changed_behind_its_index_is_named_when_it_is_read(corpus):
    place = corpus[1]
    index = index_folder(config(place))
    write_wav(place / "a.wav", sound(10), 16000, None)
    (place / "b" / "c.flac").unlink()
    for name in ("a.wav", "b/c.flac"):
        local_copy.forget(place / name)
    clips = {clip.path: clip for clip in index.clips}
    with pytest.raises(InputError, match=r"audio/a\.wav: the file changed since it was indexed"):
        index.load(clips["a.wav"])
    with pytest.raises(InputError, match=r"audio/b/c\.flac: cannot be read: no such object"):
        index.load(clips["b/c.flac"])


def test_workers_share_a_bucket(corpus, decoded, bucket):
    rules = {"index": str(bucket / "index")}
    for worker in range(3):
        index_share(config(corpus[1], **rules), Worker(worker, 3))
    assert len(decoded) == 6
    assert index_folder(config(corpus[1], **rules)).fingerprint == (
        index_folder(config(corpus[0])).fingerprint
    )
    assert len(decoded) == 6 + 6  # of the folder, whose index is another
    assert list(files_below(bucket / "index")) == ["files.arrow"]


def test_what_is_no_folder_or_holds_no_sound_is_named(bucket):
    with pytest.raises(InputError, match=r"--data\.source = memory://.*: no such folder"):
        index_folder(config(bucket / "none"))
    write_text(bucket / "audio" / "a.txt", "no sound")
    with pytest.raises(InputError, match="no audio among 1 files"):
        index_folder(config(bucket / "audio"))


def test_a_bucket_that_cannot_be_read_ends_an_index_and_says_nothing_of_files(corpus, monkeypatch):
    def refuse(self, target):
        raise StorageError(self, "cannot be read", "503")

    monkeypatch.setattr(BucketPath, "fetch", refuse)
    with pytest.raises(StorageError, match=r"audio/.*: cannot be read \(503\)"):
        index_folder(config(corpus[1]))


def test_names_that_no_path_can_have_are_left_out(bucket):
    for key in ("a//b.wav", "a/./c.wav"):
        bucket._system.pipe_file(f"{bucket._key}/{key}", b"x")
    for name in ("good.wav", "well.wav"):
        write_wav(bucket / name, sound(0), 16000, None)
    index = index_folder(config(bucket, split_by="file"))
    assert [clip.path for clip in index.clips] == ["good.wav", "well.wav"]
    assert all("in the name of an object" in bad.reason for bad in index.bad)
    assert len(index.bad) == 2


def test_sound_is_written_and_read_back(bucket):
    path, note = bucket / "out" / "a.wav", {"seed": 3}
    samples = sound(0).astype(np.float32)
    write_wav(path, samples, 16000, note)
    assert read_wav_provenance(path) == note
    assert probe(path).seconds == 1.0
    np.testing.assert_allclose(read_audio(path)[0], samples, atol=1e-4)
    with contextlib.suppress(RuntimeError), WavWriter(bucket / "b.wav", 16000, None) as wav:
        wav.write(samples)
        raise RuntimeError
    assert not (bucket / "b.wav").exists()
    (bucket / "c.wav").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"^memory://[^ ]*/c\.wav: truncated"):
        read_audio(bucket / "c.wav")
    with pytest.raises(InputError, match=r"^memory://[^ ]*/none\.wav: cannot be read"):
        read_audio(bucket / "none.wav")
