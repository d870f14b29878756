"""Checkpoints: a whole train state and the record that belongs to it, written by Orbax.

Writing is asynchronous and ends in a rename, so a checkpoint is complete or absent. A state is one
flat set of named arrays, for any mesh. It is read once, each host its shards, and a checksum over
every bit of them all is compared: damage that the file format lets pass is noticed too. Nothing is
ever pickled.
"""

import contextlib
import errno
import functools
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from audiolm_jax.artifacts.disk_space import ask_disk
from audiolm_jax.artifacts.local_copy import local_folder
from audiolm_jax.artifacts.run_folder import MODEL
from audiolm_jax.artifacts.storage import (
    COMPLETE,
    BucketPath,
    StorageError,
    is_remote,
    move_tree,
    remove_tree,
)
from audiolm_jax.errors import InputError
from audiolm_jax.training.checksum import checksum, is_whole
from audiolm_jax.training.distributed import from_all_hosts, from_first_host
from audiolm_jax.training.staged import StagedSteps, is_refusal, orbax_path

logger = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
UNREADABLE = "checkpoints_unreadable"
# What a run directory holds once there is something to lose, for `manifest.claim_run`.
KEPT = (f"{CHECKPOINTS}/[0-9]*", UNREADABLE, MODEL)
_OVERHEAD_BYTES = 256 << 10  # of names, shapes and the record
# Step and what is saved beside the arrays -> InputError for a checkpoint of something else.
Check = Callable[[int, dict[str, Any]], None]
# Name and shape of an array -> where to put it.
Place = Callable[[str, tuple[int, ...]], jax.sharding.Sharding]


def latest_step(directory: Path) -> int | None:
    """Step of the newest complete checkpoint of a run directory, or None; reads names only."""
    return max(saved_steps(directory), default=None)


def saved_steps(directory: Path) -> list[int]:
    """Steps of the complete checkpoints of a run directory, in order; reads names only."""
    named = [d for d in (directory / CHECKPOINTS).glob("*") if d.name.isdigit()]
    # Nothing is renamed in a bucket: there a file, the last of a checkpoint, says that it is whole.
    return sorted(int(d.name) for d in named if not is_remote(d) or (d / COMPLETE).is_file())


def read_saved(directory: Path, step: int) -> dict[str, Any]:
    """What is saved beside the arrays of a checkpoint: "record", "checksum", and the dtypes and
    shapes of "arrays"; read by this host alone, and not compared with the arrays."""
    import orbax.checkpoint as ocp

    record = directory.absolute() / CHECKPOINTS / str(step) / "record"
    with local_folder(record) as folder:
        saved = ocp.JsonCheckpointHandler(**_alone()).restore(folder, args=ocp.args.JsonRestore())
    return {name: saved[name] for name in ("record", "checksum", "arrays")}


