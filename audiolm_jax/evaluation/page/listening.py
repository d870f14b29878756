"""The part of a page to listen to: a player and a spectrogram for every clip."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import band_of_hz
from audiolm_jax.evaluation.page import sound

_FREQUENCIES_HZ = (1000.0, 2000.0, 4000.0)


@dataclasses.dataclass(frozen=True)
class AudioClip:
    """One player."""

    title: str  # what it is, such as "Prompt" or "Continuation, seed 1"
    samples: np.ndarray  # float [s] in [-1, 1]; beyond that it is cut off, and the page says so
    prompt_seconds: float | None = None  # where the prompt ends in it, to be marked
    heard: str | None = None  # what a recognizer understood; None if none listened


@dataclasses.dataclass(frozen=True)
class Example:
    """The players of one held-out prompt, or of one sample made without a prompt."""

    title: str  # name of the recording
    transcript: str | None  # its words, if known
    clips: tuple[AudioClip, ...]


def players(examples: Sequence[Example], sample_rate_hz: int) -> list[dict[str, Any]]:
    """What the section `listen` shows of each example, its clips on one scale of time and level."""
    shown = []
    for example in examples:
        for clip in example.clips:
            samples = clip.samples
            if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
                where = f"clip {clip.title} of {example.title}: shape {samples.shape}"
                raise InputError(f"{where}: expected finite mono samples, at least one")
        longest = max((len(clip.samples) for clip in example.clips), default=0)
        peaks_db = [sound.spectrogram_peak_db(c.samples, sample_rate_hz) for c in example.clips]
        peak_db = max(peaks_db, default=0.0)
        clips = [_player(clip, sample_rate_hz, longest, peak_db) for clip in example.clips]
        shown.append({"title": example.title, "transcript": example.transcript, "clips": clips})
    return shown


def _player(clip: AudioClip, sample_rate_hz: int, longest: int, peak_db: float) -> dict[str, Any]:
    seconds = len(clip.samples) / sample_rate_hz
    prompt = clip.prompt_seconds
    shown_hz = [hz for hz in _FREQUENCIES_HZ if hz < sample_rate_hz / 2]
    return {
        "title": clip.title,
        "seconds": seconds,
        "peak": float(np.max(np.abs(clip.samples))),
        "prompt_seconds": prompt if prompt is not None and 0 < prompt < seconds else None,
        "width": len(clip.samples) / longest,
        "ticks": [at for at in tick_seconds(longest / sample_rate_hz) if at <= seconds],
        "heights": {f"{hz / 1000:g} kHz": band_of_hz(hz, sample_rate_hz) for hz in shown_hz},
        "image": sound.spectrogram_data_uri(clip.samples, sample_rate_hz, peak_db),
        "heard": clip.heard,
        "audio": sound.flac_data_uri(clip.samples, sample_rate_hz),
    }


def tick_seconds(seconds: float) -> list[float]:
    """Round times for the axis of a clip, at most about seven."""
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, math.inf) if seconds / s <= 7)
    return [] if math.isinf(step) else [i * step for i in range(int(seconds / step) + 1)]
