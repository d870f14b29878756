"""What lies in a folder of audio, in words: good and bad files, rates, durations, speakers."""

import dataclasses
from collections import defaultdict

import numpy as np

from audiolm_jax.audio.names import shown
from audiolm_jax.data.index import BadFile, ClipIndex, ClipInfo, index_folder
from audiolm_jax.data.sources import SPLITS, AudioDataConfig

_SPEAKERS_SHOWN, _NAMES_SHOWN = 20, 3


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """A scanned folder; `str(report)` is what `audiolm audit` prints."""

    index: ClipIndex
    lists_all: bool = False  # every bad file by name, not only the first of each reason

    @property
    def clips(self) -> tuple[ClipInfo, ...]:
        """The usable clips; empty means that the folder is of no use."""
        return self.index.clips

    @property
    def duplicates(self) -> list[tuple[str, ...]]:
        """Groups of paths with the same bytes, each of two or more."""
        paths = defaultdict(set)
        for clip in self.index.clips:
            paths[clip.sha256].add(clip.path)
        return sorted(tuple(sorted(group)) for group in paths.values() if len(group) > 1)

    def __str__(self) -> str:
        index, config = self.index, self.index.config
        files = len({clip.path for clip in index.clips})
        lines = [f"{shown(config.audio_dir)}: {files} good files, {len(index.bad)} bad"]
        if index.clips:
            lines += self._good()
        for suffix, count in index.other_files:
            lines.append(f"not audio by name: {count} x {suffix or 'no suffix'}")
        lines += [f"same bytes: {', '.join(group)}" for group in self.duplicates]
        lines += [f"transcripts and metadata: {odd}" for odd in index.odd]
        return "\n".join(lines + index.note_lines() + self._bad())

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
            lines += [f"  {bad.path}: {bad.reason}" for bad in group[:_NAMES_SHOWN]]
            if (more := len(group) - _NAMES_SHOWN) > 0:
                lines.append(f"  and {more} more; --list names all")
        return lines

    def _good(self) -> list[str]:
        index = self.index
        seconds = np.array([c.source_samples / c.source_rate_hz for c in index.clips])
        quantiles = np.quantile(seconds, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
        texts = sum(bool(clip.text) for clip in index.clips)
        lines = [
            f"audio: {seconds.sum() / 3600:.2f} h in {len(seconds)} clips",
            "clip seconds: min {:.2f}, 5 % {:.2f}, 25 % {:.2f}, median {:.2f}, 75 % {:.2f}, "
            "95 % {:.2f}, max {:.2f}".format(*quantiles),
            f"sample rates: {self._hours('source_rate_hz', ' Hz')}",
            f"channels: {self._hours('channels', '')}",
            f"codecs: {self._hours('codec', '')}",
            f"speakers: {self._hours('speaker', '')}",
        ]
        for field, name in (
            ("accent", "accents"),
            ("language", "languages"),
            ("gender", "genders"),
        ):
            if any(getattr(clip, field) for clip in index.clips):
                lines.append(f"{name}: {self._hours(field, '')}")
        lines.append(f"transcripts: {texts} of {len(seconds)} clips")
        for split in SPLITS:
            count = sum(clip.split == split for clip in index.clips)
            how = index.in_time if split == "heldout" else ""
            lines.append(f"{split}: {count} clips, {index.seconds(split) / 60:.1f} min{how}")
        return [*lines, f"data fingerprint: {index.fingerprint}"]

    def _hours(self, field: str, unit: str) -> str:
        """Distinct values of a field of the clips, the most audio first."""
        hours: dict[int | str, float] = defaultdict(float)
        for clip in self.index.clips:
            hours[getattr(clip, field)] += clip.source_samples / clip.source_rate_hz / 3600
        most = sorted(hours.items(), key=lambda item: -item[1])[:_SPEAKERS_SHOWN]
        shown = [f"{'none' if value == '' else value}{unit} {h:.2f} h" for value, h in most]
        more = len(hours) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def audit(config: AudioDataConfig, lists_all: bool = False) -> AuditReport:
    """Decodes every file of a folder; bad files are no error here."""
    return AuditReport(index_folder(config), lists_all)
