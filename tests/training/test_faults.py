"""What can go wrong around a run: the disk, the numbers, a host that hangs; and looking inside."""

import dataclasses
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import training_toy as toy

from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.errors import InputError
from audiolm_jax.training import loop, manifest
from audiolm_jax.training.checkpoints import latest_step
from audiolm_jax.training.config import LoopConfig, MeshConfig
from audiolm_jax.training.divergence import NonFiniteError
from audiolm_jax.training.full_disk import name_full_disk

PROBE = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]


def can_mount():
    if not shutil.which("unshare"):
        return False
    return subprocess.run(PROBE, capture_output=True).returncode == 0


def environment(compile_cache):
    return os.environ | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "JAX_COMPILATION_CACHE_DIR": str(compile_cache),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="this system lets nobody mount a small file system")
def test_a_full_disk_is_one_line_and_the_last_checkpoint_is_intact(tmp_path, compile_cache):
    """A real file system with too little space for a checkpoint, noticed ahead and half-way."""
    place = tmp_path / "disk"
    place.mkdir()
    unaware = (
        "import runpy, shutil, sys, types; "
        "shutil.disk_usage = lambda _: types.SimpleNamespace(free=1 << 60); "
        f"sys.argv = sys.argv[1:]; runpy.run_path('{toy.__file__}', run_name='__main__')"
    )
    script = f"""
mount -t tmpfs -o size=3m none {place}
{sys.executable} {toy.__file__} {place}/run 8 &> first; echo $? >> status
dd if=/dev/zero of={place}/filler bs=1k 2> /dev/null
truncate -s -28K {place}/filler
{sys.executable} {toy.__file__} {place}/run 20 &> ahead; echo $? >> status
{sys.executable} -c "{unaware}" toy {place}/run 20 &> midway; echo $? >> status
ls {place}/run/checkpoints > left
rm {place}/filler
{sys.executable} {toy.__file__} {place}/run 20 &> again; echo $? >> status
cp -r {place}/run {tmp_path}/run
"""
    subprocess.run(
        ["unshare", "-Urm", "bash", "-c", script],
        cwd=tmp_path,
        env=environment(compile_cache),
        timeout=120,
    )
    assert (tmp_path / "status").read_text().split() == ["0", "1", "1", "0"]
    for name in ("ahead", "midway"):
        lines = (tmp_path / name).read_text().splitlines()
        assert f"{place}/run: going on from step 8" in lines
        assert sum(line.startswith("audiolm train: ") for line in lines) == 1
        (said,) = (line for line in lines if line.startswith("audiolm train: "))
        assert f"{place}/run: no space left on the disk" in said
        assert "last whole checkpoint: step 8; free some space and start again to go on" in said
        assert name == "midway" or (len(lines) == 4 and "bytes are free" in said)
    assert (tmp_path / "left").read_text().split() == ["12.orbax-checkpoint-tmp", "6", "8"]
    assert "going on from step 8" in (tmp_path / "again").read_text()
    whole = tmp_path / "whole"
    state = toy.run_toy(whole, toy.loop_config(20))
    metrics = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    again = loop.load_state(toy.make_program(), tmp_path / "run", MeshConfig())
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(again), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    # The first start ended at 8 and evaluated there; all else is the same.
    kept = [x for x in metrics.splitlines() if b"heldout" not in x or b'"step": 8,' not in x]
    assert kept == (whole / "metrics.jsonl").read_bytes().splitlines()
    assert not [d for d in (tmp_path / "run" / "checkpoints").iterdir() if not d.name.isdigit()]


def test_only_a_lack_of_space_is_called_that(tmp_path):
    def fail(error, cause=None):
        with name_full_disk(tmp_path):
            raise error from cause

    full = OSError(28, "No space left on device")
    for error, cause in ((full, None), (ValueError("write failed"), full)):
        with pytest.raises(
            InputError, match=r"no space left on the disk .*; no checkpoint yet; free some"
        ):
            fail(error, cause)
    with pytest.raises(PermissionError):
        fail(PermissionError(13, "Permission denied"))
    with pytest.raises(InputError, match=r"^clip: No space left$"):
        fail(InputError("clip: No space left"))
    with pytest.raises(ValueError, match="ENOSPC"):  # words are no proof
        fail(ValueError("ENOSPC: No space left on device"))


