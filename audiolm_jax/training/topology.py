"""Slices of TPUs that need not be there: what their chips can do, and devices to compile for.

libtpu holds the compiler of every generation and runs on any x86 machine. Nothing here opens a
TPU: where one is attached it is left to whoever trains on it.
"""

import dataclasses
import importlib.util
import os
import re
from collections.abc import Sequence

import jax
from jax import numpy as jnp

from audiolm_jax.errors import InputError

_GIB = 2**30
FORM = "GENERATION:XxY or GENERATION:XxYxZ chips, such as v5e:4x4, v6e:4x4, v4:2x2x4, v5p:2x2x4"


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip, with all of its cores; from the vendor's data sheets.

    Attributes:
      name: of the generation, as topologies name it.
      bfloat16_flops: operations per second of its matrix units.
      hbm_bytes: main memory.
      hbm_bytes_per_second: of its main memory.
      clock_hz: cycles per second of its cores.
    """

    name: str
    bfloat16_flops: float
    hbm_bytes: int
    hbm_bytes_per_second: float
    clock_hz: float


_V4 = Chip("v4", 275e12, 32 * _GIB, 1.228e12, 1.05e9)
_V5E = Chip("v5e", 197e12, 16 * _GIB, 0.819e12, 1.5e9)
_V5P = Chip("v5p", 459e12, 95 * _GIB, 2.765e12, 1.75e9)
_V6E = Chip("v6e", 918e12, 32 * _GIB, 1.640e12, 1.75e9)

# By `device_kind`; on all of these a device is a whole chip unless a v4 is told otherwise.
CHIPS = {
    "TPU v4": _V4,
    "TPU v5 lite": _V5E,
    "TPU v5e": _V5E,
    "TPU v5": _V5P,
    "TPU v5p": _V5P,
    "TPU v6 lite": _V6E,
    "TPU v6e": _V6E,
}


def peak_flops(device_kind: str) -> float | None:
    """bfloat16 operations per second of a device, None if its kind is not known."""
    chip = CHIPS.get(device_kind)
    return None if chip is None else chip.bfloat16_flops


def prepare_compiler() -> None:
    """Has JAX compute on the CPU and libtpu only compile; call before anything uses a device.

    Raises:
      InputError: libtpu is not installed.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            "libtpu, the TPU compiler, is not installed; pip install 'audiolm_jax[tpu]' "
            "(x86-64 Linux, no TPU needed)"
        )
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
    """Devices of a slice, or of several equal ones, that programs can be compiled for.

    Args:
      name: of the slice, see `FORM`.
      slices: how many of them, joined by a data-centre network.

    Raises:
      InputError: no such slice.
    """
    from jax.experimental import topologies

    # A v4 chip has two cores, which JAX drives as one device on the chip itself too.
    cores = {"chip_config_name": "megacore"} if name.startswith("v4:") else {}
    several = {"num_slices": slices} if slices > 1 else {}
    try:
        devices = topologies.get_topology_desc(
            platform="tpu", topology_name=name, **cores, **several
        ).devices
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"topology {name!r}: unknown; expected {FORM} ({reason})") from error
    if (kind := devices[0].device_kind) not in CHIPS:
        raise InputError(
            f"topology {name!r}: no figures for its {kind!r}; expected one of "
            f"{', '.join(sorted({chip.name for chip in CHIPS.values()}))}"
        )
    return list(devices)


def count_chips(devices: Sequence[jax.Device]) -> int:
    """Chips that the devices are on: a device may be one core of a chip."""
    return len({(getattr(device, "slice_index", 0), tuple(device.coords)) for device in devices})


def hbm_limit(device: jax.Device) -> int:
    """Bytes of a device's main memory that the compiler may fill: it is asked for far too much.

    Raises:
      RuntimeError: its answer cannot be understood.
    """
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
    number, unit = re.fullmatch(r"([\d.]+)([BKMGT])", text).groups()
    return round(float(number) * 1024 ** "BKMGT".index(unit))
