"""Pairs as sound: who says what, that members differ in nothing else, and files that survive."""

import csv
import functools
import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tools.lots import Lots
from tools.stories import make
from tools.stories.corpus import is_held_out, tell, tellings_in, write_tellings
from tools.stories.grammar import words_of
from tools.stories.options import parse
from tools.stories.pairs import KINDS, SentencePair, WordPair, agreement_pairs
from tools.stories.speakers import FAST_SPEAKERS, Speaker
from tools.stories.spoken_pairs import PairPlan, plan_pairs

WORDS = [WordPair(f"word{n}", f"wɜɹd{n}", f"wæɹd{n}") for n in range(9)]
SENTENCES = [
    SentencePair(f"word{n}", "", 1, f"ðə wɜɹd{n}, wʌz.", f"ðə wæɹd{n}, wʌz.", 4) for n in range(7)
]
SPEAKERS = {speaker.name: speaker for speaker in FAST_SPEAKERS}


@functools.cache
def plan() -> PairPlan:
    held_out = filter(is_held_out, itertools.count())
    return plan_pairs(agreement_pairs(held_out, 60), WORDS, SENTENCES)


def fake_say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
    lots = Lots("fake", speaker.name, seed, text)
    return np.array([lots.uniform(-0.1, 0.1) for _ in text], np.float32)


def digests(directory: Path) -> dict[str, str]:
    paths = [path for path in directory.rglob("*") if path.is_file()]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def test_each_type_has_heard_and_held_out_voices_alike():
    rows = plan().rows
    counts = Counter((row.kind, row.type, row.voice) for row in rows)
    for type_ in KINDS:
        assert counts["agreement", type_, "heard"] == counts["agreement", type_, "held_out"] == 25
    assert [row.bad_text for row in rows if row.type == "word"] == [w.nonword for w in WORDS[::2]]
    told = [row.bad_text for row in rows if row.type == "in_sentence"]
    assert told == [pair.bad for pair in SENTENCES[::2]]
    for row in rows:
        assert SPEAKERS[row.speaker].held_out == (row.voice == "held_out")
        assert row.kind == "agreement" or SPEAKERS[row.speaker].engine == "hibari"
    spoken = Counter(row.speaker for row in rows if row.kind == "agreement")
    assert set(spoken) == {name for name, speaker in SPEAKERS.items() if speaker.share == 1}


def test_right_words_are_balanced():
    articles = Counter()
    for row in plan().rows:
        if row.type == "article":
            good, bad = words_of(row.good_text), words_of(row.bad_text)
            articles.update(x for x, y in zip(good, bad, strict=True) if x != y)
    assert articles == {"a": 25, "an": 25}


def test_members_say_their_texts_and_differ_in_the_last_piece_alone():
    files = {member.path: member for member in (*plan().texts, *plan().phones)}
    assert len(files) == 2 * len(plan().rows)
    for row in plan().rows:
        good, bad = files[f"pairs/{row.good}"], files[f"pairs/{row.bad}"]
        assert good.speaker == bad.speaker == SPEAKERS[row.speaker]
        assert good.key == bad.key
        assert good.pieces[:-1] == bad.pieces[:-1]
        assert good.pieces[-1] != bad.pieces[-1]
        mark = "." if row.kind == "spot_the_word" else ""
        assert " ".join(good.pieces) == row.good_text + mark
        assert " ".join(bad.pieces) == row.bad_text + mark
    assert {len(member.pieces) for member in plan().texts} == {1, 2}


def test_members_are_told_with_the_same_breath():
    seeds: dict[str, list[int]] = {}

    def say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
        seeds.setdefault(path, []).append(seed)
        return np.ones(10, np.float32)

    for member in plan().texts[:40]:
        path = member.path
        tell(member, say)
    for good in (path for path in seeds if path.endswith("_good.flac")):
        assert seeds[good] == seeds[good.replace("_good", "_bad")]


def test_a_kill_changes_no_byte_and_files_are_no_stories(tmp_path):
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    members = plan().texts[:30]
    write_tellings(whole, members, fake_say)
    calls = 0

    def dying_say(text: str, speaker: Speaker, seed: int) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 20:
            raise KeyboardInterrupt
        return fake_say(text, speaker, seed)

    with pytest.raises(KeyboardInterrupt):
        write_tellings(halves, members, dying_say)
    assert 0 < len(digests(halves)) < len(members)
    write_tellings(halves, reversed(members), fake_say)
    assert digests(halves) == digests(whole)
    assert tellings_in(whole) == []


def test_the_table_names_every_file(tmp_path):
    plan().write_table(tmp_path)
    with (tmp_path / "pairs" / "pairs.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [tuple(row.values()) for row in rows] == [tuple(row) for row in plan().rows]


def test_pairs_are_part_of_a_run_unless_left_out(tmp_path, monkeypatch):
    spoken = []
    monkeypatch.setattr(make, "_speak", lambda *args, **how: spoken.append((args[1], how)))
    monkeypatch.setattr(make, "write_world", lambda *where: ([], WORDS, SENTENCES))
    make._make(tmp_path, parse(["--no-slow", "--hours", "1"]))
    assert [len(tellings) for tellings, _ in spoken[1:]] == [0, 18]
    assert [how for _, how in spoken] == [{}, {}, {"are_phones": True}]
    assert (tmp_path / "pairs" / "pairs.tsv").is_file()
    spoken.clear()
    make._make(tmp_path / "without", parse(["--no-slow", "--no-pairs"]))
    assert len(spoken) == 1
    assert not (tmp_path / "without" / "pairs").exists()


def test_only_hibari_says_phones():
    voices = make.Voices("flite", Path("kokoro"))
    with pytest.raises(ValueError, match="cannot say phones"):
        voices.say_phones("ə", SPEAKERS["flite_slt"], 0)
