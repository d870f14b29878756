"""A pack is a dataset of TFDS."""

import dataclasses
import io
import json
import subprocess
import sys

import numpy as np
import soundfile
from support.corpora import make_corpus, make_pack

from audiolm_jax.data.index import index_folder
from audiolm_jax.data.packs.manifest import PACK


def test_a_pack_is_read_through_tfds(tmp_path):
    import tensorflow_datasets as tfds

    config = dataclasses.replace(make_corpus(tmp_path / "audio", 2, 5), dataset="mine")
    make_pack(config, tmp_path / "tfds/mine/1.0.0")
    index = index_folder(config)
    clips, at_rate, seen = {clip.clip_id: clip for clip in index.clips}, {}, {}
    for rate in {clip.source_rate_hz for clip in index.clips}:
        own = index_folder(dataclasses.replace(config, sample_rate_hz=rate))
        at_rate[rate] = own, {clip.clip_id: clip for clip in own.clips}
    for split in {clip.split for clip in index.clips}:
        by_name = tfds.data_source("mine", data_dir=tmp_path / "tfds", split=split)
        by_folder = tfds.builder_from_directory(tmp_path / "tfds/mine/1.0.0").as_data_source(split)
        assert len(by_name) == len(by_folder)
        for number, example in enumerate(by_name):
            assert by_folder[number] == example
            clip = clips[example["id"].decode()]
            sound, rate = soundfile.read(io.BytesIO(example["audio"]), dtype="float32")
            own, own_clips = at_rate[rate]
            np.testing.assert_array_equal(sound, own.load(own_clips[clip.clip_id]))
            assert (rate, len(sound)) == (example["rate_hz"], example["samples"])
            assert example["source_rate_hz"] == clip.source_rate_hz
            assert example["start"] == round(clip.start_seconds * rate)
            for name in ("path", "sha256", "split", "speaker", "text", "group", "codec"):
                assert example[name].decode() == getattr(clip, name)
            assert example["split"].decode() == split
            seen[clip.clip_id] = split
    assert seen == {clip.clip_id: clip.split for clip in clips.values()}


def test_the_description_is_that_of_tfds(tmp_path):
    """As TFDS itself would write it."""
    import tensorflow_datasets as tfds

    make_pack(make_corpus(tmp_path / "audio", 2, 3), tmp_path / "pack")
    builder = tfds.builder_from_directory(tmp_path / "pack")
    (tmp_path / "again").mkdir()
    builder.info.features.save_config(str(tmp_path / "again"))
    mine, theirs = (
        json.loads((tmp_path / folder / "features.json").read_text())
        for folder in ("pack", "again")
    )
    assert mine == theirs
    parts = json.loads((tmp_path / "pack" / PACK).read_text())["splits"]
    for split, part in parts.items():
        assert builder.info.splits[split].num_shards == len(part["shards"])
        assert builder.info.splits[split].num_examples == part["clips"]
    assert builder.info.dataset_size == sum(
        path.stat().st_size for path in (tmp_path / "pack").glob("*array_record-*[0-9]")
    )


def test_reading_a_pack_here_loads_nothing_of_tfds(tmp_path):
    make_pack(make_corpus(tmp_path / "audio", 2, 3), tmp_path / "pack")
    code = (
        "import sys\n"
        "from audiolm_jax.data.index import index_folder\n"
        "from audiolm_jax.data.sources import AudioDataConfig\n"
        f"index = index_folder(AudioDataConfig({str(tmp_path / 'pack')!r}))\n"
        "index.load(index.clips[0])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'tensorflow', 'tensorflow_datasets', 'jax', 'librosa', 'etils'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
