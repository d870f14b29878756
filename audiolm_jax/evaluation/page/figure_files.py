"""Figures as files of their own, in the light colours of the report pages."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.evaluation.bundle.report import TrainerSummary
from audiolm_jax.evaluation.page import plots
from audiolm_jax.evaluation.page.page import STYLE

_PAGE_COLOURS = dict(re.findall(r"--(curve-\d): (#\w+);", STYLE.split("@media")[0]))


def training_figures(trainers: Sequence[TrainerSummary]) -> dict[str, str]:
    """Inline SVG by file stem: the curves of each training run, numbered from 1."""
    return {
        f"training_{number}_{run.name.replace(' ', '_')}": plots.loss_curves_svg(
            run.metrics, run.curves, f"file-curves{number}"
        )
        for number, run in enumerate(trainers, 1)
    }


def write_figures(directory: Path, drawn: Mapping[str, str]) -> None:
    """Writes figures/<stem>.svg below a directory, from inline SVG by stem."""
    for stem, svg in drawn.items():
        write_text(directory / "figures" / f"{stem}.svg", plots.svg_file(svg, _PAGE_COLOURS))
