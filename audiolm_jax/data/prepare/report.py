"""What was made of recordings: the list that lies beside the clips, and the summary in words."""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.data.prepare.config import PrepareConfig
from audiolm_jax.data.prepare.recording import Record, clip_name
from audiolm_jax.data.walk import BadFile

_COLUMNS = ["path", "speaker", "text", "accent", "language", "gender", "split"]
_OWN = ["source", "start_seconds", "end_seconds"]
_NAMES_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class PrepareReport:
    """What became of all recordings; `str(report)` is what `audiolm prepare` prints."""

    config: PrepareConfig
    records: Sequence[Record]
    bad: Sequence[BadFile]
    lists_all: bool = False  # every bad file by name, not only the first of each reason

    @property
    def seconds(self) -> np.ndarray:
        """Of each clip, float64 [n]."""
        clips = [end - start for record in self.records for start, end in record.clips]
        return np.array(clips, np.float64) / 1000

    def __str__(self) -> str:
        good = [record for record in self.records if not record.reason]
        seconds, heard = self.seconds, sum(record.seconds for record in good)
        short, music = (sum(getattr(r, name) for r in good) for name in ("too_short", "music"))
        silence = max(0.0, heard - float(seconds.sum()) - short - music)
        dropped = [f"silence {silence / 3600:.2f} h", f"too short {short / 3600:.2f} h"]
        if self.config.drop_music:
            dropped.append(f"music {music / 3600:.2f} h")
        lines = [
            f"recordings: {len(good)} good, {heard / 3600:.2f} h; {len(self.bad)} not used",
            f"kept: {seconds.sum() / 3600:.2f} h in {len(seconds)} clips",
            f"dropped: {', '.join(dropped)}",
        ]
        if len(seconds):
            quantiles = np.quantile(seconds, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
            lines.append(
                "clip seconds: min {:.2f}, 5 % {:.2f}, 25 % {:.2f}, median {:.2f}, 75 % {:.2f}, "
                "95 % {:.2f}, max {:.2f}".format(*quantiles)
            )
            hard = sum(record.hard for record in good)
            lines.append(f"hard cuts (no pause within reach): {hard}")
        if limited := sum(record.is_limited for record in good):
            lines.append(
                f"below {self.config.level_db:g} dB, limited by their peaks: {limited} recordings"
            )
        empty = [record.path for record in good if not record.clips]
        lines += self._named("no clip of", empty) if empty else []
        groups: dict[str, list[str]] = defaultdict(list)
        for bad in self.bad:
            groups[bad.kind].append(f"{bad.path}: {bad.reason}")
        for kind, names in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            lines += self._named(f"bad: {kind}", names)
        return "\n".join(lines)

    def _named(self, what: str, names: list[str]) -> list[str]:
        first = names if self.lists_all else names[:_NAMES_SHOWN]
        rest = len(names) - len(first)
        more = [f"  and {rest} more; --list names all"] if rest else []
        return [f"{what}: {len(names)}", *(f"  {name}" for name in first), *more]


def write_metadata(
    path: Path, folders: Sequence[str], rows: Sequence[dict[str, str]], records: Sequence[Record]
) -> None:
    """A table that `data.metadata` reads, a line a clip: what is known of its recording, a text
    only where one clip has all of the speech, and where it was cut from. `folders`, as shown, hold
    the clips."""
    known = {*_COLUMNS, *_OWN}
    more = sorted({column for row in rows for column, value in row.items() if value} - known)
    lines = ["\t".join([*_COLUMNS, *_OWN, *more])]
    for folder, row, record in zip(folders, rows, records, strict=True):
        for start, end in record.clips:
            values = row | {"path": _path(f"{folder}/{clip_name(start, end)}")}
            if not record.is_whole:
                values["text"] = ""
            values |= {
                "source": _path(record.path),
                "start_seconds": f"{start / 1000:.3f}",
                "end_seconds": f"{end / 1000:.3f}",
            }
            cells = [_cell(values.get(column, "")) for column in [*_COLUMNS, *_OWN, *more]]
            lines.append("\t".join(cells))
    write_text(path, "\n".join(lines) + "\n")


def _path(text: str) -> str:
    """As shown, spaces at its beginning spelt out: those of a cell count for nothing."""
    spaces = len(text) - len(text.lstrip(" "))
    return r"\x20" * spaces + text[spaces:]


def _cell(text: str) -> str:
    """On one line, without what ends a cell."""
    return re.sub(r"[\t\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", " ", text)
