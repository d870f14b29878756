"""A run beside the curve of a finished one."""

import json
import logging

import pytest
from support import training_toy as toy

from audiolm_jax.errors import InputError
from audiolm_jax.training.reference import Reference


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


@pytest.fixture
def curve(tmp_path):
    return write(
        tmp_path / "metrics.jsonl",
        {"step": 10, "loss": 3.0},
        {"step": 100, "heldout/loss": 4.0, "heldout/gone": None},
        {"step": 200, "heldout/loss": 2.0, "heldout/db": 1.0},
        {"step": 400, "heldout/loss": 1.9, "heldout/db": -1.0},
    )


@pytest.mark.parametrize(
    ("step", "low", "high"),
    [
        (100, 2.0, 6.0),  # as much as it changes until the next
        (150, 1.0, 5.0),  # halfway 3, which changes by 2
        (300, 1.95 - 0.195, 1.95 + 0.195),  # a tenth: it changes by less
        (400, 1.9 - 0.19, 1.9 + 0.19),
    ],
)
def test_the_band_is_a_tenth_or_the_change_between_two_evaluations(curve, step, low, high):
    reference = Reference(curve)
    for value in (low + 1e-6, high - 1e-6):
        assert reference.outside(step, {"loss": value}) == []
    for value in (low - 1e-6, high + 1e-6, float("nan")):
        (line,) = reference.outside(step, {"loss": value})
        assert f"step {step}: heldout/loss" in line
        assert "is outside the reference" in line


def test_what_the_reference_does_not_know_is_not_compared(curve):
    reference = Reference(curve)
    assert reference.outside(99, {"loss": 99.0}) == []  # before its first evaluation
    assert reference.outside(401, {"loss": 99.0}) == []
    assert reference.outside(200, {"other": 99.0, "gone": 99.0}) == []
    assert reference.outside(100, {"db": 99.0}) == []
    assert len(reference.outside(300, {"db": 2.1, "loss": 99.0})) == 2
    assert Reference(None).outside(100, {"loss": 99.0}) == []


def test_a_file_that_is_no_curve_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--loop.reference .*nowhere: not found"):
        Reference(str(tmp_path / "nowhere"))
    train = write(tmp_path / "train.jsonl", {"step": 1, "loss": 2.0})
    with pytest.raises(InputError, match="holds no heldout/ metrics"):
        Reference(train)
    for text in ("[1]", "{", '{"loss": 1}', '{"step": "x"}', '{"step": 1, "heldout/a": "b"}'):
        (tmp_path / "bad").write_text('{"step": 1, "heldout/a": 1}\n' + text + "\n")
        with pytest.raises(InputError, match="line 2 is none of a"):
            Reference(str(tmp_path / "bad"))


def test_a_run_says_where_it_is_not_as_another(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = toy.loop_config(4)
    toy.run_toy(tmp_path / "first", config)
    own = tmp_path / "first" / "metrics.jsonl"
    lines = [json.loads(line) for line in own.read_text().splitlines()]
    held = [line for line in lines if any(name.startswith("heldout/") for name in line)]
    assert held
    far = [{n: 3 * x if n.startswith("held") else x for n, x in line.items()} for line in held]
    for name, reference, told in (
        ("same", str(own), 0),
        ("other", write(tmp_path / "far", *far), 1),
    ):
        caplog.clear()
        toy.run_toy(tmp_path / name, toy.loop_config(4, reference=reference))
        found = [
            r.getMessage() for r in caplog.records if "outside the reference" in r.getMessage()
        ]
        assert bool(found) == told
        assert all("step 4: heldout/" in line or "step 2: heldout/" in line for line in found)
    # It decides nothing of what is learnt: the same run may go on without it.
    toy.run_toy(tmp_path / "same", config)
