"""A folder of audio files as a deterministic list of clips; a file, with all its clips, goes to a
split by the SHA-256 of its bytes, not by its name or place, unless whole folders are split."""

import dataclasses
import fnmatch
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.audio.files import FORMATS, iter_audio, probe
from audiolm_jax.audio.resample import read_resampled, resampled_length
from audiolm_jax.data.sources import AudioDataConfig, Split
from audiolm_jax.data.split import heldout_below, place_of
from audiolm_jax.data.windows import even_windows
from audiolm_jax.errors import InputError

TRANSCRIPTS = "transcripts.txt"
# Quieter than this over the whole file counts as silent: 16-bit dither lies near -96 dBFS.
SILENCE_DBFS = -60.0
_STRETCH = re.compile(r"(.+)#([0-9]{4,})", re.DOTALL)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """A file, or one of the consecutive stretches of a long file."""

    clip_id: str  # path; "#index" follows for stretches
    path: str  # relative to the audio folder, with "/"
    start_seconds: float  # where the clip begins in the file
    source_samples: int  # at the file's own rate
    num_samples: int  # at the config's rate
    source_rate_hz: int
    channels: int  # of the file; their mean is used
    codec: str  # FFmpeg's name
    sha256: str  # of the file's bytes
    split: Split  # the same for all stretches of a file
    speaker: str  # first folder below the audio folder; "" for files directly in it
    text: str  # transcript, "" if there is none or the file was cut


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file that is not used, and why."""

    path: str  # relative to the audio folder
    reason: str  # one line


@dataclasses.dataclass(frozen=True)
class HeldoutSpeakers:
    """Whether training knows the voices of held-out clips."""

    speakers: int  # of these clips, a speaker being the first folder below the audio folder
    known: int  # of them, those with training clips too
    nameless_clips: int  # clips in no folder

    def __str__(self) -> str:
        """For people who read what was measured on the clips."""
        speakers = f"{self.known} of {self.speakers} held-out speakers (first folders) are known"
        clips = f"{self.nameless_clips} held-out clips lie in no folder: who speaks is unknown"
        lines = ((self.speakers, f"{speakers} from training."), (self.nameless_clips, f"{clips}."))
        return " ".join(words for count, words in lines if count)


@dataclasses.dataclass(frozen=True)
class ClipIndex:
    """All clips of a folder, sorted by path."""

    config: AudioDataConfig
    clips: tuple[ClipInfo, ...]
    bad: tuple[BadFile, ...]
    other_files: tuple[tuple[str, int], ...]  # (suffix, count) of those not audio by name

    def of(self, split: Split) -> tuple[ClipInfo, ...]:
        """The clips of one split; InputError if there is none."""
        chosen = tuple(clip for clip in self.clips if clip.split == split)
        if not chosen:
            raise InputError(
                f"{self.config.audio_dir}: no {split} clip among {len(self.clips)} with "
                f"{self.config.heldout_flag}; change it or add files"
            )
        return chosen

    def seconds(self, split: Split) -> float:
        """Seconds of audio in one split."""
        samples = sum(clip.num_samples for clip in self.clips if clip.split == split)
        return samples / self.config.sample_rate_hz

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over clips, contents and reading rules; not over the location."""
        config = dataclasses.asdict(self.config)
        del config["audio_dir"]
        for name, neutral in (("heldout_minutes", None), ("split_by", "file")):  # as before them
            if config[name] == neutral:
                del config[name]
        return fingerprint([config, [(c.clip_id, c.sha256, c.num_samples) for c in self.clips]])

    def heldout_speakers(self, clips: Iterable[ClipInfo] | None = None) -> HeldoutSpeakers:
        """Of some held-out clips, None: all."""
        names = [clip.speaker for clip in (self.of("heldout") if clips is None else clips)]
        known = {clip.speaker for clip in self.clips if clip.split == "train"}
        heldout = set(names) - {""}
        return HeldoutSpeakers(len(heldout), len(heldout & known), names.count(""))

    @property
    def heldout_below(self) -> float:
        """The place (`data.split`) from which on files are in "train"."""
        return heldout_below(self.config, _seconds_by_place(self.config, self.clips))

    def load(self, clip: ClipInfo) -> Float[np.ndarray, " s"]:
        """float32 [clip.num_samples], mono at the config's rate; InputError if the file changed."""
        path = Path(self.config.audio_dir) / clip.path
        seconds = clip.source_samples / clip.source_rate_hz
        samples = read_resampled(
            path, self.config.sample_rate_hz, self.config.resampler, clip.start_seconds, seconds
        )
        if len(samples) != clip.num_samples:
            raise InputError(
                f"{path}: clip {clip.clip_id} has {len(samples)} samples, was listed with "
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
    for bad in index.bad:
        logger.warning("skipped %s: %s", bad.path, bad.reason)
    train, heldout = index.seconds("train") / 60, index.seconds("heldout") / 60
    logger.info(
        f"{config.audio_dir}: {len(index.clips)} clips, {train:.1f} min to train on, "
        f"{heldout:.1f} min held out, {len(index.bad)} files skipped"
    )
    if heldout:
        logger.info(str(index.heldout_speakers()))
    return index


def index_folder(config: AudioDataConfig) -> ClipIndex:
    """Decodes every audio file to its end, as headers prove nothing; lists clips and bad files."""
    root = Path(config.audio_dir)
    if not root.is_dir():
        raise InputError(f"--data.audio-dir = {config.audio_dir}: no such folder")
    audio, others = _walk(root)
    if not audio:
        raise InputError(
            f"--data.audio-dir = {config.audio_dir}: no audio among {len(others)} files; expected "
            f"files ending in {' '.join(sorted(FORMATS))}"
        )
    texts = _read_transcripts(root, others)
    # FFmpeg and hashing release the interpreter lock, so threads suffice.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda name: _clips_of(root, name, config, texts), audio))
    clips = tuple(clip for result in results if not isinstance(result, str) for clip in result)
    below = heldout_below(config, _seconds_by_place(config, clips))
    heldout = {c.path for c in clips if place_of(c.path, c.sha256, config) < below}
    clips = tuple(
        dataclasses.replace(c, split="heldout") if c.path in heldout else c for c in clips
    )
    reasons = zip(audio, results, strict=True)
    bad = tuple(BadFile(name, reason) for name, reason in reasons if isinstance(reason, str))
    counts = Counter(Path(name).suffix.lower() for name in others)
    return ClipIndex(config, clips, bad, tuple(sorted(counts.items())))


def _seconds_by_place(config: AudioDataConfig, clips: Iterable[ClipInfo]) -> dict[float, float]:
    seconds: dict[float, float] = defaultdict(float)
    for clip in clips:
        place = place_of(clip.path, clip.sha256, config)
        seconds[place] += clip.num_samples / config.sample_rate_hz
    return seconds


def file_of(clip_id: str) -> tuple[str, int]:
    """Path of the file and number of the clip in it. No path looks like a stretch: paths end in
    the suffix of a format."""
    found = _STRETCH.fullmatch(clip_id)
    return (found[1], int(found[2])) if found else (clip_id, 0)


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Sorted relative paths of audio files and of all others; linked folders are entered once."""
    audio: list[str] = []
    others: list[str] = []
    seen = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()
        for name in names:
            path = (Path(folder) / name).relative_to(root).as_posix()
            (audio if Path(name).suffix.lower() in FORMATS else others).append(path)
    return sorted(audio), sorted(others)


def _read_transcripts(root: Path, names: list[str]) -> dict[str, str]:
    """Stem relative to the audio folder -> text; lines are "stem: text" or begin with ";"."""
    texts = {}
    for name in names:
        if Path(name).name != TRANSCRIPTS:
            continue
        try:
            lines = (root / name).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{root / name}: not UTF-8 text: {error.reason}") from error
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith(";"):
                continue
            stem, colon, text = line.partition(":")
            if not colon:
                raise InputError(f"{root / name}:{number}: expected 'stem: text', got {line!r}")
            texts[(Path(name).parent / stem.strip()).as_posix()] = text.strip()
    return texts


def _clips_of(
    root: Path, name: str, config: AudioDataConfig, texts: dict[str, str]
) -> list[ClipInfo] | str:
    """The clips of one file, or the reason why it cannot be used."""
    path = root / name
    for pattern in config.exclude:
        if fnmatch.fnmatchcase(name, pattern):
            return f"left out: --data.exclude has {pattern!r}"
    try:
        info = probe(path)
        total, energy, rate = 0, 0.0, info.sample_rate_hz
        for block, _ in iter_audio(path):
            total += len(block)
            energy += float(np.dot(block, block))
        sha256 = file_sha256(path)
    except InputError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    seconds = total / rate
    if seconds < config.min_seconds:
        return f"too short: {seconds:.3f} s, --data.min-seconds = {config.min_seconds}"
    if energy <= total * 10 ** (SILENCE_DBFS / 10):
        return f"silent: below {SILENCE_DBFS:g} dBFS over all its {seconds:.1f} s"
    windows = even_windows(total, int(config.max_seconds * rate))
    is_whole, folders = len(windows) == 1, Path(name).parts
    return [
        ClipInfo(
            clip_id=name if is_whole else f"{name}#{part:04d}",
            path=name,
            start_seconds=start / rate,
            source_samples=stop - start,
            num_samples=resampled_length(stop - start, rate, config.sample_rate_hz),
            source_rate_hz=rate,
            channels=info.channels,
            codec=info.codec,
            sha256=sha256,
            split="train",  # until all files are known
            speaker=folders[0] if len(folders) > 1 else "",
            text=texts.get(Path(name).with_suffix("").as_posix(), "") if is_whole else "",
        )
        for part, (start, stop) in enumerate(windows)
    ]
