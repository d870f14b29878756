"""A closed world of words: which words there are, which may stand side by side, and what a
recognizer's spelling means in it."""

import dataclasses
import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.errors import InputError

WORDS, BIGRAMS, HOMOPHONES = "words.txt", "bigrams.txt", "homophones.tsv"
START, END = "<s>", "</s>"
_BRACKETS = re.compile(r"[<\[][^>\]]*[>\]]|\([^)]*\)")  # [music], (laughs): as Whisper's rules do
_TOKEN = re.compile(r"[^\W_]+(?:['\N{RIGHT SINGLE QUOTATION MARK}][^\W_]+)*")


@dataclasses.dataclass(frozen=True)
class World:
    """Words and pairs, with the rules by which texts are read."""

    words: frozenset[str]
    bigrams: frozenset[tuple[str, str]]  # START and END at the ends of sentences
    homophones: Mapping[str, tuple[str, ...]]  # spelling -> words of the world it may stand for
    # What the recognizer's normalizer makes of a word alone: "2" of "two" and of "2".
    normalize: Callable[[str], str]

    @functools.cached_property
    def _own(self) -> dict[str, str]:
        """Words of the world by what the normalizer makes of them."""
        own: dict[str, str] = {}
        for word in sorted(self.words):
            own.setdefault(self.normalize(word), word)
        return own

    @functools.cached_property
    def _sounds(self) -> dict[str, str]:
        """One name for all words of the world that sound alike."""
        return _classes(self.words, self.homophones)

    def read(self, text: str) -> list[str]:
        """The words of a text: a word of the world as the world spells it, whatever digits or other
        spelling stand for it; any other as the normalizer has it, or as two words of the world that
        may follow each other, if it is those in one ("anymore").

        Words are normalized one by one, for numbers side by side would become one.
        """
        plain = _BRACKETS.sub(" ", text.lower()).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        return [word for token in _TOKEN.findall(plain) for word in self._words_of(token)]

    def _words_of(self, token: str) -> list[str]:
        if token in self.words:
            return [token]
        found = [self._own.get(word, word) for word in self.normalize(token).split()]
        if token in self.homophones and not all(word in self.words for word in found):
            return [token]  # "it's" is not in a world without "is", its sound may be
        return [part for word in found for part in self._parts(word)]

    def _parts(self, word: str) -> list[str]:
        if not self.is_known(word):
            for place in range(1, len(word)):
                if (word[:place], word[place:]) in self.bigrams:
                    return [word[:place], word[place:]]
        return [word]

    def candidates(self, word: str) -> tuple[str, ...]:
        """The words of the world that sound like it, itself first if it is one; none for others."""
        own = (word,) if word in self.words else ()
        return tuple(dict.fromkeys(own + self.homophones.get(word, ())))

    def is_known(self, word: str) -> bool:
        """Whether it sounds like a word of the world."""
        return bool(self.candidates(word))

    def is_legal(self, first: str, second: str, is_end_between: bool = False) -> bool:
        """Whether the grammar can put the second right after the first, START and END among them.

        Where the recognizer heard a sentence end between the two, they may also be last and first
        of two sentences: "?" stands within sentences of speech and answer too.
        """
        lefts, rights = self._or_bound(first), self._or_bound(second)
        if any((left, right) in self.bigrams for left in lefts for right in rights):
            return True
        return (
            is_end_between
            and any((left, END) in self.bigrams for left in lefts)
            and any((START, right) in self.bigrams for right in rights)
        )

    def _or_bound(self, word: str) -> tuple[str, ...]:
        return (word,) if word in (START, END) else self.candidates(word)

    def as_sounds(self, words: Iterable[str]) -> str:
        """Words with one spelling for all that sound alike, for counting errors."""
        return " ".join(
            self._sounds[candidates[0]] if (candidates := self.candidates(word)) else word
            for word in words
        )


def _classes(words: Collection[str], homophones: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """One name for all words of the world that sound alike."""
    name = {word: word for word in words}
    for word in sorted(words):
        for other in homophones.get(word, ()):
            low, high = sorted((name[word], name[other]))
            name = {key: low if value == high else value for key, value in name.items()}
    return name


def read_world(folder: Path, normalize: Callable[[str], str]) -> World:
    """The folder's words.txt (a word a line), bigrams.txt (two a line) and, if it is there,
    homophones.tsv (spelling, word); InputError for a line that is not understood."""
    words = frozenset(word for _, (word,) in _rows(folder / WORDS, None, 1))
    bigrams = set()
    for where, (first, second) in _rows(folder / BIGRAMS, None, 2):
        for word, bound in ((first, START), (second, END)):
            if word != bound and word not in words:
                raise InputError(f"{where}: {word} is not in {WORDS}; make the world again")
        bigrams.add((first, second))
    homophones: dict[str, tuple[str, ...]] = {}
    if (folder / HOMOPHONES).is_file():
        rows = _rows(folder / HOMOPHONES, "\t", 2)
        for where, (spelling, word) in rows[1:]:
            if word not in words:
                raise InputError(f"{where}: {word} is not in {WORDS}; make the world again")
            homophones[spelling] = (*homophones.get(spelling, ()), word)
    return World(words, frozenset(bigrams), homophones, normalize)


def world_facts(folder: Path) -> dict[str, str]:
    """SHA-256 of each of its files."""
    return {
        name: file_sha256(folder / name)
        for name in (WORDS, BIGRAMS, HOMOPHONES)
        if (folder / name).is_file()
    }


def _rows(path: Path, separator: str | None, columns: int) -> list[tuple[str, list[str]]]:
    """Where each line is, and its cells."""
    if not path.is_file():
        raise InputError(
            f"--world {path.parent}: no {path.name} there; ./launch/stories.sh makes it"
        )
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        cells = line.split(separator)
        if len(cells) != columns:
            expected = f"expected {columns} {'word' if columns == 1 else 'words'}"
            raise InputError(f"{path}, line {number}: {line!r}, {expected}")
        rows.append((f"{path}, line {number}", cells))
    if not rows:
        raise InputError(f"{path}: is empty; make the world again")
    return rows
