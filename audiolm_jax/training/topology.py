"""What the chips of TPU slices can do, from the vendor's data sheets."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Chip:
    """One chip, with all of its cores."""

    name: str  # of the generation, as topologies name it
    bfloat16_flops: float  # operations per second of its matrix units
    hbm_bytes_per_second: float
    clock_hz: float  # of its cores


_V4 = Chip("v4", 275e12, 1.228e12, 1.05e9)
_V5E = Chip("v5e", 197e12, 0.819e12, 1.5e9)
_V5P = Chip("v5p", 459e12, 2.765e12, 1.75e9)
_V6E = Chip("v6e", 918e12, 1.640e12, 1.75e9)

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
    return CHIPS[device_kind].bfloat16_flops if device_kind in CHIPS else None
