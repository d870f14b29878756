"""The pairs as sound: some of each kind, both members of a pair by one voice in one manner."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from audiolm_jax.artifacts.atomic import write_text
from tools.lots import Lots
from tools.stories.grammar import story
from tools.stories.pairs import KINDS, AgreementPair, SentencePair, WordPair, form_of
from tools.stories.speakers import FAST_SPEAKERS, Speaker

FOLDER = "pairs"  # of a corpus
_PER_TYPE = 50  # agreement pairs spoken of each type
_EVERY = 2  # every second word pair is spoken


class SpokenPair(NamedTuple):
    """A line of pairs.tsv; paths are below the table's folder."""

    kind: str  # agreement, spot_the_word (a word alone) or spot_in_sentence
    type: str  # of agreement: pronoun, article ...; of words: word, in_sentence
    speaker: str
    voice: str  # heard or held_out: whether training hears the speaker
    good: str
    bad: str
    good_text: str  # words, or phones
    bad_text: str


@dataclasses.dataclass(frozen=True)
class Member:
    """One of the two of a pair: a file."""

    path: str  # below the folder of the corpus
    speaker: Speaker
    pieces: tuple[str, ...]  # sentences, or the phones of a word or of a sentence
    key: tuple[str, ...]  # the same of both members: so are pauses and breath


@dataclasses.dataclass(frozen=True)
class PairPlan:
    """What is spoken of the pairs."""

    rows: Sequence[SpokenPair]
    texts: Sequence[Member]  # members made of words
    phones: Sequence[Member]  # members made of phones

    def write_table(self, directory: Path) -> None:
        """pairs.tsv of a corpus; written once all files are there."""
        lines = ("\t".join(row) + "\n" for row in (SpokenPair._fields, *self.rows))
        write_text(directory / FOLDER / "pairs.tsv", "".join(lines))


def plan_pairs(
    agreement: Sequence[AgreementPair],
    words: Sequence[WordPair],
    sentences: Sequence[SentencePair],
) -> PairPlan:
    """Which pairs are spoken and by whom: of each type half by voices that training hears, and
    hears much.

    Phones can only be spoken by hibari.
    """
    rows: list[SpokenPair] = []
    texts: list[Member] = []
    phones: list[Member] = []
    turns: Counter[str] = Counter()
    everyone = [speaker for speaker in FAST_SPEAKERS if speaker.share == 1]
    hibari = [speaker for speaker in everyone if speaker.engine == "hibari"]
    for pair in _balanced(agreement):
        good = _sentences(pair)
        bad = (*good[:-1], pair.bad[len(pair.good) - len(good[-1]) :])
        name = f"{pair.kind}_{pair.story:09d}"
        row = _row(turns, everyone, "agreement", pair.kind, name, pair.good, pair.bad)
        rows.append(row)
        texts += _members(row, name, good, bad)
    for word in words[::_EVERY]:
        spoken = word.phones, word.nonword
        row = _row(turns, hibari, "spot_the_word", "word", word.word, *spoken)
        rows.append(row)
        phones += _members(row, word.word, *((f"{member}.",) for member in spoken))
    alone = {word.word for word in words[::_EVERY]}
    for told in sentences:
        if told.word in alone:
            spoken = told.good, told.bad
            row = _row(turns, hibari, "spot_in_sentence", "in_sentence", told.word, *spoken)
            rows.append(row)
            phones += _members(row, told.word, *((member,) for member in spoken))
    return PairPlan(rows, texts, phones)


def _balanced(pairs: Sequence[AgreementPair]) -> list[AgreementPair]:
    """The first of each type, right words as balanced as in the table."""
    chosen: list[AgreementPair] = []
    forms: Counter[tuple[str, str]] = Counter()
    for pair in pairs:
        form = (pair.kind, form_of(pair))
        of_type = sum(count for (kind, _), count in forms.items() if kind == pair.kind)
        if of_type < _PER_TYPE and forms[form] * KINDS[pair.kind] < _PER_TYPE:
            forms[form] += 1
            chosen.append(pair)
    return chosen


def _sentences(pair: AgreementPair) -> tuple[str, ...]:
    """The sentences of the right text: the last is the one with the exchanged word."""
    told = story(pair.story).sentences
    for number in range(len(told)):
        for parts in (told[number : number + 1], told[max(number - 1, 0) : number + 1]):
            if " ".join(parts) == pair.good and pair.bad.startswith(" ".join(parts[:-1])):
                return tuple(parts)
    raise ValueError(f"story {pair.story}: holds no {pair.good!r}")


def _row(
    turns: Counter[str],
    speakers: Sequence[Speaker],
    kind: str,
    type_: str,
    name: str,
    good: str,
    bad: str,
) -> SpokenPair:
    """Heard and held-out voices by turns, drawn by the pair's name."""
    held_out = turns[type_] % 2 == 1
    turns[type_] += 1
    able = [speaker for speaker in speakers if speaker.held_out == held_out]
    speaker = Lots("voice of a pair", kind, name).choice(able)
    paths = f"{kind}/{name}_good.flac", f"{kind}/{name}_bad.flac"
    voice = "held_out" if held_out else "heard"
    return SpokenPair(kind, type_, speaker.name, voice, *paths, good, bad)


def _members(row: SpokenPair, name: str, *pieces: tuple[str, ...]) -> list[Member]:
    speaker = next(speaker for speaker in FAST_SPEAKERS if speaker.name == row.speaker)
    key = ("pair", row.kind, name)
    return [
        Member(f"{FOLDER}/{path}", speaker, own, key)
        for path, own in zip((row.good, row.bad), pieces, strict=True)
    ]
