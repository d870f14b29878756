"""A page of generated files: players, spectrograms, and what a recognizer hears in them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.output import SUFFIXES, read_provenance
from audiolm_jax.audio.resample import resample
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import HeardWord, Recognizer
from audiolm_jax.evaluation.page.listening import AudioClip, Example
from audiolm_jax.evaluation.page.render import Page

ASR_RATE_HZ = 16_000


@dataclasses.dataclass(frozen=True)
class GeneratedPage(Page):
    """Generated files to listen to."""

    def sections(self) -> dict[str, tuple[str, object]]:
        """Both; see `Page`."""
        return {"listen": ("Listen", self.examples), "provenance": ("Provenance", True)}


@dataclasses.dataclass(frozen=True)
class GeneratedFile:
    """A file that says how it was made."""

    path: Path
    name: str  # below the folder, without suffix
    provenance: Mapping[str, Any]


def find_generated(folder: Path) -> list[GeneratedFile]:
    """The generated files below a folder, by name; others are passed over. InputError if there are
    none."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            provenance = read_provenance(path)
            if provenance is not None and provenance.get("synthetic") is True:
                name = shown(path.relative_to(folder).with_suffix(""))
                found.append(GeneratedFile(path, name, provenance))
    if not found:
        raise InputError(
            f"{shown(folder)}: holds no file that audiolm has made; make some: audiolm continue "
            "PROMPTS --out FOLDER"
        )
    return found


def page_of(
    files: Sequence[GeneratedFile], title: str, licence: str, recognizer: Recognizer | None
) -> GeneratedPage:
    """The page, of files of one sample rate; InputError for several."""
    rate, examples = 0, []
    for file in files:
        samples, own_rate = read_audio(file.path)
        rate = rate or own_rate
        if own_rate != rate:
            first = shown(files[0].path)
            raise InputError(f"{shown(file.path)}: {own_rate} Hz, {first} has {rate}: one a folder")
        begin = float(file.provenance.get("prompt_seconds", 0.0))
        prompt, ending = None, None
        if recognizer is not None:
            words = recognizer.words(resample(samples, rate, ASR_RATE_HZ, "soxr_hq"))
            prompt, ending = _split(words, begin)
        what = "Prompt and continuation" if begin else "Sound"
        clip = AudioClip(f"{what}, seed {file.provenance.get('seed')}", samples, begin, ending)
        examples.append(Example(file.name, prompt or None, (clip,)))
    prompted = sum(bool(file.provenance.get("prompt_seconds")) for file in files)
    heard = "Nobody listened for words."
    if recognizer is not None:
        heard = (
            "Whisper listened: above the players what it understood of the prompt, below them what "
            "it understood of what follows."
        )
    return GeneratedPage(
        title=title,
        summary=f"{len(files)} files, {prompted} of them with a prompt. All that follows a prompt "
        f"is synthetic. {heard}",
        sample_rate_hz=rate,
        examples=tuple(examples),
        trainers=(),
        provenance=_common(files) | _listener(recognizer),
        data_licence=licence,
    )


def _split(words: Sequence[HeardWord], seconds: float) -> tuple[str, str]:
    """What was said before and after; a word is where its middle is."""
    parts: tuple[list[str], list[str]] = ([], [])
    for word in words:
        parts[(word.start + word.end) / 2 > seconds].append(word.text)
    return " ".join(parts[0]), " ".join(parts[1])


def _common(files: Sequence[GeneratedFile]) -> dict[str, str]:
    """What made the files; where they differ, all that did."""
    names = ("software", "bundle", "generation", "seconds", "prompt_seconds")
    found = {name: dict.fromkeys(str(f.provenance.get(name)) for f in files) for name in names}
    return {name.replace("_", " "): "; ".join(values) for name, values in found.items()}


def _listener(recognizer: Recognizer | None) -> dict[str, str]:
    return {} if recognizer is None else {"recognizer": f"model.bin {recognizer.fingerprint}"}
