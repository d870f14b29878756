"""Residual vector quantization with moving-average codebooks (Paper: SoundStream section III-C).

Nothing here is trained by gradient: quantizing returns statistics, and `update_codebooks` is a pure
function of them. Sums run over the whole batch and random frames are picked by key alone, so the
result is the same on any mesh.
"""

import dataclasses
from typing import NamedTuple, no_type_check

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig

_HIGHEST = jax.lax.Precision.HIGHEST  # a bfloat16 distance would pick other codes on a TPU
_TABLE = 1 << 24  # most numbers of a table frames x codes, 64 MiB: larger ones are made in parts
_FAR = 1e15  # a coordinate that no frame is near; its square is still finite in float32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
@no_type_check
class Codebooks:
    """State of the quantizer."""

    vectors: Array  # float32 [q, n, d], the codes themselves
    counts: Array  # float32 [q, n], moving average of uses per step
    sums: Array  # float32 [q, n, d], moving average of the sum of the vectors that chose each code
    is_initialized: Array  # bool [], whether k-means has run


class QuantizerStatistics(NamedTuple):
    """What `update_codebooks` needs of one batch."""

    counts: Array  # float32 [q, n], valid frames that chose each code
    sums: Array  # float32 [q, n, d], sums of the residuals that chose each code
    residuals: Array  # float32 [q, b * t, d], what each level had to quantize
    mask: Array  # bool [b * t], valid frames


class Quantized(NamedTuple):
    """Result of `quantize`."""

    latents: Array  # float32 [b, t, d], of the levels in use, with straight-through gradient
    codes: Array  # int32 [b, t, q], of all levels, whatever the depth in use; 0 where the mask is 0
    # float32 [], mean squared distance of the residuals of levels in use to their constant codes
    commitment: Array
    statistics: QuantizerStatistics


def empty_codebooks(config: QuantizerConfig, width: int) -> Codebooks:
    """Codebooks before k-means: zeros."""
    counts = jnp.zeros((config.levels, config.codebook_size))
    vectors, sums = jnp.zeros((*counts.shape, width)), jnp.zeros((*counts.shape, width))
    return Codebooks(vectors, counts, sums, jnp.array(False))


def nearest_codes(x_FxD: Float[Array, "f d"], vectors_NxD: Float[Array, "n d"]) -> Int[Array, " f"]:
    """Index of the nearest vector; ties go to the lowest. Distances of large codebooks are made
    some codes at a time (not some frames: those may lie on many devices)."""
    size = _codes_at_once(len(x_FxD), len(vectors_NxD))

    def nearest(vectors_PxD):
        dots_FxP = jnp.einsum("fd,pd->fp", x_FxD, vectors_PxD, precision=_HIGHEST)
        distances_FxP = jnp.sum(vectors_PxD**2, -1)[None] - 2 * dots_FxP
        codes_F = jnp.argmin(distances_FxP, axis=-1).astype(jnp.int32)
        return codes_F, jnp.min(distances_FxP, axis=-1)

    def compare(best, start):
        codes_F, distances_F = nearest(jax.lax.dynamic_slice_in_dim(vectors_NxD, start, size))
        is_nearer = distances_F < best[1]
        codes_F = jnp.where(is_nearer, codes_F + start, best[0])
        return (codes_F, jnp.where(is_nearer, distances_F, best[1])), None

    best = nearest(vectors_NxD[:size])
    starts = jnp.arange(size, len(vectors_NxD), size, dtype=jnp.int32)
    return jax.lax.scan(compare, best, starts)[0][0] if len(starts) else best[0]


