"""A trained SoundStream as a frozen tokenizer."""

import copy
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.codec import Codec
from audiolm_jax.tokenizers.acoustic.schedule import Run, run_in_step
from audiolm_jax.tokenizers.acoustic.soundstream.config import Place, SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.film import condition
from audiolm_jax.tokenizers.acoustic.soundstream.frame_rate import transforms
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS, SoundStream
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import dequantize, nearest_codes
from audiolm_jax.tokenizers.acoustic.streams import State

KIND = "soundstream"
_BLOCK_FRAMES = 128
_ROWS = 8  # recordings of one call that takes more than one


class SoundStreamCodec(Codec):
    """Blocks of 128 frames with the causal network's state between them, 1 or 8 recordings side by
    side. A codec with a denoising switch has it off."""

    kind = KIND
    config_type = SoundStreamConfig
    network_type = SoundStream
    max_block_frames = _BLOCK_FRAMES
    frames_at_once = _ROWS * _BLOCK_FRAMES

    def __init__(self, config: SoundStreamConfig, arrays: dict[str, np.ndarray], fingerprint: str):
        weights = dict(arrays)
        codebooks = weights.pop(CODEBOOKS, None)
        super().__init__(config, weights, fingerprint)
        shape = (config.levels, config.codebook_size, config.embedding_width)
        if codebooks is None or codebooks.shape != shape:
            state = "missing" if codebooks is None else f"of shape {codebooks.shape}"
            raise InputError(f"{self._where}: array {CODEBOOKS!r} is {state}, expected {shape}")
        # No leaf of the compiled programs' arguments where there is no switch.
        switch = None if config.denoising is None else np.zeros((1, 1), bool)
        frame_rate = config.frame_rate
        matrices: tuple[tuple[Any, ...], ...] = ((), ())
        if frame_rate is not None:
            placed = jax.device_put(transforms(frame_rate, config.hop_samples))
            matrices = tuple((matrix,) for matrix in placed)
        self._params = (self._params, jax.device_put(codebooks), switch, matrices)
        self.encoder_delay = config.lookahead_frames

    def with_denoising(self) -> "SoundStreamCodec":
        """This codec with its switch on: it shares weights, compiled programs and fingerprint."""
        weights, codebooks, switch, matrices = self._params
        if switch is None:
            remedy = "train one with --model.denoising and --noise"
            raise InputError(f"{self._where}: has no denoising switch; {remedy}")
        other = copy.copy(self)
        other._params = (weights, codebooks, np.ones((1, 1), bool), matrices)
        return other

    def _schedule(self, lengths: Int[np.ndarray, " b"], context: int) -> Iterable[Run]:
        return run_in_step(lengths, _BLOCK_FRAMES, _ROWS)

    def _initial_state(self, half: Place, batch: int) -> State:
        return getattr(self._abstract, half).initial_state(batch)

    def _encode_block(
        self, params: Any, samples: Float[Array, "b s"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Int[Array, "b t q"], State]:
        weights, codebooks, switch, (analysis, _) = params
        network = self._network(weights)
        latents, state = network.encoder.step(samples, state, *analysis)
        latents = condition(network.film, "encoder", latents, switch)
        residual = latents.reshape(-1, latents.shape[-1])
        codes: list[jax.Array] = []
        for vectors in codebooks:
            codes.append(nearest_codes(residual, vectors))
            residual = residual - vectors[codes[-1]]
        return jnp.stack(codes, axis=-1).reshape(*latents.shape[:2], len(codes)), state

    def _decode_block(
        self, params: Any, codes: Int[Array, "b t q"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Float[Array, "b s"], State]:
        weights, codebooks, switch, (_, synthesis) = params
        network = self._network(weights)
        latents = condition(network.film, "decoder", dequantize(codes, codebooks), switch)
        samples, state = network.decoder.step(latents, state, *synthesis)
        return jnp.clip(samples, -1.0, 1.0), state

    @functools.cached_property
    def _vectors(self) -> Float[np.ndarray, "q n d"]:
        return np.asarray(self._params[1])
