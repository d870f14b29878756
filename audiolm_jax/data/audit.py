"""What lies in a folder of audio, in words: good and bad files, rates, durations, speakers."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np

from audiolm_jax.data.sources import AudioDataConfig, BadFile, ClipIndex, ClipInfo, scan_folder

_SPEAKERS_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class AuditReport:
    """The finding; `str(report)` is what `audiolm audit` prints.

    Attributes:
      index: the scanned folder.
      duplicates: groups of paths with the same bytes, each of two or more.
    """

    index: ClipIndex
    duplicates: tuple[tuple[str, ...], ...]

    @property
    def bad(self) -> tuple[BadFile, ...]:
        """The refused files with their reasons."""
        return self.index.bad

    @property
    def clips(self) -> tuple[ClipInfo, ...]:
        """The usable clips; empty means that the folder is of no use."""
        return self.index.clips

    def __str__(self) -> str:
        index, config = self.index, self.index.config
        files = len({clip.path for clip in index.clips})
        lines = [f"{config.audio_dir}: {files} good files, {len(index.bad)} bad"]
        if index.clips:
            lines += self._good()
        for suffix, count in index.other_files:
            lines.append(f"not audio by name: {count} x {suffix or 'no suffix'}")
        for group in self.duplicates:
            lines.append(f"same bytes: {', '.join(group)}")
        lines += [f"bad: {bad.path}: {bad.reason}" for bad in index.bad]
        return "\n".join(lines)

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
            f"speakers (first folder): {self._hours('speaker', '')}",
            f"transcripts: {texts} of {len(seconds)} clips",
        ]
        for split in ("train", "heldout"):
            count = sum(clip.split == split for clip in index.clips)
            lines.append(f"{split}: {count} clips, {index.seconds(split) / 60:.1f} min")
        return [*lines, f"data fingerprint: {index.fingerprint}"]

    def _hours(self, field: str, unit: str) -> str:
        """Distinct values of a field of the clips, the most audio first."""
        hours: Counter = Counter()
        for clip in self.index.clips:
            hours[getattr(clip, field)] += clip.source_samples / clip.source_rate_hz / 3600
        shown = [
            f"{'none' if value == '' else value}{unit} {amount:.2f} h"
            for value, amount in hours.most_common(_SPEAKERS_SHOWN)
        ]
        more = len(hours) - len(shown)
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def audit(
    config: AudioDataConfig, progress: Callable[[int, int], None] | None = None
) -> AuditReport:
    """Decodes every file of a folder and reports on it.

    Args:
      config: folder and reading rules.
      progress: called with (files done, files in all) after each file.

    Raises:
      InputError: no such folder, or no audio file in it. Bad files are no error here.
    """
    index = scan_folder(config, progress)
    paths = defaultdict(set)
    for clip in index.clips:
        paths[clip.sha256].add(clip.path)
    groups = sorted(tuple(sorted(group)) for group in paths.values() if len(group) > 1)
    return AuditReport(index, tuple(groups))
