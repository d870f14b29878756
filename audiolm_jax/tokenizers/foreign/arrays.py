"""Weights by their publisher's names into ours, one by one, so that none is missed or left over."""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.errors import InputError

Kind = Literal["linear", "convolution", "pointwise", "depthwise", "norm", "table"]
Shape = tuple[int, ...]

# Kind of layer -> our name of its weight, torch's shape from ours, our array from torch's.
_KINDS: dict[str, tuple[str, Callable[..., Shape], Callable[[np.ndarray], np.ndarray]]] = {
    "linear": ("kernel", lambda i, o: (o, i), lambda x: x.T),
    "convolution": ("kernel", lambda k, i, o: (o, i, k), lambda x: x.transpose(2, 1, 0)),
    "pointwise": ("kernel", lambda i, o: (o, i, 1), lambda x: x[..., 0].T),
    "depthwise": ("kernel", lambda k, c: (c, 1, k), lambda x: x[:, 0].T),
    "norm": ("scale", lambda d: (d,), lambda x: x),
    "table": ("embedding", lambda n, d: (n, d), lambda x: x),
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer by our name and its publisher's.

    Attributes:
      here: prefix of our arrays.
      theirs: prefix of the publisher's; `{}` stands for the number of a block, and our arrays
        then have all blocks along their first axis.
      kind: how the weight is laid out. A bias is taken if our layer has one.
    """

    here: str
    theirs: str
    kind: Kind


class PublishedArrays:
    """Arrays by their publisher's names, taken out one by one."""

    def __init__(self, arrays: dict[str, np.ndarray], where: str):
        self.left, self.where = dict(arrays), where

    def take(self, name: str, shape: Shape) -> np.ndarray:
        """An array as float32.

        Raises:
          InputError: it is missing, of another shape, or not finite.
        """
        if name not in self.left:
            raise InputError(f"{self.where}: array {name!r} is missing")
        array = self.left.pop(name)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            size = getattr(array, "shape", type(array).__name__)
            raise InputError(f"{self.where}: array {name!r} has shape {size}, expected {shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{self.where}: array {name!r} holds NaN or infinite numbers")
        return array.astype(np.float32)

    def weight(self, prefix: str, shape: Shape) -> np.ndarray:
        """A weight as it is, or as norms and directions (weight normalisation).

        The norms have one axis of the directions, and size 1 along the others.
        """
        for norm, direction in (
            ("weight_g", "weight_v"),
            ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ):
            if f"{prefix}.{norm}" in self.left or f"{prefix}.{direction}" in self.left:
                vectors = self.take(f"{prefix}.{direction}", shape).astype(np.float64)
                found = getattr(self.left.get(f"{prefix}.{norm}"), "shape", ())
                axis = int(np.argmax(found)) if len(found) == len(shape) else 0
                expected = tuple(size if i == axis else 1 for i, size in enumerate(shape))
                norms = self.take(f"{prefix}.{norm}", expected)
                others = tuple(i for i in range(len(shape)) if i != axis)
                lengths = np.sqrt(np.square(vectors).sum(others, keepdims=True))
                if not lengths.all():
                    raise InputError(f"{self.where}: array '{prefix}.{direction}' has a zero row")
                return (norms * (vectors / lengths)).astype(np.float32)
        return self.take(f"{prefix}.weight", shape)

    def take_layers(self, layers: Iterable[Layer], shapes: dict[str, Shape]) -> dict:
        """Weights and biases of layers, by our names and in our layout.

        Args:
          layers: which.
          shapes: of all our arrays.
        """
        arrays = {}
        for layer in layers:
            ours, torch_shape, convert = _KINDS[layer.kind]
            name, bias = f"{layer.here}.{ours}", f"{layer.here}.bias"
            stacked = "{}" in layer.theirs
            kernels, biases = [], []
            for i in range(shapes[name][0] if stacked else 1):
                theirs = layer.theirs.format(i)
                shape = shapes[name][stacked:]
                kernels.append(convert(self.weight(theirs, torch_shape(*shape))))
                if bias in shapes:
                    biases.append(self.take(f"{theirs}.bias", shapes[bias][stacked:]))
            arrays[name] = np.stack(kernels) if stacked else kernels[0]
            if bias in shapes:
                arrays[bias] = np.stack(biases) if stacked else biases[0]
        return arrays

    def check_empty(self) -> None:
        """Raises InputError if an array was not taken."""
        if self.left:
            raise InputError(
                f"{self.where}: unknown array {min(self.left)!r} ({len(self.left)} in all)"
            )


def sha256_of(weights: Path) -> str:
    """Of a weights file, or of the safetensors file in a folder."""
    path = weights / "model.safetensors" if weights.is_dir() else weights
    return file_sha256(path)
