"""What ABX compares, and of which features; loads nothing heavy."""

import dataclasses
from typing import Literal

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig

Mode = Literal["within", "across"]
MODES: tuple[Mode, ...] = ("within", "across")
Source = Literal["mfcc", "encoder", "semantic", "codec"]
Slicing = Literal["corrected", "legacy"]
SLICINGS: tuple[Slicing, ...] = ("corrected", "legacy")
Part = Literal["all", "choice", "report"]
# So much later a recording is begun to see how many of its tokens change; half of a token of 40 ms
# is the most.
LATER_SECONDS = (0.005, 0.01, 0.02)


@dataclasses.dataclass(frozen=True)
class AbxConfig:
    """What is compared and how much of it."""

    max_size_group: int | None = 10
    """Most items of one phone, context and speaker, drawn by lot; None for all. Libri-Light: 10."""
    max_x_across: int | None = 5
    """Most speakers of X for each A, drawn by lot; None for all. Libri-Light: 5."""
    seed: int = 0
    """Of both draws, which depend on nothing else but the names of the group."""
    part: Part = "all"
    """Which recordings: all, or one half to choose layer and K by and the other half to report.
    A sentence that several speakers read, files of one name, is wholly in one half."""

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--abx.max-size-group", self.max_size_group, 2),
            ("--abx.max-x-across", self.max_x_across, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{flag} {value}: expected {least} or more, or None for all")
        if self.seed < 0:
            raise InputError(f"--abx.seed {self.seed}: expected 0 or more")


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
    """One model, or none, and what of it is measured."""

    name: str
    """Heads its rows of the table."""
    source: Source
    """mfcc (13 with first and second slopes, 100 Hz), encoder (a layer's features), semantic
    (clusters as centroids, and as bare ids) or codec (sums of code vectors; codes of level 1)."""
    model: Place = ""
    """Run directory or model folder; empty for mfcc."""
    layer: str = ""
    """Of the encoder; empty for the others."""
    scaled_by: Place = ""
    """Encoder only: run directory or model folder of a k-means whose mean and deviation standardize
    each dimension; empty for none."""
    levels: int | None = None
    """Codec only: how many levels are summed; None for all."""
    window: WindowConfig = WindowConfig()
    """Encoder only: how long recordings are cut."""

    def __post_init__(self) -> None:
        expected = {
            "model": self.source != "mfcc",
            "layer": self.source == "encoder",
            "scaled_by": bool(self.scaled_by) and self.source == "encoder",
            "levels": self.levels is not None and self.source == "codec",
        }
        if self.window != WindowConfig() and self.source != "encoder":
            raise InputError(
                f"features {self.name!r}: window = {self.window}: only source = 'encoder' takes one"
            )
        for field, is_expected in expected.items():
            value = getattr(self, field)
            if bool(value) != is_expected:
                raise InputError(
                    f"features {self.name!r}: {field} = {value!r} with source = {self.source!r}: "
                    f"expected {'one' if is_expected else 'none'}"
                )
