"""The part of the report to listen to: a player and a spectrogram for every clip."""

import dataclasses

import numpy as np

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import band_of_hz
from audiolm_jax.evaluation.page import plots
from audiolm_jax.evaluation.page.page import Html, element

_FREQUENCIES_HZ = (1000.0, 2000.0, 4000.0)


@dataclasses.dataclass(frozen=True)
class AudioClip:
    """One player.

    Attributes:
      title: what it is: "Prompt", "True ending", "Codec round trip", "Continuation, seed 1".
      samples: float [s] in [-1, 1]; beyond that it is cut off, and the page says so.
      prompt_seconds: where the prompt ends in it, to be marked; None if it holds no prompt.
    """

    title: str
    samples: np.ndarray
    prompt_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Example:
    """The players of one held-out prompt, or of one sample made without a prompt.

    Attributes:
      title: name of the recording.
      transcript: its words, if known.
      clips: the players in order.
    """

    title: str
    transcript: str | None
    clips: tuple[AudioClip, ...]


def listening(examples: tuple[Example, ...], sample_rate_hz: int) -> Html:
    """The section with every player.

    Raises:
      InputError: a clip is empty, not mono or not finite.
    """
    note = element(
        "p",
        "Each picture is a mel spectrogram: time runs to the right, pitch upwards, brighter is "
        "louder, on one scale within a prompt. The dashed line marks where the prompt "
        "ends. Click a picture to play from there.",
        class_="soft",
    )
    return Html(note + "".join(_example(example, sample_rate_hz) for example in examples))


def _example(example: Example, sample_rate_hz: int) -> Html:
    for clip in example.clips:
        samples = clip.samples
        if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
            raise InputError(
                f"clip {clip.title} of {example.title}: shape {samples.shape}: expected finite "
                "mono samples, at least one"
            )
    longest = max((len(clip.samples) for clip in example.clips), default=0)
    peaks = (plots.spectrogram_peak_db(clip.samples, sample_rate_hz) for clip in example.clips)
    peak_db = max(peaks, default=0.0)
    words = [element("blockquote", example.transcript)] if example.transcript else []
    players = (
        _player(clip, example.title, sample_rate_hz, longest, peak_db) for clip in example.clips
    )
    return element(
        "article",
        element("h3", example.title),
        *words,
        element("div", *players, class_="clips"),
        class_="card example",
    )


def _player(
    clip: AudioClip, example: str, sample_rate_hz: int, longest: int, peak_db: float
) -> Html:
    seconds = len(clip.samples) / sample_rate_hz
    audio = plots.flac_data_uri(clip.samples, sample_rate_hz)
    overlay: list[Html] = []
    ticks = [
        _tick(at, seconds) for at in plots.tick_seconds(longest / sample_rate_hz) if at <= seconds
    ]
    alt = f"Spectrogram of {clip.title}, {example}, {seconds:.1f} seconds"
    if clip.prompt_seconds is not None and 0 < clip.prompt_seconds < seconds:
        left = f"left:{100 * clip.prompt_seconds / seconds:.2f}%"
        overlay.append(element("i", style=left, title="the prompt ends here"))
        alt += f"; the prompt ends at {clip.prompt_seconds:.1f} seconds"
    top_hz = sample_rate_hz / 2
    for hz in (hz for hz in _FREQUENCIES_HZ if hz < top_hz):
        height = 100 * band_of_hz(hz, sample_rate_hz)
        overlay.append(element("span", f"{hz / 1000:g} kHz", style=f"bottom:{height:.1f}%"))
    picture = element(
        "img",
        src=plots.spectrogram_data_uri(clip.samples, sample_rate_hz, peak_db),
        alt=alt,
    )
    timeline = element(
        "div",
        element("div", picture, *overlay, element("u"), class_="picture"),
        *ticks,
        class_="timeline",
        style=f"width:{100 * len(clip.samples) / longest:.2f}%",
    )
    length = f"{seconds:.1f} s"
    peak = float(np.max(np.abs(clip.samples)))
    if peak > 1.0:
        length += f", peaks of {peak:.2f} cut off"
    return element(
        "figure",
        element("figcaption", element("b", clip.title), element("span", length, class_="soft")),
        timeline,
        element(
            "audio",
            controls=True,
            preload="metadata",
            aria_label=f"{clip.title}, {example}",
            src=audio,
        ),
    )


def _tick(at: float, seconds: float) -> Html:
    place = 100 * at / seconds
    # Labels at the edges stay inside the picture's width.
    shift = "0" if at == 0 else "-100%" if place > 97 else "-50%"
    style = f"left:{place:.2f}%;transform:translateX({shift})"
    return element("span", f"{at:g}\N{NO-BREAK SPACE}s", class_="tick", style=style)
