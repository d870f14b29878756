"""Weights by their publisher's names into ours, one by one, so that none is missed or left over."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.errors import InputError

Shape = tuple[int, ...]
BATCH_NORM_EPSILON = 1e-5

# Kind of layer -> our names of weight and bias, torch's shape from ours, our array from torch's.
_KINDS: dict[str, tuple[str, str, Callable[..., Shape], Callable[[np.ndarray], np.ndarray]]] = {
    "linear": ("kernel", "bias", lambda i, o: (o, i), lambda x: x.T),
    "convolution": ("kernel", "bias", lambda k, i, o: (o, i, k), lambda x: x.transpose(2, 1, 0)),
    "transposed": ("kernel", "bias", lambda k, i, o: (i, o, k), lambda x: x.transpose(2, 0, 1)),
    "pointwise": ("kernel", "bias", lambda i, o: (o, i, 1), lambda x: x[..., 0].T),
    "in_projection": ("in_kernel", "in_bias", lambda i, o: (o, i, 1), lambda x: x[..., 0].T),
    "out_projection": ("out_kernel", "out_bias", lambda i, o: (o, i, 1), lambda x: x[..., 0].T),
    "depthwise": ("kernel", "bias", lambda k, c: (c, 1, k), lambda x: x[:, 0].T),
    "norm": ("scale", "bias", lambda d: (d,), lambda x: x),
    "affine": ("scale", "shift", lambda d: (d,), lambda x: x),
    "batch_norm": ("scale", "shift", lambda d: (d,), lambda x: x),
    "table": ("embedding", "bias", lambda n, d: (n, d), lambda x: x),
    "codebooks": ("codebooks", "bias", lambda n, d: (n, d), lambda x: x),
    "snake": ("alpha", "bias", lambda d: (1, d, 1), np.ravel),
}


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer by our name and its publisher's; a bias is taken if our layer has one.

    `{}` in the publisher's name stands for a number: if ours has it too, there are as many layers
    as we have; if not, ours holds all along its first axis. A batch norm becomes scale and shift.
    """

    here: str
    theirs: str
    kind: str  # of `_KINDS`


class PublishedArrays:
    """Arrays by their publisher's names, taken out one by one."""

    def __init__(self, arrays: dict[str, np.ndarray], where: str) -> None:
        self.left, self.where = dict(arrays), where

    def take(self, name: str, shape: Shape) -> np.ndarray:
        """An array as float32; InputError if missing, of another shape, or not finite."""
        if name not in self.left:
            raise InputError(f"{self.where}: array {name!r} is missing")
        array = self.left.pop(name)
        if not isinstance(array, np.ndarray) or array.shape != shape:
            size = getattr(array, "shape", type(array).__name__)
            raise InputError(f"{self.where}: array {name!r} has shape {size}, expected {shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{self.where}: array {name!r} holds NaN or infinite numbers")
        return array.astype(np.float32)

    def weight(self, prefix: str, shape: Shape, name: str = "weight") -> np.ndarray:
        """A weight as it is, or from norms [1, ..., n, ..., 1] and directions (weight norm)."""
        newer = "parametrizations.weight.original"
        for norm, direction in (("weight_g", "weight_v"), (f"{newer}0", f"{newer}1")):
            if f"{prefix}.{norm}" in self.left or f"{prefix}.{direction}" in self.left:
                vectors = self.take(f"{prefix}.{direction}", shape).astype(np.float64)
                sizes = getattr(self.left.get(f"{prefix}.{norm}"), "shape", ())
                axis = int(np.argmax(sizes)) if len(sizes) == len(shape) else 0
                expected = tuple(size if i == axis else 1 for i, size in enumerate(shape))
                norms = self.take(f"{prefix}.{norm}", expected)
                others = tuple(i for i in range(len(shape)) if i != axis)
                lengths = np.sqrt(np.square(vectors).sum(others, keepdims=True))
                if not lengths.all():
                    raise InputError(f"{self.where}: array '{prefix}.{direction}' has a zero row")
                return (norms * (vectors / lengths)).astype(np.float32)
        return self.take(f"{prefix}.{name}", shape)

    def take_layers(
        self, layers: Iterable[Layer], shapes: dict[str, Shape]
    ) -> dict[str, np.ndarray]:
        """Weights and biases by our names and in our layout; layers not in `shapes` are skipped."""
        arrays: dict[str, np.ndarray] = {}
        for layer in (numbered for x in layers for numbered in _numbered(x, shapes)):
            weight, bias, torch_shape, convert = _KINDS[layer.kind]
            weight, bias = f"{layer.here}.{weight}", f"{layer.here}.{bias}"
            if weight not in shapes:
                continue
            stacked = "{}" in layer.theirs
            taken: dict[str, list[np.ndarray]] = {x: [] for x in (weight, bias) if x in shapes}
            for i in range(shapes[weight][0] if stacked else 1):
                theirs = layer.theirs.format(i)
                shape = torch_shape(*shapes[weight][stacked:])
                if layer.kind == "batch_norm":
                    self._fold_batch_norm(theirs, shape[0])
                name = "alpha" if layer.kind == "snake" else "weight"
                taken[weight].append(convert(self.weight(theirs, shape, name)))
                if bias in shapes:
                    taken[bias].append(self.take(f"{theirs}.bias", shapes[bias][stacked:]))
            arrays |= {name: np.stack(x) if stacked else x[0] for name, x in taken.items()}
        return arrays

    def check_empty(self) -> None:
        """Raises InputError if an array was not taken."""
        if self.left:
            words = f"{min(self.left)!r} ({len(self.left)} in all)"
            raise InputError(f"{self.where}: unknown array {words}")

    def _fold_batch_norm(self, prefix: str, width: int) -> None:
        """Weight and bias become those that give the same without the running statistics."""
        self.left.pop(f"{prefix}.num_batches_tracked", None)  # counts training steps
        weight, bias, mean, variance = (
            self.take(f"{prefix}.{name}", (width,)).astype(np.float64)
            for name in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + BATCH_NORM_EPSILON)
        self.left |= {f"{prefix}.weight": scale, f"{prefix}.bias": bias - mean * scale}


def _numbered(layer: Layer, shapes: dict[str, Shape]) -> Iterator[Layer]:
    """The layers that a name of ours with `{}` stands for."""
    if "{}" not in layer.here:
        yield layer
        return
    for i in itertools.count():
        here = layer.here.format(i)
        if not any(name.startswith(f"{here}.") for name in shapes):
            return
        yield dataclasses.replace(layer, here=here, theirs=layer.theirs.format(i))


def sha256_of(weights: Path) -> str:
    """Of a weights file, or of the safetensors file in a folder."""
    return file_sha256(weights / "model.safetensors" if weights.is_dir() else weights)
