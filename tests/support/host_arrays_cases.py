"""What the hosts of tests/training/test_host_arrays.py do."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import Checkpoints
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.distributed import from_all_hosts, from_first_host
from audiolm_jax.training.host_arrays import merge_hosts, save_on_first_host
from audiolm_jax.training.mesh import make_mesh

# Sharded along one or more dimensions, or not at all; bytes that do not divide by four.
ARRAYS = {
    "wide": ("float32", (8, 300_000), ("fsdp", "model")),
    "across": ("float32", (6, 16), (None, ("fsdp", "model"))),
    "bytes": ("uint8", (8, 3), ("fsdp",)),
    "halves": ("float16", (4, 5, 2), ("model", None, "data")),
    "flags": ("bool", (16,), ("fsdp",)),
    "whole": ("int32", (3, 3), ()),
    "one": ("float32", (), ()),
    "none": ("float32", (0, 4), ()),
}


def values(name):
    """Any bits: -0.0 and NaN with payloads among them."""
    dtype, shape, _ = ARRAYS[name]
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    rng = np.random.default_rng(list(ARRAYS).index(name))
    bits = rng.integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    found = bits.view(dtype).reshape(shape)
    if dtype == "float32" and found.ndim == 2 and found.size:
        found[:, :2] = -0.0
    return found


def make_arrays(mesh):
    return {
        name: jax.make_array_from_callback(
            shape, NamedSharding(mesh, PartitionSpec(*spec)), lambda part, n=name: values(n)[part]
        )
        for name, (_, shape, spec) in ARRAYS.items()
    }


def save(directory):
    """A model folder; then one that fails half-way, which all hosts say."""
    root, own = Path(directory), jax.process_index()
    arrays = make_arrays(make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2)))
    fingerprint = save_on_first_host(
        arrays, lambda whole: save_model(root / "model", "toy", {"a": 1}, whole, {})
    )
    (root / f"fingerprint_{own}").write_text(fingerprint)

    def fails(whole):
        np.asarray(whole["across"])
        raise InputError("the disk of the first host is full")

    try:
        save_on_first_host(arrays, fails)
    except InputError as error:
        (root / f"refused_{own}").write_text(str(error))
    merged = merge_hosts(np.where(np.arange(5) % 2 == own, -1.5, 0.0))
    (root / f"merged_{own}").write_text(str(merged.tolist()))


def restore(directory):
    """Newest first: arrays damaged where one host alone reads them, bits changed in the memory of
    one host, a record damaged, a host without room."""
    root, own = Path(directory), jax.process_index()
    mesh = make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2))
    arrays = make_arrays(mesh)
    del arrays["none"]  # Orbax saves none without elements
    abstract = {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in arrays.items()}
    shardings = {n: a.sharding for n, a in arrays.items()}
    with Checkpoints(root, keep=9) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(step, arrays, {"step": step})
    folder = root / "checkpoints"
    from_first_host(lambda: (folder / "4" / "record" / "metadata").write_text("{") and None)
    handler = type(checkpoints._ocp.StandardCheckpointHandler())
    kept = handler.restore

    def read(self, path, *words, **more):
        if path.parent.name == "3" and own == 1:
            raise ValueError("this host alone cannot read it")
        found = kept(self, path, *words, **more)
        if path.parent.name == "2" and own == 1:
            wide = found["wide"]
            parts = [shard.data for shard in wide.addressable_shards]
            parts[0] = -parts[0]
            found["wide"] = jax.make_array_from_single_device_arrays(
                wide.shape, wide.sharding, parts
            )
        return found

    def full(self, path, *words, **more):
        if own == 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")
        return kept(self, path, *words, **more)

    handler.restore = full
    try:
        with Checkpoints(root, keep=9) as checkpoints:
            checkpoints.restore(abstract, shardings, step=1)
    except (InputError, jax.errors.JaxRuntimeError) as error:
        (root / f"full_{own}").write_text(str(error))
    handler.restore = read
    with Checkpoints(root, keep=9) as checkpoints:
        found, record = checkpoints.restore(abstract, shardings)
    handler.restore = kept
    is_same = all(
        np.asarray(a.data).tobytes() == np.asarray(b.data).tobytes()
        for name in arrays
        for a, b in zip(
            arrays[name].addressable_shards, found[name].addressable_shards, strict=True
        )
    )
    (root / f"restored_{own}").write_text(f"{record['step']} {is_same}")
    with Checkpoints(root, keep=None) as checkpoints:
        whole, saved = checkpoints.restore_arrays(mesh)
    spread = from_all_hosts([str(whole[name].sharding.spec) for name in ("wide", "whole")])
    (root / f"arrays_{own}").write_text(f"{saved['record']['step']} {spread}")
