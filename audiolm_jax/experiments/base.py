"""What every kind of experiment answers."""

import abc
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex


class Experiment(abc.ABC):
    """What a config file describes: a frozen dataclass that knows how it is run. What
    can be checked without data, models and devices is checked at once."""

    verb: ClassVar[str]
    """The verb of the command line that runs it: "train", "tokenize" or "evaluate"."""

    shares_directory: ClassVar[bool] = True
    """Whether all hosts of a run must see its directory."""

    directory: str
    """Where its results go."""

    @property
    def needs(self) -> tuple[str, ...]:
        """Modules of optional packages that it imports, looked for before anything is begun."""
        return ()

    @abc.abstractmethod
    def run(self) -> Path:
        """Runs it, or goes on with it; returns what was written. Left alone if it is finished."""

    def upstream(self) -> dict[str, str]:
        """Fingerprint by name of every trained model it builds on; InputError if one is missing."""
        return {}

    def check_data(self, index: "ClipIndex") -> None:  # noqa: B027
        """InputError if it cannot do what it is for with these recordings. Done before anything is
        computed, and by `audiolm audit --configs` before any part is trained."""
