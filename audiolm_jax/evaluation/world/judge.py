"""Counts of what was heard: words and pairs of the world, sentences, errors."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from audiolm_jax.evaluation.measures.recognition import HeardWord, count_errors
from audiolm_jax.evaluation.world.language import END, START, World

_ENDS = (".", "?", "!")
_QUOTES = "\"'\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}"
_QUOTES += "\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"


@dataclasses.dataclass(frozen=True)
class Said:
    """Sums of one clip; ratios of them are the measures."""

    seconds: float  # of sound
    words: int  # heard
    known: int  # of these, words of the world
    pairs: int  # neighboring words that are both of the world
    legal: int  # of these, pairs that the grammar can make
    sentences: int  # sentence ends heard
    whole: int  # of these sentences, those right from first to last word, as far as judged


@dataclasses.dataclass(frozen=True)
class Errors:
    """Words and characters of a transcript, and edits between it and what was heard."""

    words: int
    errors: int  # words that sound alike being equal
    spelled: int  # the same with every word as it is spelled
    characters: int = 0  # those between words too; 0 in reports that did not count them
    character_errors: int = 0  # words that sound alike being equal


class _Token(NamedTuple):
    word: str
    middle: float  # seconds
    is_end: bool  # whether a sentence was heard to end after it


def judge(
    world: World, heard: Sequence[HeardWord], from_seconds: float, seconds: float, is_cut: bool
) -> Said:
    """Judges the words whose middle lies after `from_seconds`, in a clip of so many `seconds` that
    was heard from its beginning. The last word is left out if the sound `is_cut` where it stands.

    The first word's pair is with the word before it, of the prompt. A sentence counts where its end
    was heard, with the part of it that is judged: it is whole if all its words are of the world,
    all their pairs legal, and its ends are legal ones, or pairs with the words beyond.
    """
    tokens = _tokens(world, heard)
    if is_cut:
        tokens = tokens[:-1]
    first = sum(token.middle <= from_seconds for token in tokens)
    known = [world.is_known(token.word) for token in tokens]
    # Whether a word and the one before it are right within a sentence, and as they were heard.
    within, right = [False] * len(tokens), [False] * len(tokens)
    for place in range(1, len(tokens)):
        before, word = tokens[place - 1], tokens[place].word
        within[place] = world.is_legal(before.word, word)
        right[place] = world.is_legal(before.word, word, before.is_end)
    pairs = [
        place for place in range(max(first, 1), len(tokens)) if all(known[place - 1 : place + 1])
    ]
    sentences, whole, begin = 0, 0, 0
    for place, token in enumerate(tokens):
        if not token.is_end:
            continue
        if place >= first:
            start = max(begin, first)
            inner = [
                p for p in range(start, place + 1) if p > begin and (p > first or known[p - 1])
            ]
            begins = start > begin or within[begin] or world.is_legal(START, tokens[begin].word)
            ends = place + 1 < len(tokens) and within[place + 1]
            ends = ends or world.is_legal(token.word, END)
            sentences += 1
            whole += (
                all(known[start : place + 1]) and all(within[p] for p in inner) and begins and ends
            )
        begin = place + 1
    return Said(
        seconds=seconds - from_seconds,
        words=len(tokens) - first,
        known=sum(known[first:]),
        pairs=len(pairs),
        legal=sum(right[place] for place in pairs),
        sentences=sentences,
        whole=whole,
    )


def _tokens(world: World, heard: Sequence[HeardWord]) -> list[_Token]:
    tokens = []
    for item in heard:
        words = world.read(item.text)
        ends = [False] * (len(words) - 1) + [ends_sentence(item.text)]
        tokens += [_Token(word, item.middle, end) for word, end in zip(words, ends, strict=False)]
    return tokens


def ends_sentence(text: str) -> bool:
    """Whether the punctuation ends a sentence; three dots break it off."""
    bare = text.rstrip(_QUOTES)
    return bare.endswith(_ENDS) and not bare.endswith("..")


def errors_of(world: World, transcript: str, heard: str) -> Errors:
    """Of a whole clip; its transcript must have words."""
    true, found = world.read(transcript), world.read(heard)
    alike = count_errors(world.as_sounds(true), world.as_sounds(found))
    spelled = count_errors(" ".join(true), " ".join(found))
    characters = alike.characters, alike.character_errors
    return Errors(alike.words, alike.word_errors, spelled.word_errors, *characters)
