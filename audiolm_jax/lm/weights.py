"""A decoder's weights as generation reads them: outputs first, one array per layer and product."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding

from audiolm_jax.lm.config import DecoderConfig, Precision, StageModelConfig
from audiolm_jax.lm.decoder import decoder_shapes
from audiolm_jax.nn.columns import Matrix
from audiolm_jax.nn.partition import MeshAxes, Rules, logical_to_spec
from audiolm_jax.nn.position import distance_buckets
from audiolm_jax.nn.state_arrays import leaves_of


class LayerWeights(NamedTuple):
    """One layer; d width, h heads, k head width, f hidden width."""

    attention_norm: Any  # [d]
    query_key_value: Matrix  # [3, h, k, d]
    query_norm: Any  # [k], or None
    key_norm: Any  # [k], or None
    out: Matrix  # [d, h, k]
    feed_forward_norm: Any  # [d]
    gate_up: Matrix  # [2, f, d]
    down: Matrix  # [d, f]


class DecoderWeights(NamedTuple):
    """All of them."""

    embedding: Any  # [v, d]
    distance_bias: Any  # float32 [h, n] at distances 0 ... n - 1, or None
    layers: list[LayerWeights]
    final_norm: Any  # [d]
    output: Matrix  # [v, d]


# Logical names of the dimensions, for a mesh.
_LAYER_NAMES = LayerWeights(
    ("embed",),
    Matrix((None, "heads", "kv", "embed"), (None, "heads", "kv")),
    ("kv",),
    ("kv",),
    Matrix(("embed", "heads", "kv"), ("embed",)),
    ("embed",),
    Matrix((None, "mlp", "embed"), (None, "mlp")),
    Matrix(("embed", "mlp"), ("embed",)),
)
_NAMES = DecoderWeights(
    ("vocab", "embed"),
    ("heads", None),
    [_LAYER_NAMES],
    ("embed",),
    Matrix(("vocab", "embed"), ("vocab",)),
)


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """All that programs depend on besides shapes: decoders for which it is equal share them."""

    decoder: DecoderConfig
    by_lanes: bool  # how columns are multiplied (nn/columns.py)
    rules: tuple[tuple[str, MeshAxes], ...] | None  # of the mesh

    def of_one_layer(self) -> "Arithmetic":
        """What the program of a single layer depends on."""
        return dataclasses.replace(self, decoder=dataclasses.replace(self.decoder, layers=1))


def arithmetic(config: DecoderConfig, precision: Precision, rules: Rules | None) -> Arithmetic:
    """Products of "float32" weights are float32; others keep the dtype that the model has."""
    dtype = "float32" if precision == "float32" else config.compute_dtype
    decoder = dataclasses.replace(
        config,
        dropout=0.0, attention="blocks", flash_block=DecoderConfig.flash_block, remat="none",
        scan_layers=True, compute_dtype=dtype,
    )  # fmt: skip
    by_lanes = rules is None and jax.default_backend() == "cpu"
    return Arithmetic(decoder, by_lanes, None if rules is None else tuple(rules.items()))


def decoding_weights(
    config: StageModelConfig,
    arrays: dict[str, np.ndarray],
    where: str = "stage model",
    precision: Precision = "trained",
    mesh: Mesh | None = None,
    rules: Rules | None = None,
) -> DecoderWeights:
    """Weights on the device, or on a mesh by its rules, from the arrays of a "stage" model folder.

    Matrices are stored as `precision` says: "trained" in the config's compute dtype, "int8" as
    whole numbers with a scale for each output, from its largest weight. Norms and the position bias
    stay float32, and with "int8" the embedding table is as trained. InputError if arrays misfit.
    """
    shapes = decoder_shapes(config)
    named = dict(zip(shapes, leaves_of(shapes, arrays, where, np.asarray), strict=True))
    dtype = config.decoder.compute_dtype if precision in ("trained", "int8") else precision
    layers = [_layer(named, index, precision, dtype) for index in range(config.decoder.layers)]
    table = named["embedding.embedding"]
    output = table * table.shape[1] ** -0.5 if config.decoder.tied_embeddings else None
    bias = None
    if config.decoder.position == "t5":
        decoder = config.decoder
        buckets = distance_buckets(decoder.relative_buckets, decoder.relative_max_distance)
        bias = named["position.table"].T[:, buckets].astype(np.float32)
    weights = DecoderWeights(
        _narrow(table, dtype),
        bias,
        layers,
        named["final_norm.scale"],
        _matrix(named["output.kernel"].T if output is None else output, 1, precision, dtype),
    )
    return _place(weights, mesh, rules)


def _layer(
    named: dict[str, np.ndarray], index: int, precision: Precision, dtype: str
) -> LayerWeights:
    def get(name: str) -> Any:
        array = named.get(f"layers.{name}")
        return None if array is None else array[index]

    def matrix(array: np.ndarray, outputs: int) -> Matrix:
        return _matrix(array, outputs, precision, dtype)

    into = [np.moveaxis(get(f"attention.{x}.kernel"), 0, -1) for x in ("query", "key", "value")]
    gates = [get(f"feed_forward.{x}.kernel").T for x in ("gate", "up")]
    return LayerWeights(
        get("attention_norm.scale"),
        matrix(np.stack(into), 3),
        get("attention.query_norm.scale"),
        get("attention.key_norm.scale"),
        matrix(np.moveaxis(get("attention.out.kernel"), -1, 0), 1),
        get("feed_forward_norm.scale"),
        matrix(np.stack(gates), 2),
        matrix(get("feed_forward.down.kernel").T, 1),
    )


def _matrix(array: np.ndarray, outputs: int, precision: Precision, dtype: str) -> Matrix:
    array = np.ascontiguousarray(array)
    if precision != "int8":
        return Matrix(_narrow(array, dtype))
    largest = np.max(np.abs(array), axis=tuple(range(outputs, array.ndim)), keepdims=True)
    unit = np.where(largest > 0, largest, 1).astype(np.float32) / 127
    scale = unit.reshape(array.shape[:outputs])
    return Matrix(np.rint(array / unit).astype(np.int8), scale)


def _narrow(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(jnp.dtype(dtype))


def _place(weights: DecoderWeights, mesh: Mesh | None, rules: Rules | None) -> DecoderWeights:
    if mesh is None or rules is None:
        return jax.device_put(weights)
    names = _NAMES._replace(layers=_NAMES.layers * len(weights.layers))
    leaves, tree = jax.tree.flatten(weights, is_leaf=lambda x: x is None)
    labels = jax.tree.leaves(names, is_leaf=lambda x: type(x) is tuple)
    placed = [
        x if x is None else jax.device_put(x, NamedSharding(mesh, logical_to_spec(label, rules)))
        for x, label in zip(leaves, labels, strict=True)
    ]
    return jax.tree.unflatten(tree, placed)
