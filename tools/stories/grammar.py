"""Stories from seeds, and exactly which words and pairs of words they can hold.

A story draws every fact (who, what, where ...) and then, at each step of its plot, a wording. Facts
are drawn independently but for `words.DIFFERENT`, so what two neighboring words can be is told by
going through the values of the few facts that these two depend on.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator, Mapping

from tools.lots import Lots
from tools.stories.plots import PLOTS
from tools.stories.steps import Plot
from tools.stories.words import (
    BOYS,
    DERIVED,
    DIFFERENT,
    DOMAINS,
    GIRLS,
    MASS_FOODS,
    article,
    counted,
    is_girl,
    plural,
)

START, END = "<s>", "</s>"
_PART = re.compile(r"\{([^}]*)\}|\[([^]]*)\]")
_WORD = re.compile(r"[a-z]+")

Facts = Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Story:
    """A story and what is true in it."""

    seed: int
    plot: str
    sentences: tuple[str, ...]
    facts: dict[str, str]  # those that the sentences speak of, with "hero" and "sex"

    @property
    def text(self) -> str:
        """All sentences in a line."""
        return " ".join(self.sentences)


def story(seed: int, *, other_pronouns: bool = False) -> Story:
    """The story of a seed; the same for all versions of Python, but not of this grammar.

    With `other_pronouns` it is told wrongly: he for she and so on, with all else the same.
    """
    lots = Lots("story", seed)
    name = lots.choice(list(PLOTS))
    plot = PLOTS[name]
    facts: dict[str, str] = {}
    for fact in DOMAINS:
        taken = facts.get(DIFFERENT.get(fact, ""))
        facts[fact] = lots.choice([v for v in domain(plot, fact) if v != taken])
    if other_pronouns:
        other = {"hero": (BOYS if is_girl(facts["hero"]) else GIRLS)[0]}
        facts |= {pronoun: _value(pronoun, other) for pronoun in ("he", "him", "his", "himself")}
    wordings = [wording for step in plot.steps if (wording := lots.choice(step))]
    sentences = [_spoken(text, facts, lots) for text in " | ".join(wordings).split(" | ")]
    told = {fact for wording in wordings for part in parse(wording) for fact in part.facts}
    known = {fact: value for fact, value in facts.items() if fact in told | {"hero"}}
    known["sex"] = "female" if is_girl(facts["hero"]) else "male"
    return Story(seed, name, tuple(sentences), known)


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


@functools.cache
def vocabulary() -> tuple[str, ...]:
    """Every word that a story can hold, sorted; all of them do occur."""
    return tuple(sorted({word for pair in bigrams() for word in pair} - {START, END}))


@functools.cache
def bigrams() -> frozenset[tuple[str, str]]:
    """Every pair of words that can stand next to each other within a sentence; exact.

    START comes before the first word of a sentence, END after the last.
    """
    found: set[tuple[str, str]] = set()
    for plot in PLOTS.values():
        for step in plot.steps:
            for wording in step:
                for text in wording.split(" | ") if wording else []:
                    found.update(_bigrams_of(text, plot))
    return frozenset(found)


@dataclasses.dataclass(frozen=True)
class Part:
    """A piece of a wording: plain text, a slot or a free choice."""

    options: tuple[str, ...]  # of plain text (one) and choices
    slot: str = ""  # empty for those

    @property
    def facts(self) -> frozenset[str]:
        """The facts that decide the slot, none of them derived."""
        return frozenset(_base(name) for name in _names(self.slot))

    def values(self, facts: Facts) -> tuple[str, ...]:
        """What the part can say, given its facts."""
        return (_filled(self.slot, facts),) if self.slot else self.options


@functools.cache
def parse(wording: str) -> tuple[Part, ...]:
    """The parts of a wording, in their order; ValueError for a slot that names no fact."""
    parts, position = [], 0
    for match in _PART.finditer(wording):
        if text := wording[position : match.start()]:
            parts.append(Part((text,)))
        slot, choice = match.groups()
        if slot is not None and not _names(slot):
            raise ValueError(f"{{{slot}}} names no fact, in {wording!r}")
        parts.append(Part((), slot) if slot is not None else Part(tuple(choice.split("/"))))
        position = match.end()
    if text := wording[position:]:
        parts.append(Part((text,)))
    return tuple(parts)


def domain(plot: Plot, fact: str) -> tuple[str, ...]:
    """What a fact can be in a plot."""
    return plot.domains.get(fact, DOMAINS[fact])


def _names(slot: str) -> list[str]:
    """Facts that a slot names, derived ones included."""
    words = [word[:1].lower() + word[1:] for word in slot.split()]
    return [word for word in words if word in DOMAINS or word in DERIVED]


def _base(name: str) -> str:
    return _base(DERIVED[name][0]) if name in DERIVED else name


def _value(name: str, facts: Facts) -> str:
    if name in facts:
        return facts[name]
    if name in DERIVED:
        source, rule = DERIVED[name]
        return rule(_value(source, facts))
    return name  # what is no fact is a noun that stands for itself


def _filled(slot: str, facts: Facts) -> str:
    """The words of a slot."""
    *how, last = (word[:1].lower() + word[1:] for word in slot.split())
    value = _value(last, facts)
    match how:
        case ["a"]:
            value = f"{article(value)} {value}"
        case ["some"]:
            value = f"some {value}" if value in MASS_FOODS else f"{article(value)} {value}"
        case ["plural"]:
            value = plural(value)
        case ["count", number]:
            value = counted(_value(number, facts), value)
        case []:
            pass
        case _:
            raise ValueError(f"{{{slot}}}: expected a, some, plural or count NUMBER, and a fact")
    return value[:1].upper() + value[1:] if slot[0].isupper() else value


def _spoken(text: str, facts: Facts, lots: Lots) -> str:
    return "".join(lots.choice(part.values(facts)) for part in parse(text))


def _bigrams_of(text: str, plot: Plot) -> Iterator[tuple[str, str]]:
    """Of one sentence, given all values that its facts can take."""
    # A part without a word would hide that those around it are neighbors.
    parts = [part for part in parse(text) if part.slot or words_of(part.options[0])]
    for part in parts:
        for said in _sayings((part,), plot):
            yield from itertools.pairwise(said[0])
    for pair in itertools.pairwise(parts):
        for left, right in _sayings(pair, plot):
            yield left[-1], right[0]
    for (first,) in _sayings((parts[0],), plot):
        yield START, first[0]
    for (last,) in _sayings((parts[-1],), plot):
        yield last[-1], END


def _sayings(parts: tuple[Part, ...], plot: Plot) -> Iterator[tuple[list[str], ...]]:
    """The words of some parts under every assignment of their facts."""
    names = sorted(frozenset[str]().union(*(part.facts for part in parts)))
    for values in itertools.product(*(domain(plot, name) for name in names)):
        facts = dict(zip(names, values, strict=True))
        if any(facts.get(a) == facts.get(b) is not None for a, b in DIFFERENT.items()):
            continue
        for said in itertools.product(*(part.values(facts) for part in parts)):
            yield tuple(words_of(text) for text in said)
