"""The one exception that means "the user can mend this": it is printed as a single line."""

from collections.abc import Callable
from typing import Any


class InputError(ValueError):
    """Bad input from outside: a file, a field of a config, a folder, a flag.

    The message is one line: file or field, what was there, what was expected, what to do. The
    command line prints it on standard error and exits with status 2; any other exception is a bug.
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
