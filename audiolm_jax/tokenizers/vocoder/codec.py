"""Frozen tokens and the decoder that was trained on them: a codec to measure, and its folder."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model, read_model_json
from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.codec import abstract_network, check_codes, check_samples
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.acoustic.soundstream.config import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import DecoderAlone
from audiolm_jax.tokenizers.vocoder.tokens import open_tokens
from audiolm_jax.types import AcousticTokenizer, AcousticTokens, AudioBatch

KIND = "vocoder"
TOKENS = "tokens."  # before the names of the arrays that make the tokens
_BLOCK_FRAMES = 128  # of one call, so that memory is bounded and one program serves all lengths


@dataclasses.dataclass(frozen=True)
class VocoderConfig:
    """What a vocoder's folder says beside the weights."""

    tokens: str  # kind of the model folder that makes the tokens
    model: dict[str, Any]  # its config
    levels: int  # how many of its levels the decoder gets, the first of all
    decoder: SoundStreamConfig  # of which the decoder's sizes count


class VocoderCodec:
    """`types.AcousticTokenizer` of a folder of kind "vocoder"; it decodes any number of the levels
    that its decoder learnt, though it learnt all of them together."""

    def __init__(self, folder: ModelFolder, where: str):
        config = config_from_dict(VocoderConfig, folder.config, where)
        stored = folder.arrays.items()
        own = {name.removeprefix(TOKENS): x for name, x in stored if name.startswith(TOKENS)}
        origin = ModelFolder(config.tokens, config.model, own, folder.fingerprint, {})
        self.tokens, self.config = open_tokens(origin, config.levels, where), config.decoder
        self.sample_rate_hz, self.hop_samples = self.config.sample_rate_hz, self.config.hop_samples
        self.levels, self.codebook_size = self.tokens.levels, self.tokens.codebook_size
        self.fingerprint = folder.fingerprint
        network: Any = abstract_network(DecoderAlone, self.config)
        self._initial_state = network.decoder.initial_state
        graphdef, state = nnx.split(network)
        arrays = {name: x for name, x in stored if not name.startswith(TOKENS)}
        self._weights, structure = jax.tree.flatten(unflatten_into(state, arrays, where))

        def step(weights: list, vectors: jax.Array, state: Any) -> Any:
            network = nnx.merge(graphdef, jax.tree.unflatten(structure, weights))
            samples, state = network.decoder.step(vectors, state)
            return jnp.clip(samples, -1.0, 1.0), state

        self._step = jax.jit(step)

    def encode(self, audio: AudioBatch) -> AcousticTokens:
        """Codes of all levels; InputError if a valid sample is not finite."""
        for row, size in zip(np.asarray(audio.samples), np.asarray(audio.lengths), strict=True):
            check_samples(row[:size])
        return self.tokens.encode(audio)

    def decode(self, tokens: AcousticTokens) -> AudioBatch:
        """Audio of `tokens.lengths * hop_samples`, within [-1, 1]."""
        codes, lengths = np.asarray(tokens.codes), np.asarray(tokens.lengths, np.int32)
        samples = np.zeros((len(codes), codes.shape[1] * self.hop_samples), np.float32)
        for row, own, frames in zip(samples, codes, lengths, strict=True):
            own = check_codes(own[:frames], self.levels, self.codebook_size)
            row[: frames * self.hop_samples] = self._decoded(self.latents(own))
        return AudioBatch(samples, lengths * np.int32(self.hop_samples))

    def latents(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, "t d"]:
        """What the decoder gets."""
        return self.tokens.latents(codes)

    def _decoded(self, vectors: Float[np.ndarray, "t d"]) -> Float[np.ndarray, " s"]:
        made, state = [np.zeros(0, np.float32)], self._initial_state(1)
        for begin in range(0, len(vectors), _BLOCK_FRAMES):
            piece = vectors[begin : begin + _BLOCK_FRAMES]
            block = np.zeros((1, _BLOCK_FRAMES, vectors.shape[1]), np.float32)
            block[0, : len(piece)] = piece
            samples, state = self._step(self._weights, block, state)
            made.append(np.asarray(samples)[0, : len(piece) * self.hop_samples])
        return np.concatenate(made)


def load_codec(directory: Path) -> AcousticTokenizer:
    """Reads and verifies the model folder of a codec of any kind, a vocoder with its tokens among
    them."""
    if read_model_json(directory)["kind"] == KIND:
        return VocoderCodec(load_model(directory, KIND), str(directory))
    return load_acoustic_tokenizer(directory)