def _alone() -> dict[str, Any]:
    """Has Orbax wait for no other host."""
    import orbax.checkpoint as ocp

    own = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=own, active_processes={own})
    return {"multiprocessing_options": options}


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
        target = dict(zip(wanted, jax.tree.leaves(shardings), strict=True))
        found = self._newest_whole(
            lambda step, saved: self._check_layout(step, wanted, saved),
            lambda name, shape: target[name],
            step,
        )
        if found is None:
            return None
        arrays, saved = found
        leaves = [arrays[name] for name in wanted]
        return jax.tree.unflatten(jax.tree.structure(abstract_state), leaves), saved["record"]

    def restore_arrays(
        self, mesh: Mesh | None = None
    ) -> tuple[dict[str, jax.Array], dict[str, Any]]:
        """All arrays of the newest whole checkpoint by name, divided over the devices of a mesh
        wherever a dimension can be, and its "record" and "checksum"."""

        def place(name: str, shape: tuple[int, ...]) -> jax.sharding.Sharding:
            if mesh is None:
                return SingleDeviceSharding(jax.local_devices()[0])
            fits = [axis for axis, size in enumerate(shape) if size and size % mesh.size == 0]
            spec = [*[None] * fits[0], mesh.axis_names] if fits else []
            return NamedSharding(mesh, PartitionSpec(*spec))

        found = self._newest_whole(lambda step, saved: None, place, None)
        if found is None:
            raise InputError(f"{self._named}: no checkpoint here; train first")
        return found

    def _newest_whole(
        self, check: Check, place: Place, only: int | None
    ) -> tuple[dict[str, jax.Array], dict[str, Any]] | None:
        """Arrays of the newest whole checkpoint and what is saved with them. Which are there is
        what the first host sees; one that any host cannot read is damaged for all."""
        damaged: list[tuple[int, str]] = []
        for step in from_first_host(lambda: sorted(self._manager.all_steps(), reverse=True)):
            if only not in (None, step):
                continue
            saved: dict[str, Any] | str = from_first_host(
                functools.partial(self._read_record, step, check)
            )
            arrays = saved if isinstance(saved, str) else self._read_arrays(step, saved, place)
            if isinstance(saved, str) or isinstance(arrays, str):
                damaged.append((step, str(arrays)))
                continue
            from_first_host(functools.partial(self._leave_out, damaged, step))
            self._manager.reload()  # what was set aside is gone on every host
            return arrays, saved
        if not damaged:
            return None
        why = damaged[0][1]
        if only is not None:
            raise InputError(f"{self._named / str(only)}: damaged checkpoint ({why})")
        raise InputError(
            f"{self._named}: none of the {len(damaged)} checkpoints can be read (newest: {why}); "
            "delete the folder to train from the start"
        )

    def _read_record(self, step: int, check: Check) -> dict[str, Any] | str:
        """What is saved beside the arrays, or why it cannot be read."""
        try:
            saved = read_saved(self._named.parent, step)
            check(step, saved)
            return saved
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes the reader raise
            return _reason(error)

    def _read_arrays(
        self, step: int, saved: dict[str, Any], place: Place
    ) -> dict[str, jax.Array] | str:
        """The arrays, each host its shards, or why they are not what was saved."""
        arrays, failure, reason = None, None, None
        try:
            if self._staged is not None:
                self._staged.fetch(step)
            target = {
                name: jax.ShapeDtypeStruct(
                    shape, jnp.dtype(dtype), sharding=place(name, tuple(shape))
                )
                for name, (dtype, shape) in saved["arrays"].items()
            }
            # Alone: a host that fails must not leave others waiting for it.
            arrays = self._ocp.StandardCheckpointHandler(**_alone()).restore(
                self._root / str(step) / "state", args=self._ocp.args.StandardRestore(target)
            )
            arrays = {name: arrays[name] for name in target}
        except (MemoryError, jax.errors.JaxRuntimeError, StorageError) as error:
            failure = error  # no fault of the file
        except Exception as error:  # whatever a damaged file makes the reader raise
            if is_remote(self._named) and is_refusal(error):
                failure = _refused(self._named / str(step), "cannot be read", error)
            else:
                reason = _reason(error)
        hosts = from_all_hosts([None if failure is None else _reason(failure), reason])
        if failure is not None:
            raise failure
        for number, (failed, _) in enumerate(hosts):
            if failed is not None:
                raise InputError(f"{self._named / str(step)}: process {number} failed: {failed}")
        for _, unread in hosts:
            if unread is not None:
                return unread
        assert arrays is not None
        if not is_whole(arrays, saved["checksum"]):
            return "the arrays do not match their checksum"
        return arrays

    def _leave_out(self, damaged: list[tuple[int, str]], step: int) -> None:
        for bad, why in damaged:
            path = self._named / str(bad)
            logger.warning("%s: damaged checkpoint (%s); taking step %d", path, why, step)
            if not self._read_only:
                self._set_aside(bad)

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


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
