"""Checkpoints: a whole train state and the record that belongs to it, written by Orbax.

Writing is asynchronous and ends in a rename, so a checkpoint is complete or absent. A state is one
flat set of named arrays, for any mesh. A checksum over every bit of it is compared before anything
is restored: damage that the file format lets pass is noticed too. Nothing is ever pickled.
"""

import contextlib
import errno
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.artifacts.storage import (
    COMPLETE,
    BucketPath,
    StorageError,
    is_remote,
    move_tree,
    remove_tree,
)
from audiolm_jax.errors import InputError
from audiolm_jax.training.distributed import from_first_host
from audiolm_jax.training.staged import StagedSteps, is_refusal, orbax_path
from audiolm_jax.types import Array

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
UNREADABLE = "checkpoints_unreadable"
_OVERHEAD_BYTES = 256 << 10  # of names, shapes and the record
# Step and what is saved beside the arrays -> InputError for a checkpoint of something else.
Check = Callable[[int, dict[str, Any]], None]


def latest_step(directory: Path) -> int | None:
    """Step of the newest complete checkpoint of a run directory, or None; reads names only."""
    return max(saved_steps(directory), default=None)


def saved_steps(directory: Path) -> list[int]:
    """Steps of the complete checkpoints of a run directory, in order; reads names only."""
    named = [d for d in (directory / CHECKPOINTS).glob("*") if d.name.isdigit()]
    # Nothing is renamed in a bucket: there a file, the last of a checkpoint, says that it is whole.
    return sorted(int(d.name) for d in named if not is_remote(d) or (d / COMPLETE).is_file())


def name_arrays(state: Any) -> dict[str, Any]:
    """The arrays of a state by dotted name, in the order of its leaves."""
    from flax import nnx  # here, because `audiolm info` counts checkpoints and needs none of it

    paths, _ = jax.tree_util.tree_flatten_with_path(
        state, is_leaf=lambda x: isinstance(x, nnx.Variable)
    )
    leaves = jax.tree.leaves(state)
    if len(paths) != len(leaves):
        raise ValueError("a Variable of the train state holds more or less than one array")
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in paths]
    return dict(zip(names, leaves, strict=True))


def checksum(arrays: Mapping[str, Array]) -> int:
    """A 64-bit sum over all bits and their places, the same however the arrays are sharded; all
    hosts sum a `jax.Array` together, each its own NumPy arrays."""
    total = 0
    for order, array in enumerate(arrays.values()):
        strides = np.cumprod([1, *array.shape[:0:-1]], dtype=np.uint64)[::-1]
        for values, index in _own_parts(array):
            total += (2 * order + 1) * _weigh(values, index, strides)
    if jax.process_count() > 1 and any(isinstance(x, jax.Array) for x in arrays.values()):
        from jax.experimental import multihost_utils

        halves = np.array([total >> 32 & 0xFFFFFFFF, total & 0xFFFFFFFF], np.uint32)
        of_hosts = multihost_utils.process_allgather(halves).astype(object)
        total = sum(int(high) << 32 | int(low) for high, low in of_hosts)
    return total % 2**64


def _own_parts(array: Array) -> Iterator[tuple[np.ndarray, tuple[slice, ...]]]:
    if isinstance(array, np.ndarray):
        yield array, (slice(None),) * array.ndim
        return
    for shard in array.addressable_shards:
        if shard.replica_id == 0:
            yield np.asarray(shard.data), shard.index


def _weigh(values: np.ndarray, index: tuple[slice, ...], strides: np.ndarray) -> int:
    places: Any = np.uint64(1)
    for axis, (part, stride) in enumerate(zip(index, strides, strict=False)):
        start = part.start or 0
        along = np.arange(start, start + values.shape[axis], dtype=np.uint64) * stride
        places = places + along.reshape(-1, *[1] * (values.ndim - 1 - axis))
    bits = values.astype(np.uint8) if values.dtype == bool else values
    bits = bits.view(f"u{bits.dtype.itemsize}")
    return int(np.sum(bits * (places * np.uint64(2) + np.uint64(1)), dtype=np.uint64))


