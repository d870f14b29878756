"""The pictures of docs/guide/how_it_works.md, drawn from the code and from tokens that it made.

    python -m tools.site.pictures              draws them from the tokens in docs/guide/figures
    python -m tools.site.pictures --tokens     first makes those anew, by models/stories.zip

Equal tokens and versions of matplotlib give equal files.
"""

import argparse
import colorsys
import dataclasses
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.load import DEFAULT_BUNDLE
from audiolm_jax.generation.schedule import Schedule, schedule_of
from audiolm_jax.nn.attention import bias_tile
from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    SEP,
    StageConfig,
    build_sequence,
    legal_ids,
)

FOLDER = Path(__file__).resolve().parents[2] / "docs/guide/figures"
TOKENS = FOLDER / "tokens.json"
SECONDS = (1.04, 1.52)  # of the prompt, that are drawn
PROMPT_SECONDS, ASKED_SECONDS = 3.0, 12.0  # of the schedule that is drawn
_PEAKS_HZ = 200  # of the outline of the sound
_INK, _SOFT, _PAPER = "#1d2129", "#8a93a0", "#ffffff"
_SPECIAL, _UNIT, _COARSE, _FINE = "#dfe1e6", "#f3c178", "#8db8f0", "#a5d8b4"
_NAMES = {BOS: "BOS", SEP: "SEP", EOS: "EOS"}


@dataclasses.dataclass(frozen=True)
class Heard:
    """A stretch of a recording as the tokenizers of the bundle hear it."""

    recording: str  # its name
    peaks: list[float]  # of each 5 ms
    units: list[int]  # [u]
    codes: list[list[int]]  # [t, q]


