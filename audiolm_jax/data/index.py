"""A folder of audio files as a deterministic list of clips; a file, with all its clips, goes to a
split by the SHA-256 of its bytes, not by its name or place, unless `split_by` says otherwise."""

import dataclasses
import functools
import hashlib
import itertools
import json
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.artifacts.local_copy import local_copy
from audiolm_jax.artifacts.storage import StorageError, at
from audiolm_jax.audio.files import iter_audio
from audiolm_jax.audio.names import named, shown
from audiolm_jax.audio.resample import read_resampled, resample
from audiolm_jax.data.clips import ClipInfo, Clips, list_clips, reasons
from audiolm_jax.data.examples import Examples, comes_by_number, examples_at, open_examples
from audiolm_jax.data.file_facts import is_excluded
from audiolm_jax.data.file_index import FileIndex, open_files, remembered
from audiolm_jax.data.metadata import OddLines, first_folder
from audiolm_jax.data.packs.read import Pack, check_covers, find_pack, known_pack, pack_at
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.data.split import GAP_SECONDS
from audiolm_jax.data.walk import BadFile
from audiolm_jax.errors import InputError

_STRETCH = re.compile(r"(.+)#([0-9]{4,})", re.DOTALL)

_JSON_AT_ONCE = 4096  # clips
_WORTH_REMEMBERING = 10_000  # clips whose fingerprint takes a fraction of a second

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class HeldoutSpeakers:
    """Whether training knows the voices of held-out clips."""

    speakers: int  # of these clips
    known: int  # of them, those with training clips too
    nameless_clips: int  # clips of nobody known

    def __str__(self) -> str:
        """For people who read what was measured on the clips."""
        speakers = f"{self.known} of {self.speakers} held-out speakers are known"
        clips = f"Who speaks in {self.nameless_clips} held-out clips is unknown"
        lines = ((self.speakers, f"{speakers} from training."), (self.nameless_clips, f"{clips}."))
        return " ".join(words for count, words in lines if count)


@dataclasses.dataclass(frozen=True)
class ClipIndex:
    """All clips of a folder, sorted by path."""

    config: AudioDataConfig
    clips: Clips
    heldout_below: float
    """The place (`data.split`) from which on files are in "train"; by time, percent of each."""
    bad: tuple[BadFile, ...] = ()
    other_files: tuple[tuple[str, int], ...] = ()  # (suffix, count) of those not audio by name
    odd: tuple[OddLines, ...] = ()  # what could not be read of transcripts and metadata
    notes: tuple[BadFile, ...] = ()  # of files that are read although something is wrong with them
    stamp: str = dataclasses.field(default="", compare=False)  # `FileIndex.stamp`
    packed: str | None = None  # `FileIndex.packed`

    def of(self, split: Split) -> Clips:
        """The clips of one split; InputError if there is none."""
        chosen = self.clips.where(self.clips.is_heldout == (split == "heldout"))
        if not chosen:
            raise InputError(
                f"{self.config.source}: no {split} clip among {len(self.clips)} with "
                f"{self.config.heldout_flag}; {self._remedy}"
            )
        return chosen

    @property
    def in_time(self) -> str:
        """What is held out of each file, if files are split by time; begins with a colon."""
        if self.config.split_by != "time":
            return ""
        of = f"the last {self.heldout_below:.3g} % of each long file"
        return f": {of}, {GAP_SECONDS:g} s before it left out"

    @property
    def passed_over(self) -> str:
        """One line on what was not used, by reason; "" if there is nothing."""
        kinds = Counter(bad.kind for bad in self.bad).most_common()
        reasons = ", ".join(f"{count} {kind}" for kind, count in kinds)
        lines = sum(odd.count for odd in self.odd if not odd.is_elsewhere)
        parts = (
            (self.bad, f"{len(self.bad)} files skipped ({reasons})"),
            (lines, f"{lines} lines of transcripts and metadata not understood"),
        )
        return ", ".join(words for there, words in parts if there)

    @property
    def _remedy(self) -> str:
        if self.config.split_by == "time":
            least = f"of which the share held out is at least {GAP_SECONDS:g} s long"
            return f"change it or add files {least}"
        is_long = (self.clips.source_seconds > 4 * GAP_SECONDS).any()
        if len(set(self.clips.files.tolist())) > 1:
            also = ", or hold out the end of each with --data.split-by time" if is_long else ""
            return f"change it or add files{also}"
        of_one = ": hold out its end with --data.split-by time" if is_long else "; add files"
        return f"one file is not divided by files{of_one}"

    def seconds(self, split: Split) -> float:
        """Seconds of audio in one split."""
        chosen = self.clips.is_heldout == (split == "heldout")
        return int(self.clips.num_samples[chosen].sum()) / self.config.sample_rate_hz

    def note_lines(self) -> list[str]:
        """The notes, a line for all files with the same."""
        paths: dict[str, list[str]] = defaultdict(list)
        for note in self.notes:
            paths[note.reason].append(note.path)
        lines = []
        for words, files in paths.items():
            more = f" and {len(files) - 1} more" if len(files) > 1 else ""
            lines.append(f"read all the same: {files[0]}{more}: {words}")
        return lines

    @functools.cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over clips, contents and reading rules; not over the location."""
        config = dataclasses.asdict(self.config)
        del config["source"], config["index"]
        for name, neutral in (("heldout_minutes", None), ("split_by", "file")):  # as before them
            if config[name] == neutral:
                del config[name]
        if self.packed:
            config["packed"] = self.packed
        if len(self.clips) < _WORTH_REMEMBERING:
            return self._fingerprint(config)
        key = fingerprint(["clips", config])
        return remembered(self.config, self.stamp, key, lambda: self._fingerprint(config))

    def _fingerprint(self, config: dict[str, Any]) -> str:
        # That of `hashing.fingerprint`, without millions of clips in memory.
        digest, mark = hashlib.sha256(f"[{_json(config)},[".encode()), ""
        identities = self.clips.identities()
        while some := list(itertools.islice(identities, _JSON_AT_ONCE)):
            digest.update(f"{mark}{_json(some)[1:-1]}".encode())
            mark = ","
        by_metadata = not (self.split_unit.isdecimal() or self.split_unit == "time")
        groups = f",{_json(self._groups)}" if by_metadata else ""
        digest.update(f"]{groups}]".encode())
        return digest.hexdigest()[:16]

    @functools.cached_property
    def split_unit(self) -> str:
        """`split_by` as what decides: so many folders, in digits, or where else a name is from."""
        unit = self.config.split_by
        by_folder = unit == "speaker" and all(
            group == first_folder(clip_id)
            for group, (clip_id, _, _) in zip(self._groups, self.clips.identities(), strict=True)
        )
        return "1" if by_folder else "0" if unit == "file" else str(unit)

    @property
    def _groups(self) -> list[str]:
        """Of each clip the name of all that is held out with it."""
        groups = self.clips.groups
        return [groups.of(file) for file in self.clips.files.tolist()] if groups else []

    def heldout_speakers(self, clips: Iterable[ClipInfo] | None = None) -> HeldoutSpeakers:
        """Of some held-out clips, None: all."""
        codes, names = self.clips.words("speaker")
        is_heldout = self.clips.is_heldout
        known = {names[code] for code in np.unique(codes[~is_heldout])}
        if clips is None:
            self.of("heldout")
            speakers = Counter({names[c]: n for c, n in _counted(codes[is_heldout])})
        else:
            speakers = Counter(clip.speaker for clip in clips)
        nameless = speakers.pop("", 0)
        return HeldoutSpeakers(len(speakers), len(speakers.keys() & known), nameless)

    def load(self, clip: ClipInfo) -> Float[np.ndarray, " s"]:
        """float32 [clip.num_samples], mono at the config's rate; InputError if the file changed."""
        return load_clip(self.config, clip)


