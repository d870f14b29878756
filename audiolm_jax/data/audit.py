"""What lies in a folder of audio, in words: good and bad files, rates, durations, speakers."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from audiolm_jax.audio.names import shown
from audiolm_jax.data.index import ClipIndex, file_of, index_folder
from audiolm_jax.data.sources import SPLITS, AudioDataConfig
from audiolm_jax.data.walk import BadFile

_SPEAKERS_SHOWN, _NAMES_SHOWN = 20, 3


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """A scanned folder; `str(report)` is what `audiolm audit` prints."""

    index: ClipIndex
    lists_all: bool = False  # every bad file by name, not only the first of each reason

    @property
    def duplicates(self) -> list[tuple[str, ...]]:
        """Groups of paths with the same bytes, each of two or more."""
        paths = defaultdict(set)
        for clip_id, sha256, _ in self.index.clips.identities():
            paths[sha256].add(file_of(clip_id)[0])
        return sorted(tuple(sorted(group)) for group in paths.values() if len(group) > 1)

    def __str__(self) -> str:
        index, config = self.index, self.index.config
        files = len(np.unique(index.clips.files))
        lines = [f"{shown(config.source)}: {files} good files, {len(index.bad)} bad"]
        if index.clips:
            lines += self._good()
        for suffix, count in index.other_files:
            lines.append(f"not audio by name: {count} x {suffix or 'no suffix'}")
        for group in self._first(self.duplicates, _SPEAKERS_SHOWN):
            names = [group] if isinstance(group, str) else self._first(group, _NAMES_SHOWN)
            lines.append(f"same bytes: {', '.join(names)}")
        lines += [f"transcripts and metadata: {odd}" for odd in index.odd]
        return "\n".join(lines + index.note_lines() + self._bad())

    def _first(self, items: Sequence[Any], most: int) -> list[Any]:
        """The first ones, and in words how many more there are."""
        rest = 0 if self.lists_all else max(0, len(items) - most)
        return [*items[: len(items) - rest], *([f"and {rest} more; --list names all"] * (rest > 0))]

    def _bad(self) -> list[str]:
        """By reason, the commonest first."""
        if self.lists_all:
            return [f"bad: {bad.path}: {bad.reason}" for bad in self.index.bad]
        groups: dict[str, list[BadFile]] = defaultdict(list)
        for bad in self.index.bad:
            groups[bad.kind].append(bad)
        lines = []
        for kind, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            lines.append(f"bad: {len(group)} x {kind}")
            named = [f"{bad.path}: {bad.reason}" for bad in group]
            lines += [f"  {line}" for line in self._first(named, _NAMES_SHOWN)]
        return lines

    def _good(self) -> list[str]:
        index = self.index
        seconds = index.clips.source_seconds
        quantiles = np.quantile(seconds, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        texts = int(index.clips.has_text.sum())
        lines = [
            f"audio: {seconds.sum() / 3600:.2f} h in {len(seconds)} clips",
            "clip seconds: min {:.2f}, 5 % {:.2f}, 25 % {:.2f}, median {:.2f}, 75 % {:.2f}, "
            "95 % {:.2f}, max {:.2f}".format(*quantiles),
            f"sample rates: {self._hours('rate_hz', ' Hz')}",
            f"channels: {self._hours('channels')}",
            f"codecs: {self._hours('codec')}",
            f"speakers: {self._hours('speaker')}",
        ]
        for field, name in (
            ("accent", "accents"),
            ("language", "languages"),
            ("gender", "genders"),
        ):
            if any(self._hours_by(field)):
                lines.append(f"{name}: {self._hours(field)}")
        lines.append(f"transcripts: {texts} of {len(seconds)} clips")
        for split in SPLITS:
            count = int((index.clips.is_heldout == (split == "heldout")).sum())
            how = index.in_time if split == "heldout" else ""
            lines.append(f"{split}: {count} clips, {index.seconds(split) / 60:.1f} min{how}")
        return [*lines, f"data fingerprint: {index.fingerprint}"]

    def _hours_by(self, field: str) -> dict[int | str, float]:
        """Of each value of a field of the clips."""
        clips = self.index.clips
        if field in ("rate_hz", "channels"):
            values, codes = np.unique(clips.numbers(field), return_inverse=True)
            names: Sequence[int | str] = values.tolist()
        else:
            codes, names = clips.words(field)
        sums = np.bincount(codes, clips.source_seconds / 3600, len(names))
        return {names[code]: sums[code] for code in np.unique(codes)}

    def _hours(self, field: str, unit: str = "") -> str:
        """The values with the most audio first."""
        hours = sorted(self._hours_by(field).items(), key=lambda item: -item[1])
        shown = [f"{'none' if value == '' else value}{unit} {h:.2f} h" for value, h in hours]
        more = len(shown) - _SPEAKERS_SHOWN
        return ", ".join(shown[:_SPEAKERS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def audit(config: AudioDataConfig, lists_all: bool = False) -> AuditReport:
    """Looks at every file of a folder; bad files are no error here."""
    return AuditReport(index_folder(config, looks_at_all=True), lists_all)
