"""Training SoundStream, the acoustic tokenizer."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from audiolm_jax.data.sources import AudioDataConfig, NoiseConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import AudioExperiment
from audiolm_jax.experiments.trained import TrainingData
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import OptimizerConfig

if TYPE_CHECKING:
    from audiolm_jax.training.metrics import MetricsWriter
    from audiolm_jax.training.state import TrainProgram, TrainState


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodecExperiment(AudioExperiment):
    """Train SoundStream."""

    kind = "soundstream"

    crop_seconds: float = 1.0
    """Length of a training crop."""
    model: SoundStreamConfig = SoundStreamConfig()
    """Encoder, quantizer and decoder."""
    train: SoundStreamTrainConfig = SoundStreamTrainConfig()
    """Losses, discriminators and codebook updates."""
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    """Of the discriminators."""
    samples: int = 0
    """Held-out recordings decoded at each evaluation, to the folder `samples` and TensorBoard."""
    speed: float = 1.0
    """Crops to train on are played up to so many times faster or slower, at random, pitch and
    formants with them, 1 to 2: more voices out of few. 1 leaves them as they are."""
    noise: NoiseConfig | None = None
    """What a codec with `model.denoising` learns to remove; the others have none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_rate("--data.sample-rate-hz", self.data)
        if (self.noise is None) != (self.model.denoising is None):
            lacks = "noise" if self.noise is None else "model.denoising"
            raise InputError(f"{lacks} = None: denoising needs both noise and model.denoising")
        if not 1 <= self.speed <= 2:
            raise InputError(f"--speed {self.speed}: expected 1 to 2")
        if self.noise is not None:
            if self.speed != 1:
                raise InputError(f"--speed {self.speed}: expected 1 where there is noise")
            self._check_rate("--noise.data.sample-rate-hz", self.noise.data)
        if not 0 <= self.samples <= self.batch_size:
            raise InputError(
                f"--samples {self.samples}: expected 0 to --batch-size {self.batch_size}"
            )

    def _check_rate(self, flag: str, data: AudioDataConfig) -> None:
        if self.model.sample_rate_hz != data.sample_rate_hz:
            raise InputError(
                f"{flag} {data.sample_rate_hz}: differs from --model.sample-rate-hz "
                f"{self.model.sample_rate_hz}; make them equal"
            )

    def program(self) -> "TrainProgram":
        """Generator and discriminators in turn."""
        from audiolm_jax.tokenizers.acoustic.soundstream import train
        from audiolm_jax.training.optim import make_optimizer

        return train.program(
            self.model,
            self.train,
            make_optimizer(self.optimizer),
            make_optimizer(self.discriminator_optimizer),
        )

    def abstract_batch(self) -> Any:
        """`AudioBatch`, or `DenoisingBatch` where there is noise, of shapes."""
        import jax
        import numpy as np

        from audiolm_jax.types import DenoisingBatch

        audio = super().abstract_batch()
        if self.noise is None:
            return audio
        switches: Any = jax.ShapeDtypeStruct((self.batch_size,), np.bool_)
        return DenoisingBatch(audio, audio.samples, switches)

    def model_flops(self) -> float:
        """Without the first step's k-means, and without zeros between channels."""
        judges = dataclasses.replace(
            self.train.discriminators, grouped_convolution="grouped", stft_convolution="plain"
        )
        train = dataclasses.replace(self.train, discriminators=judges)
        plain = dataclasses.replace(self, train=train)
        return super(CodecExperiment, plain).model_flops() - self.kmeans_flops()

    def kmeans_flops(self) -> float:
        """Of the first step alone."""
        import jax
        import jax.numpy as jnp

        from audiolm_jax.tokenizers.acoustic.soundstream.rvq import (
            empty_codebooks,
            initialize_codebooks,
        )
        from audiolm_jax.training.flops import count_flops

        model = self.model

        def initialize(codebooks: Any, latents: Any) -> Any:
            mask, key = jnp.ones(latents.shape[:2], bool), jax.random.key(0)
            return initialize_codebooks(codebooks, latents, mask, key, model.quantizer)

        codebooks = jax.eval_shape(lambda: empty_codebooks(model.quantizer, model.embedding_width))
        samples = super().abstract_batch().samples.shape[1]
        shape = (self.batch_size, -(-samples // model.hop_samples), model.embedding_width)
        return count_flops(initialize, codebooks, jax.ShapeDtypeStruct(shape, jnp.float32))

    def open_data(self) -> TrainingData:
        """Crops of speech, with noise if the codec learns to remove it."""
        data = self.open_crops(self.noise, self.speed)
        if not self.samples:
            return data
        first = next(iter(data.heldout()))
        return self.with_samples(data, first if self.noise is None else first.clean)

    def hear(self) -> "Callable[[TrainState, Any], Any]":
        """(state, batch) -> the batch as it sounds, [b, s]."""
        from audiolm_jax.tokenizers.acoustic.soundstream.train import roundtrip

        return roundtrip(self.model, self.train)

    def with_samples(self, data: TrainingData, batch: Any) -> TrainingData:
        """Has each evaluation write the first of a batch as they sound then, and once as they were
        recorded."""
        import jax
        import numpy as np

        from audiolm_jax.training.mesh import gather, make_mesh, replicated, to_global
        from audiolm_jax.types import AudioBatch

        mesh = make_mesh(self.mesh)
        decode = jax.jit(self.hear(), out_shardings=replicated(mesh))
        rate_hz = self.model.sample_rate_hz
        are_originals_written = False

        def on_evaluate(step: int, state: "TrainState", writer: "MetricsWriter") -> None:
            nonlocal are_originals_written
            placed = to_global(batch, mesh)
            audio = placed if isinstance(placed, AudioBatch) else placed.audio
            decoded, recorded, lengths = jax.device_get(
                (decode(state, placed), *gather((audio.samples, audio.lengths)))
            )
            for row in range(self.samples):
                if size := int(lengths[row]):
                    sound = np.clip(decoded[row, :size], -1, 1)
                    writer.write_audio(step, f"codec_{row}", sound, rate_hz)
                    if not are_originals_written:
                        writer.write_audio(0, f"recorded_{row}", recorded[row, :size], rate_hz)
            are_originals_written = True

        return dataclasses.replace(data, on_evaluate=on_evaluate)
