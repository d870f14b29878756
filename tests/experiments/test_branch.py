"""A run that branches off goes on from the other's checkpoint: weights, optimizer, data."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from support import lm_run
from support.kept_programs import kept_programs

from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import saved_steps
from audiolm_jax.training.config import MeshConfig, WarmStartConfig
from audiolm_jax.training.metrics import read_metrics


@pytest.fixture(scope="module", autouse=True)
def _kept():
    with kept_programs():
        yield


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A run of 12 steps."""
    root = tmp_path_factory.mktemp("branch")
    lm_run.make_store(root)
    run = lm_run.experiment(root, 12, MeshConfig())
    dataclasses.replace(run, loop=dataclasses.replace(run.loop, keep_checkpoints=9)).run()
    return root


def branch(root, name, step, steps=12, **changes):
    changes = {"directory": str(root / name), "branch_from": f"{root / 'run'}@{step}"} | changes
    return lm_run.experiment(root, steps, MeshConfig(), **changes)


def faster(experiment):
    optimizer = dataclasses.replace(experiment.optimizer, learning_rate=0.05)
    return dataclasses.replace(experiment, optimizer=optimizer)


def lines(folder, after):
    return [line for line in read_metrics(folder / "metrics.jsonl") if line["step"] > after]


def test_with_nothing_changed_it_ends_in_the_same_bits(trunk):
    branch(trunk, "same", 8).run()
    assert lines(trunk / "same", 0) == lines(trunk / "run", 8)
    weights = [trunk / name / "model" / "weights.safetensors" for name in ("same", "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    record = json.loads((trunk / "same" / "model" / "model.json").read_text())
    start = record["provenance"]["warm_start"]
    assert (start["step"], start["is_branch"], start["source"]) == (8, True, f"{trunk / 'run'}@8")


def test_another_rate_begins_from_there_and_is_resumed_without_the_trunk(trunk, tmp_path):
    """Killed or not: the trunk is needed once."""
    whole = faster(branch(trunk, "whole", 8))
    whole.run()
    first, other = lines(trunk / "whole", 0), lines(trunk / "run", 8)
    assert first[0]["loss"] == other[0]["loss"]  # computed before the first update
    assert not np.isclose(first[1]["loss"], other[1]["loss"], rtol=1e-6)

    moved = tmp_path / "moved"
    shutil.copytree(trunk, moved)
    shutil.rmtree(moved / "whole")
    faster(branch(moved, "whole", 8, steps=10)).run()
    shutil.rmtree(moved / "run")
    faster(branch(moved, "whole", 8)).run()
    weights = [root / "whole" / "model" / "weights.safetensors" for root in (trunk, moved)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_begun_run_stays_with_its_branch(trunk):
    branch(trunk, "begun", 8, steps=9).run()
    with pytest.raises(InputError, match=r"warm_start\.step is 8 in this run directory and 4 now"):
        branch(trunk, "begun", 4).run()
    assert saved_steps(trunk / "begun")[-1] == 9


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("{run}", r"--branch-from .*run: expected RUN@STEP, as runs/coarse_lm@5000"),
        ("{run}@last", r"expected RUN@STEP"),
        ("{run}@7", r"has no checkpoint of step 7; it has those of steps 4, 8, 10, 12"),
        ("{run}x@8", r"has no checkpoint of step 8; it has none"),
        ("{run}@12", r"--loop\.steps 12 are done there already"),
    ],
)
def test_what_is_no_checkpoint_is_one_line(trunk, name, line):
    source = name.format(run=trunk / "run")
    with pytest.raises(InputError, match=line) as caught:
        branch(trunk, "refused", 0, branch_from=source).run()
    assert "\n" not in str(caught.value)
    assert not (trunk / "refused" / "manifest.json").exists()


def test_another_model_cannot_take_its_state(trunk):
    wider = dataclasses.replace(lm_run.DECODER, ff_width=48)
    experiment = branch(trunk, "wider", 8)
    experiment = dataclasses.replace(
        experiment, model=dataclasses.replace(experiment.model, decoder=wider)
    )
    with pytest.raises(
        InputError, match=r"checkpoints/8: array .* in the checkpoint and .* in this program"
    ) as caught:
        experiment.run()
    assert "\n" not in str(caught.value)


def test_weights_come_from_one_place(trunk):
    with pytest.raises(InputError, match="it brings the weights; leave --warm-start out"):
        branch(trunk, "both", 8, warm_start=WarmStartConfig(source=str(trunk / "run")))
