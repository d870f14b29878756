"""The whole road with everything on s3://, one process, against a server that behaves like S3."""

import os

import pytest
from support.fake_s3 import BUCKET, fake_s3
from support.tiny_models import voice
from support.tiny_runs import BUNDLED, write_configs

from audiolm_jax.artifacts import local_copy, storage, writer
from audiolm_jax.artifacts.storage import at, files_below
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.generation.bundle import load_bundle

WORK = f"s3://{BUCKET}/work"


def forget():
    """Nothing that was opened in another environment."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    for cached in (storage._driver, local_copy._made_folder, local_copy._made_copies):
        cached.cache_clear()


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    with fake_s3() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AUDIOLM_SCRATCH", str(tmp_path / "scratch"))
        forget()
        yield
        forget()


@pytest.mark.slow  # starts a server
def test_objects(bucket, tmp_path):
    """Each call of the one module that touches files, and the lock."""
    place = at(f"{WORK}/folder")
    assert not place.exists()
    assert list(place.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        (place / "none").read_bytes()
    (place / "deep" / "a.json").write_bytes(b"0123456789")
    (place / "b").write_bytes(b"b")
    assert (place.is_dir(), (place / "b").is_file(), (place / "deep").is_file()) == (
        True,
        True,
        False,
    )
    assert [x.name for x in place.iterdir()] == ["b", "deep"]
    assert (place / "deep/a.json").read_ranges([(2, 4), (7, 9)]) == [b"23", b"78"]
    assert (place / "deep/a.json").read_ranges([(3, 6)]) == [b"345"]
    assert (place / "b").stat().st_size == 1
    assert (place / "b").stat().st_mtime_ns > 10**18
    with pytest.raises(FileExistsError):
        (place / "b").create(b"other")
    assert (place / "b").read_bytes() == b"b"
    storage.move_tree(place, at(f"{WORK}/moved"))
    assert sorted(files_below(at(f"{WORK}/moved"))) == ["b", "deep/a.json"]
    assert files_below(place) == {}
    storage.download(at(f"{WORK}/moved"), tmp_path / "here")
    storage.upload(tmp_path / "here", place)
    assert (place / "deep/a.json").read_text() == "0123456789"
    storage.remove_tree(place)
    assert not place.exists()
    with pytest.raises(storage.StorageError, match="no bucket nowhere"):
        at("s3://nowhere/a").write_bytes(b"")
    with writer.only_writer(place):
        with pytest.raises(writer.TakenError), writer.only_writer(place):
            pass
        assert [x.name for x in place.iterdir()] == [".lock"]
    assert not place.exists()


@pytest.mark.slow  # trains eight tiny models
def test_the_whole_road(bucket, tmp_path, capsys):
    """A codec that was interrupted there is the one of a folder that was not."""
    configs = write_configs(tmp_path, f"{WORK}/voices", runs=f"{WORK}/runs")

    def run(*words):
        capsys.readouterr()
        assert main([str(word) for word in words]) == 0, capsys.readouterr()
        return "".join(capsys.readouterr())

    (tmp_path / "voices").mkdir()
    for i in range(24):
        sound = voice(1.0 + 0.1 * i, 80 + 15 * i, i)
        write_wav(tmp_path / f"voices/clip_{i}.wav", sound, 16000, None)
    storage.upload(tmp_path / "voices", at(f"{WORK}/voices"))
    assert "24 recordings" in run("index", f"{WORK}/voices")
    run("train", configs["codec"], "--loop.steps", 1)
    assert any("checkpoints/1/" in name for name in files_below(at(f"{WORK}/runs/codec")))
    for name in ("codec", "encoder", "kmeans"):
        run("train", configs[name])
    here = ["--data.source", tmp_path / "voices", "--directory", tmp_path / "codec"]
    run("train", configs["codec"], *here)
    weights = "codec/model/weights.safetensors"
    assert at(f"{WORK}/runs/{weights}").read_bytes() == (tmp_path / weights).read_bytes()
    run("tokenize", configs["tokens"])
    for name in ("semantic_lm", "coarse_lm", "fine_lm"):
        run("train", configs[name])
    parts = [f"{WORK}/runs/{name}" for name in BUNDLED]
    at(f"{WORK}/bundle/old").write_bytes(b"of a bundle before")
    run("bundle", *parts, "--out", f"{WORK}/bundle")
    window = ["--generation.context-seconds", 0.4, "--seconds", 0.2, "--prompt-seconds", 0.4]
    run("continue", f"{WORK}/voices/clip_3.wav", "--models", f"{WORK}/bundle", *window,
        "--out", f"{WORK}/out.wav")  # fmt: skip
    assert load_bundle(at(f"{WORK}/bundle")).fingerprint in run("info", f"{WORK}/bundle")
    assert "runs" not in os.listdir(tmp_path)
    assert not [name for name in files_below(at(WORK)) if name.endswith((".lock", ".tmp"))]
