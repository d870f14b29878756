"""Which held-out clips a codec is measured on: chosen by hash, and every one left out is named."""

import dataclasses
import fnmatch
import hashlib
from collections.abc import Callable

from audiolm_jax.data.clips import ClipInfo
from audiolm_jax.data.index import ClipIndex, HeldoutSpeakers
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import AsrConfig


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A held-out clip that takes no part."""

    clip_id: str
    part: str  # "waveform" or "words"
    reason: str  # one line


@dataclasses.dataclass(frozen=True)
class Selection:
    """What is measured on which clip."""

    index: ClipIndex
    waveform: tuple[ClipInfo, ...]  # for the measures of the waveform
    words: tuple[ClipInfo, ...]  # for the recognizer
    left_out: tuple[LeftOut, ...]

    @property
    def clips(self) -> tuple[ClipInfo, ...]:
        """Each clip once, those for the waveform first."""
        return tuple(dict.fromkeys(self.waveform + self.words))

    @property
    def summary(self) -> str:
        """One sentence for the page."""
        data = self.index.config
        seconds = sum(clip.num_samples for clip in self.waveform) / data.sample_rate_hz
        words = f", words on {len(self.words)}" if self.words else ""
        clips = f"{len(self.waveform)} held-out clips of {data.dataset}"
        return f"Measured on {clips}, {seconds:.0f} s{words}. {self.speakers}"

    @property
    def speakers(self) -> HeldoutSpeakers:
        """Whether training knows their voices."""
        return self.index.heldout_speakers(self.clips)


def select_clips(
    index: ClipIndex,
    min_seconds: float,
    max_seconds: float,
    max_clips: int,
    asr: AsrConfig | None,
    normalize: Callable[[str], str],
) -> Selection:
    """Chooses among the held-out clips: the limits are those of clips measured by their waveform,
    `asr` has its own; `normalize` tells which transcripts have words to count.
    The order is by a hash of each file's content, so that adding a recording moves no other by more
    than one place; copies count once."""
    rate = index.config.sample_rate_hz
    waveform: list[ClipInfo] = []
    words: list[ClipInfo] = []
    left_out: list[LeftOut] = []
    seen: dict[str, str] = {}
    for clip in sorted(index.of("heldout"), key=lambda clip: (_order(clip), clip.clip_id)):
        key = _order(clip)
        seconds = clip.num_samples / rate
        limits = f"{min_seconds:g} to {max_seconds:g} s"
        is_fit = min_seconds <= seconds <= max_seconds
        unfit = None if is_fit else f"{seconds:.2f} s long, outside {limits}"
        parts = [("waveform", waveform, unfit, max_clips)]
        if asr is not None and any(fnmatch.fnmatchcase(clip.path, glob) for glob in asr.clips):
            parts.append(("words", words, _wordless(clip, seconds, asr, normalize), asr.max_clips))
        for part, chosen, reason, most in parts:
            if key in seen:
                reason = f"same content as {seen[key]}"
            elif reason is None and len(chosen) >= most:
                reason = f"beyond the first {most} by hash"
            if reason is None:
                chosen.append(clip)
            else:
                left_out.append(LeftOut(clip.clip_id, part, reason))
        seen.setdefault(key, clip.clip_id)
    folder = index.config.source
    if not waveform:
        raise InputError(
            f"{folder}: none of {len(index.of('heldout'))} held-out clips is {min_seconds:g} to "
            f"{max_seconds:g} s long; change --min-clip-seconds, --max-clip-seconds or --data"
        )
    if asr is not None and not words:
        raise InputError(
            f"{folder}: --asr.clips {asr.clips} match no held-out clip of {asr.min_seconds:g} s or "
            "more with words in its transcript; audiolm audit tells which lists were read"
        )
    return Selection(index, tuple(waveform), tuple(words), tuple(left_out))


def _order(clip: ClipInfo) -> str:
    return hashlib.sha256(f"{clip.sha256} {clip.start_seconds}".encode()).hexdigest()


def _wordless(
    clip: ClipInfo, seconds: float, asr: AsrConfig, normalize: Callable[[str], str]
) -> str | None:
    if not clip.text:
        return "no transcript"
    if not normalize(clip.text).strip():
        return f"transcript without words: {clip.text}"
    if seconds < asr.min_seconds:
        return f"{seconds:.2f} s long, shorter than asr.min_seconds = {asr.min_seconds:g}"
    return None