def test_the_disk_is_asked_where_a_library_has_only_words(tmp_path):
    def fail(size):
        with name_full_disk(tmp_path), ask_disk(tmp_path, size):
            raise ValueError("it went wrong")

    with pytest.raises(ValueError, match="it went wrong"):
        fail(100)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        fail(100_000)
    except Exception as error:
        said = error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "no space left on the disk ([Errno 27] File too large)" in str(said)
    assert list(tmp_path.iterdir()) == []


def run_with(directory, program, config, **context):
    record = manifest.build_manifest(toy.ToyConfig(config), {"loop": config.seed}, {}, {})
    return loop.train(
        program, config, directory, toy.batches, toy.heldout, record, MeshConfig(),
        loop.LoopContext(**context),
    )  # fmt: skip


def describe(step):
    return [f"position {16 * step + row}: clip_{row}" for row in range(16)]


def test_a_loss_that_is_not_finite_names_step_positions_and_recordings(tmp_path):
    program = toy.make_program(poison_step=9)
    with pytest.raises(NonFiniteError) as error:
        run_with(tmp_path, program, toy.loop_config(15), describe=describe)
    message = str(error.value)
    assert "loss = nan at step 10; last finite: step 9, so step 10 did it" in message
    assert "the batch of step 10: position 144: clip_0, position 145: clip_1, " in message
    assert "and 13 more, all in" in message
    assert "\n" not in message
    record = json.loads((tmp_path / "nonfinite.json").read_text())
    assert (record["last_finite_step"], record["seen_at_step"]) == (9, 10)
    assert record["batches"] == {"10": describe(9)}


def test_a_parameter_that_is_not_finite_names_all_steps_since_the_last_look(tmp_path):
    program = toy.make_program()

    def step(state, batch, key):
        state, metrics = program.step(state, batch, key)
        rest = {"mean": jnp.where(state.step == 7, jnp.inf, state.rest["mean"])}
        return dataclasses.replace(state, rest=rest), metrics

    with pytest.raises(NonFiniteError, match=r"last finite: step 6, so one of the steps 7 to 8"):
        run_with(
            tmp_path, dataclasses.replace(program, step=step), toy.loop_config(15),
            describe=describe,
        )  # fmt: skip
    assert latest_step(tmp_path) == 6
    record = json.loads((tmp_path / "nonfinite.json").read_text())
    assert list(record["batches"]) == ["7", "8"]


@pytest.mark.slow
def test_a_loader_that_hangs_ends_the_process_with_stacks(tmp_path, compile_cache):
    """A batch that takes longer than `stall_seconds`, which compiling does as well."""
    command = [sys.executable, toy.__file__, str(tmp_path / "run"), "15", "60", "1.5"]
    began = time.monotonic()
    done = subprocess.run(
        command, env=environment(compile_cache), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 124
    assert "stuck: waiting for data, step 1: no progress for 1.5 s" in done.stderr
    assert "slow_batches" in done.stderr  # the thread that is to blame
    assert time.monotonic() - began < 50


def test_a_trace_of_chosen_steps_is_written(tmp_path):
    toy.run_toy(tmp_path, toy.loop_config(5, profile_steps="3:4"))
    (trace,) = (tmp_path / "profile").rglob("*.xplane.pb")
    assert trace.stat().st_size > 1000
    toy.run_toy(tmp_path, toy.loop_config(5))  # the field may change within a run
    assert list(LoopConfig(9, profile_steps="3:4").profiled_steps) == [3, 4]


@pytest.mark.parametrize("text", ["3", "a:b", "3:", ":3", "0:2", "4:3", "3:10", "-1:2", "1:2:3"])
def test_profile_steps_are_validated(text):
    with pytest.raises(InputError, match=f"--loop.profile-steps {text}: expected"):
        LoopConfig(9, profile_steps=text)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stall_seconds": 0.0}, "--loop.stall-seconds 0.0"),
        ({"keep_best": -1}, "--loop.keep-best -1"),
    ],
)
def test_config_refuses(fields, words):
    with pytest.raises(InputError) as error:
        LoopConfig(9, **fields)
    assert words in str(error.value)
