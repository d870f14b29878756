"""Sound and curves as parts of a page: spectrogram PNG, FLAC, loss curves as SVG.

Everything comes back as text to put into HTML. Axes of spectrograms are left to the page, which can
draw them sharp at any size and in the reader's colours. Equal input gives equal text.
"""

import base64
import contextlib
import dataclasses
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import mel_spectrum

SPECTROGRAM_RANGE_DB = 75.0
CURVE_POINTS = 300  # a curve is averaged down to about so many points
CURVES = 6  # colours that the page defines as --curve-0 ...


def data_uri(mime_type: str, content: bytes) -> str:
    """Content as a data URI."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode('ascii')}"


def to_pcm16(samples: Float[np.ndarray, " s"]) -> np.ndarray:
    """Samples in [-1, 1] as int16; those beyond are held at full scale, as a sound card does.

    Raises:
      InputError: no samples, or one that is not finite.
    """
    if not len(samples) or not np.all(np.isfinite(samples)):
        raise InputError(f"audio of {len(samples)} samples: expected finite samples, at least one")
    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def flac_data_uri(samples: Float[np.ndarray, " s"], sample_rate_hz: int) -> str:
    """Mono audio as 16-bit FLAC, which every current browser plays at half the size of WAV."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="flac", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("flac", rate=sample_rate_hz, layout="mono")
        stream.format = "s16"
        frame = av.AudioFrame.from_ndarray(to_pcm16(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = sample_rate_hz
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return data_uri("audio/flac", file.getvalue())


def spectrogram_peak_db(samples: Float[np.ndarray, " s"], sample_rate_hz: int) -> float:
    """Loudest point of the mel spectrogram in dB, to draw several clips on one scale."""
    return float(20.0 * np.log10(mel_spectrum(samples, sample_rate_hz).max()))


def spectrogram_data_uri(
    samples: Float[np.ndarray, " s"], sample_rate_hz: int, peak_db: float
) -> str:
    """A mel spectrogram as PNG without axes: 80 bands high, 100 pixels a second.

    Args:
      samples: the audio.
      sample_rate_hz: its rate; the top of the picture is half of it.
      peak_db: level of the brightest colour; the darkest is 75 dB below.
    """
    import matplotlib
    from PIL import Image

    level_db = 20.0 * np.log10(mel_spectrum(samples, sample_rate_hz))
    shade = np.clip((level_db - peak_db) / SPECTROGRAM_RANGE_DB + 1.0, 0.0, 1.0)
    # 64 shades are as many as the eye tells apart here, and halve the file.
    image = Image.fromarray(np.round(shade.T[::-1] * 63).astype(np.uint8))
    palette = matplotlib.colormaps["magma"](np.linspace(0.0, 1.0, 64))[:, :3]
    image.putpalette(np.round(palette * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return data_uri("image/png", file.getvalue())


def curve(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a metric, averaged down to about 300 points.

    Args:
      rows: lines of metrics.jsonl: "step", and whatever was measured at that step; null where a
        value was not finite.
      name: the metric.

    Returns:
      float64 [n] and [n]; empty if the metric occurs nowhere.
    """
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    chunks = np.array_split(np.arange(len(steps)), min(len(steps), CURVE_POINTS) or 1)
    if not len(steps):
        return steps, values
    return (
        np.array([steps[chunk].mean() for chunk in chunks]),
        np.array([values[chunk].mean() for chunk in chunks]),
    )


def loss_curves_svg(rows: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> str:
    """Curves over steps as inline SVG that takes its colours from the page.

    A metric NAME is a solid line; if `heldout/NAME` was measured too, it is dashed and dotted in
    the same colour. The vertical axis is logarithmic where values span more than a factor of 20.

    Args:
      rows: lines of metrics.jsonl.
      names: at most six metrics, each present in the rows.
      key: unique on the page; prefixes the ids inside the SVG.

    Raises:
      InputError: a metric has no finite value, or there are more than six.
    """
    if not 1 <= len(names) <= CURVES:
        raise InputError(f"{len(names)} curves in one figure: expected 1 to {CURVES}")
    with _axes(key) as (axes, finish):
        everything: list[np.ndarray] = []
        for index, name in enumerate(names):
            steps, values = curve(rows, name)
            if not len(steps):
                raise InputError(
                    f"metric {name} has no finite value: expected one in metrics.jsonl"
                )
            axes.plot(steps, values, color=_marker(index), linewidth=1.6, label=name)
            everything.append(values)
            steps, values = curve(rows, f"heldout/{name}")
            if len(steps):
                axes.plot(
                    steps,
                    values,
                    "--o",
                    color=_marker(index),
                    linewidth=1.2,
                    markersize=3.5,
                    label=f"{name}, held-out",
                )
                everything.append(values)
        _style(axes, np.concatenate(everything), "step")
        return finish(f"Training curves: {', '.join(names)}")


@dataclasses.dataclass(frozen=True)
class Line:
    """Measured points that a line joins.

    Attributes:
      label: in the legend.
      x: where they lie.
      y: their values, as many.
      low: lower ends of their intervals; empty for none.
      high: upper ends.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def lines_svg(lines: Sequence[Line], x_label: str, title: str, key: str) -> str:
    """Lines with points and shaded intervals as inline SVG that takes its colours from the page.

    Args:
      lines: at most six.
      x_label: quantity and unit of the horizontal axis.
      title: what is drawn, for those who cannot see it.
      key: unique on the page; prefixes the ids inside the SVG.

    Raises:
      InputError: no line, or more than six.
    """
    if not 1 <= len(lines) <= CURVES:
        raise InputError(f"{len(lines)} lines in one figure: expected 1 to {CURVES}")
    with _axes(key) as (axes, finish):
        for index, line in enumerate(lines):
            color = _marker(index)
            if len(line.low):
                axes.fill_between(line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0)
            axes.plot(
                line.x, line.y, "-o", color=color, linewidth=1.6, markersize=4, label=line.label
            )
        _style(axes, np.concatenate([np.asarray(line.y, np.float64) for line in lines]), x_label)
        return finish(title)


@contextlib.contextmanager
def _axes(key: str) -> Iterator[tuple[Any, Callable[[str], str]]]:
    """Axes to draw in, and the function that turns them into inline SVG with a label."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings = {"svg.fonttype": "none", "svg.hashsalt": key, "font.size": 10}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(5.0, 2.7), layout="constrained")
        FigureCanvasSVG(figure)

        def finish(label: str) -> str:
            file = io.StringIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
            return _inline(file.getvalue(), key, label)

        yield figure.add_subplot(), finish


def svg_file(inline: str, colours: Mapping[str, str]) -> str:
    """An inline SVG as a file of its own, on white, with the page's colours by CSS variable."""
    variables = (f"--{name}:{value}" for name, value in colours.items())
    style = ";".join(("color:#1d2129", "background:#fff", "font-family:sans-serif", *variables))
    head = '<svg xmlns="http://www.w3.org/2000/svg" '
    return inline.replace("<svg ", f'{head}style="{style}" ', 1) + "\n"


_INK = "#010203"  # stands for the page's text colour until `_inline` puts it in


def _marker(index: int) -> str:
    return f"#0102{0x10 + index:02x}"


def _style(axes: Any, values: np.ndarray, x_label: str) -> None:
    if values.min() > 0 and values.max() > 20 * values.min():
        axes.set_yscale("log")
    axes.set_xlabel(x_label, color=_INK)
    axes.tick_params(colors=_INK, which="both", length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.grid(axis="y", color=_INK, alpha=0.15, linewidth=0.6)
    legend = axes.legend(frameon=False, fontsize=9, labelcolor=_INK)
    legend.get_frame().set_alpha(0.0)


def _inline(svg: str, key: str, label: str) -> str:
    """Makes a file of matplotlib part of a page: own ids, the page's colours and font."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{key}-', svg)
    svg = svg.replace("url(#", f"url(#{key}-").replace('href="#', f'href="#{key}-')
    svg = re.sub(r"font:\s*([\d.]+px)\s*[^;\"]*", r"font-size: \1", svg)
    svg = svg.replace(_INK, "currentColor")
    for index in range(CURVES):
        svg = svg.replace(_marker(index), f"var(--curve-{index})")
    label = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    size = re.search(r'viewBox="[^"]*"', svg)
    if size is None:
        raise ValueError("matplotlib wrote an SVG without a viewBox")
    body = svg[svg.index(">") + 1 :]
    links = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg class="curves" role="img" aria-label="{label}" {links} {size.group()}>{body}'


def tick_seconds(seconds: float) -> list[float]:
    """Round times for the axis of a clip, at most about seven."""
    step = next(s for s in (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, math.inf) if seconds / s <= 7)
    return [] if math.isinf(step) else [i * step for i in range(int(seconds / step) + 1)]
