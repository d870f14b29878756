"""What the parts that learn from audio have in common."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from audiolm_jax.data.sources import SPLITS, AudioDataConfig, NoiseConfig
from audiolm_jax.experiments.trained import StepExperiment, TrainingData

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioExperiment(StepExperiment):
    """A model that learns from crops of recordings."""

    data: AudioDataConfig
    """Recordings."""
    crop_seconds: float
    """Length of a training crop."""

    def abstract_batch(self) -> Any:
        """`AudioBatch` of shapes; InputError if a crop is no whole number of samples."""
        import jax
        import numpy as np

        from audiolm_jax.data.crops import whole_samples
        from audiolm_jax.types import AudioBatch

        size = whole_samples(self.crop_seconds, self.data.sample_rate_hz)
        samples: Any = jax.ShapeDtypeStruct((self.batch_size, size), np.float32)
        lengths: Any = jax.ShapeDtypeStruct((self.batch_size,), np.int32)
        return AudioBatch(samples, lengths)

    def units_per_step(self) -> tuple[str, float]:
        """Seconds of audio."""
        return "audio_seconds", self.batch_size * self.crop_seconds

    def filled(self, rows: Any) -> tuple[float, float]:
        """By the lengths of the crops, as if all operations grew with them."""
        from audiolm_jax.types import AudioBatch

        audio = rows if isinstance(rows, AudioBatch) else rows.clean
        share = float(audio.lengths.mean()) / audio.samples.shape[1]
        return share, share

    def check_data(self, index: "ClipIndex") -> None:
        """There must be something to learn from and something held out."""
        for split in SPLITS:
            index.of(split)

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings, and of the noise if there is any."""
        from audiolm_jax.data.index import scan

        noise: NoiseConfig | None = getattr(self, "noise", None)
        facts = audio_facts(scan(self.data))
        return facts if noise is None else facts | {"noise": audio_facts(scan(noise.data))}

    def open_data(self) -> TrainingData:
        """Lists the clips and opens the stream of crops."""
        return self.open_crops(None)

    def open_index(self) -> "ClipIndex":
        """The recordings, checked, of which the weights to start from have heard none held out."""
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.unheard import check_unheard, provenance_at

        index = scan(self.data)
        if self.warm_start is not None:
            source = self.warm_start.source
            check_unheard(index, {f"--warm-start.source {source}": provenance_at(source)})
        if self.branch_from is not None:
            run = self.branch_from.rpartition("@")[0]
            check_unheard(index, {f"--branch-from {self.branch_from}": provenance_at(run)})
        self.check_data(index)
        return index

    def open_crops(self, noise: NoiseConfig | None, speed: float = 1.0) -> TrainingData:
        """Crops of the recordings, with noise to remove from them if there is any, else those to
        train on up to `speed` times faster or slower."""
        from audiolm_jax.data.batch_contents import Describe, describe_noisy_audio
        from audiolm_jax.data.crops import AudioCrops
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.noise import NoisyCrops
        from audiolm_jax.training.mesh import host_rows, make_mesh

        index = self.open_index()
        stream = (self.crop_seconds, self.batch_size, self.loop.seed)
        rows = host_rows(make_mesh(self.mesh), self.batch_size)
        facts = audio_facts(index)
        crops: list[AudioCrops] | list[NoisyCrops]
        describe: Describe
        if noise is None:
            speeds = {"train": speed, "heldout": 1.0}
            crops = [
                AudioCrops(index, split, *stream, rows, speed=speeds[split]) for split in SPLITS
            ]
            describe = crops[0].describe
        else:
            noises = scan(noise.data)
            facts["noise"] = audio_facts(noises)
            crops = [NoisyCrops(index, noises, split, *stream, rows, noise) for split in SPLITS]
            describe = describe_noisy_audio(index, noises, *stream, noise)
        train, heldout = crops
        bounded = functools.partial(heldout.heldout_batches, self.loop.heldout_batches)
        return TrainingData(train.batches, bounded, facts, describe)


def audio_facts(index: "ClipIndex") -> dict[str, Any]:
    """What a manifest says of recordings; minutes held out are told by the place they end at, and
    what is split by, if metadata or time tell it, by its name."""
    of_split: dict[str, Any] = {}
    if index.config.heldout_minutes is not None or index.config.split_by == "official":
        of_split["heldout_below"] = index.heldout_below
    if not index.split_unit.isdecimal():
        of_split["split_unit"] = index.split_unit
    return of_split | {
        "dataset": index.config.dataset,
        "fingerprint": index.fingerprint,
        "train_seconds": index.seconds("train"),
        "heldout_seconds": index.seconds("heldout"),
    }