def hear() -> Heard:
    """The first prompt of launch/demo.sh, by models/stories.zip."""
    from audiolm_jax.audio.files import read_audio
    from audiolm_jax.generation.load import load
    from tools.stories.prompts import main as make_prompts

    with tempfile.TemporaryDirectory() as folder:
        make_prompts([folder, "--each", "1"])
        path = min(Path(folder).glob("*.flac"))
        samples, rate = read_audio(path)
        model = load()
        codes, units = model.encode(path)
    start, end = SECONDS
    stages = bundle_stages()
    unit_hz, code_hz = stages["coarse"].semantic_rate_hz, stages["coarse"].acoustic_rate_hz
    piece = samples[round(start * rate) : round(end * rate)]
    peaks = np.abs(piece.reshape(-1, rate // _PEAKS_HZ)).max(axis=1)
    return Heard(
        path.stem,
        [round(float(peak), 3) for peak in peaks],
        units[round(start * unit_hz) : round(end * unit_hz)].tolist(),
        codes[round(start * code_hz) : round(end * code_hz)].tolist(),
    )


def bundle_stages() -> dict[str, StageConfig]:
    """The stages of models/stories.zip, of which only the configs are read."""
    names: tuple[str, ...] = ("semantic", "coarse", "fine")
    with zipfile.ZipFile(DEFAULT_BUNDLE) as archive:
        models = {n: json.loads(archive.read(f"stories/{n}_lm/model.json")) for n in names}
    return {name: StageConfig(**model["config"]["stage"]) for name, model in models.items()}


def bundle_schedule() -> Schedule:
    """The schedule of that bundle, sampled as by default."""
    return schedule_of(bundle_stages(), GenerationConfig())


def sequences(heard: Heard) -> dict[str, list[tuple[str, str]]]:
    """By stage the first tokens of its sequence, each a text and a color: 80 ms of the recording,
    of the fine stage 40 ms."""
    drawn = {}
    for name, stage in bundle_stages().items():
        units = np.array(heard.units[: 1 if name == "fine" else 2], np.int32)
        frames = len(units) * stage.frames_per_semantic
        codes = np.array(heard.codes[:frames], np.int32)
        sequence = build_sequence(units, codes, True, stage)
        drawn[name] = [_cell(int(token), name, stage) for token in sequence.tokens]
    return drawn


def _cell(token: int, name: str, stage: StageConfig) -> tuple[str, str]:
    if token < FIRST_ID:
        return _NAMES[token], _SPECIAL
    if name == "semantic" or token < stage.acoustic_start:
        return f"{token - FIRST_ID}", _UNIT
    level, code = divmod(token - stage.acoustic_start, stage.codebook_size)
    return f"{code}\n{level + 1}", _COARSE if level < stage.coarse_levels else _FINE


def visible(length: int) -> np.ndarray:
    """Which keys each query of the decoder sees, bool [query, key], of its own attention mask."""
    return np.isfinite(np.asarray(bias_tile(None, length))[0])


def legal_runs(stage: StageConfig) -> list[list[tuple[int, int]]]:
    """By row of `legal_ids` the runs of ids that are legal, each its first id and its length."""
    runs = []
    for row in legal_ids(stage):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        runs.append([(int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)])
    return runs


def spans() -> list[list[tuple[str, float, float]]]:
    """By window of the drawn schedule its context and chunks: what, start and end in seconds."""
    rate = bundle_stages()["coarse"].acoustic_rate_hz
    there, drawn = round(PROMPT_SECONDS * rate), []
    total = there + round(ASKED_SECONDS * rate)
    for window in bundle_schedule().windows(there, total):
        row = [("context", (there - window.context) / rate, there / rate)]
        for start, chunk in zip(window.starts, window.chunks, strict=True):
            row.append(("chunk", (there + start) / rate, (there + start + chunk) / rate))
        drawn.append(row)
        there += window.frames
    return drawn


def draw_tokens(heard: Heard) -> str:
    """Sound, units and codes of a stretch, on one axis of time."""

    def draw(figure: Any) -> None:
        start, end = SECONDS
        grid = figure.subplots(3, 1, sharex=True, height_ratios=(2, 1, 5))
        times = np.arange(len(heard.peaks)) / _PEAKS_HZ + start
        grid[0].fill_between(times, heard.peaks, np.negative(heard.peaks), color=_SOFT, linewidth=0)
        grid[0].set_ylabel("sound")
        step = (end - start) / len(heard.units)
        for number, unit in enumerate(heard.units):
            place = (start + number * step, 0), step, 1
            grid[1].add_patch(_box(*place, _hue(unit)))
            middle = start + (number + 0.5) * step
            grid[1].text(middle, 0.5, str(unit), ha="center", va="center", fontsize=6.5)
        grid[1].set_ylim(0, 1)
        grid[1].set_ylabel("units")
        step, levels = (end - start) / len(heard.codes), len(heard.codes[0])
        for number, frame in enumerate(heard.codes):
            for level, code in enumerate(frame):
                grid[2].add_patch(_box((start + number * step, level), step, 1, _hue(code)))
        coarse = bundle_stages()["coarse"].coarse_levels
        grid[2].axhline(coarse, color=_INK, linewidth=1.5)
        grid[2].set_ylim(levels, 0)
        grid[2].set_yticks([coarse / 2, (coarse + levels) / 2], ["coarse", "fine"])
        grid[2].set_xlim(start, end)
        grid[2].set_xlabel("seconds of the recording")
        for axes in grid[:2]:
            axes.set_yticks([])

    return _svg(
        (7.2, 3.6), "Sound, semantic units and acoustic codes of half a second of speech", draw
    )


def draw_sequences(heard: Heard) -> str:
    """What the three stages read and write, token by token."""

    def draw(figure: Any) -> None:
        strips = sequences(heard)
        axes = figure.add_subplot()
        for row, (name, cells) in enumerate(strips.items()):
            axes.text(-0.3, row + 0.45, name, ha="right", va="center")
            for column, (text, color) in enumerate(cells):
                axes.add_patch(_box((column, row), 1, 0.9, color))
                middle = column + 0.5, row + 0.45
                axes.text(*middle, text, ha="center", va="center", fontsize=5.5)
        axes.set_xlim(-2.6, max(map(len, strips.values())) + 0.2)
        axes.set_ylim(len(strips), -0.2)
        axes.axis("off")

    return _svg((7.2, 1.7), "Sequences of the semantic, coarse and fine stage", draw)


def draw_masks() -> str:
    """What a position of the coarse stage sees, and which ids the fine stage may write."""

    def draw(figure: Any) -> None:
        stages = bundle_stages()
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.7))
        length = 12
        for query, row in enumerate(visible(length)):
            for key, is_seen in enumerate(row):
                if is_seen:
                    left.add_patch(_box((key, query), 1, 1, _COARSE))
        ticks = range(0, length + 1, 2)
        left.set(xlim=(0, length), ylim=(length, 0), aspect="equal", xticks=ticks, yticks=ticks)
        left.set(xlabel="key", ylabel="query", title="attention: the past alone")
        fine = stages["fine"]
        for row, runs in enumerate(legal_runs(fine)):
            for start, count in runs:
                right.add_patch(_box((start, row), count, 1, _FINE))
        rows = len(fine.target_levels)
        right.set(xlim=(0, fine.vocab_size), ylim=(rows, 0))
        right.set_yticks(np.arange(rows) + 0.5, [str(level + 1) for level in fine.target_levels])
        right.set(xlabel="id", ylabel="level of the position", title="fine stage: legal ids")

    return _svg((7.2, 2.9), "The causal attention mask and the legal ids of the fine stage", draw)


