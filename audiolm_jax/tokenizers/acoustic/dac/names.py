"""What each layer of the codec is called here, by Descript and by the transformers library."""

from collections.abc import Iterator
from typing import NamedTuple

from audiolm_jax.tokenizers.acoustic.dac.config import DILATIONS, DacConfig


class Layer(NamedTuple):
    """Prefixes of one layer's arrays."""

    here: str  # in our model folders
    descript: str  # in Descript's torch file
    transformers: str  # in the transformers library
    kind: str  # as in `foreign.arrays`


def convolutional_layers(config: DacConfig) -> Iterator[Layer]:
    """The layers of encoder and decoder, in no order that matters."""
    stages = len(config.strides)
    down, up = ("down", "conv1", "convolution"), ("up", "conv_t1", "transposed")
    # Descript numbers the parts of a half and of each stage through.
    yield from _half("encoder", "encoder.block", stages, down, 3, units=0)
    yield from _half("decoder", "decoder.model", stages, up, 0, units=2)


def _half(
    half: str, parts: str, stages: int, resampling: tuple[str, str, str], snake: int, units: int
) -> Iterator[Layer]:
    """`snake` and `units` are the numbers of those parts in a stage."""
    ours, theirs, kind = resampling
    yield Layer(f"{half}.first.causal", f"{parts}.0", f"{half}.conv1", "convolution")
    for i in range(stages):
        here, part, block = f"{half}.stages.{i}", f"{parts}.{i + 1}.block", f"{half}.block.{i}"
        yield Layer(f"{here}.snake", f"{part}.{snake}", f"{block}.snake1", "snake")
        yield Layer(f"{here}.{ours}.causal", f"{part}.{snake + 1}", f"{block}.{theirs}", kind)
        for n in range(len(DILATIONS)):
            unit, inner = f"{here}.units.{n}", f"{part}.{units + n}.block"
            res = f"{block}.res_unit{n + 1}"
            yield Layer(f"{unit}.snake1", f"{inner}.0", f"{res}.snake1", "snake")
            yield Layer(f"{unit}.dilated.causal", f"{inner}.1", f"{res}.conv1", "convolution")
            yield Layer(f"{unit}.snake2", f"{inner}.2", f"{res}.snake2", "snake")
            yield Layer(f"{unit}.pointwise", f"{inner}.3", f"{res}.conv2", "convolution")
    yield Layer(f"{half}.snake", f"{parts}.{stages + 1}", f"{half}.snake1", "snake")
    yield Layer(f"{half}.last.causal", f"{parts}.{stages + 2}", f"{half}.conv2", "convolution")
