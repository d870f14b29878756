"""A Descript Audio Codec as a frozen tokenizer."""

import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.codec import Codec
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.layers import Span
from audiolm_jax.tokenizers.acoustic.dac.model import Dac
from audiolm_jax.tokenizers.acoustic.schedule import HALVINGS, Run, run_with_context
from audiolm_jax.tokenizers.acoustic.streams import State

KIND = "dac"


class DacCodec(Codec):
    """Windows of 128, 256 or 512 frames with as much context as the codec's layers reach.

    In a stream a frame waits for the context after it, and each window computes the context on both
    of its sides again, which is nearly all the work of a small one. The samples by which the codec
    falls short of whole frames (`DacConfig.decoder_shortfall`) are zero.
    """

    kind = KIND
    config_type = DacConfig
    network_type = Dac
    halvings = HALVINGS

    def __init__(
        self,
        config: DacConfig,
        arrays: dict[str, np.ndarray],
        fingerprint: str,
        window_frames: int = 512,
    ):
        """`window_frames`, of the largest window, is a multiple of 4; memory grows with it."""
        self.frames_at_once = window_frames
        self.encoder_context = config.encoder_context
        self.decoder_context = config.decoder_context
        context = max(config.encoder_context, config.decoder_context)
        self.max_block_frames = window_frames - 2 * context
        if self.max_block_frames < 1:
            least = f"more than twice the codec's context of {context}"
            raise InputError(f"window_frames = {window_frames}: expected {least}")
        super().__init__(config, arrays, fingerprint)

    def _schedule(self, lengths: Int[np.ndarray, " b"], context: int) -> Iterable[Run]:
        return run_with_context(lengths, context, self.frames_at_once)

    def _encode_block(
        self, params: Any, samples: Float[Array, "b s"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Int[Array, "b t q"], State]:
        network = self._network(params)
        with jax.default_matmul_precision("highest"):
            latents = network.encoder(samples, Span(*(span * self.hop_samples)))
            return network.quantizer.encode(latents), state

    def _decode_block(
        self, params: Any, codes: Int[Array, "b t q"], span: Int[Array, "2 b"], state: State
    ) -> tuple[Float[Array, "b s"], State]:
        network = self._network(params)
        with jax.default_matmul_precision("highest"):
            return network.decoder(network.quantizer.decode(codes), Span(*span)), state

    @functools.cached_property
    def _vectors(self) -> Float[np.ndarray, "q n d"]:
        quantizer = self._network(self._params).quantizer
        arrays = (quantizer.codebooks, quantizer.out_kernel, quantizer.out_bias)
        codebooks, kernel, bias = (np.asarray(x[...]) for x in arrays)
        return codebooks @ kernel + bias[:, None]
