"""One tiny codec of each kind and variant; what every codec promises is tested on all of them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from audiolm_jax.nn.state_arrays import unflatten_into
from audiolm_jax.tokenizers.acoustic.codec import Codec, abstract_network
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    DenoisingConfig,
    FrameRateConfig,
    QuantizerConfig,
    SoundStreamConfig,
)
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS, SoundStream
from support.dac_files import random_arrays as random_dac_arrays
from support.tiny_models import random_arrays

FINGERPRINT = "0" * 64
PLAIN = SoundStreamConfig(
    sample_rate_hz=1600,
    channels=2,
    width_multipliers=(1, 2, 4),
    strides=(2, 4),
    dilations=(1, 3),
    embedding_width=3,
    quantizer=QuantizerConfig(levels=3, codebook_size=16, revival_threshold=0.1),
)
FRAME_RATE = dataclasses.replace(
    PLAIN,
    frame_rate=FrameRateConfig(
        width=12, encoder_blocks=1, decoder_blocks=2, kernel_size=3, cells=2, analysis_overlap=3
    ),
)
LOOKAHEAD = dataclasses.replace(
    PLAIN,
    frame_rate=dataclasses.replace(FRAME_RATE.frame_rate, synthesis_overlap=5, lookahead=3),
)
DAC = DacConfig(
    sample_rate_hz=1500,
    strides=(2, 5),
    encoder_width=4,
    decoder_width=16,
    latent_width=12,
    levels=3,
    codebook_size=16,
    codebook_width=4,
)


@dataclasses.dataclass(frozen=True)
class TinyCodec:
    codec: Codec
    arrays: dict[str, np.ndarray]  # of its model folder


def soundstream_arrays(config: SoundStreamConfig) -> dict[str, np.ndarray]:
    """Random weights, and codes near the latents of noise, so that all of them are used."""
    abstract = abstract_network(SoundStream, config)
    film = {
        "film.gamma": np.array([[1, 1, 1], [-1, 0.5, 2]], np.float32),
        "film.beta": np.array([[0, 0, 0], [0.1, 0, 0.2]], np.float32),
    }
    arrays = {
        name: x * 0.1 if name.endswith("bias") else x  # else the biases drown the sound
        for name, x in random_arrays(lambda: abstract, 0).items()
    }
    if config.denoising is not None:  # the switch makes a difference and, off, none at all
        arrays |= film
    graphdef, state = nnx.split(abstract)
    encoder = nnx.merge(graphdef, unflatten_into(state, arrays, "tiny")).encoder
    rng = np.random.default_rng(0)
    noise = (0.3 * rng.normal(size=(1, 400 * config.hop_samples))).astype(np.float32)
    latents = np.asarray(jax.jit(encoder)(noise))[0]
    codes = rng.choice(latents, config.levels * config.codebook_size, replace=False)
    codes = codes.reshape(config.levels, config.codebook_size, -1)
    codes = codes * 0.3 ** np.arange(config.levels)[:, None, None]
    return arrays | {CODEBOOKS: codes.astype(np.float32)}


def _soundstream(config: SoundStreamConfig) -> TinyCodec:
    arrays = soundstream_arrays(config)
    return TinyCodec(SoundStreamCodec(config, arrays, FINGERPRINT), arrays)


def _denoising(place: Any) -> TinyCodec:
    """With its switch on."""
    config = dataclasses.replace(PLAIN, denoising=DenoisingConfig(place))
    arrays = soundstream_arrays(config)
    return TinyCodec(SoundStreamCodec(config, arrays, FINGERPRINT).with_denoising(), arrays)


def _dac(config: DacConfig, window_frames: int) -> TinyCodec:
    arrays = random_dac_arrays(config)
    return TinyCodec(DacCodec(config, arrays, FINGERPRINT, window_frames), arrays)


# A new codec joins by one line.
CODECS: dict[str, Callable[[], TinyCodec]] = {
    "soundstream": lambda: _soundstream(PLAIN),
    "denoising_encoder": lambda: _denoising("encoder"),
    "denoising_decoder": lambda: _denoising("decoder"),
    "frame_rate": lambda: _soundstream(FRAME_RATE),
    "lookahead": lambda: _soundstream(LOOKAHEAD),
    "dac": lambda: _dac(DAC, window_frames=48),
    "dac_even_strides": lambda: _dac(dataclasses.replace(DAC, strides=(4,)), window_frames=128),
}
