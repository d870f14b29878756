"""What a visitor asks for, read from the fields of a form with distrust."""

import dataclasses
from collections.abc import Iterable, Mapping

from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import SEEDS
from audiolm_jax.generation.config import GenerationConfig, Sampling

MOST_TEMPERATURE = 2.0  # beyond it every code is about equally likely


@dataclasses.dataclass(frozen=True)
class Wish:
    """One continuation."""

    seconds: float
    seed: int
    sampling: dict[str, Sampling]  # by stage


def read_wish(
    fields: Mapping[str, str],
    config: GenerationConfig,
    stages: Iterable[str],
    most_seconds: float,
) -> Wish:
    """The fields `seconds`, `seed` (0 if left out), `consent` and, by stage of the bundle,
    `temperature_STAGE` (that of `config` if left out); InputError names the one that is wrong."""
    if fields.get("consent") != "yes":
        raise InputError("consent: say that the speaker agrees to be imitated")
    seconds = _number(fields, "seconds", 0.1, most_seconds)
    seed = fields.get("seed") or "0"
    if not (seed.isascii() and seed.isdecimal() and len(seed) <= 20 and int(seed) < SEEDS):
        raise InputError(f"seed {seed[:40]!r}: expected a whole number from 0 to 2^64 - 1")
    sampling = {}
    for stage in stages:
        usual, name = getattr(config, stage), f"temperature_{stage}"
        if fields.get(name):
            usual = dataclasses.replace(
                usual, temperature=_number(fields, name, 0.0, MOST_TEMPERATURE)
            )
        sampling[stage] = usual
    return Wish(seconds, int(seed), sampling)


def _number(fields: Mapping[str, str], name: str, least: float, most: float) -> float:
    text = fields.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise InputError(f"{name} {text[:40]!r}: expected a number from {least:g} to {most:g}")
    return value
