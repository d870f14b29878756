"""The exceptions that are printed as a single line: what a user can mend, and a lost host."""

from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Bad input from outside: a file, a field of a config, a folder, a flag.

    The message is one line: file or field, what was there, what was expected, what to do. The
    command line prints it on standard error and exits with status 2; any other exception is a bug.
    """


class LostHostError(RuntimeError):
    """Another process of a run on several hosts stopped answering.

    The message is one line. The command line prints it and exits with status 1, not 2: the same
    command, started on all hosts again, goes on.
    """


def check_fields(
    config: Any,
    flag: str,
    names: str,
    fits: Callable[[Any], Any],
    expected: str,
    between: str = " = ",
) -> None:
    """Raises InputError for the first of some fields, `names` with spaces between, that misfits."""
    for name in names.split():
        if not fits(value := getattr(config, name)):
            option = f"{flag}.{name.replace('_', '-')}"
            raise InputError(f"{option}{between}{value}: expected {expected}")
