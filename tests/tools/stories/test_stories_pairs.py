# ruff: noqa: RUF001
"""Pairs for evaluation: right against wrong by exactly the word that is named."""

import functools
import itertools
from collections import Counter

import pytest

from tools.stories.corpus import is_held_out
from tools.stories.grammar import END, START, bigrams, story, words_of
from tools.stories.pairs import (
    KINDS,
    VOWELS,
    WordPair,
    agreement_pairs,
    pairs_of,
    sentence_pairs,
    split_phones,
    unstressed,
    word_pairs,
)
from tools.stories.words import COLORS, NUMBERS, OBJECTS

HELD_OUT = [seed for seed in range(60_000) if is_held_out(seed)]


@functools.cache
def all_pairs():
    return agreement_pairs(HELD_OUT, 20)


def test_every_kind_has_its_pairs_and_its_forms_are_balanced():
    assert Counter(pair.kind for pair in all_pairs()) == dict.fromkeys(KINDS, 20)
    forms = Counter((pair.kind, pair.good_word) for pair in all_pairs())
    assert forms["article", "a"] == forms["article", "an"] == 10
    assert forms["verb", "was"] == forms["verb", "were"] == 10
    assert forms["pronoun", "he"] == forms["pronoun", "she"] == 5


def test_pairs_differ_in_exactly_the_stated_word():
    for pair in all_pairs():
        good, bad = words_of(pair.good), words_of(pair.bad)
        assert len(good) == len(bad)
        different = [
            place for place, words in enumerate(zip(good, bad, strict=True)) if len({*words}) > 1
        ]
        assert different == [pair.position]
        assert (good[pair.position], bad[pair.position]) == (pair.good_word, pair.bad_word)


def test_the_right_text_is_of_its_held_out_story():
    for pair in all_pairs():
        assert is_held_out(pair.story)
        assert pair.good in story(pair.story).text


@pytest.mark.parametrize("kind", ["pronoun", "object", "color"])
def test_no_pair_of_words_gives_the_wrong_text_away(kind):
    """What is wrong shows only over a distance; all words that meet do so elsewhere, too."""
    for pair in all_pairs():
        if pair.kind == kind:
            around = words_of(pair.bad)[max(0, pair.position - 1) : pair.position + 2]
            for two in itertools.pairwise(around):
                assert two in bigrams() or crosses(two), pair


def crosses(two: tuple[str, str]) -> bool:
    """Whether a sentence may end with the first word and the next one begin with the second."""
    return (two[0], END) in bigrams() and (START, two[1]) in bigrams()


def test_what_each_kind_exchanges():
    swaps = {
        kind: {(p.good_word, p.bad_word) for p in all_pairs() if p.kind == kind} for kind in KINDS
    }
    assert swaps["article"] == {("a", "an"), ("an", "a")}
    assert swaps["verb"] == {("was", "were"), ("were", "was")}
    assert all({*two} <= set(COLORS) for two in swaps["color"])
    assert all({*two} <= set(OBJECTS) for two in swaps["object"])
    for pair in all_pairs():
        words = words_of(pair.good)
        if pair.kind == "plural":
            assert words[pair.position - 1] in NUMBERS
        if pair.kind == "pronoun":
            assert story(pair.story).facts["hero"].lower() in words[: pair.position]


def test_all_pairs_of_a_story_are_wrong_in_the_same_way():
    found = list(itertools.chain.from_iterable(pairs_of(story(seed)) for seed in range(200)))
    assert {pair.kind for pair in found} == set(KINDS)
    pronouns = {pair.good_word for pair in found if pair.kind == "pronoun"}
    assert pronouns >= {"he", "she", "his", "her", "him"}
    assert all(pair.good_word != pair.bad_word for pair in found)


SAID = {
    "ball": "bˈɔl",
    "bell": "bˈɛl",
    "bin": "bˈɪn",
    "tall": "tˈɔl",
    "tell": "tˈɛl",
    "ten": "tˈɛn",
    "till": "tˈɪl",
    "a": "ɐ",
}


def test_word_pairs_are_of_attested_neighbors_and_no_words():
    english = ["bˈɛn", "bˈɪl"]
    pairs = word_pairs(SAID, SAID.__getitem__, english)
    assert pairs == word_pairs(SAID, SAID.__getitem__, english)
    taken = {unstressed(text) for text in [*SAID.values(), *english]}
    assert pairs
    for pair in pairs:
        assert pair.phones == SAID[pair.word]
        assert unstressed(pair.nonword) not in taken
        shapes = [[p[-1] in VOWELS for p in split_phones(x)] for x in (pair.phones, pair.nonword)]
        assert shapes[0] == shapes[1]
    assert len({pair.nonword for pair in pairs}) == len(pairs)
    assert {unstressed(pair.nonword) for pair in pairs} == {"tɪn"}
    assert "a" not in {pair.word for pair in pairs}


def test_a_sentence_holds_the_word_once_and_differs_in_it_alone():
    def pronounce(text):
        spoken = []
        for word in text.split():
            mark = word[-1] if word[-1] in ".,!?" else ""
            # A word that is said otherwise in a sentence than alone, and one that is two.
            low = word.strip('.,!?"').lower()
            spoken.append({"the": "ðə", "everyone": "ɛvɹi wʌn"}.get(low, f"ˈ{low}") + mark)
        return " ".join(spoken)

    words = [WordPair(w, w, w[:-1] + "z") for w in ("garden", "the", "boy", "unheard", "everyone")]
    words.append(WordPair("was", "was", "waz"))
    seeds = range(4, 4004, 20)
    pairs = sentence_pairs(words, seeds, pronounce)
    assert [pair.word for pair in pairs] == ["boy", "garden", "was"]
    assert pairs == sentence_pairs(words[::-1], seeds, pronounce)
    for pair in pairs:
        assert pair.sentence in story(pair.story).sentences
        assert words_of(pair.sentence).count(pair.word) == 1
        assert pair.good == pronounce(pair.sentence)
        good, bad = pair.good.split(), pair.bad.split()
        differ = [n for n, (x, y) in enumerate(zip(good, bad, strict=True)) if x != y]
        assert differ == [pair.position]
        wrong = good[pair.position].replace(pair.word, pair.word[:-1] + "z")
        assert bad[pair.position] == wrong
    assert len({pair.sentence for pair in pairs}) == 3
    assert sentence_pairs(words, [], pronounce) == []


def test_phones_keep_their_stress():
    assert split_phones("ˌæftəɹnˈun") == ["ˌæ", "f", "t", "ə", "ɹ", "n", "ˈu", "n"]
