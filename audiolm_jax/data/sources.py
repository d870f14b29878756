"""A folder of audio files as a deterministic list of clips, split by content.

A file goes to the held-out split by the SHA-256 of its bytes: renaming, moving or copying it
cannot carry it, or a part of it, from one split into the other.
"""

import dataclasses
import fnmatch
import logging
import os
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.audio.files import FORMATS, iter_audio, probe
from audiolm_jax.audio.resample import Resampler, read_resampled, resampled_length
from audiolm_jax.errors import InputError

logger = logging.getLogger(__name__)

Split = Literal["train", "heldout"]
TRANSCRIPTS = "transcripts.txt"
# Quieter than this over the whole file counts as silent: 16-bit dither lies near -96 dBFS.
SILENCE_DBFS = -60.0


@dataclasses.dataclass(frozen=True)
class AudioDataConfig:
    """Which recordings to use and how to read them.

    Attributes:
      audio_dir: folder of wav, flac, mp3, ogg, opus, m4a or g722 files, searched in depth.
      dataset: short name of the corpus, part of task names and token stores.
      heldout_percent: share of the files, 0 to 99, that training never sees; chosen by content.
      min_seconds: shorter files are refused and listed as bad.
      max_seconds: longer files are read as consecutive clips of equal length, none longer.
      exclude: patterns of files to leave out, as paths below audio_dir, such as "*/beep.*"; each
        file left out is listed with the bad ones.
      sample_rate_hz: rate that everything is converted to; mono.
      resampler: named recipe of the conversion, part of the data fingerprint.
    """

    audio_dir: str
    dataset: str = "audio"
    heldout_percent: int = 10
    min_seconds: float = 0.3
    max_seconds: float = 60.0
    exclude: tuple[str, ...] = ()
    sample_rate_hz: int = 16_000
    resampler: Resampler = "soxr_hq"

    def __post_init__(self) -> None:
        if not 0 <= self.heldout_percent <= 99:
            raise InputError(
                f"data.heldout_percent = {self.heldout_percent}: expected 0 to 99; training "
                "needs the rest"
            )
        if not 0 < self.min_seconds < self.max_seconds / 2:
            raise InputError(
                f"data.min_seconds = {self.min_seconds}: expected more than 0 and less than half "
                f"of max_seconds = {self.max_seconds}"
            )
        if not 4_000 <= self.sample_rate_hz <= 192_000:
            raise InputError(
                f"data.sample_rate_hz = {self.sample_rate_hz}: expected 4000 to 192000, "
                "16000 for AudioLM"
            )
        if not re.fullmatch(r"\w+", self.dataset, re.ASCII):  # it becomes part of a SeqIO name
            raise InputError(f"data.dataset = {self.dataset!r}: expected letters, digits and _")


@dataclasses.dataclass(frozen=True)
class ClipInfo:
    """A file, or one of the consecutive stretches of a long file.

    Attributes:
      clip_id: path relative to the audio folder; for stretches "#index" follows.
      path: path relative to the audio folder, with "/".
      start_seconds: where the clip begins in the file.
      source_samples: its length at the file's own rate.
      num_samples: its length after conversion to the config's rate.
      source_rate_hz: the file's sample rate.
      channels: the file's channels; their mean is used.
      codec: FFmpeg's name of the file's codec.
      sha256: of the file's bytes.
      split: "train" or "heldout"; all stretches of a file share it.
      speaker: first folder below the audio folder; "" for files directly in it.
      text: transcript, "" if there is none or the file was split.
    """

    clip_id: str
    path: str
    start_seconds: float
    source_samples: int
    num_samples: int
    source_rate_hz: int
    channels: int
    codec: str
    sha256: str
    split: Split
    speaker: str
    text: str


