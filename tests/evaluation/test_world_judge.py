"""What was heard, counted by hand in a world of ten words."""

import re

import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import HeardWord
from audiolm_jax.evaluation.world.judge import Errors, Said, ends_sentence, errors_of, judge
from audiolm_jax.evaluation.world.language import END, START, read_world

PAIRS = [(START, "leo"), (START, "the"), (START, "two"), ("pears", END), ("pear", END)]
PAIRS += [("leo", END), ("leo", "ate"), ("ate", "two"), ("ate", "the"), ("two", "pears")]
PAIRS += [("the", "pear"), ("pear", "said"), ("said", "leo"), ("to", "the"), ("eight", "pears")]
WORDS = ["ate", "eight", "leo", "pear", "pears", "said", "the", "to", "two"]
HOMOPHONES = [("ate", "eight"), ("eight", "ate"), ("to", "two"), ("two", "to"), ("too", "to")]
HOMOPHONES += [("too", "two"), ("pair", "pear"), ("pairs", "pears"), ("they're", "the")]
DIGITS = {"two": "2", "eight": "8", "it's": "it is", "um": "", "they're": "they are"}


def normalize(word):
    """As Whisper's normalizer: digits, contractions in full, fillers left out."""
    return DIGITS.get(word, word)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    (tmp_path / "bigrams.txt").write_text("".join(f"{a} {b}\n" for a, b in PAIRS))
    rows = "".join(f"{a}\t{b}\n" for a, b in HOMOPHONES)
    (tmp_path / "homophones.tsv").write_text("spelling\tword\n" + rows)
    return tmp_path


@pytest.fixture
def world(folder):
    return read_world(folder, normalize)


def heard(text, begin=0.0):
    """Each word takes a second."""
    return [HeardWord(word, begin + n, begin + n + 1.0) for n, word in enumerate(text.split())]


def test_texts_are_read_as_the_world_spells_them(world):
    assert world.read("Leo ate 2 pears.") == ["leo", "ate", "two", "pears"]
    assert world.read("LEO, ate: eight-8 [music] (laughs) um pairs?!") == [
        *("leo", "ate", "eight", "eight", "pairs")
    ]
    assert world.read("2, 8") == ["two", "eight"]  # not 28
    assert world.read("it\N{RIGHT SINGLE QUOTATION MARK}s") == ["it", "is"]
    assert world.read("they're") == ["they're"]  # sounds like a word of the world, "they" is none
    assert world.read(" ... ") == []
    assert world.read("twopears") == ["two", "pears"]  # a pair of the world in one word
    assert world.read("thetwo pear") == ["thetwo", "pear"]  # no pair, and a word already


def test_what_sounds_alike_is_the_same(world):
    assert world.candidates("too") == ("to", "two")
    assert world.candidates("two") == ("two", "to")
    assert world.candidates("dog") == ()
    assert world.is_known("pair")
    assert not world.is_known("dog")
    assert world.is_legal("8", "pears") is False  # texts are read first
    assert world.is_legal("ate", "too")
    assert world.is_legal("leo", "eight")  # for Leo ate
    assert world.is_legal("ate", "pairs")  # for eight pears
    assert not world.is_legal("two", "leo")
    assert not world.is_legal("pears", "leo")
    assert world.is_legal("pears", "leo", is_end_between=True)
    assert not world.is_legal("ate", "leo", is_end_between=True)  # no sentence ends in "ate"
    assert not world.is_legal("pears", "said", is_end_between=True)  # none begins with "said"
    assert world.is_legal("pear", "said", is_end_between=True)  # "The pear?" said Leo.
    assert world.as_sounds(["two", "too", "pair", "dog"]) == "to to pear dog"


def test_word_errors_with_and_without_homophones(world):
    """Reference of 6 words; heard: eight for ate, pairs for pears, dog for leo, "the" too many."""
    transcript = "Leo ate two pears. Said Leo."
    assert errors_of(world, transcript, "Leo eight 2 pairs the said dog") == Errors(6, 2, 4, 25, 7)
    assert errors_of(world, transcript, "") == Errors(6, 6, 6, 25, 25)
    assert errors_of(world, transcript, "leo 8 too pears, said Leo") == Errors(6, 0, 2, 25, 0)


