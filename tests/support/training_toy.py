"""A tiny trainer for the tests of training; run as a script it trains in a process of its own.

Usage: python training_toy.py DIRECTORY STEPS [SECONDS_PER_BATCH [STALL_SECONDS]]
"""

import dataclasses
import functools
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from audiolm_jax.cli.console import show_log
from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import annotate, constrain
from audiolm_jax.training import loop, manifest, mesh, optim, state
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.update import apply_gradients, moving_average

LAYERS, WIDTH, HIDDEN, BATCH = 1, 8, 16, 16


class Layer(nnx.Module):
    def __init__(self, rngs):
        init = nnx.initializers.uniform(0.5)
        self.up = nnx.Linear(WIDTH, HIDDEN, kernel_init=annotate(init, "embed", "mlp"), rngs=rngs)
        self.down = nnx.Linear(HIDDEN, WIDTH, kernel_init=annotate(init, "mlp", "embed"), rngs=rngs)

    def __call__(self, x):
        hidden = constrain(jnp.tanh(self.up(x)), "batch", "mlp")
        return constrain(x + self.down(hidden), "batch", None)


class Model(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List([Layer(rngs) for _ in range(LAYERS)])

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


@functools.cache
def make_program(config=None, poison_step=None):
    """Two groups of parameters, a statistic and a moving average: every field of the state."""
    optimizer = optim.make_optimizer(
        config or optim.OptimizerConfig(learning_rate=1e-2, warmup_steps=2, weight_decay=0.1)
    )
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: Model(nnx.Rngs(0))))

    def init(key):
        params = {
            name: nnx.state(Model(nnx.Rngs(part)), nnx.Param)
            for name, part in zip(("a", "b"), jax.random.split(key), strict=True)
        }
        rest = {"mean": jnp.zeros(WIDTH)}
        return state.TrainState(jnp.int32(0), params, rest, optimizer.init(params), params["a"])

    def loss_fn(params, batch, noise):
        predicted = nnx.merge(graphdef, params["a"])(batch["x"] + noise)
        predicted = nnx.merge(graphdef, params["b"])(predicted)
        return jnp.mean(jnp.square(predicted - batch["y"]))

    def step(s, batch, key):
        noise = 0.1 * jax.random.normal(key, batch["x"].shape)
        loss, grads = jax.value_and_grad(loss_fn)(s.params, batch, noise)
        if poison_step is not None:
            loss = jnp.where(s.step == poison_step, jnp.nan, loss)
        params, opt_state, norms = apply_gradients(optimizer, s.params, s.opt_state, grads)
        mean = 0.9 * s.rest["mean"] + 0.1 * jnp.mean(batch["x"], axis=0)
        ema = moving_average(s.ema, params["a"], 0.9)
        metrics = {"loss": loss, "gradient_norm": norms["grad_norm"]}
        return state.TrainState(s.step + 1, params, {"mean": mean}, opt_state, ema), metrics

    def evaluate(s, batch):
        count = jnp.float32(batch["x"].shape[0])
        loss = loss_fn(s.params, batch, jnp.zeros_like(batch["x"]))
        return state.Sums({"loss": loss * count}, {"loss": count})

    return state.TrainProgram(init, step, evaluate, lambda s: {})


def make_batch(step, batch=BATCH):
    x = np.random.default_rng([7, step]).normal(size=(batch, WIDTH)).astype(np.float32)
    return {"x": x, "y": np.sin(3 * x)}


def batches(start):
    step = start
    while True:
        yield make_batch(step)
        step += 1


def heldout():
    return [make_batch(step) for step in (2**20, 2**20 + 1)]


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    loop: LoopConfig
    rate: float = 0.5


def loop_config(steps, **fields):
    defaults = {"log_every": 2, "evaluate_every": 6, "checkpoint_every": 4, "tensorboard": False}
    return LoopConfig(steps, **(defaults | fields))


def run_toy(directory, config, preset="none", program=None, batches=batches, context=None, **sizes):
    mesh_config = mesh.MeshConfig(preset, **sizes)
    seeds = {"loop": config.seed}
    record = manifest.build_manifest(ToyConfig(config), seeds, {"clips": 3}, {"codec": "ab"})
    return loop.train(
        program or make_program(), config, directory, batches, heldout, record, mesh_config,
        context or loop.LoopContext(),
    )  # fmt: skip


if __name__ == "__main__":
    show_log()
    # A run is known by its classes: here by the name that they have where this is imported.
    ToyConfig.__module__ = "support.training_toy"
    sys.modules[ToyConfig.__module__] = sys.modules["__main__"]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0

    def slow_batches(start):
        for batch in batches(start):
            time.sleep(seconds)
            yield batch

    fields = {"stall_seconds": float(sys.argv[4])} if len(sys.argv) > 4 else {}
    config = loop_config(int(sys.argv[2]), **fields)
    try:
        run_toy(Path(sys.argv[1]), config, batches=slow_batches)
    except InputError as error:  # as the command line does
        sys.exit(f"audiolm train: {error}")
