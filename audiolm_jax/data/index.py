"""A folder of audio files as a deterministic list of clips; a file, with all its clips, goes to a
split by the SHA-256 of its bytes, not by its name or place, unless `split_by` says otherwise."""

import dataclasses
import fnmatch
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.audio.files import FORMATS, iter_audio, probe
from audiolm_jax.audio.names import named, shown
from audiolm_jax.audio.resample import read_resampled, resampled_length
from audiolm_jax.data.metadata import Metadata, OddLines, Row, first_folder, read_metadata
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.data.split import (
    GAP_SECONDS,
    group_of,
    heldout_below,
    parts_in_time,
    place_of,
    share_in_time,
)
from audiolm_jax.data.walk import walk
from audiolm_jax.data.windows import even_windows
from audiolm_jax.errors import InputError

# Quieter than this over the whole file counts as silent: 16-bit dither lies near -96 dBFS.
SILENCE_DBFS = -60.0
_STRETCH = re.compile(r"(.+)#([0-9]{4,})", re.DOTALL)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """A file, or one of the consecutive stretches of a long file."""

    clip_id: str  # path; "#index" follows for stretches
    path: str  # relative to the audio folder, with "/", as `audio.names` shows it
    start_seconds: float  # where the clip begins in the file
    source_samples: int  # at the file's own rate
    num_samples: int  # at the config's rate
    source_rate_hz: int
    channels: int  # of the file; their mean is used
    codec: str  # FFmpeg's name
    sha256: str  # of the file's bytes
    split: Split  # the same for all stretches of a file, unless it is split by time
    speaker: str  # by the corpus, metadata or the first folder below the audio folder; "": unknown
    text: str  # transcript, "" if there is none or the file was cut
    accent: str = ""  # this and the following as metadata has them, "" if it does not
    language: str = ""
    gender: str = ""  # "male" and "female" whatever the list calls them
    group: str = ""  # name of all that is held out with it, "" for its content alone


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file or folder that is not used, and why; or one that is, and what is wrong with it."""

    path: str  # relative to the audio folder, as `audio.names` shows it
    reason: str  # one line

    @property
    def kind(self) -> str:
        """The reason without what differs from file to file."""
        return re.split(r"[:(,]|\s(?=\S*\d)", self.reason, maxsplit=1)[0].strip()


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
    clips: tuple[ClipInfo, ...]
    bad: tuple[BadFile, ...]
    other_files: tuple[tuple[str, int], ...]  # (suffix, count) of those not audio by name
    odd: tuple[OddLines, ...] = ()  # what could not be read of transcripts and metadata
    notes: tuple[BadFile, ...] = ()  # of files that are read although something is wrong with them

    def of(self, split: Split) -> tuple[ClipInfo, ...]:
        """The clips of one split; InputError if there is none."""
        chosen = tuple(clip for clip in self.clips if clip.split == split)
        if not chosen:
            raise InputError(
                f"{self.config.audio_dir}: no {split} clip among {len(self.clips)} with "
                f"{self.config.heldout_flag}; change it or add files{self._if_few}"
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
    def _if_few(self) -> str:
        if self.config.split_by == "time":
            return f" of which the share held out is at least {GAP_SECONDS:g} s long"
        is_long = any(c.source_samples > 4 * GAP_SECONDS * c.source_rate_hz for c in self.clips)
        return ", or hold out the end of each with --data.split-by time" if is_long else ""

    def seconds(self, split: Split) -> float:
        """Seconds of audio in one split."""
        samples = sum(clip.num_samples for clip in self.clips if clip.split == split)
        return samples / self.config.sample_rate_hz

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

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over clips, contents and reading rules; not over the location."""
        config = dataclasses.asdict(self.config)
        del config["audio_dir"]
        for name, neutral in (("heldout_minutes", None), ("split_by", "file")):  # as before them
            if config[name] == neutral:
                del config[name]
        clips = [(c.clip_id, c.sha256, c.num_samples) for c in self.clips]
        if self.split_unit.isdecimal() or self.split_unit == "time":
            return fingerprint([config, clips])
        return fingerprint([config, clips, [clip.group for clip in self.clips]])  # by metadata

    @property
    def split_unit(self) -> str:
        """`split_by` as what decides: so many folders, in digits, or where else a name is from."""
        unit = self.config.split_by
        by_folder = unit == "speaker" and all(c.group == first_folder(c.path) for c in self.clips)
        return "1" if by_folder else "0" if unit == "file" else str(unit)

    def heldout_speakers(self, clips: Iterable[ClipInfo] | None = None) -> HeldoutSpeakers:
        """Of some held-out clips, None: all."""
        names = [clip.speaker for clip in (self.of("heldout") if clips is None else clips)]
        known = {clip.speaker for clip in self.clips if clip.split == "train"}
        heldout = set(names) - {""}
        return HeldoutSpeakers(len(heldout), len(heldout & known), names.count(""))

    @property
    def heldout_below(self) -> float:
        """The place (`data.split`) from which on files are in "train"; by time, percent of each."""
        if self.config.split_by == "time":
            ends = {
                c.path: c.start_seconds + c.source_samples / c.source_rate_hz for c in self.clips
            }
            return 100 * share_in_time(self.config, ends.values())
        return heldout_below(self.config, _places(self.config, self.clips))

    def load(self, clip: ClipInfo) -> Float[np.ndarray, " s"]:
        """float32 [clip.num_samples], mono at the config's rate; InputError if the file changed."""
        path = Path(self.config.audio_dir) / named(clip.path)
        seconds = clip.source_samples / clip.source_rate_hz
        samples = read_resampled(
            path, self.config.sample_rate_hz, self.config.resampler, clip.start_seconds, seconds
        )
        if len(samples) != clip.num_samples:
            raise InputError(
                f"{shown(path)}: clip {clip.clip_id} has {len(samples)} samples, was listed with "
                f"{clip.num_samples}; the file changed, start again"
            )
        return samples