def test_words_pairs_and_sentences_of_a_whole_clip(world):
    said = judge(world, heard("Leo ate two pears. The dog! Two pairs."), 0.0, 10.0, is_cut=False)
    # Pairs: leo ate, ate two, two pears, pears. the, (the dog), (dog two), two pears; all legal.
    assert said == Said(10.0, words=8, known=7, pairs=5, legal=5, sentences=3, whole=2)
    said = judge(world, heard("Two leo. Ate the"), 0.0, 4.0, is_cut=False)
    # two leo: no; leo. ate: a pair within a sentence; ate the: yes. The sentence breaks a pair.
    assert said == Said(4.0, words=4, known=4, pairs=3, legal=2, sentences=1, whole=0)
    silence = judge(world, [], 0.0, 4.0, is_cut=True)
    assert silence == Said(4.0, 0, 0, 0, 0, 0, 0)


def test_only_what_follows_the_prompt_is_judged_and_the_cut_word_is_not(world):
    clip = heard("Dog leo ate the pear. Two pears the...")
    # The prompt is "dog leo"; the last word is cut. Its pair with the prompt's last word counts.
    said = judge(world, clip, 2.0, 8.0, is_cut=True)
    assert said == Said(6.0, words=5, known=5, pairs=5, legal=5, sentences=1, whole=1)
    # With nothing cut: "pears the" is no pair.
    said = judge(world, clip, 2.0, 8.0, is_cut=False)
    assert said == Said(6.0, words=6, known=6, pairs=6, legal=5, sentences=1, whole=1)
    # The first word's partner is unknown: no pair, and no fault of the ending's.
    said = judge(world, clip, 1.0, 8.0, is_cut=True)
    assert said == Said(7.0, words=6, known=6, pairs=5, legal=5, sentences=1, whole=1)
    # A middle at the prompt's end is the prompt's.
    assert judge(world, clip, 2.5, 8.0, is_cut=True).words == 4
    assert judge(world, heard("Leo"), 0.0, 1.0, is_cut=True).words == 0


def test_a_sentence_is_whole_by_its_ends_too(world):
    def of(text):
        said = judge(world, heard(text), 0.0, 9.0, is_cut=False)
        return said.sentences, said.whole

    assert of("Leo ate two pears.") == (1, 1)
    assert of("Ate two pears.") == (1, 0)  # no sentence begins so
    assert of("Leo ate two.") == (1, 0)  # nor ends so
    assert of("Leo ate two pears") == (0, 0)
    assert of('"The pear?" said Leo.') == (2, 2)  # the break is a pair of the world
    assert of("Leo ate two pears... Leo ate the") == (0, 0)


def test_ends_of_sentences():
    assert all(ends_sentence(text) for text in ("a.", 'a."', "a!", "a?'"))
    broken_off = "a\N{HORIZONTAL ELLIPSIS}"
    assert not any(ends_sentence(text) for text in ("a", "a,", "a...", broken_off, ""))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("words.txt", None, "no words.txt there; ./launch/stories.sh makes it"),
        ("bigrams.txt", None, "no bigrams.txt there"),
        ("words.txt", "", "words.txt: is empty"),
        ("words.txt", "leo\nate it\n", "words.txt, line 2: 'ate it', expected 1 word"),
        ("bigrams.txt", "leo\n", "bigrams.txt, line 1: 'leo', expected 2 words"),
        ("bigrams.txt", "leo dog\n", "bigrams.txt, line 1: dog is not in words.txt"),
        ("homophones.tsv", "a\tb\npair\tdog\n", "homophones.tsv, line 2: dog is not in words.txt"),
        ("homophones.tsv", "a\tb\npair pear\n", "homophones.tsv, line 2"),
    ],
)
def test_worlds_that_make_no_sense(folder, name, text, message):
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=re.escape(message)):
        read_world(folder, normalize)


def test_a_world_without_homophones(folder):
    (folder / "homophones.tsv").unlink()
    world = read_world(folder, normalize)
    assert not world.is_known("pair")
    assert world.as_sounds(["leo", "eight", "pairs"]) == "leo eight pairs"