def draw_schedule() -> str:
    """Windows and chunks of a continuation."""

    def draw(figure: Any) -> None:
        axes, rows = figure.add_subplot(), spans()
        axes.add_patch(_box((0, 0), PROMPT_SECONDS, 0.8, _SPECIAL))
        axes.text(PROMPT_SECONDS / 2, 0.4, "prompt", ha="center", va="center")
        for row, parts in enumerate(rows, 1):
            for what, start, end in parts:
                color = _UNIT if what == "context" else _FINE
                axes.add_patch(_box((start, row), end - start, 0.8, color))
                if end - start >= 1:
                    text = (start + end) / 2, row + 0.4, what
                    axes.text(*text, ha="center", va="center", fontsize=8)
        axes.set_xlim(0, PROMPT_SECONDS + ASKED_SECONDS)
        axes.set_ylim(len(rows) + 1, -0.2)
        axes.set_yticks(
            np.arange(1, len(rows) + 1) + 0.4, [f"window {i}" for i in range(len(rows))]
        )
        axes.set_xlabel("seconds")

    return _svg((7.2, 2.8), "Windows and chunks of 12 s after a prompt of 3 s", draw)


def pictures(heard: Heard) -> dict[str, str]:
    """All of them, by the names of their files."""
    return {
        "tokens.svg": draw_tokens(heard),
        "sequences.svg": draw_sequences(heard),
        "masks.svg": draw_masks(),
        "schedule.svg": draw_schedule(),
    }


def read_tokens() -> Heard:
    """Those that are drawn."""
    return Heard(**json.loads(TOKENS.read_text()))


def _box(corner: tuple[float, float], width: float, height: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    # A clip path for each would take most of the file.
    box = Rectangle(corner, width, height, facecolor=color, edgecolor=_PAPER, linewidth=0.5)
    box.set_clip_on(False)
    return box


def _hue(token: int) -> str:
    """A pale color for each token; neighbors in number are far apart."""
    red, green, blue = colorsys.hsv_to_rgb(token * 0.618034 % 1, 0.4, 0.95)
    return f"#{round(red * 255):02x}{round(green * 255):02x}{round(blue * 255):02x}"


def _svg(size: tuple[float, float], title: str, draw: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    inked = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "text.color")
    style = {
        **dict.fromkeys(inked, _INK),
        "figure.facecolor": _PAPER,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "font.size": 9,
        "svg.fonttype": "none",
        "svg.hashsalt": "audiolm",
    }
    with matplotlib.rc_context(style):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        file = io.StringIO()
        metadata = {"Title": title, "Date": None, "Creator": None}
        figure.savefig(file, format="svg", metadata=metadata)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.site.pictures", description=__doc__)
    parser.add_argument("--tokens", action="store_true", help="make the tokens anew, too")
    if parser.parse_args(arguments).tokens:
        write_text(TOKENS, json.dumps(dataclasses.asdict(hear())) + "\n")
    for name, svg in pictures(read_tokens()).items():
        write_text(FOLDER / name, svg)


if __name__ == "__main__":
    main()
