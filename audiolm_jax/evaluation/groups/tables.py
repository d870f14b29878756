"""The groups as Markdown and as CSV."""

import csv
import io
from collections.abc import Sequence

from audiolm_jax.evaluation.groups.split import Row, Unit
from audiolm_jax.evaluation.measures.bootstrap import Estimate
from audiolm_jax.evaluation.measures.groups import SIGNIFICANCE
from audiolm_jax.evaluation.page.tables import Table, number

_COLUMNS = (
    *("report", "system", "measure", "column", "group", "clips", "speakers"),
    *("mean", "low", "high", "others_mean", "others_low", "others_high"),
    *("difference", "difference_low", "difference_high", "chance", "verdict"),
)


def markdown(rows: Sequence[Row], unit: Unit, least: int) -> str:
    """What differs first, then every figure."""
    tested = [row for row in rows if row.chance is not None]
    claimed = [row for row in tested if row.verdict in ("better", "worse")]
    few = len(rows) - len(tested)
    parts = [
        "# For whom it works worse\n",
        f"{len(claimed)} differences are shown in {len(tested)} comparisons of a group with all "
        f"others{f', {few} more were too few to judge' if few else ''}. A difference is claimed "
        f"where so large a one is rarer than {SIGNIFICANCE:g} when {unit}s are exchanged at random "
        f"(corrected for the number of comparisons, Holm); a side of fewer than {least} {unit}s is "
        "not judged. Brackets are 95 % intervals.\n",
    ]
    if unit == "clip":
        parts.append(
            "Clips were exchanged, so this is about these speakers. A group of one speaker may "
            "differ by that voice, and not by what the group is named for.\n"
        )
    if claimed:
        heads = ("group", "system", "measure", "group's", "others'", "difference", "chance", "")
        cells = [
            (
                f"{row.column} {row.group}{_alone(row)}",
                f"{row.report}: {row.system}",
                row.measure,
                *(_shown(x, row.digits) for x in (row.inside, row.outside)),
                _interval(row),
                number(row.chance, 4),
                f"**{row.verdict}**",
            )
            for row in sorted(claimed, key=lambda row: row.chance or 0)
        ]
        parts += ["Shown:\n", Table(heads, cells).markdown()]
    for report, system, column in dict.fromkeys((r.report, r.system, r.column) for r in rows):
        own = [r for r in rows if (r.report, r.system, r.column) == (report, system, column)]
        measures = [*dict.fromkeys(row.measure for row in own)]
        columns = (column, "clips", "speakers", *measures)
        groups: list[tuple[str, ...]] = []
        for group in dict.fromkeys(row.group for row in own):
            of_group = {row.measure: row for row in own if row.group == group}
            most = max(of_group.values(), key=lambda row: row.clips)
            figures = [_figure(of_group[m]) if m in of_group else "" for m in measures]
            groups.append((group, str(most.clips), str(most.speakers), *figures))
        parts += [f"{report}: {system}, by {column}:\n", Table(columns, groups).markdown()]
    return "\n".join(parts)


def csv_text(rows: Sequence[Row]) -> str:
    """A line a measure and group, under `_COLUMNS`; empty where there is nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        names = (row.report, row.system, row.measure, row.column, row.group)
        sides = [
            x
            for side in (row.inside, row.outside)
            for x in ((side.mean, side.low, side.high) if side else ("", "", ""))
        ]
        difference = row.difference or ("", "", "")
        chance = "" if row.chance is None else row.chance
        counts = (row.clips, row.speakers)
        writer.writerow((*names, *counts, *sides, *difference, chance, row.verdict))
    return out.getvalue()


def _figure(row: Row) -> str:
    mark = {"better": " **better**", "worse": " **worse**", "too few to judge": " (too few)"}
    return _shown(row.inside, row.digits) + mark.get(row.verdict, "")


def _shown(estimate: Estimate | None, digits: int) -> str:
    if estimate is None:
        return number(None, digits)
    mean, low, high = (number(x, digits) for x in (estimate.mean, estimate.low, estimate.high))
    return f"{mean} ({low} to {high})"


def _interval(row: Row) -> str:
    mean, low, high = (number(x, row.digits) for x in row.difference or (None, None, None))
    return f"{mean} ({low} to {high})"


def _alone(row: Row) -> str:
    return ", one speaker" if row.speakers == 1 and row.column != "speaker" else ""
