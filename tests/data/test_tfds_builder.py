"""The builder of TFDS for a folder, by TFDS's own tests of builders."""

import dataclasses
import unittest
from collections import Counter

import numpy as np
import pytest
from support.corpora import make_corpus

from audiolm_jax.data.index import index_folder
from audiolm_jax.data.packs.sound import quantised


def tfds_case(index, file_format):
    """TFDS's tests, of the folder as a config names it and as manual_dir."""
    import tensorflow_datasets as tfds

    from audiolm_jax.data.tfds_builder import AudioFolder, AudioFolderConfig

    expected = Counter(clip.split for clip in index.clips)

    class Case(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = AudioFolder
        EXAMPLE_DIR = index.config.source
        BUILDER_CONFIG_NAMES_TO_TEST = (
            "manual",
            AudioFolderConfig(name="mine", data=index.config),
        )
        SPLITS = expected

        def _make_builder(self, config=None):
            return AudioFolder(data_dir=self.tmp_dir, config=config, file_format=file_format)

        def _assertAsDataset(self, builder):  # noqa: N802
            if file_format == "tfrecord":
                super()._assertAsDataset(builder)
                return
            # `as_dataset` is not for ArrayRecord, says TFDS; its data source is.
            clips, seen = {clip.clip_id: clip for clip in index.clips}, {}
            for split, count in self.SPLITS.items():
                source = builder.as_data_source(split)
                assert len(source) == count
                for example in source:
                    clip = clips[example["id"].decode()]
                    sound, _ = quantised(index.load(clip), 16)
                    assert example["audio"].dtype == np.int16
                    np.testing.assert_array_equal(example["audio"] / np.float32(2**15), sound)
                    assert clip.split == split
                    assert example["speaker"].decode() == clip.speaker
                    seen[clip.clip_id] = split
            assert len(seen) == len(clips)

    return Case


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_the_builder_passes_the_tests_of_tfds(tmp_path, file_format):
    config = dataclasses.replace(make_corpus(tmp_path / "audio", 4, 9), max_seconds=60.0)
    index = index_folder(dataclasses.replace(config, heldout_percent=10))  # the builder's defaults
    assert index.of("train")
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(tfds_case(index, file_format))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    assert result.wasSuccessful(), result.failures + result.errors
    assert result.testsRun >= 5
