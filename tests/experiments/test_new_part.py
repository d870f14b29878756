"""A trainable part that the package does not know: one file, which is its config file as well."""

import json
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.cli.main import main
from audiolm_jax.training.metrics import read_metrics

PART = '''
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from audiolm_jax.experiments.trained import StepExperiment, TrainingData
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.optim import OptimizerConfig, make_optimizer
from audiolm_jax.training.state import Sums, TrainProgram, TrainState


@dataclasses.dataclass(frozen=True)
class LineConfig:
    slope: float = 3.0
    """What is to be found."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineExperiment(StepExperiment):
    """Fit a line."""

    kind = "line"
    model: LineConfig = LineConfig()

    def program(self):
        optimizer = make_optimizer(self.optimizer)

        def init(key):
            params = {"slope": jax.random.normal(key, ())}
            return TrainState(jnp.int32(0), params, {}, optimizer.init(params), {})

        def error(params, batch):
            return jnp.mean((params["slope"] * batch["x"] - batch["y"]) ** 2)

        def step(state, batch, key):
            loss, gradient = jax.value_and_grad(error)(state.params, batch)
            updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            return TrainState(state.step + 1, params, {}, opt_state, {}), {"loss": loss}

        def evaluate(state, batch):
            return Sums({"loss": error(state.params, batch)}, {"loss": jnp.ones(())})

        def export(state):
            return {"slope": np.asarray(state.params["slope"])}

        return TrainProgram(init, step, evaluate, export)

    def abstract_batch(self):
        shape = jax.ShapeDtypeStruct((self.batch_size,), np.float32)
        return {"x": shape, "y": shape}

    def units_per_step(self):
        return "points", float(self.batch_size)

    def open_data(self):
        def batch(step):
            x = np.random.default_rng(step).normal(size=self.batch_size).astype(np.float32)
            return {"x": x, "y": np.float32(self.model.slope) * x}

        def batches(step):
            while True:
                yield batch(step)
                step += 1

        return TrainingData(batches, lambda: [batch(1 << 20)], {"dataset": "line"}, lambda _: [])


def experiment():
    return LineExperiment(
        directory="run",
        loop=LoopConfig(steps=60, log_every=10, evaluate_every=30, checkpoint_every=30),
        optimizer=OptimizerConfig(learning_rate=0.2, warmup_steps=0, clip_norm=None),
    )
'''


def test_a_part_in_one_file_trains_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("line.py").write_text(PART)
    slope = ["--model.slope", "-2"]

    def audiolm(*words):
        capsys.readouterr()
        try:
            status = main(words)
        except SystemExit as stop:
            status = stop.code or 0
        return status, "".join(capsys.readouterr())

    assert audiolm("train", "line.py", *slope, "--loop.steps", "30")[0] == 0
    # It goes on, exports and is left alone when finished, as every other part does.
    status, shown = audiolm("train", "line.py", *slope)
    assert status == 0
    assert "going on from step 30" in shown
    assert "run/model: written" in shown
    model = load_model(Path("run/model"), "line")
    assert model.config == {"slope": -2.0}
    np.testing.assert_allclose(model.arrays["slope"], -2.0, atol=0.1)
    lines = read_metrics(Path("run/metrics.jsonl"))
    losses = [line["heldout/loss"] for line in lines if "heldout/loss" in line]
    assert losses[-1] < losses[0] / 10
    assert json.loads(Path("run/manifest.json").read_text())["data"] == {"dataset": "line"}
    assert "finished already" in audiolm("train", "line.py", *slope)[1]
    assert "What is to be found." in audiolm("train", "line.py", "--help")[1]
    status, shown = audiolm("tokenize", "line.py")
    assert status == 2
    assert "it is for audiolm train" in shown
