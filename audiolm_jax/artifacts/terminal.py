"""Whether a line of progress may be drawn, and redrawn, on the terminal."""

import sys

_is_plain = False


def draw_nothing(is_plain: bool) -> None:
    """From now on no line is drawn; or, if not `is_plain`, on a terminal they are again."""
    global _is_plain
    _is_plain = is_plain


def draws() -> bool:
    """Whether standard error is a terminal and nobody asked for plain lines."""
    return sys.stderr.isatty() and not _is_plain
