"""The one training loop, for every trainer: read `train` from top to bottom.

`step` counts completed updates; the line of step s in metrics.jsonl holds what the s-th update
computed. The random key of the update after s completed ones is `fold_in(key(seed), s)`, and its
batch is the s-th of the data, so an interrupted run ends like an uninterrupted one, bit for bit.
A step is saved before it is evaluated: who is stopped in the middle repeats the pass and no step.

Exit status when asked to stop (the run goes on from there when started again): 75 after SIGTERM,
130 after SIGINT. A second signal stops at once, without a checkpoint. For 124 see `watchdog`.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from audiolm_jax.data.prefetch import prefetch
from audiolm_jax.errors import InputError
from audiolm_jax.training.best import best_steps, decisive, write_best
from audiolm_jax.training.branch import Branch
from audiolm_jax.training.checkpoints import KEPT, Checkpoints, saved_steps
from audiolm_jax.training.config import LoopConfig, MeshConfig
from audiolm_jax.training.distributed import from_first_host, is_first_host
from audiolm_jax.training.divergence import Describe, diverged
from audiolm_jax.training.full_disk import name_full_disk
from audiolm_jax.training.heldout_pass import READY_BATCHES, heldout_means
from audiolm_jax.training.manifest import claim_run
from audiolm_jax.training.mesh import (
    make_mesh,
    replicated,
    rules_of,
    state_shardings,
    to_global,
    use_mesh,
)
from audiolm_jax.training.metrics import MetricsWriter
from audiolm_jax.training.preemption import TrainingStopped, watch_signals
from audiolm_jax.training.profile import Profile
from audiolm_jax.training.progress import Progress, StepClock
from audiolm_jax.training.reference import Reference
from audiolm_jax.training.state import Batch, Metrics, TrainProgram, TrainState
from audiolm_jax.training.step import jit_step, make_init
from audiolm_jax.training.topology import peak_flops
from audiolm_jax.training.watchdog import Watchdog

# Never the number of a step, so no step shares its key with the initialization.
_INIT = 0xFFFFFFFF


@dataclasses.dataclass(frozen=True)
class LoopContext:
    """What a run may tell the loop beyond the trainer and its data; all of it may be left out."""

    # What a full step gets through, such as ("tokens", 4096.0), and the operations it needs.
    units: tuple[str, float] | None = None
    model_flops: float | None = None
    # Rows of this host -> the shares of both that are no padding; the other hosts' are much alike.
    filled: Callable[[Batch], tuple[float, float]] = lambda rows: (1.0, 1.0)
    describe: Describe | None = None  # for the error of a loss that is not finite
    # (parameters, key) -> what they begin as in place of random ones; compiled, on any mesh.
    begin: Callable[[Any, jax.Array], Any] | None = None
    # Puts in the weights to start from, where there is no checkpoint yet.
    warm_start: Callable[[TrainState], TrainState] | None = None
    # The checkpoint to go on from, where there is none of this run yet.
    branch: Branch | None = None
    # (step, state, writer), at the end of each evaluation: sounds to listen to.
    on_evaluate: Callable[[int, TrainState, MetricsWriter], None] | None = None


def train(
    program: TrainProgram,
    config: LoopConfig,
    directory: Path,
    batches: Callable[[int], Iterator[Batch]],
    heldout: Callable[[], Iterable[Batch]],
    manifest: dict[str, Any],
    mesh_config: MeshConfig,
    context: LoopContext = LoopContext(),
) -> TrainState:
    """Trains, or goes on training, until `config.steps` updates are done; returns the final state.

    `batches` gives, for completed steps, the batches from there on, pytrees of numpy arrays with
    this host's rows (`mesh.host_rows`); a pure function of seed and step, called on a thread.
    InputError if the directory belongs to another run, the data end too early, a loss is not finite
    or the run is lost; TrainingStopped after SIGTERM or SIGINT, with the state saved.
    """
    mesh, rules = make_mesh(mesh_config), rules_of(mesh_config)
    # Compiled, because a host cannot put a value on the devices of another one.
    seed_key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=replicated(mesh))()
    init_key = jax.random.fold_in(seed_key, _INIT)
    reference = Reference(config.reference)

    with contextlib.ExitStack() as stack:
        stack.enter_context(name_full_disk(directory))
        watchdog = stack.enter_context(Watchdog(config.stall_seconds))
        stack.enter_context(claim_run(directory, manifest, KEPT))
        stack.enter_context(use_mesh(mesh, rules))
        checkpoints = stack.enter_context(Checkpoints(directory, config.keep_checkpoints))
        progress = stack.enter_context(Progress(config.steps, config.progress_seconds))

        init = make_init(program)
        abstract = jax.eval_shape(init, init_key)
        shardings = state_shardings(mesh, rules, abstract)
        restored = checkpoints.restore(abstract, shardings)
        if restored is not None:
            state, record = restored
            done = saved = record["step"]
        elif (branch := context.branch) is not None:
            state = load_state(program, branch.directory, mesh_config, branch.step)
            done, saved = branch.step, None
        else:
            state = jax.jit(init, out_shardings=shardings)(init_key)
            if context.begin is not None:
                begin = jax.jit(context.begin, out_shardings=shardings.params)
                state = dataclasses.replace(state, params=begin(state.params, init_key))
            if context.warm_start is not None:
                state = context.warm_start(state)
            done, saved = 0, None
        start = done
        writer = MetricsWriter(
            directory, done, config.tensorboard, config.wandb_project, manifest["config"]
        )
        stack.enter_context(writer)
        means, kept = from_first_host(
            lambda: (
                writer.heldout.get(done),
                # Earlier evaluations whose state can still be had.
                [
                    (step, writer.heldout[step].get(config.best_metric))
                    for step in saved_steps(directory)
                    if step in writer.heldout
                ],
            )
        )
        ranked = dict(kept)

        def rank() -> None:
            checkpoints.protect(best_steps(config, ranked))
            if config.keep_best and is_first_host():
                write_best(directory, config, ranked)

        def lost(step: int, reason: str) -> InputError:
            return InputError(f"{directory}: held-out data at step {step}: {reason}")

        evaluated = None
        if means is not None:
            evaluated = done
            read = {n: math.nan if x is None else x for n, x in means.items()}
            if (reason := program.verdict(read)) is not None:
                raise lost(done, reason)
        rank()
        if done >= config.steps and evaluated == done:
            progress.note(f"{directory}: finished, {done} steps")
            return state
        count = sum(x.size for x in jax.tree.leaves(abstract.params))
        progress.note(f"{directory}: {count:,} parameters")
        if done:
            progress.note(f"{directory}: going on from step {done}")

        step_fn = jit_step(program, mesh, shardings)
        evaluate_fn = jax.jit(program.evaluate, out_shardings=replicated(mesh))
        finite_fn = jax.jit(_all_finite, out_shardings=replicated(mesh))
        peak = peak_flops(jax.devices()[0].device_kind)
        if peak is not None and mesh is not None:
            peak *= mesh.size
        clock = StepClock(context.units, context.model_flops, peak)
        profile = stack.enter_context(Profile(directory, config.profiled_steps))
        stop = stack.enter_context(watch_signals())

        def look(step: int, metrics: Metrics, filled: tuple[float, float]) -> None:
            """Checks and writes what an update computed."""
            values = {n: float(value) for n, value in jax.device_get(dict(metrics)).items()}
            losses = [n for n in values if n == "loss" or n.endswith(("/loss", "_loss"))]
            losses = losses or list(values)
            for name in losses:
                if not math.isfinite(value := values[name]):
                    checkpoints.wait()
                    raise diverged(directory, f"{name} = {value}", step, step - 1, context.describe)
            clock.tick(filled)
            if step % config.log_every == 0 or step == 1:
                writer.write(step, values)
                writer.write_timing(step, clock.report())
            shown = ["loss"] if "loss" in values else losses[:2]
            progress.update(step, {name: values[name] for name in shown})

        def save(step: int, state: TrainState, last_finite: int) -> None:
            watchdog.at("writing a checkpoint", step)
            if not jax.device_get(finite_fn((state.params, state.rest))):
                checkpoints.wait()
                what = "a parameter is not finite"
                raise diverged(directory, what, step, last_finite, context.describe)
            if (own := int(jax.device_get(state.step))) != step:
                raise RuntimeError(f"the step function counts {own} steps after {step}")
            writer.sync()
            # The step is the data position too: batches are a function of it.
            checkpoints.save(step, state, {"step": step, "manifest": manifest})

        def stops(number: int) -> bool:
            # The first batch compiles.
            watchdog.at("evaluating held-out data", done, limited=number > 0)
            return stop.seen(checkpoints.reached_preemption)

        def evaluate(step: int, state: TrainState) -> bool:
            """Whether the evaluation came to its end, not asked to stop meanwhile."""
            checkpoints.wait()  # what has been trained is safe before anything else takes time
            held = lambda: (to_global(batch, mesh) for batch in heldout())  # noqa: E731
            means = stop.unless_asked(lambda: heldout_means(evaluate_fn, state, held, stops))
            if means is None:
                return False
            if config.keep_best:
                ranked[step] = decisive(config, means)
            if (reason := program.verdict(means)) is None and context.on_evaluate is not None:
                watchdog.at("making samples", step, limited=False)
                context.on_evaluate(step, state, writer)
            writer.write_heldout(step, means)  # this line says that the step is evaluated
            for line in reference.outside(step, means):
                progress.note(line)
            if reason is not None:
                raise lost(step, reason)
            rank()
            return True

        placed = lambda: ((to_global(x, mesh), context.filled(x)) for x in batches(start))  # noqa: E731
        ready = stack.enter_context(contextlib.closing(prefetch(placed, READY_BATCHES)))
        # What update `done` computed, not yet looked at, and how full its batch was.
        pending: tuple[Metrics, tuple[float, float]] | None = None
        while True:
            last = done >= config.steps
            halt = stop.seen(checkpoints.reached_preemption)
            is_turn = done % config.evaluate_every == 0 and (done > 0 or config.evaluate_start)
            due = evaluated != done and (last or is_turn)
            keep = due or (done > 0 and (halt or done % config.checkpoint_every == 0))
            if keep and saved != done:
                if pending is not None:
                    # A checkpoint is never ahead of what has been looked at and written.
                    look(done, *pending)
                    pending = None
                with clock.paused():
                    save(done, state, last_finite=saved or 0)
                saved = done
            if due and not halt:
                with clock.paused():
                    halt = not evaluate(done, state)
                evaluated = None if halt else done
            if last and evaluated == done:
                checkpoints.wait()
                return state
            if halt:
                checkpoints.wait()
                progress.note(f"{directory}: stopped, saved at step {done}; run again to go on")
                raise TrainingStopped(stop.exit_status)

            watchdog.at("waiting for data", done + 1)
            with clock.waiting():
                item = stop.unless_asked(lambda: next(ready, None))
            if stop.signal is not None:
                continue
            if item is None:
                raise InputError(
                    f"--loop.steps {config.steps}: the data ended after {done} batches; repeat them"
                )
            batch, filled = item
            # The first update is compiled, and hosts do not all take the same time for it.
            watchdog.at("running", done + 1, limited=done > start + 1)
            profile.before(done + 1)
            with clock.dispatching(), jax.transfer_guard("disallow"):
                state, metrics = step_fn(state, batch, seed_key)
            profile.after(done + 1, metrics)
            # Looking at the step before only now keeps the devices busy meanwhile.
            if pending is not None:
                look(done, *pending)
            done, pending = done + 1, (metrics, filled)


def load_state(
    program: TrainProgram, directory: Path, mesh_config: MeshConfig, step: int | None = None
) -> TrainState:
    """The state of the newest checkpoint of a run directory, or of `step`, to export or examine."""
    steps = saved_steps(directory)
    if not steps or step not in (None, *steps):
        kept = f"there are those of steps {', '.join(map(str, steps))}" if steps else "train first"
        which = "" if step is None else f" of step {step}"
        raise InputError(f"{directory}: no checkpoint{which} here; {kept}")
    mesh, rules = make_mesh(mesh_config), rules_of(mesh_config)
    with use_mesh(mesh, rules), Checkpoints(directory, keep=None) as checkpoints:
        abstract = jax.eval_shape(program.init, jax.random.key(0))
        restored = checkpoints.restore(abstract, state_shardings(mesh, rules, abstract), step)
    if restored is None:
        raise InputError(f"{directory}: the checkpoints went away while they were read")
    return restored[0]


def _all_finite(tree: Any) -> jax.Array:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(x)) for x in leaves]))
