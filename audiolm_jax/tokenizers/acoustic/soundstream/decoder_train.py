"""Training of a SoundStream decoder alone, on the vectors of frozen tokens (`gan`).

Paper: AudioLM III-B, Table I: how well a SoundStream decoder that is trained on tokens of a kind
reconstructs audio from them.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from audiolm_jax import types
from audiolm_jax.audio.spectral import zero_beyond
from audiolm_jax.nn.conv import initialize
from audiolm_jax.nn.padding import valid_frames
from audiolm_jax.nn.partition import constrain
from audiolm_jax.nn.state_arrays import named_leaves
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.gan import GanTrainer, Inputs, Reconstruction
from audiolm_jax.tokenizers.acoustic.soundstream.model import DecoderAlone
from audiolm_jax.training.state import Metrics, Sums, TrainProgram, TrainState
from audiolm_jax.types import VectorBatch


def program(
    model_config: SoundStreamConfig,
    train_config: SoundStreamTrainConfig,
    generator_optimizer: optax.GradientTransformation,
    discriminator_optimizer: optax.GradientTransformation,
) -> TrainProgram:
    """The decoder's trainer; its batches are `VectorBatch`es of crops of any one length, with a
    vector for each started hop. The rest is as in the codec's (`train.program`)."""
    trainer = _Trainer(model_config, train_config, generator_optimizer, discriminator_optimizer)
    return TrainProgram(trainer.init, trainer.step, trainer.evaluate, trainer.export)


def decoded(
    model_config: SoundStreamConfig, train_config: SoundStreamTrainConfig
) -> Callable[[TrainState, VectorBatch], Float[Array, "b s"]]:
    """(state, batch) -> the batch as the decoder makes it, [b, s]: to listen to."""
    trainer = _Trainer(model_config, train_config, optax.identity(), optax.identity())
    return lambda state, batch: trainer.hear(state, trainer.prepare(batch))


class _Trainer(GanTrainer):
    network_type = DecoderAlone

    def build(self, key: PRNGKeyArray) -> DecoderAlone:
        return initialize(lambda draws: DecoderAlone(self.model, draws=draws), key)

    def first_rest(self) -> dict[str, Any]:
        return {}

    def prepare(self, batch: VectorBatch) -> Inputs:
        lengths = jnp.asarray(batch.audio.lengths)
        samples = self.silenced(batch.audio.samples, lengths)
        vectors = constrain(jnp.asarray(batch.vectors), "batch", "time", None)
        return Inputs(samples, samples, lengths, None, vectors)

    def reconstruct(
        self, params: nnx.State, inputs: Inputs, rest: dict[str, Any], key: PRNGKeyArray
    ) -> Reconstruction:
        return Reconstruction(self._pass(params, inputs), jnp.zeros(()), ())

    def settle(self, found: Any, key: PRNGKeyArray) -> tuple[dict[str, Any], Metrics]:
        return {}, {}

    def _pass(self, params: nnx.State, inputs: Inputs) -> Float[Array, "b s"]:
        model: DecoderAlone = nnx.merge(self._generator, params)
        assert inputs.vectors is not None  # of `prepare`
        hop = self.model.hop_samples
        valid_BxT = valid_frames(-(-inputs.lengths // hop), inputs.vectors.shape[1])
        vectors = jnp.where(valid_BxT[:, :, None], inputs.vectors, 0)
        made = model.decoder(vectors, self.dtype)[:, : inputs.samples.shape[1]]
        return zero_beyond(made, inputs.lengths)

    def hear(self, state: TrainState, inputs: Inputs) -> Float[Array, "b s"]:
        """As the exported decoder makes it, not limited to [-1, 1]."""
        return self._pass(self.heard_params(state), inputs)

    def evaluate(self, state: TrainState, batch: VectorBatch) -> Sums:
        """Sums over examples that hold any audio."""
        inputs = self.prepare(batch)
        return self.sums(inputs, self.hear(state, inputs))

    def export(self, state: TrainState) -> dict[str, types.Array]:
        """decoder.* (the moving average if there is one)."""
        return dict(named_leaves(self.heard_params(state)))