@dataclasses.dataclass(frozen=True)
class BadFile:
    """A file that is not used, and why.

    Attributes:
      path: relative to the audio folder.
      reason: one line.
    """

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ClipIndex:
    """All clips of a folder, sorted by path.

    Attributes:
      config: what was asked for.
      clips: the usable clips.
      bad: the refused files.
      other_files: number of files per suffix that are not audio by name.
    """

    config: AudioDataConfig
    clips: tuple[ClipInfo, ...]
    bad: tuple[BadFile, ...]
    other_files: tuple[tuple[str, int], ...]

    def of(self, split: Split) -> tuple[ClipInfo, ...]:
        """The clips of one split.

        Raises:
          InputError: there is none.
        """
        chosen = tuple(clip for clip in self.clips if clip.split == split)
        if not chosen:
            raise InputError(
                f"{self.config.audio_dir}: no {split} clip among {len(self.clips)} with "
                f"data.heldout_percent = {self.config.heldout_percent}; change it or add files"
            )
        return chosen

    def seconds(self, split: Split | None = None) -> float:
        """Seconds of audio in one split or, with None, in both."""
        samples = sum(c.num_samples for c in self.clips if split in (None, c.split))
        return samples / self.config.sample_rate_hz

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over clips, contents and reading rules; not over the location."""
        config = dataclasses.asdict(self.config)
        del config["audio_dir"]
        clips = [(c.clip_id, c.sha256, c.num_samples) for c in self.clips]
        return fingerprint([config, clips])

    def load(self, clip: ClipInfo) -> Float[np.ndarray, " s"]:
        """The samples of a clip: float32 [clip.num_samples] mono at the config's rate.

        Raises:
          InputError: the file is gone, or no longer what was listed.
        """
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


def list_clips(
    config: AudioDataConfig, progress: Callable[[int, int], None] | None = None
) -> ClipIndex:
    """`scan_folder`, with at least one good clip.

    Raises:
      InputError: no such folder, no audio file in it, or no good one.
    """
    index = scan_folder(config, progress)
    if not index.clips:
        raise InputError(
            f"data.audio_dir = {config.audio_dir}: none of {len(index.bad)} audio files can be "
            f"used; the first: {index.bad[0].path}: {index.bad[0].reason}"
        )
    return index


def scan_folder(
    config: AudioDataConfig, progress: Callable[[int, int], None] | None = None
) -> ClipIndex:
    """Reads every audio file of the folder once, in full, and lists its clips.

    Every file is decoded to its end, because a header proves nothing: truncation, NaN samples and
    silence show only then. Good files are used, bad ones are listed with the reason.

    Args:
      config: folder and reading rules.
      progress: called with (files done, files in all) after each file.

    Raises:
      InputError: no such folder, or no audio file in it.
    """
    root = Path(config.audio_dir)
    if not root.is_dir():
        raise InputError(f"data.audio_dir = {config.audio_dir}: no such folder")
    audio, others = _walk(root)
    if not audio:
        raise InputError(
            f"data.audio_dir = {config.audio_dir}: no audio among {len(others)} files; expected "
            f"files ending in {' '.join(sorted(FORMATS))}"
        )
    texts = _read_transcripts(root, others)
    clips, bad = [], []
    # FFmpeg and hashing release the interpreter lock, so threads suffice.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        scanned = pool.map(lambda name: _scan(root, name, config, texts), audio)
        for done, (name, result) in enumerate(zip(audio, scanned, strict=True), 1):
            if isinstance(result, str):
                bad.append(BadFile(name, result))
            else:
                clips.extend(result)
            if progress:
                progress(done, len(audio))
    counts = Counter(Path(name).suffix.lower() for name in others)
    return ClipIndex(config, tuple(clips), tuple(bad), tuple(sorted(counts.items())))


def scan(config: AudioDataConfig) -> ClipIndex:
    """`list_clips`, with a line about each file that cannot be used and one about the whole."""
    index = list_clips(config)
    for bad in index.bad:
        logger.warning("skipped %s: %s", bad.path, bad.reason)
    logger.info(
        "%s: %d clips, %.1f min to train on, %.1f min held out, %d files skipped",
        config.audio_dir,
        len(index.clips),
        index.seconds("train") / 60,
        index.seconds("heldout") / 60,
        len(index.bad),
    )
    return index


def split_of(sha256: str, heldout_percent: int) -> Split:
    """The split of a file by the hash of its content."""
    return "heldout" if int(sha256[:16], 16) % 100 < heldout_percent else "train"


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """Sorted relative paths of audio files and of all others; linked folders are entered once."""
    audio, others, seen = [], [], set()
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
    """Stem relative to the audio folder -> text, from every transcripts.txt.

    Lines are "stem: text"; the stem is relative to the folder of transcripts.txt and may hold "/".
    Blank lines and lines beginning with ";" are comments.
    """
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


def _scan(
    root: Path, name: str, config: AudioDataConfig, texts: dict[str, str]
) -> list[ClipInfo] | str:
    """The clips of one file, or the reason why it cannot be used."""
    path = root / name
    for pattern in config.exclude:
        if fnmatch.fnmatchcase(name, pattern):
            return f"left out: data.exclude has {pattern!r}"
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
        return f"too short: {seconds:.3f} s, data.min_seconds = {config.min_seconds}"
    if energy <= total * 10 ** (SILENCE_DBFS / 10):
        return f"silent: below {SILENCE_DBFS:g} dBFS over all its {seconds:.1f} s"
    parts = -(-total // int(config.max_seconds * rate))
    folders = Path(name).parts
    text = texts.get(Path(name).with_suffix("").as_posix(), "") if parts == 1 else ""
    clips = []
    for part in range(parts):
        start, stop = part * total // parts, (part + 1) * total // parts
        clips.append(
            ClipInfo(
                clip_id=name if parts == 1 else f"{name}#{part:04d}",
                path=name,
                start_seconds=start / rate,
                source_samples=stop - start,
                num_samples=resampled_length(stop - start, rate, config.sample_rate_hz),
                source_rate_hz=rate,
                channels=info.channels,
                codec=info.codec,
                sha256=sha256,
                split=split_of(sha256, config.heldout_percent),
                speaker=folders[0] if len(folders) > 1 else "",
                text=text,
            )
        )
    return clips
