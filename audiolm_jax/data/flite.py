"""Speech with known phone times, by the synthesizer flite: the same version, the same bytes."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.audio.files import probe
from audiolm_jax.data.alignments import AlignedPhone, parse_interval
from audiolm_jax.errors import InputError

VOICES = ("awb", "kal16", "rms", "slt")  # all four are at 16 kHz


def find_flite(program: str) -> str:
    """Path of the program; InputError if it is not installed."""
    path = shutil.which(program)
    if path is None:
        raise InputError(f"--flite = {program}: no such program; launch/flite.sh fetches it")
    return path


def read_sentences(path: Path) -> list[str]:
    """Lines that are not empty; InputError if there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InputError(f"{path}: holds no sentences: expected one a line")
    return sentences


def mix_words(sentences: Sequence[str], voice: str) -> list[str]:
    """Sentences of the same lengths with all words in another order, drawn by the voice's name: an
    encoder that knows the sentence, not the phone, would tell two speakers of it apart. Punctuation
    and capitals go, but that of I: flite would read A as the letter's name."""
    lines = [[word.strip(".,;:!?") for word in text.split()] for text in sentences]
    spoken = [word if word == "I" else word.lower() for line in lines for word in line]
    seed = int.from_bytes(hashlib.sha256(voice.encode()).digest()[:8], "big")
    words = np.random.default_rng(seed).permutation(spoken)
    ends = np.cumsum([len(line) for line in lines])
    return [f"{' '.join(line)}." for line in np.split(words, ends[:-1])]


def speak(
    program: str, sentences: Sequence[str], voices: Sequence[str], directory: Path
) -> list[AlignedPhone]:
    """Writes `<voice>/<number>.wav`, from 001 on, for each voice and sentence that it mixes, and
    returns all phones, pauses included, in that order."""
    words = _run([program, "-lv"]).split()
    known = words[words.index("available:") + 1 :] if "available:" in words else words
    for voice in voices:
        if voice not in known:  # flite itself would speak with another one
            raise InputError(f"--voices: {voice!r} is not one of flite's: {' '.join(known)}")
    phones = []
    for voice in voices:
        (directory / voice).mkdir(parents=True, exist_ok=True)
        for number, sentence in enumerate(mix_words(sentences, voice), 1):
            file = f"{voice}/{number:03d}"
            with atomic_path(directory / f"{file}.wav") as wav, ask_disk(wav.parent, 1 << 20):
                command = [program, "-voice", voice, "-psdur", "-t", sentence, "-o", str(wav)]
                printed = _run(command)
                probe(wav)  # flite says nothing of a full disk
            phones += parse_times(printed, file, voice)
    return phones


def parse_times(printed: str, file: str, speaker: str) -> list[AlignedPhone]:
    """The phones of one utterance from flite's line of `phone:end_seconds` words; a phone of no
    length at the printed precision is left out, for no frame can be its own."""
    phones, onset = [], Decimal(0)
    for word in printed.split():
        match = re.fullmatch(r"(.+):(\d+(?:\.\d+)?)", word)
        if match is None:
            raise InputError(f"{file}: flite printed {word!r}: expected phone:seconds")
        phone, end = match.groups()
        if onset == Decimal(end):
            continue
        interval = parse_interval(str(onset), end, f"{file}: {word}")
        phones.append(AlignedPhone(file, phone, *interval, speaker))
        onset = interval[1]
    if not phones:
        raise InputError(f"{file}: flite printed no phone times; version 2 with -psdur is needed")
    return phones


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{command[0]} ended with status {done.returncode}: {reason}")
    return done.stdout