def _codes_at_once(frames: int, size: int) -> int:
    """The largest divisor of a codebook's size whose table with all frames is small enough."""
    parts = (n for n in range(1, size) if size % n == 0 and frames * (size // n) <= _TABLE)
    return size // next(parts, size)


def _sums_by_code(
    x_FxD: Float[Array, "f d"], codes_F: Int[Array, " f"], valid_F: Bool[Array, " f"], size: int
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """How many valid frames chose each of `size` codes, and the sums of those frames, by products
    with a table of zeros and ones: a scatter is slow on a TPU."""
    part = _codes_at_once(len(x_FxD), size)

    def of_codes(start):
        chosen_FxP = codes_F[:, None] == start + jnp.arange(part, dtype=jnp.int32)[None]
        table_FxP = (chosen_FxP & valid_F[:, None]).astype(x_FxD.dtype)
        return table_FxP.sum(0), jnp.einsum("fp,fd->pd", table_FxP, x_FxD, precision=_HIGHEST)

    if part == size:
        return of_codes(0)
    counts, sums = jax.lax.map(of_codes, jnp.arange(0, size, part, dtype=jnp.int32))
    return counts.reshape(size), sums.reshape(size, -1)


def quantize(
    latents: Float[Array, "b t d"],
    mask: Bool[Array, "b t"],
    codebooks: Codebooks,
    depths: Int[Array, " b"],
) -> Quantized:
    """Quantizes each frame level by level; each level codes what the levels before left over.

    `depths`, in [1, q], is how many levels each example's reconstruction uses (quantizer dropout);
    codes and statistics cover all levels. Padding frames may hold anything finite.
    """
    batch, time, width = latents.shape
    x_FxD, valid_F = latents.reshape(-1, width), mask.reshape(-1)
    depth_F = jnp.repeat(depths, time)
    levels, size, _ = codebooks.vectors.shape

    def level_step(carry, level_and_vectors):
        residual_FxD, total_FxD, commitment = carry
        level, vectors_NxD = level_and_vectors
        constant_FxD = jax.lax.stop_gradient(residual_FxD)
        codes_F = nearest_codes(constant_FxD, vectors_NxD)
        chosen_FxD = vectors_NxD[codes_F]
        in_use_Fx1 = (valid_F & (level < depth_F))[:, None]
        commitment += jnp.sum(jnp.where(in_use_Fx1, (residual_FxD - chosen_FxD) ** 2, 0.0))
        counts_N, sums_NxD = _sums_by_code(constant_FxD, codes_F, valid_F, size)
        total_FxD += jnp.where(in_use_Fx1, chosen_FxD, 0.0)
        carry = (residual_FxD - chosen_FxD, total_FxD, commitment)
        return carry, (codes_F, counts_N, sums_NxD, constant_FxD)

    vectors = jax.lax.stop_gradient(codebooks.vectors)
    start = (x_FxD, jnp.zeros_like(x_FxD), jnp.zeros(()))
    (_, total_FxD, commitment), (codes_QxF, counts, sums, residuals) = jax.lax.scan(
        level_step, start, (jnp.arange(levels), vectors)
    )
    terms = jnp.sum(jnp.where(valid_F, depth_F, 0)) * width
    return Quantized(
        latents=latents + jax.lax.stop_gradient(total_FxD.reshape(latents.shape) - latents),
        codes=jnp.where(valid_F[:, None], codes_QxF.T, 0).reshape(batch, time, levels),
        commitment=commitment / jnp.maximum(terms, 1),
        statistics=QuantizerStatistics(counts, sums, residuals, valid_F),
    )


def dequantize(
    codes: Int[Array, "b t q"], vectors: Float[Array, "levels n d"]
) -> Float[Array, "b t d"]:
    """Sum of the vectors of the first q levels, q <= levels."""
    by_level = [vectors[level][codes[..., level]] for level in range(codes.shape[-1])]
    return sum(by_level[1:], by_level[0])


def draw_depths(key: PRNGKeyArray, batch: int, levels: int, probability: float) -> Int[Array, " b"]:
    """Quantizer dropout: with the given probability n_q ~ U{1..Q} for each example, else Q."""
    coin, depth = jax.random.split(key)
    dropped = jax.random.bernoulli(coin, probability, (batch,))
    return jnp.where(dropped, jax.random.randint(depth, (batch,), 1, levels + 1), levels)


def initialize_codebooks(
    codebooks: Codebooks,
    latents: Float[Array, "b t d"],
    mask: Bool[Array, "b t"],
    key: PRNGKeyArray,
    config: QuantizerConfig,
) -> Codebooks:
    """Codebooks by k-means on the batch, level by level on residuals, if that was not done yet.

    Vectors that are there already, those of a released codec from which a warm start took them
    without the averages of a training, are kept, as if each had been used equally often.
    """

    def keep_vectors():
        uses = mask.sum() / config.codebook_size
        counts = jnp.full_like(codebooks.counts, uses)
        return Codebooks(codebooks.vectors, counts, codebooks.vectors * uses, jnp.array(True))

    def run_kmeans():
        x, valid = latents.reshape(-1, latents.shape[-1]), mask.reshape(-1)

        def level_step(residual, level_key):
            vectors, counts = _kmeans(residual, valid, level_key, config)
            after = residual - vectors[nearest_codes(residual, vectors)]
            return after, (vectors, counts)

        _, (vectors, counts) = jax.lax.scan(level_step, x, jax.random.split(key, config.levels))
        return Codebooks(vectors, counts, vectors * counts[..., None], jnp.array(True))

    has_vectors = jnp.any(codebooks.vectors != 0)
    case = jnp.where(codebooks.is_initialized, 0, jnp.where(has_vectors, 1, 2))
    return jax.lax.switch(case, (lambda: codebooks, keep_vectors, run_kmeans))


def _kmeans(
    x: Float[Array, "f d"], valid: Bool[Array, " f"], key: PRNGKeyArray, config: QuantizerConfig
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    # One cluster for every four frames at most, to leave something over for the next level. Spare
    # codes end as copies of the others; they lose every tie, count no use, and get revived.
    order = jnp.argsort(jnp.where(valid, jax.random.uniform(key, valid.shape), 2.0))
    code = jnp.arange(config.codebook_size)
    clusters = jnp.clip(valid.sum() // 4, 1, config.codebook_size)
    is_spare = (code >= clusters)[:, None]
    start = jnp.where(is_spare, _FAR, x[order[code % clusters]])

    def assign(vectors):
        return _sums_by_code(x, nearest_codes(x, vectors), valid, len(vectors))

    def move(_, vectors):
        counts, sums = assign(vectors)
        means = sums / jnp.maximum(counts, 1)[:, None]
        return jnp.where(counts[:, None] > 0, means, vectors)

    vectors = jax.lax.fori_loop(0, config.kmeans_iterations, move, start)
    counts, _ = assign(vectors)
    return jnp.where(is_spare, vectors[code % clusters], vectors), counts


def average_usage(
    statistics: QuantizerStatistics, codebooks: Codebooks, config: QuantizerConfig
) -> Float[Array, "q n"]:
    """Moving average of uses per step after this batch, before any revival."""
    return config.decay * codebooks.counts + (1 - config.decay) * statistics.counts


def dead_codes(usage: Float[Array, "q n"], config: QuantizerConfig) -> Bool[Array, "q n"]:
    """Codes that are used too little and get revived."""
    return usage < config.revival_threshold


def update_codebooks(
    statistics: QuantizerStatistics,
    codebooks: Codebooks,
    key: PRNGKeyArray,
    config: QuantizerConfig,
) -> Codebooks:
    """One step of the moving averages, then the revival of dead codes.

    A revived code becomes a random valid residual of its level, of the mean usage: with the old
    moving averages the next step would undo the revival.
    """
    counts = average_usage(statistics, codebooks, config)
    sums = config.decay * codebooks.sums + (1 - config.decay) * statistics.sums
    tiny = 1e-6  # an unused code keeps its vector instead of becoming 0 / 0
    means = sums / jnp.maximum(counts, tiny)[..., None]
    vectors = jnp.where(counts[..., None] > tiny, means, codebooks.vectors)

    frames = statistics.mask.sum()
    dead = dead_codes(counts, config) & (frames > 0)
    random_vectors = _random_residuals(statistics, key, config.codebook_size)
    fresh = jnp.maximum(config.revival_threshold, frames / config.codebook_size)
    return Codebooks(
        vectors=jnp.where(dead[..., None], random_vectors, vectors),
        counts=jnp.where(dead, fresh, counts),
        sums=jnp.where(dead[..., None], random_vectors * fresh, sums),
        is_initialized=codebooks.is_initialized,
    )


def _random_residuals(
    statistics: QuantizerStatistics, key: PRNGKeyArray, size: int
) -> Float[Array, "q n d"]:
    """For each code of each level one residual of a random valid frame."""
    levels, _, width = statistics.residuals.shape
    rank = jnp.cumsum(statistics.mask)  # the i-th valid frame is the first of rank i + 1
    picks = jax.random.randint(key, (levels, size), 0, jnp.maximum(rank[-1], 1))
    frames = jnp.searchsorted(rank, picks.reshape(-1) + 1).reshape(levels, size)
    index = jnp.broadcast_to(frames[..., None], (levels, size, width))
    return jnp.take_along_axis(statistics.residuals, index, axis=1)


def perplexity(counts: Float[Array, "... n"]) -> Float[Array, "..."]:
    """exp of the entropy of code usage: 1 (one code used) to n (all equally)."""
    p = counts / jnp.maximum(counts.sum(-1, keepdims=True), 1e-9)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(p, p), axis=-1))