def _counted(codes: np.ndarray) -> Iterator[tuple[int, int]]:
    return zip(*(x.tolist() for x in np.unique(codes, return_counts=True)), strict=True)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def load_clip(config: AudioDataConfig, clip: ClipInfo) -> Float[np.ndarray, " s"]:
    """float32 [clip.num_samples], mono at the config's rate; InputError if the file changed."""
    if clip.packed is not None:
        start = round(clip.start_seconds * clip.source_rate_hz)
        samples = _stored(config).read(clip.packed, start, start + clip.source_samples)
        return resample(samples, clip.source_rate_hz, config.sample_rate_hz, config.resampler)
    path = unchanged_file(config, clip)
    seconds = clip.source_samples / clip.source_rate_hz
    return _checked(path, config, clip, clip.start_seconds, seconds, clip.num_samples)


def load_part(
    config: AudioDataConfig, clip: ClipInfo, start: int, stop: int
) -> Float[np.ndarray, " n"]:
    """`load_clip(...)[start:stop]`, of a clip that `can_seek` without decoding the rest."""
    rate = clip.source_rate_hz
    if clip.packed is not None:
        first = round(clip.start_seconds * rate)
        return _stored(config).read(clip.packed, first + start, first + stop)
    path = unchanged_file(config, clip)
    start_seconds = clip.start_seconds + start / rate
    return _checked(path, config, clip, start_seconds, (stop - start) / rate, stop - start)


def _stored(config: AudioDataConfig) -> Pack | Examples:
    """What holds the recordings of a source that are no files of their own."""
    return known_pack(config.source) or examples_at(config) or pack_at(config.source)


def can_seek(config: AudioDataConfig, clip: ClipInfo) -> bool:
    """Whether any sample of a clip is reached without those before it, and needs none of them."""
    is_exact = clip.packed is not None or clip.codec.startswith("pcm_") or clip.codec == "flac"
    return is_exact and clip.source_rate_hz == config.sample_rate_hz


