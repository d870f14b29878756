"""Pairs of which a model of the world should find the first more likely than the second.

Agreement pairs are stretches of stories, right and with one word exchanged. Word pairs are a word
of the world and a sequence of phones that is no English word.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import NamedTuple

from tools.lots import Lots
from tools.stories.grammar import Story, domain, story, words_of
from tools.stories.plots import PLOTS
from tools.stories.words import ANIMALS, FAMILY, FOODS, NUMBERS, OBJECTS, PEOPLE, PLANTS, plural

# Kind -> number of forms of the right word that are to be equally common among its pairs.
KINDS = {"pronoun": 4, "article": 2, "verb": 2, "plural": 2, "object": 1, "color": 1}
_MORE_NOUNS = ("day", "week", "hour", "minute", "coin", "seed", "time")
_PLURALS = {noun: plural(noun) for noun in (*ANIMALS, *FOODS, *OBJECTS, *PLANTS, *_MORE_NOUNS)}
_SINGULARS = {many: noun for noun, many in _PLURALS.items()}
_PERSONS = frozenset((*FAMILY, *PEOPLE, "guest"))
_TOKEN = re.compile(r"[A-Za-z]+")
# Of the alphabet that hibari and Kokoro share.
VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵊᵻɐeoɚ")  # noqa: RUF001
_STRESS = "ˈˌ"
_MARKS = ".,!?"  # behind a word of a sentence
_MAX_DRAWS = 300


class AgreementPair(NamedTuple):
    """One or more sentences, and the same with one word exchanged."""

    kind: str
    good: str
    bad: str
    good_word: str
    bad_word: str
    position: int  # of that word, among the words of the text
    story: int


class WordPair(NamedTuple):
    """A word and a non-word with as many phones, vowels where the word has vowels."""

    word: str
    phones: str
    nonword: str  # phones


class SentencePair(NamedTuple):
    """A sentence as phones, and the same with a word exchanged for its non-word."""

    word: str
    sentence: str
    position: int  # of the word, among those of the sentence
    good: str  # phones, with the sentence's commas and full stops
    bad: str
    story: int


def agreement_pairs(seeds: Iterable[int], per_kind: int) -> list[AgreementPair]:
    """`per_kind` pairs of each kind, if the stories have them; at most one of a kind a story."""
    pairs: list[AgreementPair] = []
    counts: Counter[str] = Counter()
    forms: Counter[tuple[str, str]] = Counter()
    for seed in seeds:
        if all(counts[kind] >= per_kind for kind in KINDS):
            break
        told, lots, kinds = story(seed), Lots("pairs", seed), set()
        found = list(pairs_of(told))
        while found:
            pair = found.pop(lots.below(len(found)))
            form = (pair.kind, form_of(pair))
            full = counts[pair.kind] >= per_kind
            if full or pair.kind in kinds or forms[form] * KINDS[pair.kind] >= per_kind:
                continue
            pairs.append(pair)
            kinds.add(pair.kind)
            counts[pair.kind] += 1
            forms[form] += 1
    return sorted(pairs, key=lambda pair: (list(KINDS).index(pair.kind), pair.story))


def form_of(pair: AgreementPair) -> str:
    """What is to be balanced: the right word of closed classes, singular or plural of a noun."""
    if pair.kind == "plural":
        return "plural" if pair.good_word in _SINGULARS else "singular"
    if pair.kind == "pronoun":
        groups = {"him": "his", "himself": "his", "herself": "her"}
        return groups.get(pair.good_word, pair.good_word)
    return pair.good_word if KINDS[pair.kind] > 1 else ""


def pairs_of(told: Story) -> Iterator[AgreementPair]:
    """All pairs that a story offers."""
    swapped = story(told.seed, other_pronouns=True)
    for number, sentence in enumerate(told.sentences):
        yield from _articles(told, sentence)
        yield from _numbers(told, sentence)
        yield from _pronouns(told, swapped, number)
        if number:
            yield from _references(told, told.sentences[number - 1], sentence)


def _pair(kind: str, told: Story, text: str, position: int, word: str) -> AgreementPair:
    token = list(_TOKEN.finditer(text))[position]
    good = token.group().lower()
    shown = word.capitalize() if token.group()[0].isupper() else word
    bad = text[: token.start()] + shown + text[token.end() :]
    return AgreementPair(kind, text, bad, good, word, position, told.seed)


def _articles(told: Story, sentence: str) -> Iterator[AgreementPair]:
    for position, word in enumerate(words_of(sentence)):
        if word in ("a", "an"):
            yield _pair("article", told, sentence, position, "an" if word == "a" else "a")


def _numbers(told: Story, sentence: str) -> Iterator[AgreementPair]:
    """A noun after its number, and was or were beside the two."""
    words = words_of(sentence)
    for position, number in enumerate(words[:-1]):
        noun = words[position + 1]
        if number not in NUMBERS or (noun not in _PLURALS and noun not in _SINGULARS):
            continue
        other = _SINGULARS[noun] if number != "one" else _PLURALS[noun]
        if (number, noun) == ("one", "day"):  # a time, no count
            continue
        if other != noun:
            yield _pair("plural", told, sentence, position + 1, other)
        before = position - 2 if words[position - 1] == "only" else position - 1
        for place in (before, position + 2):
            is_age = words[max(place - 1, 0)] in ("he", "she")
            if 0 <= place < len(words) and words[place] in ("was", "were") and not is_age:
                verb = "were" if words[place] == "was" else "was"
                yield _pair("verb", told, sentence, place, verb)


def _pronouns(told: Story, swapped: Story, number: int) -> Iterator[AgreementPair]:
    """He, she, his, her or him after the hero's name, and after nobody else's."""
    sentence = told.sentences[number]
    context = told.sentences[number - 1] if number else ""
    hero, friend = told.facts["hero"].lower(), told.facts.get("friend", "").lower()
    text = sentence if hero in words_of(sentence) or not context else f"{context} {sentence}"
    words = words_of(text)
    if hero not in words or friend in words:
        return
    wrong = words_of(swapped.sentences[number])
    start = len(words) - len(wrong)  # only the sentence itself is asked about
    for position, word in enumerate(wrong, start):
        others = _PERSONS.intersection(words[:position])
        if word != words[position] and position > words.index(hero) and not others:
            yield _pair("pronoun", told, text, position, word)


def _references(told: Story, context: str, sentence: str) -> Iterator[AgreementPair]:
    """A thing that the sentence before has introduced, with another noun or another color."""
    for noun_fact, color_fact in (("object", "color"), ("gift", "tint")):
        noun, color = told.facts.get(noun_fact), told.facts.get(color_fact)
        if not noun or not color:
            continue
        named = f"{color} {noun}"
        again = re.compile(rf"\b(the|my|your|this|broken) {named}\b")
        if not re.search(rf"\b{named}\b", context) or not again.search(sentence):
            continue
        text = f"{context} {sentence}"
        words = words_of(text)
        position = max(p for p in range(1, len(words)) if words[p - 1 : p + 1] == [color, noun])
        # Nothing else that the two sentences speak of may become right.
        lots = Lots("reference", told.seed, position)
        plot, others = PLOTS[told.plot], {*words, *told.facts.values()}
        nouns = [noun for noun in domain(plot, noun_fact) if noun not in others]
        colors = [color for color in domain(plot, color_fact) if color not in others]
        yield _pair("object", told, text, position, lots.choice(nouns))
        yield _pair("color", told, text, position - 1, lots.choice(colors))


def word_pairs(
    words: Collection[str], pronounce: Callable[[str], str], english: Collection[str], seed: int = 0
) -> list[WordPair]:
    """A pair for each word of three phones or more that has one.

    A third of the word's phones, drawn at random, are replaced by others, vowels by vowels with the
    same stress, as often as they occur in the words. Each two neighbors occur in some word, and the
    first and the last two begin and end one. The result is none of `english`, pronunciations of
    any words.
    """
    spoken = {word: split_phones(pronounce(word)) for word in sorted(words)}
    phones = [phone for sequence in spoken.values() for phone in sequence]
    neighbors = {pair for sequence in spoken.values() for pair in _neighbors(sequence)}
    alike = {phone: [p for p in phones if _kind(p) == _kind(phone)] for phone in set(phones)}
    taken = {unstressed(text) for text in english}
    taken |= {unstressed("".join(sequence)) for sequence in spoken.values()}
    pairs = []
    for word, sequence in spoken.items():
        lots = Lots("word", seed, word)
        for _ in range(_MAX_DRAWS if len(sequence) >= 3 else 0):
            drawn = list(sequence)
            for _ in range(max(1, len(sequence) // 3)):
                position = lots.below(len(drawn))
                drawn[position] = lots.choice(alike[drawn[position]])
            nonword = "".join(drawn)
            if unstressed(nonword) not in taken and neighbors.issuperset(_neighbors(drawn)):
                taken.add(unstressed(nonword))
                pairs.append(WordPair(word, "".join(sequence), nonword))
                break
    return pairs


def sentence_pairs(
    words: Iterable[WordPair], seeds: Iterable[int], pronounce: Callable[[str], str]
) -> list[SentencePair]:
    """Each word in the first sentence of the stories that holds it once, and says it as it does
    alone; a sentence serves one word. `pronounce` gives words of a sentence between spaces."""
    missing = {word.word: word for word in words}
    pairs = []
    for seed in seeds:
        if not missing:
            break
        for sentence in story(seed).sentences:
            spoken = words_of(sentence)
            wanted = [word for word in spoken if word in missing and spoken.count(word) == 1]
            phones = pronounce(sentence).split() if wanted else []
            if len(phones) != len(spoken):  # a number or the like that is several words
                continue
            for word in wanted:
                pair, position = missing[word], spoken.index(word)
                before, found, behind = phones[position].partition(pair.phones)
                if found and not before.strip(_STRESS) and not behind.strip(_MARKS):
                    changed = list(phones)
                    changed[position] = before + pair.nonword + behind
                    texts = " ".join(phones), " ".join(changed)
                    pairs.append(SentencePair(word, sentence, position, *texts, seed))
                    del missing[word]
                    break
    return sorted(pairs)


def split_phones(text: str) -> list[str]:
    """The phones of a pronunciation, a vowel with its stress before it."""
    return re.findall(rf"[{_STRESS}]?[^{_STRESS}\s]", text)


def unstressed(phones: str) -> str:
    """A pronunciation without marks of stress."""
    return phones.translate({ord(mark): None for mark in _STRESS})


def _kind(phone: str) -> tuple[bool, str]:
    return phone[-1] in VOWELS, phone[:-1]


def _neighbors(phones: list[str]) -> set[tuple[str, ...]]:
    """All pairs without stress, the first and the last one marked as such."""
    bare = [phone[-1] for phone in phones]
    pairs = [("", *pair) for pair in itertools.pairwise(bare)]
    return {("#", *bare[:2]), *pairs, (*bare[-2:], "#")}
