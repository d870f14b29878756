"""Charts of lines: as pictures of a page in both color schemes, and as SVG files."""

import base64
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.page.palette import CURVES, MAX_CURVES, PALETTES, Scheme

CURVE_POINTS = 300  # a curve is averaged down to about so many points


@dataclasses.dataclass(frozen=True)
class Line:
    """Measured points that a line joins."""

    label: str  # in the legend
    x: Sequence[int | float]
    y: Sequence[float]
    color: int  # index into `palette.CURVES`
    low: Sequence[float] = ()  # lower ends of the points' intervals, shaded; empty for none
    high: Sequence[float] = ()  # upper ends
    style: str = "-o"  # how matplotlib draws it


@dataclasses.dataclass(frozen=True)
class Chart:
    """Lines over one axis; the other is logarithmic where values span more than a factor of 20."""

    stem: str  # of its file
    title: str  # its caption
    x_label: str
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        colors = {line.color for line in self.lines}
        if not colors or max(colors) >= MAX_CURVES:
            raise InputError(f"{len(colors)} curves in one figure: expected 1 to {MAX_CURVES}")

    @property
    def description(self) -> str:
        """What is drawn, for those who cannot see it."""
        return f"{self.title}: {', '.join(line.label for line in self.lines)}"

    def svg(self, scheme: Scheme) -> str:
        """The chart as an SVG file; equal charts give equal text."""
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        with matplotlib.rc_context(_style(scheme)):
            figure = Figure(layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.add_subplot()
            for line in self.lines:
                color = CURVES[scheme][line.color]
                if len(line.low):
                    axes.fill_between(
                        line.x, line.low, line.high, color=color, alpha=0.15, linewidth=0
                    )
                axes.plot(line.x, line.y, line.style, color=color, label=line.label)
            values = np.concatenate([np.asarray(line.y, np.float64) for line in self.lines])
            if values.min() > 0 and values.max() > 20 * values.min():
                axes.set_yscale("log")
            axes.set_xlabel(self.x_label)
            axes.legend()
            file = io.StringIO()
            metadata = {"Title": self.description, "Date": None, "Creator": None}
            figure.savefig(file, format="svg", metadata=metadata)
            return file.getvalue()

    def data_uri(self, scheme: Scheme) -> str:
        """The chart as the source of a picture. In a file of its own its ids meet no others."""
        return data_uri("image/svg+xml", self.svg(scheme).encode())


def data_uri(mime_type: str, content: bytes) -> str:
    """Content as a data URI."""
    return f"data:{mime_type};base64,{base64.b64encode(content).decode('ascii')}"


def write_charts(directory: Path, charts: Iterable[Chart]) -> None:
    """Writes figures/<stem>.svg below a directory, in light colors."""
    for chart in charts:
        write_text(directory / "figures" / f"{chart.stem}.svg", chart.svg("light"))


def curve(
    rows: Sequence[Mapping[str, Any]], name: str
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Steps and values of a metric in lines of metrics.jsonl, averaged down to about 300 points;
    empty if it never has a finite value."""
    points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    steps, values = np.array(points, np.float64).reshape(-1, 2).T
    if not points:
        return steps, values
    chunks = np.array_split(np.arange(len(steps)), min(len(steps), CURVE_POINTS))
    return (
        np.array([steps[chunk].mean() for chunk in chunks]),
        np.array([values[chunk].mean() for chunk in chunks]),
    )


def _style(scheme: Scheme) -> dict[Any, Any]:
    """Settings of matplotlib; texts stay text, in the reader's fonts."""
    inked = ["axes.edgecolor", "axes.labelcolor", "grid.color", "legend.labelcolor"]
    inked += ["xtick.color", "ytick.color"]
    return {
        **dict.fromkeys(inked, PALETTES[scheme]["ink"]),
        **dict.fromkeys(("figure.facecolor", "axes.facecolor"), PALETTES[scheme]["card"]),
        **{f"{axis}tick.{kind}.size": 3 for axis in "xy" for kind in ("major", "minor")},
        "figure.figsize": (5.0, 2.7),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.grid.axis": "y",
        "grid.alpha": 0.15,
        "grid.linewidth": 0.6,
        "font.size": 10,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.linewidth": 1.6,
        "lines.markersize": 4,
        "svg.fonttype": "none",
        "svg.hashsalt": "audiolm",
    }