def unchanged_file(config: AudioDataConfig, clip: ClipInfo) -> Path:
    """The file of a clip; InputError if it is not the one that was indexed."""
    path = at(config.source) / named(clip.path)
    try:
        with local_copy(path, is_kept=True) as file:
            status = file.stat()
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read: {error.strerror}") from error
    if clip.file_state not in (None, (status.st_size, status.st_mtime_ns)):
        raise changed_file(config, clip)
    return path


def _checked(
    path: Path, config: AudioDataConfig, clip: ClipInfo, start: float, seconds: float, count: int
) -> Float[np.ndarray, " n"]:
    samples = read_resampled(path, config.sample_rate_hz, config.resampler, start, seconds)
    if len(samples) != count:
        what = f" (clip {clip.clip_id}: {len(samples)} for {count} samples)"
        raise changed_file(config, clip, what)
    return samples


def changed_file(config: AudioDataConfig, clip: ClipInfo, what: str = "") -> InputError:
    """That the file of a clip is not the one that was indexed."""
    path = at(config.source) / named(clip.path)
    return InputError(
        f"{shown(path)}: the file changed since it was indexed{what}; start again with audiolm "
        f"index {config.source}"
    )


def file_blocks(
    config: AudioDataConfig, clip: ClipInfo, rate_hz: int, start: int
) -> Iterator[tuple[Float[np.ndarray, " n"], int]]:
    """The file that a clip is of, from a sample on: mono blocks and its rate, `rate_hz`."""
    if clip.packed is not None:
        return ((x, rate_hz) for x in _stored(config).blocks(clip.packed, start))
    return iter_audio(unchanged_file(config, clip), start / rate_hz, notes=[])


def scan(config: AudioDataConfig) -> ClipIndex:
    """`usable` clips of a folder or pack."""
    return usable(index_folder(config))


def usable(index: ClipIndex) -> ClipIndex:
    """The same, with at least one good clip; logs the files that cannot be used."""
    config = index.config
    if not index.clips:
        raise InputError(
            f"--data.source = {config.source}: none of {len(index.bad)} audio files can be "
            f"used; the first: {index.bad[0].path}: {index.bad[0].reason}"
        )
    if passed_over := index.passed_over:
        logger.warning(f"{config.source}: {passed_over}; audiolm audit names them")
    for words in index.note_lines():
        logger.warning(words)
    train, heldout = index.seconds("train") / 60, index.seconds("heldout") / 60
    logger.info(
        f"{config.source}: {len(index.clips)} clips, {train:.1f} min to train on, "
        f"{heldout:.1f} min held out{index.in_time}"
    )
    if heldout:
        logger.info(str(index.heldout_speakers()))
    return index


def index_folder(config: AudioDataConfig, looks_at_all: bool = False) -> ClipIndex:
    """The clips and bad files of a folder; `looks_at_all` as `file_index.open_files` has it."""
    index = index_of(files_of(config, looks_at_all), config)
    if index.packed is not None and isinstance(pack := _stored(config), Pack):
        check_covers(pack, index.clips, config)
    pa.default_memory_pool().release_unused()  # what opening took, hundreds of MB of millions
    return index


def files_of(config: AudioDataConfig, looks_at_all: bool = False) -> FileIndex:
    """What is known of the recordings of a source."""
    if (pack := find_pack(config.source, looks_at_all)) is not None:
        return pack.hand_over_files()
    if comes_by_number(config.source):
        return open_examples(config).files
    return open_files(config, looks_at_all)


def index_of(files: FileIndex, config: AudioDataConfig) -> ClipIndex:
    """The clips of some recordings by a config."""
    unused = reasons(files, config)
    bad = [BadFile(files.value("path", row), reason) for row, reason in unused.items()]
    for path in files.undecoded:
        pattern = is_excluded(path, config.exclude)
        bad.append(BadFile(path, f"left out: --data.exclude has {pattern!r}"))
    bad = sorted([*files.left_out, *bad], key=lambda file: file.path)
    noted = files.noted()
    words_of = {row: files.value("notes", row) for row in noted.tolist()}
    # From here on nobody needs these; of millions they are hundreds of MB.
    files = files.without("reason", "energy", "notes")
    if files.packed is not None:
        files = files.without("size", "time")
    pa.default_memory_pool().release_unused()
    clips, below = list_clips(files, unused, config)
    notes = tuple(
        BadFile(files.value("path", row), words)
        for row in noted[np.isin(noted, clips.files)].tolist()
        for words in words_of[row]
    )
    return ClipIndex(
        config,
        clips,
        below,
        tuple(bad),
        files.suffixes,
        files.odd,
        notes,
        files.stamp,
        files.packed,
    )


def file_of(clip_id: str) -> tuple[str, int]:
    """Path of the file and number of the clip in it. No path looks like a stretch: paths end in
    the suffix of a format."""
    found = _STRETCH.fullmatch(clip_id)
    return (found[1], int(found[2])) if found else (clip_id, 0)