def scan(config: AudioDataConfig) -> ClipIndex:
    """`index_folder`, with at least one good clip; logs the files that cannot be used."""
    index = index_folder(config)
    if not index.clips:
        raise InputError(
            f"--data.audio-dir = {config.audio_dir}: none of {len(index.bad)} audio files can be "
            f"used; the first: {index.bad[0].path}: {index.bad[0].reason}"
        )
    if passed_over := index.passed_over:
        logger.warning(f"{config.audio_dir}: {passed_over}; audiolm audit names them")
    for words in index.note_lines():
        logger.warning(words)
    train, heldout = index.seconds("train") / 60, index.seconds("heldout") / 60
    logger.info(
        f"{config.audio_dir}: {len(index.clips)} clips, {train:.1f} min to train on, "
        f"{heldout:.1f} min held out{index.in_time}"
    )
    if heldout:
        logger.info(str(index.heldout_speakers()))
    return index


def index_folder(config: AudioDataConfig) -> ClipIndex:
    """Decodes every audio file to its end, as headers prove nothing; lists clips and bad files."""
    root = Path(config.audio_dir)
    if not root.is_dir():
        raise InputError(f"--data.audio-dir = {config.audio_dir}: no such folder")
    found = walk(root, set(FORMATS))
    audio, others = found.wanted, found.others
    left_out = [BadFile(*words) for words in found.left_out]
    if not audio and not left_out:
        raise InputError(
            f"--data.audio-dir = {config.audio_dir}: no audio among {len(others)} files; expected "
            f"files ending in {' '.join(sorted(FORMATS))}"
        )
    known = read_metadata(root, audio, others)
    # FFmpeg and hashing release the interpreter lock, so threads suffice.
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        results = list(pool.map(lambda name: _file(root, name, config, known), audio))
    finally:  # who is stopped waits for no file
        pool.shutdown(wait=False, cancel_futures=True)
    files = [result for result in results if isinstance(result, _File)]
    share = share_in_time(config, [file.samples / file.rate_hz for file in files])
    clips = tuple(c for f in files for c in _clips_of(f, known.rows[f.name], config, share))
    if config.split_by != "time":
        below = heldout_below(config, _places(config, clips))
        clips = tuple(
            dataclasses.replace(c, split="heldout")
            if place_of(c.sha256, c.group, config) < below
            else c
            for c in clips
        )
    reasons = zip(audio, results, strict=True)
    left_out += [BadFile(shown(name), words) for name, words in reasons if isinstance(words, str)]
    bad = tuple(sorted(left_out, key=lambda file: file.path))
    notes = tuple(BadFile(shown(f.name), words) for f in files for words in f.notes)
    counts = Counter(shown(Path(name).suffix.lower()) for name in others)
    return ClipIndex(config, clips, bad, tuple(sorted(counts.items())), known.odd, notes)


