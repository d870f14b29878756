"""Devices as a mesh, and the one table from logical axis names to mesh axes.

Mesh axes are named in this file and nowhere else: `data` holds copies of the parameters, `fsdp`
shards parameters and optimizer state, `model` splits the width inside a layer. The batch is divided
over `data` and `fsdp`. With the preset `none` there is no mesh at all.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec, Sharding

from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import Rules, logical_to_spec, use_rules
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.state import Batch

AXES = ("data", "fsdp", "model")
_BATCH_AXES = ("data", "fsdp")

_REPLICATED: Rules = {
    "batch": _BATCH_AXES,
    **dict.fromkeys(("length", "time", "embed", "mlp", "heads", "kv", "vocab", "layers", "levels")),
    # Convolutions of the codec and its discriminators are small and of odd widths: never sharded.
    **dict.fromkeys(("channels_in", "channels_out", "codes")),
}
_FSDP: Rules = {**_REPLICATED, "embed": "fsdp"}
RULES: dict[str, Rules] = {
    "dp": _REPLICATED,
    "fsdp": _FSDP,
    "fsdp_tp": {**_FSDP, "mlp": "model", "heads": "model", "vocab": "model"},
}


def rules_of(config: MeshConfig) -> Rules | None:
    """The table from logical axis names to mesh axes; None without a mesh."""
    return RULES.get(config.preset)


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh | None:
    """The devices (all by default) as a mesh with the axes `AXES`; None with the preset `none`."""
    processes = jax.process_count() if devices is None else 1
    if processes > 1 and not jax.distributed.is_initialized():
        raise InputError(
            f"{processes} processes are not connected; start each of them with --distributed auto"
        )
    if processes > 1 and config.preset == "none":
        raise InputError(
            f"--mesh.preset none: uses one device, but {processes} processes run; choose another"
        )
    if config.preset == "none":
        return None
    devices = list(jax.devices() if devices is None else devices)
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    # Slices of a TPU are the hardware's; elsewhere one may be imagined for every few devices.
    if devices[0].platform == "tpu" and slices != config.slices:
        raise InputError(f"--mesh.slices {config.slices}: the devices form {slices} slices")
    fixed = config.slices * config.replicas * config.model
    if len(devices) % fixed:
        raise InputError(
            f"mesh: slices x replicas x model = {config.slices} x {config.replicas} x "
            f"{config.model} = {fixed} does not divide {len(devices)} devices; change one of them"
        )
    rest = len(devices) // fixed
    inner = (rest, 1, 1) if config.preset == "dp" else (config.replicas, rest, config.model)
    if config.slices == 1:
        grid = mesh_utils.create_device_mesh(inner, devices, allow_split_physical_axes=True)
    elif slices == config.slices:
        grid = mesh_utils.create_hybrid_device_mesh(
            inner, (config.slices, 1, 1), devices, allow_split_physical_axes=True
        )
    else:  # devices without slices of their own (CPU, GPU): consecutive ones make a slice
        grid = np.array(devices).reshape(config.slices * inner[0], *inner[1:])
    return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


@contextlib.contextmanager
def use_mesh(mesh: Mesh | None, rules: Rules | None) -> Iterator[None]:
    """Makes mesh and rules the ones that `partition.constrain` follows; nothing without a mesh."""
    if mesh is None or rules is None:
        yield
        return
    with jax.set_mesh(mesh), use_rules(rules):
        yield


@contextlib.contextmanager
def outside_mesh() -> Iterator[None]:
    """Within a `use_mesh`: the block is without, for models that work on one device."""
    with jax.set_mesh(None), use_rules(None):
        yield


def replicated(mesh: Mesh | None) -> Sharding:
    """The sharding of a value that every device holds in full."""
    if mesh is None:
        return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return NamedSharding(mesh, PartitionSpec())


def state_shardings(mesh: Mesh | None, rules: Rules | None, abstract_state: Any) -> Any:
    """Shardings of a state, any pytree, from the logical names its parameters were born with,
    which optimizer moments carry too; plain arrays are replicated."""

    def sharding_of(path: Any, leaf: Any) -> Any:
        if not isinstance(leaf, nnx.Variable):
            return replicated(mesh)
        shape = leaf.get_value().shape
        names = leaf.get_metadata().get("out_sharding")
        if mesh is None or rules is None or not names or len(names) != len(shape):
            return leaf.replace(replicated(mesh))
        spec = logical_to_spec(tuple(names), rules)
        # Adafactor's moments are 1 long where they are means.
        placed = [None if size == 1 else axes for size, axes in zip(shape, spec, strict=True)]
        for name, size, axes in zip(names, shape, placed, strict=True):
            if size % (parts := _count(mesh, axes)):
                raise InputError(
                    f"mesh: dimension {name!r} of {jax.tree_util.keystr(path)} is {size} long and "
                    f"does not divide over {parts} devices; choose a multiple or another mesh"
                )
        return leaf.replace(NamedSharding(mesh, PartitionSpec(*placed)))

    return jax.tree_util.tree_map_with_path(
        sharding_of, abstract_state, is_leaf=lambda x: isinstance(x, nnx.Variable)
    )


def batch_sharding(mesh: Mesh, batch: Batch) -> NamedSharding:
    """The sharding of a global batch's arrays: the leading dimension over `data` and `fsdp`."""
    parts = _count(mesh, _BATCH_AXES)
    for leaf in jax.tree.leaves(batch):
        if np.shape(leaf)[0] % parts:
            raise InputError(
                f"--batch-size {np.shape(leaf)[0]}: does not divide over the {parts} devices of "
                f"the mesh axes {' x '.join(_BATCH_AXES)}; choose a multiple of {parts} or another "
                "mesh"
            )
    return NamedSharding(mesh, PartitionSpec(_BATCH_AXES))


