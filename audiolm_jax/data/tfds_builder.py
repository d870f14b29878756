"""A builder of TensorFlow Datasets for any folder of recordings that is read here.

    builder = AudioFolder(config=AudioFolderConfig(name="mine", data=AudioDataConfig("DIR")),
                          file_format="array_record", data_dir="TFDS")
    builder.download_and_prepare()
    builder.as_data_source("train")[0]["audio"]     # int16 [s]

Without a config the folder is TFDS's manual_dir. Only who wants this class imports the module: it
needs tensorflow-datasets.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from audiolm_jax.data.clips import Clips
from audiolm_jax.data.index import ClipIndex, scan
from audiolm_jax.data.packs.sound import quantised
from audiolm_jax.data.sources import SPLITS, AudioDataConfig

_TEXTS = ("path", "sha256", "speaker", "text", "accent", "language", "gender", "group")

logger = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class AudioFolderConfig(tfds.core.BuilderConfig):
    """Which recordings, how they are cut and split, and the rate they are converted to."""

    data: AudioDataConfig | None = None
    """None: TFDS's manual_dir by the defaults."""


class AudioFolder(tfds.core.GeneratorBasedBuilder):
    """Mono recordings, 16 bits, with what is known of them."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (AudioFolderConfig(name="manual", description="The folder manual_dir."),)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "Put the recordings into manual_dir, or name a folder by a config."
    )

    def _data(self) -> AudioDataConfig:
        config = self.builder_config
        given = config.data if isinstance(config, AudioFolderConfig) else None
        return given or AudioDataConfig(".")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "id": tfds.features.Text(),
            "audio": tfds.features.Audio(
                shape=(None,), dtype=np.int16, sample_rate=self._data().sample_rate_hz
            ),
            "source_rate_hz": np.int64,
            "start_seconds": np.float64,
            **{name: tfds.features.Text() for name in _TEXTS},
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> Mapping[str, Iterator[tuple[str, Any]]]:
        data = self._data()
        if data.source == ".":
            data = dataclasses.replace(data, source=str(dl_manager.manual_dir))
        index = scan(data)
        clips = {s: index.clips.where(index.clips.is_heldout == (s == "heldout")) for s in SPLITS}
        return {
            split: self._generate_examples(index, clips[split]) for split in SPLITS if clips[split]
        }

    def _generate_examples(self, index: ClipIndex, clips: Clips) -> Iterator[tuple[str, Any]]:
        clipped = 0
        for clip in clips:
            sound, lost = quantised(index.load(clip), bits=16)
            clipped += lost
            yield (
                clip.clip_id,
                {
                    "id": clip.clip_id,
                    "audio": (sound * 2**15).astype(np.int16),
                    "source_rate_hz": clip.source_rate_hz,
                    "start_seconds": clip.start_seconds,
                    **{name: getattr(clip, name) for name in _TEXTS},
                },
            )
        if clipped:
            logger.warning(f"{clipped} samples beyond full scale were clipped")
