"""Datasets that TFDS prepared, by its own builders' schemas: read here, they are what it reads."""

import io
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from support.fake_tokenizers import load

from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import index_folder, scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.data.tokens.tokenize import precompute

RNG = np.random.default_rng(0)


def sound(seconds=0.5, rate=16000):
    return RNG.integers(-(2**15), 2**15, int(seconds * rate)).astype(np.int16)


def flac(samples, rate=16000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="FLAC")
    file.seek(0)
    return file


def libri(speaker, number, speech):
    name = f"{speaker}-12-{number:04}"
    facts = {"id": name, "speaker_id": speaker, "chapter_id": 12, "text": f"WORDS {number}"}
    return name, facts | {"speech": speech}


def vctk(number, speaker, gender):
    facts = {"id": f"{speaker}_{number}", "text": "a", "speech": sound(0.4, 48000)}
    return str(number), facts | {"speaker": speaker, "gender": gender, "accent": "Irish"}


DATASETS = {
    "librispeech": (
        None,
        {
            "train_clean100": [libri(s, n, sound(0.4 + n / 7)) for s in (19, 26) for n in range(4)],
            "dev_clean": [libri(84, n, sound()) for n in range(3)],
        },
    ),
    "librispeech/lazy_decode": (
        "lazy_decode",
        {
            "train_clean100": [libri(19, n, flac(sound())) for n in range(3)],
            "test_other": [libri(367, n, flac(sound(0.7))) for n in range(2)],
        },
    ),
    "ljspeech": (
        None,
        {
            "train": [
                (key, {"id": key, "text": "In 1455,", "text_normalized": "In", "speech": sound()})
                for key in ("LJ001-0001", "LJ001-0002", "LJ002-0001")
            ]
        },
    ),
    "vctk": (None, {"train": [vctk(1, "p225", "F"), vctk(2, "p226", "M")]}),
}


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """The datasets, prepared by the builders that TFDS brings, of recordings made here."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    root = tmp_path_factory.mktemp("tfds")
    for name, (config, splits) in DATASETS.items():
        dataset = name.partition("/")[0]
        whole = tfds.builder_cls(dataset)
        with registered.skip_registration():

            class Tiny(whole):
                examples = splits

                def _split_generators(self, dl_manager):
                    return {split: iter(rows) for split, rows in self.examples.items()}

                def _generate_examples(self):
                    raise AssertionError

        Tiny.name = dataset
        Tiny(data_dir=root, config=config, file_format="array_record").download_and_prepare()
    return root


@pytest.mark.parametrize("name", DATASETS)
def test_examples_are_those_of_tfds(tfds_dir, monkeypatch, name):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    theirs = tfds.data_source(name, data_dir=tfds_dir, download=False)
    rate = {"ljspeech": 22050, "vctk": 48000}.get(name, 16000)
    config = AudioDataConfig(f"tfds:{name}", sample_rate_hz=rate, heldout_percent=50)
    index = index_folder(config)
    clips, samples = {clip.clip_id: clip for clip in index.clips}, {}
    for split, source in theirs.items():
        for example in source:
            clip_id = f"{split}/{example['id'].decode()}"
            speech = example["speech"]
            if isinstance(speech, bytes):
                speech, _ = soundfile.read(io.BytesIO(speech), dtype="int16")
            samples[clip_id] = speech / np.float32(2**15)
            clip = clips.pop(clip_id)
            np.testing.assert_array_equal(index.load(clip), samples[clip_id])
            assert (clip.source_rate_hz, clip.channels) == (rate, 1)
            words = example.get("text_normalized", example["text"])
            assert clip.text == words.decode()
            assert clip.speaker == {"ljspeech": "", "vctk": clip_id[6:10]}.get(
                name, str(example.get("speaker_id"))
            )
            if name == "vctk":
                assert clip.gender == {"p225": "female", "p226": "male"}[clip.speaker]
                assert clip.accent == "Irish"
    assert not clips
    assert not index.bad
    crops = AudioCrops(index, "train", 0.24, 8, seed=1, cache_bytes=0)
    batch = next(crops.batches(0))
    of_train = index.of("train")
    for row in range(8):
        number, start, stop = crops.locate(row)
        expected = samples[of_train[number].clip_id][start:stop]
        np.testing.assert_array_equal(batch.samples[row, : stop - start], expected)


def test_official_parts_and_columns(tfds_dir):
    source = str(tfds_dir / "librispeech/default/2.1.1")
    index = index_folder(AudioDataConfig(source, split_by="official"))
    assert {clip.clip_id.partition("/")[0] for clip in index.of("heldout")} == {"dev_clean"}
    assert len(index.of("train")) == 8
    by_chapter = index_folder(AudioDataConfig(source, split_by="chapter_id", heldout_percent=99))
    assert {clip.group for clip in by_chapter.clips} == {"12"}


@pytest.mark.parametrize("name", ["librispeech", "ljspeech"])
def test_from_a_name_to_tokens(tfds_dir, tmp_path, name):
    source = f"tfds:{name}/data_dir={tfds_dir}"
    index = scan(AudioDataConfig(source, dataset=name, heldout_percent=0))
    store = precompute(index, load, tmp_path / "store", TokenizeConfig(shards=2, batch_clips=3))
    records = {record.clip_id: record for record in store.records("train")}
    assert sorted(records) == sorted(clip.clip_id for clip in index.clips)
    for clip in index.clips:
        assert len(records[clip.clip_id].clusters) == -(-clip.num_samples // 640)
        assert records[clip.clip_id].speaker == clip.speaker


def test_reading_loads_no_tensorflow(tfds_dir):
    code = (
        "import sys\n"
        "from audiolm_jax.data.index import index_folder\n"
        "from audiolm_jax.data.sources import AudioDataConfig\n"
        f"index = index_folder(AudioDataConfig('tfds:ljspeech/data_dir={tfds_dir}'))\n"
        "index.load(index.clips[0])\n"
        "print(sorted({m.split('.')[0] for m in sys.modules}"
        " & {'tensorflow', 'tensorflow_datasets', 'jax', 'librosa', 'etils'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
