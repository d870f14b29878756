"""What raters are asked, and the key that they do not see."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import dacite

from audiolm_jax.artifacts.hashing import fingerprint
from audiolm_jax.errors import InputError

Kind = Literal["real_or_continued", "pairs"]
RECORDING, MODEL, FIRST, SECOND = "recording", "model", "A", "B"
ANSWERS: dict[Kind, tuple[str, str]] = {
    "real_or_continued": (RECORDING, MODEL),
    "pairs": (FIRST, SECOND),
}
KEY = "key.json"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One question."""

    number: int  # from 1, in the order of the page
    truth: str  # of `ANSWERS`: what it is, or which of the two is of the bundle asked about
    prompt: str  # name of the stretch of a recording
    files: tuple[str, ...]  # below the directory, in the order of the page
    hashes: tuple[str, ...]  # SHA-256 of each
    seed: int  # of what was generated


@dataclasses.dataclass(frozen=True)
class Key:
    """The whole test."""

    kind: Kind
    bundle: str  # fingerprint of the models asked about
    other: str | None  # of those beside them in pairs
    trials: tuple[Trial, ...]

    @property
    def test(self) -> str:
        """16 hexadecimal digits that the page hands on with the answers."""
        return fingerprint(dataclasses.asdict(self))

    def json(self) -> dict[str, Any]:
        """As `read_key` reads it."""
        return {"test": self.test, **dataclasses.asdict(self)}


def read_key(folder: Path) -> Key:
    """The key of a test's directory; InputError if it is missing or was changed."""
    path = folder / KEY
    if not path.is_file():
        raise InputError(f"{path}: not found; make the test first, or name its directory")
    try:
        stored = json.loads(path.read_text())
        test = stored.pop("test")
        key = dacite.from_dict(Key, stored, dacite.Config(cast=[tuple], strict=True))
    except (ValueError, KeyError, AttributeError, dacite.DaciteError) as error:
        raise InputError(f"{path}: damaged ({error!r}); make the test again") from error
    if key.test != test:
        raise InputError(f"{path}: was changed after the test was made; make the test again")
    return key


@dataclasses.dataclass(frozen=True)
class Answers:
    """Those of one rater."""

    rater: str
    by_trial: dict[int, str]


def read_answers(path: Path, key: Key) -> Answers:
    """A file that the page has saved; InputError for one of another test or with other answers."""
    try:
        stored = json.loads(path.read_text())
        test, rater, listed = stored["test"], str(stored["rater"]), stored["answers"]
        found = [(int(answer["trial"]), str(answer["answer"])) for answer in listed]
    except FileNotFoundError as error:
        raise InputError(f"--answers {path}: not found") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--answers {path}: no file that the page saved ({error!r})") from error
    if test != key.test:
        raise InputError(f"--answers {path}: of test {test}, expected {key.test}")
    numbers = {trial.number for trial in key.trials}
    for number, answer in found:
        if number not in numbers or answer not in ANSWERS[key.kind]:
            expected = f"1 to {len(numbers)}, {' or '.join(ANSWERS[key.kind])}"
            raise InputError(f"--answers {path}: trial {number} is {answer!r}, expected {expected}")
    if len({number for number, _ in found}) < len(found):
        raise InputError(f"--answers {path}: answers a trial twice")
    if not found:
        raise InputError(f"--answers {path}: holds no answer")
    return Answers(rater, dict(found))
