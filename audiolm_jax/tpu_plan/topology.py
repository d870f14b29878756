"""Slices of TPUs that need not be there, as devices to compile for: libtpu holds the compiler of
every generation and runs on any x86 machine. An attached TPU is left to whoever trains on it."""

import importlib.util
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from audiolm_jax.errors import InputError
from audiolm_jax.tpu_plan.names import FORM
from audiolm_jax.training.topology import CHIPS


def prepare_compiler() -> None:
    """Has JAX compute on the CPU and libtpu only compile; call before anything uses a device."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError("libtpu is not installed: pip install 'audiolm_jax[tpu]' (x86-64 Linux)")
    # What the environment says of attached TPUs and of other workers is of no use here.
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["TPU_WORKER_ID"] = "0"
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-16")  # warns if it is not told any
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # a process that trains may hold the lock
    os.environ.setdefault("TPU_LOG_DIR", "disabled")
    os.environ.setdefault("TPU_STDERR_LOG_LEVEL", "3")
    jax.config.update("jax_platforms", "cpu")


def slice_devices(name: str, slices: int = 1) -> list[jax.Device]:
    """Devices of a slice, such as v4:2x2x4, or several equal ones, to compile programs for."""
    from jax.experimental import topologies

    # A v4 chip has two cores, which JAX drives as one device on the chip itself too.
    cores = {"chip_config_name": "megacore"} if name.startswith("v4:") else {}
    several = {"num_slices": slices} if slices > 1 else {}
    try:
        description = topologies.get_topology_desc(name, "tpu", **cores, **several)
        devices: list[Any] = list(description.devices)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"topology {name!r}: unknown; expected {FORM} ({reason})") from error
    if (kind := devices[0].device_kind) not in CHIPS:
        raise InputError(
            f"topology {name!r}: no figures for its {kind!r}; expected one of "
            f"{', '.join(sorted({chip.name for chip in CHIPS.values()}))}"
        )
    return devices


def count_chips(devices: Sequence[jax.Device]) -> int:
    """Chips that the devices are on: a device may be one core of a chip."""
    return len({(getattr(device, "slice_index", 0), tuple(device.coords)) for device in devices})


def hbm_limit(device: jax.Device) -> int:
    """Bytes of a device's main memory that the compiler may fill: it is asked for far too much."""
    sharding = jax.sharding.SingleDeviceSharding(device)
    too_much = jax.ShapeDtypeStruct((1 << 44,), jnp.uint8, sharding=sharding)
    try:
        jax.jit(lambda x: x + 1).lower(too_much).compile()
    except jax.errors.JaxRuntimeError as error:
        if found := re.search(r"available HBM \(([\d.]+[KMGT])\)", str(error)):
            return binary_bytes(found[1])
        raise RuntimeError(f"cannot read the memory limit in: {error}") from error
    raise RuntimeError(f"{device}: took 16 TiB for an array")


def binary_bytes(text: str) -> int:
    """Bytes of a size as the compiler prints it, such as "15.75G" or "512B"."""
    size = re.fullmatch(r"([\d.]+)([BKMGT])", text)
    if size is None:
        raise ValueError(f"{text!r}: not a size of the compiler, such as 15.75G")
    return round(float(size[1]) * 1024 ** "BKMGT".index(size[2]))
