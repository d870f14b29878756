"""Spoken cloze: the published layout, and whose ending a stage finds likelier."""

import json

import pytest
from support import tiny_models

from audiolm_jax.audio.files import write_wav
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.pairs.experiment import PairsExperiment
from audiolm_jax.evaluation.pairs.pairs import read_pairs


def write_set(folder, numbers, names=("{}_correct.wav", "{}_incorrect.wav")):
    folder.mkdir(parents=True)
    for number in numbers:
        for pitch, name in zip((100, 160), names, strict=True):
            samples = tiny_models.voice(0.6, pitch + number, number)
            write_wav(folder / name.format(number), samples, 16_000, {})
    return folder


def test_both_sets_are_read_in_the_order_of_their_numbers(tmp_path):
    write_set(tmp_path / "tSC", (2, 10, 0))
    write_set(tmp_path / "sSC", (7,), ("{}_story_CORRECT.wav", "{}_x_incorrect.wav"))
    (tmp_path / "tSC" / ".hidden_correct.wav").touch()
    (tmp_path / "tSC" / "README.md").touch()
    found = [
        (pair.kind, pair.key, pair.good.name, pair.bad.name) for pair in read_pairs(tmp_path, "")
    ]
    assert found == [
        ("story_cloze", "7", "7_story_CORRECT.wav", "7_x_incorrect.wav"),
        ("topic_cloze", "0", "0_correct.wav", "0_incorrect.wav"),
        ("topic_cloze", "2", "2_correct.wav", "2_incorrect.wav"),
        ("topic_cloze", "10", "10_correct.wav", "10_incorrect.wav"),
    ]
    assert read_pairs(tmp_path / "tSC", "") == read_pairs(tmp_path, "")[1:]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("{}_correct.wav", "{}_right.wav"), r"0_right.wav: expected a name like NUMBER_correct"),
        (("{}_correct.wav", "{}_a_correct.wav"), r"0_correct.wav: a second correct member; 0_a_"),
        (("{}_correct.wav", "1_incorrect.wav"), r"0_correct.wav: has no incorrect member beside"),
    ],
)
def test_a_name_that_does_not_fit_is_one_line(tmp_path, names, message):
    write_set(tmp_path / "tSC", (0,), names)
    with pytest.raises(InputError, match=message) as error:
        read_pairs(tmp_path, "dev")
    assert "\n" not in str(error.value)


def test_an_empty_set_is_one_line(tmp_path):
    (tmp_path / "sSC").mkdir()
    with pytest.raises(InputError, match=r"sSC: holds no audio files, expected NUMBER_correct"):
        read_pairs(tmp_path, "dev")
    (tmp_path / "sSC").rmdir()
    with pytest.raises(InputError, match=r"with gold\.csv, or sSC or tSC, or name a table"):
        read_pairs(tmp_path, "dev")


def test_a_stage_answers_both_sets(tmp_path):
    tiny_models.write_semantic(tmp_path / "semantic", tmp_path / "encoder")
    upstream = {"semantic": tiny_models.fingerprint(tmp_path / "semantic"), "codec": "c"}
    stage = tiny_models.stage("semantic", 4.0)
    tiny_models.write_stage(tmp_path / "semantic_lm", stage, upstream)
    write_set(tmp_path / "pairs" / "tSC", (0, 1, 2))
    write_set(tmp_path / "pairs" / "sSC", (0, 1))
    PairsExperiment(
        directory=str(tmp_path / "out"),
        pairs=str(tmp_path / "pairs"),
        semantic_lm=str(tmp_path / "semantic_lm"),
        semantic=str(tmp_path / "semantic"),
    ).run()
    record = json.loads((tmp_path / "out" / "pairs.json").read_text())
    assert [(row["kind"], row["pairs"]) for row in record["rows"]] == [
        ("story_cloze", 2),
        ("topic_cloze", 3),
    ]
    assert all(
        set(row["accuracies"]) == {"model, sum", "model, per token"} for row in record["rows"]
    )
    scores = (tmp_path / "out" / "scores.tsv").read_text().splitlines()
    assert len(scores) == 1 + 10
