"""Paths of files as text: a file may be called anything without "/" and the zero byte."""

import hashlib
import os
import re

_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


def shown(name: str | os.PathLike[str]) -> str:
    r"""One line of UTF-8 text for a path; `named` gives the path back. Most are the text itself; in
    a part of it with control characters or bytes that are no UTF-8, those bytes and every backslash
    are written as \xe9 (a backslash, x, two hexadecimal digits)."""
    text = str(name)  # addresses are no `fspath`
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "/".join(_shown(part) for part in text.split("/"))


def _shown(part: str) -> str:
    if not (any(_is_odd(letter) for letter in part) or _ESCAPE.search(part)):
        return part
    return one_line(part.replace("\\", r"\x5c"))


def named(text: str) -> str:
    """The path, as Python's `os` has it, of which `shown` made this text."""
    if text.isascii() and "\\" not in text:
        return text
    pieces = _ESCAPE.split(text)  # text and digits in turn
    raw = [bytes.fromhex(p) if n % 2 else p.encode() for n, p in enumerate(pieces)]
    return os.fsdecode(b"".join(raw))


def file_name(text: str) -> str:
    """A name of a file, without suffix, for what a path or another text names: legible, short, and
    of no other text."""
    legible = "".join(c if c.isascii() and c.isalnum() else "_" for c in text)
    return f"{legible[-60:]}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def one_line(text: str) -> str:
    r"""Words in which a path may stand as it is, as one line of UTF-8 text: the bytes that `shown`
    would spell out as \xe9 are spelled out, all else is left."""
    return "".join(
        "".join(f"\\x{byte:02x}" for byte in os.fsencode(letter)) if _is_odd(letter) else letter
        for letter in text
    )


def _is_odd(letter: str) -> bool:
    """Of bytes that are no UTF-8 Python makes lone surrogates."""
    is_control = letter < " " or "\x7f" <= letter <= "\x9f" or letter in "\u2028\u2029"
    return is_control or "\ud800" <= letter <= "\udfff"
