"""What a speech recognizer understands of a clip, and how far that is from the transcript."""

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.refusals import is_shortage
from audiolm_jax.errors import InputError

MODEL_FILE = "model.bin"
RATE_HZ = 16_000  # of what Whisper hears
_FILES = (MODEL_FILE, "config.json", "tokenizer.json")


@dataclasses.dataclass(frozen=True)
class AsrConfig:
    """Which recognizer listens to which clips."""

    model: Place | None = None
    """Folder of a Whisper model in CTranslate2's format; None for no recognizer."""
    clips: tuple[str, ...] = ("*",)
    """Patterns of clips with transcripts to listen to, below the audio folder: "en_US*/*"."""
    language: str = "en"
    """Of these clips, a code such as "en"."""
    min_seconds: float = 1.0
    """Shorter clips are left out, at least 1."""
    max_clips: int = 100
    """No more than so many, chosen by hash."""

    def __post_init__(self) -> None:
        if not self.clips or self.max_clips < 1:
            raise InputError(
                f"--asr.clips {self.clips}, --asr.max-clips {self.max_clips}: expected one or more"
            )
        if not self.min_seconds >= 1:
            raise InputError(f"--asr.min-seconds {self.min_seconds}: expected at least 1")


@dataclasses.dataclass(frozen=True)
class TextErrors:
    """Edits between a transcript and what was heard, both normalized."""

    words: int  # of the transcript
    word_errors: int  # substituted, deleted and inserted words
    characters: int  # of the transcript, spaces between words included
    character_errors: int  # substituted, deleted and inserted characters


@dataclasses.dataclass(frozen=True)
class HeardWord:
    """A word as the recognizer wrote it, and when it was said."""

    text: str  # with its punctuation: "arrow."
    start: float  # seconds from the beginning of the clip
    end: float

    @property
    def middle(self) -> float:
        """Seconds; it decides on which side of a prompt's end the word is."""
        return (self.start + self.end) / 2


class Recognizer:
    """Whisper for CTranslate2, through faster-whisper on the CPU in int8; nothing is downloaded.
    Beam of 5 at temperature 0 without retries, no memory of earlier clips, no voice detection: the
    same clip gives the same words. The fingerprint is the SHA-256 of the folder's model.bin."""

    def __init__(self, folder: Path, language: str):
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"--asr.model {folder}: no {missing[0]} there; expected a Whisper model for "
                f"CTranslate2 with {', '.join(_FILES)}"
            )
        from faster_whisper import WhisperModel
        from whisper_normalizer.basic import BasicTextNormalizer
        from whisper_normalizer.english import EnglishTextNormalizer

        self.fingerprint = file_sha256(folder / MODEL_FILE)
        self.language = language
        # Whisper's own rules: lower case, no punctuation or brackets; for English also numbers as
        # digits, contractions in full, British spelling made American.
        self.normalize = EnglishTextNormalizer() if language == "en" else BasicTextNormalizer()
        try:
            self._model = WhisperModel(str(folder), device="cpu", compute_type="int8")
        except Exception as error:  # what reads tokenizer.json raises nothing narrower
            if is_shortage(error):
                raise
            raise InputError(f"--asr.model {folder}: cannot be loaded: {error}") from error
        if language != "en" and not self._model.model.is_multilingual:
            raise InputError(f"--asr.language {language}: the model in {folder} knows English only")

    def __call__(self, samples: Float[np.ndarray, " s"]) -> str:
        """The words of a clip at 16 kHz."""
        segments = self._segments(samples, word_timestamps=False)
        return " ".join(segment.text.strip() for segment in segments)

    def words(self, samples: Float[np.ndarray, " s"]) -> list[HeardWord]:
        """The same with the time of each word, from the model's attention: good to about 0.1 s."""
        return [
            HeardWord(word.word.strip(), round(float(word.start), 2), round(float(word.end), 2))
            for segment in self._segments(samples, word_timestamps=True)
            for word in segment.words or ()
        ]

    def _segments(self, samples: Float[np.ndarray, " s"], word_timestamps: bool) -> Iterable[Any]:
        segments, _ = self._model.transcribe(
            np.clip(samples, -1.0, 1.0).astype(np.float32),
            language=self.language,
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=word_timestamps,
        )
        return segments

    def errors(self, transcript: str, heard: str) -> TextErrors:
        """How far what was heard is from the transcript."""
        return count_errors(self.normalize(transcript), self.normalize(heard))


def normalizer_facts() -> dict[str, str] | None:
    """Version of whisper-normalizer and the fingerprint of its files, for its rules and spellings
    decide what counts as an error; None if it is not installed."""
    spec = importlib.util.find_spec("whisper_normalizer")
    if spec is None:
        return None
    folder = Path(str(spec.origin)).parent
    files = [path for suffix in ("py", "json") for path in folder.rglob(f"*.{suffix}")]
    hashes = {str(path.relative_to(folder)): file_sha256(path) for path in files}
    version = importlib.metadata.version("whisper-normalizer")
    return {"version": version, "files": fingerprint(hashes)}


def count_errors(transcript: str, heard: str) -> TextErrors:
    """Word and character edits between normalized texts; the transcript must not be empty."""
    import jiwer

    counts = []
    for process in (jiwer.process_words, jiwer.process_characters):
        edits = process(transcript, heard)
        wrong = edits.substitutions + edits.deletions
        counts += [edits.hits + wrong, wrong + edits.insertions]
    return TextErrors(*counts)
