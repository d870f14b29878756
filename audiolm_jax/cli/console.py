"""What the library logs, shown as the plain lines of a command."""

import logging
import sys

from audiolm_jax.audio.names import one_line


class Console(logging.Handler):
    """Information to standard output, warnings and errors to standard error, a line each."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints a record. An error in that is the command's, such as a closed pipe."""
        stream = sys.stderr if record.levelno >= logging.WARNING else sys.stdout
        print(one_line(self.format(record)), file=stream, flush=True)


def show_log() -> None:
    """Shows the package's log from now on."""
    logger = logging.getLogger("audiolm_jax")
    if not any(isinstance(handler, Console) for handler in logger.handlers):
        logger.addHandler(Console())
    logger.setLevel(logging.INFO)
    logger.propagate = False


def show_errors_alone() -> None:
    """For all hosts of a run but the first, which would say the same."""
    logging.getLogger("audiolm_jax").setLevel(logging.ERROR)
