"""What the library logs, shown as the plain lines of a command."""

import logging
import sys

from audiolm_jax.audio.names import one_line


class Console(logging.Handler):
    """Information to standard output, warnings and errors to standard error, a line each."""

    is_stdout_free = False  # for what is no text: all lines go to standard error then

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record. An error in that is the command's, such as a closed pipe."""
        is_error = record.levelno >= logging.WARNING or self.is_stdout_free
        stream = sys.stderr if is_error else sys.stdout
        print(one_line(self.format(record)), file=stream, flush=True)


def show_log() -> None:
    """Shows the package's log from now on."""
    logger = logging.getLogger("audiolm_jax")
    if not any(isinstance(handler, Console) for handler in logger.handlers):
        logger.addHandler(Console())
    Console.is_stdout_free = False
    logger.setLevel(logging.INFO)
    logger.propagate = False


def keep_stdout_free() -> None:
    """For a command whose standard output is sound: the log goes to standard error."""
    Console.is_stdout_free = True


def show_errors_alone() -> None:
    """For all hosts of a run but the first, which would say the same."""
    logging.getLogger("audiolm_jax").setLevel(logging.ERROR)
