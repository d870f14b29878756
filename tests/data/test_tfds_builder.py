"""The builder of TFDS for a folder, by TFDS's own tests of builders."""

import dataclasses
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from support.corpora import make_corpus

from audiolm_jax.data.index import index_folder
from audiolm_jax.data.packs.sound import quantised
from audiolm_jax.data.tfds_builder import AudioFolder, AudioFolderConfig

pytestmark = pytest.mark.slow


class _Folder(tfds.testing.DatasetBuilderTestCase):
    """TFDS's own tests of a builder, on recordings of its own and on those of a config."""

    DATASET_CLASS = AudioFolder

    @classmethod
    def setUpClass(cls):
        cls.folder = Path(tempfile.mkdtemp())
        config = dataclasses.replace(make_corpus(cls.folder, 4, 9), max_seconds=60.0)
        cls.index = index_folder(dataclasses.replace(config, heldout_percent=10))
        cls.EXAMPLE_DIR = str(cls.folder)
        mine = AudioFolderConfig(name="mine", data=cls.index.config)
        cls.BUILDER_CONFIG_NAMES_TO_TEST = ["manual", mine]
        cls.SPLITS = {
            split: len(clips)
            for split in ("train", "heldout")
            if (clips := cls.index.clips.where(cls.index.clips.is_heldout == (split == "heldout")))
        }
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.folder)


class OnArrayRecord(_Folder):
    """`as_dataset` is not for ArrayRecord, says TFDS: its data source has the same examples."""

    def _make_builder(self, config=None):
        return AudioFolder(data_dir=self.tmp_dir, config=config, file_format="array_record")

    def _assertAsDataset(self, builder):  # noqa: N802
        seen = {}
        for split, expected in self.SPLITS.items():
            source = builder.as_data_source(split)
            assert len(source) == expected
            for example in source:
                clip_id = example["id"].decode()
                clip = next(c for c in self.index.clips if c.clip_id == clip_id)
                sound, _ = quantised(self.index.load(clip), 16)
                assert example["audio"].dtype == np.int16
                np.testing.assert_array_equal(example["audio"] / np.float32(2**15), sound)
                assert clip.split == split
                assert example["speaker"].decode() == clip.speaker
                seen[clip_id] = split
        assert len(seen) == len(self.index.clips)


class OnTfRecord(_Folder):
    """Through TensorFlow."""


del _Folder
