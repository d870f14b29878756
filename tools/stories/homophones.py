"""English spellings that sound like words of the world, for a recognizer cannot tell them apart."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from tools.stories.pairs import unstressed

# Other spellings of a name that the lexicon has with another vowel, or does not have.
NAMES = {
    "sarah": "sara",
    "jayne": "jane",
    "mya": "mia",
    "miya": "mia",
    "lilly": "lily",
    "norah": "nora",
    "thom": "tom",
}
_ENDINGS = ("s", "es", "ed", "ing")


class Homophone(NamedTuple):
    """A spelling, and a word of the world that sounds like it."""

    spelling: str
    word: str


def homophones(
    words: Collection[str],
    pronounce: Callable[[str], str],
    lexicon: Iterable[tuple[str, str]],
    names: Mapping[str, str] = NAMES,
) -> list[Homophone]:
    """All pairs of a spelling and another word of `words` with the same phones, stress aside.

    Spellings are those of the `lexicon`, pairs of spelling and pronunciation in lower case, the
    likeliest pronunciation of a spelling first; of them with an ending, where the word of the world
    has it too; and those of `names`. Words are pronounced by `pronounce`, as are endings.
    """
    sounds: dict[str, list[str]] = {}
    for word in sorted(words):
        sounds.setdefault(unstressed(pronounce(word)), []).append(word)
    found = dict.fromkeys(
        Homophone(spelling, word)
        for spelling, phones in lexicon
        for word in sounds.get(unstressed(phones), ())
        if spelling != word
    )
    for alike in sounds.values():
        found |= dict.fromkeys(Homophone(a, b) for a in alike for b in alike if a != b)
    longer = [
        Homophone(pair.spelling + ending, pair.word + ending)
        for pair in found
        for ending in _ENDINGS
        if pair.word + ending in words
    ]
    found |= dict.fromkeys(
        pair
        for pair in longer
        if unstressed(pronounce(pair.spelling)) == unstressed(pronounce(pair.word))
    )
    found |= dict.fromkeys(Homophone(*pair) for pair in names.items() if pair[1] in words)
    # Of a word of the world one sound counts, else two words would be alike that are not.
    own = {word: sound for sound, alike in sounds.items() for word in alike}
    kept = [
        pair for pair in found if pair.spelling not in own or own[pair.spelling] == own[pair.word]
    ]
    return sorted(kept, key=lambda pair: pair.spelling)