def host_rows(mesh: Mesh | None, batch_size: int, host: int | None = None) -> tuple[int, ...]:
    """The rows of a global batch that the devices of a host, None: this one, hold, in order: its
    share to read. On a TPU torus they need not be neighbours. Hosts that split the width of layers
    between them (`model`) hold the same rows."""
    if mesh is None:
        return tuple(range(batch_size))
    batch_sharding(mesh, jax.ShapeDtypeStruct((batch_size,), np.int32))
    size = batch_size // part_count(mesh)
    return tuple(part * size + row for part in host_parts(mesh, host) for row in range(size))


def to_global(batch: Batch, mesh: Mesh | None) -> Batch:
    """Puts the rows that `host_rows` names on this host's devices, as its share of the batch."""
    if mesh is None:
        return jax.device_put(batch, replicated(None))
    if jax.process_count() == 1:
        return jax.device_put(batch, batch_sharding(mesh, batch))
    parts = host_parts(mesh)

    def place(rows: np.ndarray) -> jax.Array:
        size, rest = divmod(len(rows), len(parts))
        if rest:
            raise InputError(
                f"batch: {len(rows)} rows do not divide over this host's {len(parts)} parts; read "
                "those that host_rows names"
            )
        own = {part * size: first * size for first, part in enumerate(parts)}
        shape = (size * part_count(mesh), *rows.shape[1:])
        sharding = batch_sharding(mesh, jax.ShapeDtypeStruct(shape, rows.dtype))

        def part_of(index: Any) -> np.ndarray:  # a slice for each dimension
            first = own[index[0].start or 0]
            return rows[first : first + size]

        return jax.make_array_from_callback(shape, sharding, part_of)

    return jax.tree.map(place, batch)


@functools.lru_cache(maxsize=16)  # equal steps and meshes are compiled once
def on_each_part(step: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
    """Compiles `step(row, *shared) -> (divided, everywhere)`, two tuples of arrays, for a row for
    each part of a batch: a part gives what one device by itself would give for its row.

    What comes back takes the rows of this host's parts, NumPy arrays [own parts, ...], and what all
    parts share, placed as `replicated`. It gives the arrays of all parts: the first, [k, ...], as
    [parts, k', ...], filled up with zeros and divided along k', the others everywhere.
    """
    if mesh is None:
        one = jax.jit(step)

        def alone(rows: Any, *shared: Any) -> Any:
            row = to_global(jax.tree.map(lambda x: x[0], rows), None)
            return jax.tree.map(lambda x: x[None], one(row, *shared))

        return alone
    by_part, parts = PartitionSpec(_BATCH_AXES), part_count(mesh)

    def own(rows: Any, *shared: Any) -> Any:
        found = step(jax.tree.map(lambda x: x[0], rows), *shared)
        return jax.tree.map(lambda x: x[None], found)

    def fill(x: jax.Array) -> jax.Array:
        return jnp.pad(x, [(0, 0), (0, -x.shape[1] % parts), *[(0, 0)] * (x.ndim - 2)])

    def every(rows: Any, *shared: Any) -> Any:
        specs = (by_part, *[PartitionSpec()] * len(shared))
        mapped = jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=by_part)
        divided, everywhere = mapped(rows, *shared)
        return jax.tree.map(fill, divided), everywhere

    divided = NamedSharding(mesh, PartitionSpec(None, _BATCH_AXES))
    compiled = jax.jit(every, out_shardings=(divided, replicated(mesh)))
    return lambda rows, *shared: compiled(to_global(rows, mesh), *shared)


def gather(tree: Any) -> Any:
    """The whole values of global arrays as numpy arrays, on every host; all hosts must call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(tree, tiled=True)


def part_count(mesh: Mesh | None) -> int:
    """Parts that a batch is divided into: the devices along `data` and `fsdp`."""
    return 1 if mesh is None else _count(mesh, _BATCH_AXES)


def host_parts(mesh: Mesh | None, host: int | None = None) -> tuple[int, ...]:
    """Numbers of the parts of a batch that lie on a host, None: this one."""
    if mesh is None:
        return (0,)
    grid = mesh.devices.reshape(-1, mesh.shape["model"])
    host = jax.process_index() if host is None else host
    return tuple(i for i, row in enumerate(grid) if any(d.process_index == host for d in row))


def _count(mesh: Mesh, axes: str | tuple[str, ...] | None) -> int:
    names = (axes,) if isinstance(axes, str) else (axes or ())
    return math.prod(mesh.shape[name] for name in names)
