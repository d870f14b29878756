"""What every kind of experiment answers."""

import abc
from pathlib import Path
from typing import ClassVar


class Experiment(abc.ABC):
    """What a config file describes: a frozen dataclass that knows how it is run. What
    can be checked without data, models and devices is checked at once."""

    verb: ClassVar[str]
    """The verb of the command line that runs it: "train", "tokenize" or "evaluate"."""

    directory: str
    """Where its results go."""

    @abc.abstractmethod
    def run(self) -> Path:
        """Runs it, or goes on with it; returns what was written. Left alone if it is finished."""

    def upstream(self) -> dict[str, str]:
        """Fingerprint by name of every trained model it builds on; InputError if one is missing."""
        return {}
