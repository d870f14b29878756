"""From a word on the command line to the function that it names, imported only then."""

import contextlib
import dataclasses
import difflib
import importlib
import re
from collections.abc import Mapping, Sequence

from audiolm_jax.errors import InputError

_FEW = 6  # as many are named where one is mistaken


@dataclasses.dataclass(frozen=True)
class Verb:
    """A word of the command line."""

    place: str  # `module:function` in this package; the function takes the words that follow
    text: str  # what it does, in a line


def table(verbs: Mapping[str, Verb]) -> str:
    """The verbs, a line each."""
    width = max(map(len, verbs))
    return "\n".join(f"  {name:{width}}  {verb.text}" for name, verb in verbs.items())


def _near(word: str, verbs: Mapping[str, Verb]) -> list[str]:
    """Verbs that are spelled like a word, or say it of themselves."""
    spelled = difflib.get_close_matches(word.lower(), verbs, 2)
    return spelled or [x for x, v in verbs.items() if word in re.findall(r"\w+", v.text)][:2]


def dispatch(program: str, verbs: Mapping[str, Verb], words: Sequence[str]) -> int:
    """Runs the verb that the first word names with the words that follow it."""
    word = words[0] if words else ""
    if word in ("-h", "--help"):
        print(f"usage: {program} KIND ...\n\n{table(verbs)}\n")
        for name in verbs:
            with contextlib.suppress(SystemExit):
                dispatch(program, verbs, [name, "--help"])
        return 0
    if word not in verbs:
        near = " or ".join(f"{program} {name}" for name in _near(word, verbs))
        meant = f"did you mean {near}? " if near else ""
        few = f"expected one of {', '.join(verbs)}" if len(verbs) <= _FEW else "no such verb"
        raise InputError(f"{word!r}: {few}; {meant}{program} --help lists all")
    module, _, function = verbs[word].place.partition(":")
    run = getattr(importlib.import_module(f"audiolm_jax.cli.{module}"), function)
    return run(words[1:]) or 0
