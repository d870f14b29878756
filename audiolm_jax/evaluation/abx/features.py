"""Features to put to the ABX test: MFCC, layers of an encoder, its clusters, a codec."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32, Shaped

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.audio.spectral import mel_filterbank
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.segments import FrameFeatures
from audiolm_jax.evaluation.measures.spectra import short_time_spectrum
from audiolm_jax.tokenizers.semantic.tokenizer import (
    KIND,
    load_frame_encoder,
    load_kmeans_tokenizer,
)
from audiolm_jax.tokenizers.vocoder.codec import load_codec
from audiolm_jax.types import Array, AudioBatch, FrameEncoder, SemanticTokenizer

MFCC_RATE_HZ = 16_000
_MFCC_WINDOW, _MFCC_HOP = 400, 160  # 25 ms, 10 ms
_MFCC_CONTEXT = 9  # frames that a slope is fitted to

Encode = Callable[[AudioBatch], tuple[Array, Array]]  # values [b, t, ...], valid frames [b]


def features_of(
    config: FeatureConfig, recordings: Mapping[str, Path], batch_size: int
) -> dict[str, FrameFeatures]:
    """Features of audio files by row of the table."""
    match config.source:
        case "mfcc":
            clips = _read(recordings, MFCC_RATE_HZ)
            by_file = {file: mfcc(samples) for file, samples in clips.items()}
            return {config.name: FrameFeatures(by_file, Fraction(MFCC_RATE_HZ, _MFCC_HOP))}
        case "encoder":
            return {config.name: _encoder(config, recordings, batch_size)}
        case "semantic":
            return _semantic(config, recordings, batch_size)
        case "codec":
            return _codec(config, recordings, batch_size)


def mfcc(samples: Float[np.ndarray, " s"]) -> Float32[np.ndarray, "t 39"]:
    """13 MFCC of 16 kHz audio and two slopes; ceil(s / 160) frames, centers (i + 1/2) / 100 s."""
    from scipy.fft import dct
    from scipy.signal import get_window, savgol_filter

    frames = -(-len(samples) // _MFCC_HOP)
    left = (_MFCC_WINDOW - _MFCC_HOP) // 2
    padded = np.zeros(_MFCC_WINDOW + (frames - 1) * _MFCC_HOP)
    padded[left:][: len(samples)] = samples[: len(padded) - left]
    window = get_window("hann", _MFCC_WINDOW)
    power = np.abs(short_time_spectrum(padded, window, _MFCC_HOP)) ** 2
    # As librosa.feature.mfcc and delta do, whose import writes caches and takes long.
    mel = mel_filterbank(MFCC_RATE_HZ, _MFCC_WINDOW, 40).T @ power.T
    decibels = 10.0 * np.log10(np.maximum(1e-10, mel))
    cepstra = dct(np.maximum(decibels, decibels.max() - 80.0), axis=0, norm="ortho")[:13]
    slopes = [
        savgol_filter(cepstra, _MFCC_CONTEXT, deriv=order, axis=-1, mode="nearest", polyorder=order)
        for order in (1, 2)
    ]
    return np.concatenate([cepstra, *slopes]).T.astype(np.float32)


def encoder_features(
    encoder: FrameEncoder, layer: str, recordings: Mapping[str, Path], batch_size: int
) -> FrameFeatures:
    """Features of one layer of each recording."""
    encode = functools.partial(encoder.features, layer=layer)
    return FrameFeatures(*_in_batches(encoder, encode, recordings, batch_size))


def _encoder(
    config: FeatureConfig, recordings: Mapping[str, Path], batch_size: int
) -> FrameFeatures:
    encoder = load_frame_encoder(model_folder(config.model), config.window)
    features = encoder_features(encoder, config.layer, recordings, batch_size)
    if config.scaled_by:
        arrays = load_model(model_folder(config.scaled_by), KIND).arrays
        mean, std = arrays["kmeans.mean"], arrays["kmeans.std"]
        width = next(iter(features.by_file.values())).shape[1:]
        if width != mean.shape:
            raise InputError(
                f"{config.scaled_by}: k-means of features of shape {mean.shape}, but "
                f"{config.model} gives {width}; name one fitted on it"
            )
        scaled = {file: (frames - mean) / std for file, frames in features.by_file.items()}
        features = dataclasses.replace(features, by_file=scaled)
    return features


def tokens_later(
    tokenizer: SemanticTokenizer,
    recordings: Mapping[str, Path],
    batch_size: int,
    seconds: float = 0.0,
) -> tuple[dict[str, Int32[np.ndarray, " u"]], Fraction]:
    """Semantic tokens of each recording without its first `seconds`, and their rate."""

    def encode(audio: AudioBatch) -> tuple[Array, Array]:
        tokens = tokenizer.encode(audio)
        return tokens.ids, tokens.lengths

    skipped = round(seconds * tokenizer.sample_rate_hz)
    return _in_batches(tokenizer, encode, recordings, batch_size, skipped)


def _semantic(
    config: FeatureConfig, recordings: Mapping[str, Path], batch_size: int
) -> dict[str, FrameFeatures]:
    tokenizer = load_kmeans_tokenizer(model_folder(config.model))
    ids, rate = tokens_later(tokenizer, recordings, batch_size)
    clusters, centroids = tokenizer.clusters, tokenizer.clustering.centroids
    return {
        f"{config.name}, centroids": FrameFeatures(ids, rate, clusters, centroids),
        f"{config.name}, ids": FrameFeatures(ids, rate, clusters),
    }


def _codec(
    config: FeatureConfig, recordings: Mapping[str, Path], batch_size: int
) -> dict[str, FrameFeatures]:
    codec = load_codec(model_folder(config.model))
    levels = codec.levels if config.levels is None else config.levels
    if not 1 <= levels <= codec.levels:
        name = f"features {config.name!r}"
        raise InputError(f"{name}: levels = {levels}: expected 1 to {codec.levels}")

    def encode(audio: AudioBatch) -> tuple[Array, Array]:
        tokens = codec.encode(audio)
        return tokens.codes, tokens.lengths

    codes, rate = _in_batches(codec, encode, recordings, batch_size)
    vectors = {file: codec.latents(own[:, :levels]) for file, own in codes.items()}
    first = {file: own[:, 0] for file, own in codes.items()}
    return {
        f"{config.name}, vectors of {levels} levels": FrameFeatures(vectors, rate),
        f"{config.name}, codes of level 1": FrameFeatures(first, rate, codec.codebook_size),
    }


def _in_batches(
    model: Any,
    encode: Encode,
    recordings: Mapping[str, Path],
    batch_size: int,
    skipped: int = 0,
) -> tuple[dict[str, Shaped[np.ndarray, "t ..."]], Fraction]:
    """Frames of each recording without its first samples, and their rate; those of like length go
    through it together."""
    read = _read(recordings, model.sample_rate_hz)
    clips = {file: samples[skipped:] for file, samples in read.items()}
    files = sorted(clips, key=lambda file: (len(clips[file]), file))
    frames = {}
    for begin in range(0, len(files), batch_size):
        batch = files[begin : begin + batch_size]
        values, lengths = map(np.asarray, encode(AudioBatch.from_clips([clips[f] for f in batch])))
        for file, row, length in zip(batch, values, lengths, strict=True):
            frames[file] = row[:length]
    return frames, Fraction(model.sample_rate_hz, model.hop_samples)


def _read(
    recordings: Mapping[str, Path], sample_rate_hz: int
) -> dict[str, Float32[np.ndarray, " s"]]:
    return {f: read_resampled(path, sample_rate_hz, "soxr_hq") for f, path in recordings.items()}
