"""Accuracies of minimal pairs counted by hand, their intervals, and the files that name pairs."""

from pathlib import Path

import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures import bootstrap as bootstraps
from audiolm_jax.evaluation.measures.bootstrap import bootstrap
from audiolm_jax.evaluation.pairs.accuracy import outcomes, tabulate
from audiolm_jax.evaluation.pairs.pairs import Pair, read_pairs

NOWHERE = Path("x.wav")


def pair(kind, key, **groups):
    return Pair(kind, key, NOWHERE, NOWHERE, groups)


def means(rows, scorer="m"):
    table = {(row.kind, row.group, row.value): row for row in rows}
    return {key: (row.pairs, row.accuracies[scorer].mean) for key, row in table.items()}


def test_the_higher_score_wins_and_ties_count_one_half():
    good, bad = np.array([-1.0, -2.0, -3.0, -np.inf]), np.array([-2.0, -2.0, -1.0, -np.inf])
    assert outcomes(good, bad).tolist() == [1.0, 0.5, 0.0, 0.5]


def test_accuracies_counted_by_hand():
    pairs = [
        pair("agreement", "1", type="pronoun", voice="heard"),
        pair("agreement", "2", type="pronoun", voice="held_out"),
        pair("agreement", "3", type="article", voice="heard"),
        pair("spot_the_word", "4", type="word", voice="heard"),
    ]
    scored = {"m": np.array([1.0, 0.5, 0.0, 1.0]), "n": np.array([0.0, 0.0, 1.0, 0.5])}
    rows = tabulate(pairs, scored, 0)
    assert means(rows) == {
        ("agreement", "", ""): (3, 0.5),
        ("agreement", "type", "pronoun"): (2, 0.75),
        ("agreement", "type", "article"): (1, 0.0),
        ("agreement", "voice", "heard"): (2, 0.5),
        ("agreement", "voice", "held_out"): (1, 0.5),
        ("spot_the_word", "", ""): (1, 1.0),
    }  # no row for the one type and voice of spot_the_word
    assert means(rows, "n")["agreement", "", ""] == (3, pytest.approx(1 / 3))


def test_voices_of_a_pair_are_averaged_before_pairs():
    """Three voices of one pair weigh as much as the one voice of another."""
    pairs = [*[pair("lexical", "0", length="12")] * 3, pair("lexical", "1", length="3")]
    rows = tabulate(pairs, {"m": np.array([1.0, 1.0, 0.5, 0.0])}, 0)
    assert means(rows) == {
        ("lexical", "", ""): (2, pytest.approx((2.5 / 3 + 0) / 2)),
        ("lexical", "length", "3"): (1, 0.0),  # by size, not as they come
        ("lexical", "length", "12"): (1, pytest.approx(2.5 / 3)),
    }
    assert [row.value for row in rows] == ["", "3", "12"]


def test_intervals_hold_the_truth_as_often_as_they_say():
    rng, covered, truths = np.random.default_rng(0), np.zeros(2), np.array([0.65, 0.5])
    for seed in range(100):
        values = (rng.random((80, 2)) < truths).astype(np.float64)
        for column in (0, 1):
            found = bootstrap(values[:, column], np.ones(80), seed)
            assert found.low <= found.mean <= found.high
            covered[column] += found.low <= truths[column] <= found.high
    # 95 % of 100 scatters by 2.2 %.
    assert (np.abs(covered / 100 - 0.95) < 0.065).all()
    assert bootstrap(np.ones(5), np.ones(5), 0).low == 1.0
    many = bootstrap(np.resize(values[:, 0], 3_000), np.ones(3_000), 0)
    assert 0 < many.high - many.low < 0.04


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch):
    rng = np.random.default_rng(1)
    over, under = rng.random(70), rng.integers(0, 3, 70).astype(np.float64)
    at_once = bootstrap(over, under, 5)
    for most in (1, 70, 1_000, 2_001):
        monkeypatch.setattr(bootstraps, "_MOST_DRAWN", most)
        assert bootstrap(over, under, 5) == at_once


