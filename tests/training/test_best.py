import dataclasses
import functools
import json
import math

import jax
import numpy as np
import pytest
from support import training_toy as toy

from audiolm_jax.errors import InputError
from audiolm_jax.training import loop
from audiolm_jax.training.best import best_kept, best_steps, read_best
from audiolm_jax.training.checkpoints import saved_steps
from audiolm_jax.training.config import LoopConfig, MeshConfig
from audiolm_jax.training.loop import load_state
from audiolm_jax.training.state import Sums

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

# What the held-out data say after each evaluation, at the steps 2, 4, ...: the best is early.
VALUES = (5.0, 1.0, 3.0, 2.0, 4.0, 6.0)


@functools.cache
def programmed():
    """The toy with held-out values that are known beforehand, and so a known best step."""
    program = toy.make_program()
    table = jax.numpy.array(VALUES)

    def evaluate(state, batch):
        return Sums({"loss": table[state.step // 2 - 1]}, {"loss": jax.numpy.float32(1)})

    return type(program)(program.init, program.step, evaluate, program.export)


def config(steps, **fields):
    return toy.loop_config(
        steps,
        **{"evaluate_every": 2, "checkpoint_every": 5, "keep_checkpoints": 1, "keep_best": 2}
        | fields,
    )


def test_ranking():
    values = {1: 2.0, 2: None, 3: 1.0, 4: math.nan, 5: 1.0, 6: 3.0}
    lowest = LoopConfig(9, keep_best=2)
    assert best_steps(lowest, values) == [3, 5]
    assert best_steps(LoopConfig(9, keep_best=3, best_is="highest"), values) == [6, 1, 3]
    assert best_steps(LoopConfig(9), values) == []
    assert best_steps(lowest, {2: None}) == []


def test_the_best_survive_the_newest_and_are_named(tmp_path):
    toy.run_toy(tmp_path, config(12), program=programmed())
    assert saved_steps(tmp_path) == [4, 8, 12]
    assert read_best(tmp_path) == {
        "metric": "loss",
        "best_is": "lowest",
        "checkpoints": [{"step": 4, "value": 1.0}, {"step": 8, "value": 2.0}],
    }
    assert best_kept(tmp_path) == {"steps": 4, "best_of": "lowest loss", "value": 1.0}
    best = load_state(programmed(), tmp_path, MeshConfig(), step=4)
    assert int(best.step) == 4
    with pytest.raises(InputError, match=r"no checkpoint of step 6 here; .* 4, 8, 12"):
        load_state(programmed(), tmp_path, MeshConfig(), step=6)


@pytest.mark.slow
def test_one_that_the_last_evaluation_displaces_goes(tmp_path):
    better_last = config(6, best_is="highest", keep_best=1)  # 5, 1, 3 are the values
    toy.run_toy(tmp_path, dataclasses.replace(better_last, steps=4), program=programmed())
    assert saved_steps(tmp_path) == [2, 4]
    toy.run_toy(tmp_path, dataclasses.replace(better_last, steps=12), program=programmed())
    assert saved_steps(tmp_path) == [12]
    assert [one["step"] for one in read_best(tmp_path)["checkpoints"]] == [12]


def test_killed_before_best_json_is_written_it_is_written_later(tmp_path, monkeypatch):
    """The metrics say that the step is evaluated, the file does not say yet what that means."""
    toy.run_toy(tmp_path / "whole", config(4), program=programmed())
    write = loop.write_best

    def killed(directory, config, values):
        if 4 in values:
            raise ConnectionError
        write(directory, config, values)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_best", killed)
        with pytest.raises(ConnectionError):
            toy.run_toy(tmp_path / "killed", config(4), program=programmed())
    toy.run_toy(tmp_path / "killed", config(4), program=programmed())
    for name in ("best.json", "metrics.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_interrupted_it_keeps_the_same_ones(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy.run_toy(whole, config(12), program=programmed())
    for steps in (3, 7, 12):  # ends between evaluations: each end evaluates once more
        toy.run_toy(parts, config(steps), program=programmed())
    kept = json.loads((parts / "best.json").read_text())["checkpoints"]
    assert [one["value"] for one in kept] == [1.0, 2.0]
    assert set(saved_steps(parts)) == {one["step"] for one in kept} | {12}
    for a, b in zip(
        jax.tree.leaves(load_state(programmed(), whole, MeshConfig())),
        jax.tree.leaves(load_state(programmed(), parts, MeshConfig())),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_damaged_best_one_is_an_error_not_another_one(tmp_path):
    toy.run_toy(tmp_path, config(12), program=programmed())
    for path in (tmp_path / "checkpoints" / "4").rglob("d/*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoints/4: damaged checkpoint"):
        load_state(programmed(), tmp_path, MeshConfig(), step=4)


def test_an_unknown_metric_is_named_with_those_there_are(tmp_path):
    with pytest.raises(InputError, match=r"--loop\.best-metric los: not a held-out .* one of loss"):
        toy.run_toy(tmp_path, config(12, best_metric="los"))


def test_no_best_kept_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"--loop\.export best, but no checkpoint was kept"):
        best_kept(tmp_path)
    with pytest.raises(InputError, match=r"set --loop\.keep-best to 1 or more"):
        LoopConfig(9, export="best")