def _places(config: AudioDataConfig, clips: Iterable[ClipInfo]) -> Iterator[tuple[float, float]]:
    """Of each clip the place, and its seconds."""
    for clip in clips:
        yield place_of(clip.sha256, clip.group, config), clip.num_samples / config.sample_rate_hz


def file_of(clip_id: str) -> tuple[str, int]:
    """Path of the file and number of the clip in it. No path looks like a stretch: paths end in
    the suffix of a format."""
    found = _STRETCH.fullmatch(clip_id)
    return (found[1], int(found[2])) if found else (clip_id, 0)


@dataclasses.dataclass(frozen=True)
class _File:
    """A usable file, decoded to its end."""

    name: str
    samples: int
    rate_hz: int
    channels: int
    codec: str
    sha256: str
    notes: tuple[str, ...]  # what is wrong with it


def _file(root: Path, name: str, config: AudioDataConfig, known: Metadata) -> _File | str:
    """A file, or the reason why it cannot be used."""
    path, text = root / name, shown(name)
    notes: list[str] = []
    for pattern in config.exclude:
        if fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(text, pattern):
            return f"left out: --data.exclude has {pattern!r}"
    if config.split_by == "official" and "split" not in known.rows[name]:
        return "in no official part: --data.split-by = official needs train, dev or test"
    try:
        info = probe(path)
        total, energy, rate = 0, 0.0, info.sample_rate_hz
        for block, _ in iter_audio(path, notes=notes):
            total += len(block)
            energy += float(np.dot(block, block))
        sha256 = file_sha256(path)
    except InputError as error:
        return str(error).removeprefix(f"{shown(path)}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    seconds = total / rate
    if seconds < config.min_seconds:
        return f"too short: {seconds:.3f} s, --data.min-seconds = {config.min_seconds}"
    if energy <= total * 10 ** (SILENCE_DBFS / 10):
        return f"silent: below {SILENCE_DBFS:g} dBFS over all its {seconds:.1f} s"
    return _File(name, total, rate, info.channels, info.codec, sha256, tuple(notes))


def _clips_of(file: _File, row: Row, config: AudioDataConfig, share: float) -> list[ClipInfo]:
    """The clips of a file; `share` of it is held out if it is split by time."""
    name, rate, total = shown(file.name), file.rate_hz, file.samples
    parts: list[tuple[Split, int, int]] = [("train", 0, total)]  # until all files are known
    if config.split_by == "time":
        parts = [
            p for p in parts_in_time(total, rate, share) if p[2] - p[1] >= config.min_seconds * rate
        ]
    windows = [
        (split, first + start, first + stop)
        for split, first, end in parts
        for start, stop in even_windows(end - first, int(config.max_seconds * rate))
    ]
    is_whole = [window[1:] for window in windows] == [(0, total)]
    return [
        ClipInfo(
            clip_id=name if is_whole else f"{name}#{part:04d}",
            path=name,
            start_seconds=start / rate,
            source_samples=stop - start,
            num_samples=resampled_length(stop - start, rate, config.sample_rate_hz),
            source_rate_hz=rate,
            channels=file.channels,
            codec=file.codec,
            sha256=file.sha256,
            split=split,
            speaker=shown(row["speaker"]),
            text=row.get("text", "") if is_whole else "",
            accent=row.get("accent", ""),
            language=row.get("language", ""),
            gender=row.get("gender", ""),
            group=shown(group_of(file.name, row, config)),
        )
        for part, (split, start, stop) in enumerate(windows)
    ]