def write_table(folder, rows, header="kind\tspeaker\tgood\tbad\ttype\tgood_text"):
    folder.mkdir(exist_ok=True)
    for row in rows:
        for name in row.split("\t")[2:4]:
            (folder / name).touch()
    (folder / "pairs.tsv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "pairs.tsv"


def test_a_table_is_read(tmp_path):
    rows = ['agreement\tanna\ta.flac\tb.flac\tverb\t"Yes', "spot\tbob\tc.flac\td.flac\tword\tx"]
    first, second = read_pairs(write_table(tmp_path, rows), "dev")
    assert (first.kind, first.good, first.bad) == (
        *("agreement", tmp_path / "a.flac"),
        tmp_path / "b.flac",
    )
    assert (first.groups, second.groups) == ({"type": "verb"}, {"type": "word"})
    assert first.key != second.key


def write_gold(root, kind, lines, header):
    folder = root / kind / "dev"
    folder.mkdir(parents=True)
    for line in lines:
        name = dict(zip(header.split(","), line.split(","), strict=False)).get("filename", "x")
        (folder / f"{name}.wav").touch()
    (folder / "gold.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder


LEXICAL = "id,filename,voice,frequency,word,phones,length,correct"
LEXICAL_LINES = [
    "0,aaa,A,7,rock,R AA K,3,1",
    "0,aac,B,,reck,R EH K,3,0",
    "0,aab,A,,reck,R EH K,3,0",
    "0,aad,B,7,rock,R AA K,3,1",
    '1,aae,A,0,brik,"B, R",4,1',
    "1,aaf,A,0,brok,B R,4,0",
    "2,aag,A,,ab,A,2,1",
    "2,aah,A,,ba,A,2,0",
    "3,aai,A,5,at,A,2,1",
    "3,aaj,A,5,ta,A,2,0",
    "4,aak,A,100,to,A,2,1",
    "4,aal,A,100,ot,A,2,0",
]
SYNTACTIC = "id,filename,voice,type,subtype,transcription,correct"
SYNTACTIC_LINES = [
    "0,sa,A,agreement,number,the dogs run,1",
    "0,sb,A,agreement,number,the dogs runs,0",
    "0,sc,A,binding,case,he saw himself,1",
    "0,sd,A,binding,case,he saw herself,0",
]


def test_the_folders_of_zerospeech_are_read(tmp_path):
    write_gold(tmp_path, "lexical", LEXICAL_LINES, LEXICAL)
    write_gold(tmp_path, "syntactic", SYNTACTIC_LINES, SYNTACTIC)
    pairs = read_pairs(tmp_path, "dev")
    lexical = [p for p in pairs if p.kind == "lexical"]
    names = [(p.key, p.good.name, p.bad.name) for p in lexical]
    assert names[:2] == [("0", "aaa.wav", "aab.wav"), ("0", "aad.wav", "aac.wav")]
    assert [dict(p.groups) for p in lexical[1:]] == [
        {"vocabulary": "in", "frequency": "6-20", "length": "3"},
        {"vocabulary": "out", "frequency": "oov", "length": "4"},
        {"length": "2"},
        {"vocabulary": "in", "frequency": "6-20", "length": "2"},  # ZeroSpeech puts 5 there
        {"vocabulary": "in", "frequency": ">100", "length": "2"},  # and 100 there
    ]
    syntactic = pairs[len(lexical) :]
    assert [(p.key, dict(p.groups)) for p in syntactic] == [
        ("agreement/number/0", {"type": "agreement", "subtype": "number"}),
        ("binding/case/0", {"type": "binding", "subtype": "case"}),
    ]
    scored = {"m": np.array([1, 0, 1, 0.5, 0, 1, 1, 0.0])}
    found = means(tabulate(pairs, scored, 0))
    assert found["lexical", "", ""] == (5, pytest.approx((0.5 + 1 + 0.5 + 0 + 1) / 5))
    assert found["lexical", "vocabulary", "in"] == (3, pytest.approx((0.5 + 0 + 1) / 3))
    assert found["lexical", "frequency", "6-20"] == (2, 0.25)
    assert found["syntactic", "type", "binding"] == (1, 0.0)
    assert found["syntactic", "", ""] == (2, 0.5)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LEXICAL_LINES[:-1], r"gold.csv:12: pair 4 in voice A has 1 right and 0 wrong members"),
        ([*LEXICAL_LINES, LEXICAL_LINES[0]], r"gold.csv:14: aaa has a line already: .*gold.csv:2"),
        ([LEXICAL_LINES[0][:-1] + "yes"], r"gold.csv:2: correct = 'yes': expected 1 or 0"),
        ([LEXICAL_LINES[0].replace("7", "many")], r"frequency = 'many'"),
        ([LEXICAL_LINES[0].replace(",A,", ",,", 1)], r"gold.csv:2: voice is empty"),
        ([LEXICAL_LINES[0] + ",more"], r"gold.csv:2: 9 cells: expected 8"),
        ([], r"gold.csv: holds no pairs"),
    ],
)
def test_a_gold_file_that_is_wrong_is_one_line(tmp_path, lines, message):
    if len(lines) == 1 and "many" in lines[0]:
        lines = [lines[0], LEXICAL_LINES[2]]
    write_gold(tmp_path, "lexical", lines, LEXICAL)
    with pytest.raises(InputError, match=message) as error:
        read_pairs(tmp_path, "dev")
    assert "\n" not in str(error.value)


def test_audio_and_gold_lines_must_match(tmp_path):
    folder = write_gold(tmp_path, "syntactic", SYNTACTIC_LINES, SYNTACTIC)
    (folder / "sz.wav").touch()
    with pytest.raises(InputError, match=r"gold.csv: 1 audio files without a line, the first sz"):
        read_pairs(tmp_path, "dev")
    (folder / "sz.wav").unlink()
    (folder / "sb.wav").unlink()
    with pytest.raises(InputError, match=r"gold.csv:3: no audio sb\.\* beside it"):
        read_pairs(tmp_path, "dev")
    with pytest.raises(InputError, match=r"expected lexical/test or syntactic/test"):
        read_pairs(tmp_path, "test")
    (folder / "gold.csv").unlink()
    with pytest.raises(InputError, match=r"gold.csv: cannot be read: No such file"):
        read_pairs(tmp_path, "dev")


def test_a_table_that_is_wrong_is_one_line(tmp_path):
    table = write_table(tmp_path, ["a\tb\tc.wav\td.wav\te\tf"])
    (tmp_path / "d.wav").unlink()
    with pytest.raises(InputError, match=r"pairs.tsv:2: .*d.wav: no such file"):
        read_pairs(table, "dev")
    table.write_text("kind\tspeaker\tgood\n")
    with pytest.raises(InputError, match=r"pairs.tsv: no column 'bad'"):
        read_pairs(table, "dev")
    table.write_text("kind\tspeaker\tgood\tbad\na\tb\t/etc/hosts\tc\n")
    with pytest.raises(InputError, match=r"expected a path below the table's folder"):
        read_pairs(table, "dev")
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot be read"):
        read_pairs(table, "dev")
    table.write_text("")
    with pytest.raises(InputError, match=r"no column 'kind'"):
        read_pairs(table, "dev")
