"""What the library logs, shown as the plain lines of a command, or as JSON."""

import datetime
import json
import logging
import math
import sys
from typing import Any

from audiolm_jax.artifacts.terminal import draw_nothing
from audiolm_jax.audio.names import one_line


class Console(logging.Handler):
    """Information to standard output, warnings and errors to standard error, a line each; or all of
    it to standard error, each line an object with the time, the level, the text and what the record
    has as its `event`."""

    is_stdout_free = False  # for what is no text: all lines go to standard error then
    is_json = False

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record. An error in that is the command's, such as a closed pipe."""
        text = one_line(self.format(record))
        if self.is_json:
            say_json(record.levelname.lower(), text, **getattr(record, "event", {}))
            return
        is_error = record.levelno >= logging.WARNING or self.is_stdout_free
        print(text, file=sys.stderr if is_error else sys.stdout, flush=True)


def show_log(is_quiet: bool = False, is_json: bool = False) -> None:
    """Shows the package's log from now on; if quiet, warnings and errors alone."""
    logger = logging.getLogger("audiolm_jax")
    if not any(isinstance(handler, Console) for handler in logger.handlers):
        logger.addHandler(Console())
    Console.is_stdout_free, Console.is_json = False, is_json
    logger.setLevel(logging.WARNING if is_quiet else logging.INFO)
    logger.propagate = False
    draw_nothing(is_quiet or is_json)


def keep_stdout_free() -> None:
    """For a command whose standard output is sound: the log goes to standard error."""
    Console.is_stdout_free = True


def show_errors_alone() -> None:
    """For all hosts of a run but the first, which would say the same."""
    logging.getLogger("audiolm_jax").setLevel(logging.ERROR)


def say_last(text: str, status: int) -> None:
    """Why a command ends as it does, on standard error."""
    if Console.is_json:
        say_json("error", text, status=status)
    else:
        print(text, file=sys.stderr)


def say_json(level: str, text: str, **event: Any) -> None:
    """A line of the log as an object."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    is_odd = {name: isinstance(x, float) and not math.isfinite(x) for name, x in event.items()}
    event = {name: None if is_odd[name] else x for name, x in event.items()}  # JSON has no NaN
    line = json.dumps({"time": now, "level": level, "text": text, **event})
    print(line, file=sys.stderr, flush=True)
