"""What each layer of the codec is called here, by Descript and by the transformers library."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from audiolm_jax.tokenizers.acoustic.dac.config import DILATIONS, DacConfig


@dataclasses.dataclass(frozen=True)
class Layer:
    """Prefixes of one layer's arrays."""

    here: str  # in our model folders
    descript: str  # in Descript's torch file
    transformers: str  # in the transformers library
    kind: Literal["conv", "transposed", "snake"]  # how its arrays are laid out


def convolutional_layers(config: DacConfig) -> Iterator[Layer]:
    """The layers of encoder and decoder. Descript numbers them through; index 0 is the first."""
    stages = len(config.strides)
    yield Layer("encoder.first.causal", "encoder.block.0", "encoder.conv1", "conv")
    for i in range(stages):
        here, block, theirs = f"encoder.stages.{i}", f"encoder.block.{i + 1}", f"encoder.block.{i}"
        yield from _residual_units(here, f"{block}.block", 0, theirs)
        yield Layer(f"{here}.snake", f"{block}.block.3", f"{theirs}.snake1", "snake")
        yield Layer(f"{here}.down.causal", f"{block}.block.4", f"{theirs}.conv1", "conv")
    yield Layer("encoder.snake", f"encoder.block.{stages + 1}", "encoder.snake1", "snake")
    yield Layer("encoder.last.causal", f"encoder.block.{stages + 2}", "encoder.conv2", "conv")

    yield Layer("decoder.first.causal", "decoder.model.0", "decoder.conv1", "conv")
    for i in range(stages):
        here, block, theirs = f"decoder.stages.{i}", f"decoder.model.{i + 1}", f"decoder.block.{i}"
        yield Layer(f"{here}.snake", f"{block}.block.0", f"{theirs}.snake1", "snake")
        yield Layer(f"{here}.up.causal", f"{block}.block.1", f"{theirs}.conv_t1", "transposed")
        yield from _residual_units(here, f"{block}.block", 2, theirs)
    yield Layer("decoder.snake", f"decoder.model.{stages + 1}", "decoder.snake1", "snake")
    yield Layer("decoder.last.causal", f"decoder.model.{stages + 2}", "decoder.conv2", "conv")


def _residual_units(here: str, descript: str, first: int, transformers: str) -> Iterator[Layer]:
    for i in range(len(DILATIONS)):
        ours, block = f"{here}.units.{i}", f"{descript}.{first + i}.block"
        theirs = f"{transformers}.res_unit{i + 1}"
        yield Layer(f"{ours}.snake1", f"{block}.0", f"{theirs}.snake1", "snake")
        yield Layer(f"{ours}.dilated.causal", f"{block}.1", f"{theirs}.conv1", "conv")
        yield Layer(f"{ours}.snake2", f"{block}.2", f"{theirs}.snake2", "snake")
        yield Layer(f"{ours}.pointwise", f"{block}.3", f"{theirs}.conv2", "conv")


def quantizer_level(level: int) -> str:
    """Prefix of a quantizer level's arrays, the same in both sources."""
    return f"quantizer.quantizers.{level}"