class Checkpoints(contextlib.AbstractContextManager["Checkpoints"]):
    """The checkpoints of one run directory, in its folder `checkpoints`; the `keep` newest are
    kept, None opens them for reading only, safe beside a running trainer."""

    def __init__(self, directory: Path, keep: int | None):
        # Orbax takes half a second to import; `audiolm --help` must not pay for it.
        import orbax.checkpoint as ocp

        self._ocp = ocp
        self._named = directory.absolute() / CHECKPOINTS  # as it is told
        self._read_only = keep is None
        self._staged: StagedSteps | None = None
        self._root: Any = self._named  # as Orbax knows it
        if isinstance(self._named, BucketPath):
            if str(self._named).startswith("gs://"):
                self._root = orbax_path(self._named)
            else:
                self._staged = StagedSteps(self._named, saved_steps(directory), self._read_only)
                self._root = self._staged.folder
        self._begun_bytes = 0  # of the last save
        self._protected: set[int] = set()
        own = jax.process_index()
        alone = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
        self._alone: dict[str, Any] = {"multiprocessing_options": alone}  # waits for no other host
        policies = ocp.checkpoint_managers
        self._newest = policies.LatestN(keep)
        self._preserved = policies.AnyPreservationPolicy([self._newest])
        options: dict[str, Any] = {"read_only": True, "save_interval_steps": 0}
        if not self._read_only:
            options = {"preservation_policy": self._preserved, "cleanup_tmp_directories": True}
        self._manager = ocp.CheckpointManager(
            self._root, options=ocp.CheckpointManagerOptions(**options)
        )

    def __exit__(self, *error: object) -> None:
        with self._asking_disk():
            self._manager.close()
        if self._staged is not None:
            self._staged.close()

    def protect(self, steps: Iterable[int]) -> None:
        """Keeps the checkpoints of these steps too, in place of those of the call before."""
        before, self._protected = self._protected, set(steps)
        protected = self._ocp.checkpoint_managers.CustomSteps(sorted(self._protected))
        self._preserved.policies = [self._newest, protected]
        there = sorted(self._manager.all_steps())
        for step in sorted(before.intersection(there[: -self._newest.n]) - self._protected):
            self._manager.delete(step)
        self._send()

    def save(self, step: int, state: Any, record: dict[str, Any]) -> None:
        """Starts writing the state, which may then be donated, and its `record` of JSON values."""
        arrays = name_arrays(state)
        record = {
            "record": record,
            "checksum": f"{checksum(arrays):016x}",
            "arrays": {n: [str(a.dtype), list(a.shape)] for n, a in arrays.items()},
        }
        own = [s for a in arrays.values() for s in a.addressable_shards if s.replica_id == 0]
        self._begun_bytes = sum(shard.data.nbytes for shard in own) + _OVERHEAD_BYTES
        # Ahead of time, because a write that fails half-way leaves its threads in disarray.
        is_here = isinstance(self._root, Path)
        if is_here and (free := shutil.disk_usage(self._root).free) < self._begun_bytes:
            needs = f"a checkpoint takes {self._begun_bytes:,} bytes, {free:,} bytes are free"
            raise OSError(errno.ENOSPC, f"No space left: {needs}")
        args = self._ocp.args
        with self._asking_disk():
            self._manager.save(
                step,
                args=args.Composite(state=args.StandardSave(arrays), record=args.JsonSave(record)),
            )
        self._send()

    def _send(self) -> None:
        """To a bucket that Orbax does not know."""
        if self._staged is not None and not self._read_only:
            with self._asking_disk():
                self._manager.wait_until_finished()
            self._staged.send()

    @contextlib.contextmanager
    def _asking_disk(self) -> Iterator[None]:
        # The library that Orbax writes with says only in words what went wrong.
        if isinstance(self._root, Path):
            with ask_disk(self._root, self._begun_bytes):
                yield
            return
        try:
            yield
        except Exception as error:
            if is_refusal(error):
                raise _refused(self._named, "cannot be written", error) from error
            raise

    def reached_preemption(self, look: int) -> bool:
        """Whether the cluster's preemption notice asks all hosts to stop at this look for it."""
        return self._manager.reached_preemption(look)

    def wait(self) -> None:
        """Returns when every checkpoint is complete on disk; raises what went wrong."""
        with self._asking_disk():
            self._manager.wait_until_finished()

    def restore(
        self, abstract_state: Any, shardings: Any, step: int | None = None
    ) -> tuple[Any, dict[str, Any]] | None:
        """The state and the record of the newest whole checkpoint, or of `step`; None without any.

        A damaged one is named in the log, moves to the folder `checkpoints_unreadable` unless
        opened for reading only, and the one before is taken, as the first host decides. InputError
        if none can be read, the one of `step` is damaged, or they hold another model.
        """
        wanted = name_arrays(abstract_state)
        whole = self._agree(lambda step, saved: self._check_layout(step, wanted, saved), step)
        if whole is None:
            return None
        step, saved = whole
        target = {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
            for (name, x), sharding in zip(wanted.items(), jax.tree.leaves(shardings), strict=True)
        }
        args = self._ocp.args.Composite(state=self._ocp.args.StandardRestore(target))
        arrays = self._manager.restore(step, args=args)["state"]
        leaves = [arrays[name] for name in wanted]
        return jax.tree.unflatten(jax.tree.structure(abstract_state), leaves), saved["record"]

    def restore_arrays(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All arrays of the newest whole checkpoint by name, and its "record" and "checksum"."""
        whole = self._agree(lambda step, saved: None, None)
        if whole is None:
            raise InputError(f"{self._named}: no checkpoint here; train first")
        step, saved = whole
        return self._read_arrays(step, saved), saved

    def _agree(self, check: Check, only: int | None) -> tuple[int, dict[str, Any]] | None:
        """Step of the newest whole checkpoint and what is saved with it, as the first host sees."""
        whole = from_first_host(lambda: self._newest_whole(check, only))
        self._manager.reload()  # what was set aside is gone on every host
        return whole

    def _newest_whole(self, check: Check, only: int | None) -> tuple[int, dict[str, Any]] | None:
        damaged: list[tuple[int, str]] = []
        for step in sorted(self._manager.all_steps(), reverse=True):
            if only not in (None, step):
                continue
            try:
                if self._staged is not None:
                    self._staged.fetch(step)
                saved = self._ocp.JsonCheckpointHandler(**self._alone).restore(
                    self._root / str(step) / "record", args=self._ocp.args.JsonRestore()
                )
                check(step, saved)
                if f"{checksum(self._read_arrays(step, saved)):016x}" != saved["checksum"]:
                    raise ValueError("the arrays do not match their checksum")
            except InputError:
                raise
            except Exception as error:  # whatever a damaged file makes the reader raise
                if is_remote(self._named) and self._staged is None and is_refusal(error):
                    raise _refused(self._named / str(step), "cannot be read", error) from error
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                damaged.append((step, reason))
                continue
            for bad, why in damaged:
                path = self._named / str(bad)
                logger.warning("%s: damaged checkpoint (%s); taking step %d", path, why, step)
                if not self._read_only:
                    self._set_aside(bad)
            return step, saved
        if not damaged:
            return None
        why = damaged[0][1]
        if only is not None:
            raise InputError(f"{self._named / str(only)}: damaged checkpoint ({why})")
        raise InputError(
            f"{self._named}: none of the {len(damaged)} checkpoints can be read (newest: {why}); "
            "delete the folder to train from the start"
        )

    def _check_layout(self, step: int, wanted: dict[str, Any], saved: dict[str, Any]) -> None:
        new = {name: [str(a.dtype), list(a.shape)] for name, a in wanted.items()}
        old = saved["arrays"]
        if new != old:
            name = min(name for name in new.keys() | old.keys() if new.get(name) != old.get(name))
            raise InputError(
                f"{self._named / str(step)}: array {name!r} is {old.get(name, 'absent')} in the "
                f"checkpoint and {new.get(name, 'absent')} in this program; train in another "
                "directory or with the version that wrote it"
            )

    def _read_arrays(self, step: int, saved: dict[str, Any]) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint, read by this host alone."""
        place = SingleDeviceSharding(_cpu())
        target = {
            name: jax.ShapeDtypeStruct(shape, jnp.dtype(dtype), sharding=place)
            for name, (dtype, shape) in saved["arrays"].items()
        }
        arrays = self._ocp.StandardCheckpointHandler(**self._alone).restore(
            self._root / str(step) / "state", args=self._ocp.args.StandardRestore(target)
        )
        return {name: np.asarray(arrays[name]) for name in target}

    def _set_aside(self, step: int) -> None:
        target = self._named.parent / UNREADABLE / str(step)
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            remove_tree(target)
        move_tree(self._named / str(step), target)
        if self._staged is not None:
            self._staged.drop(step)


def _refused(path: Path, what: str, error: Exception) -> StorageError:
    return StorageError(path, what, " ".join(str(error).split())[:200])


def _cpu() -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError as error:
        platforms = jax.config.values["jax_platforms"]
        raise InputError(
            f"JAX_PLATFORMS = {platforms}: a checkpoint is checked on the CPU; set {platforms},cpu"
        ) from error
