"""Residual vector quantisation with moving-average codebooks (Paper: SoundStream section III-C).

Nothing here is trained by gradient and nothing is written in place: quantising returns statistics,
and `update_codebooks` is a pure function of them. Sums run over the whole batch and random frames
are picked by key alone, so the result is the same on any mesh.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from audiolm_jax.errors import InputError

_HIGHEST = jax.lax.Precision.HIGHEST  # a bfloat16 distance would pick other codes on a TPU
_TABLE = 1 << 24  # most numbers of a table frames x codes, 64 MiB: larger ones are made in parts
_FAR = 1e15  # a coordinate that no frame is near; its square is still finite in float32


@dataclasses.dataclass(frozen=True)
class QuantizerConfig:
    """The residual quantiser.

    Attributes:
      levels: Q, codebooks applied one after another.
      codebook_size: N, codes of each level.
      decay: of the moving averages of code usage and code sums, per step.
      revival_threshold: a code with fewer uses per step than this (moving average) is dead and is
        replaced by a random vector of the batch. Must be below the mean, frames per step / N.
      kmeans_iterations: passes of k-means over the first batch, whose result starts the codebooks.
    """

    levels: int = 12
    codebook_size: int = 1024
    decay: float = 0.99
    revival_threshold: float = 2.0
    kmeans_iterations: int = 10

    def __post_init__(self) -> None:
        for name in ("levels", "codebook_size", "kmeans_iterations"):
            if getattr(self, name) < 1:
                raise InputError(f"quantizer.{name} = {getattr(self, name)}: expected 1 or more")
        if not 0 < self.decay < 1:
            raise InputError(f"quantizer.decay = {self.decay}: expected between 0 and 1")
        if self.revival_threshold < 0:
            raise InputError(
                f"quantizer.revival_threshold = {self.revival_threshold}: expected 0 (off) or more"
            )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Codebooks:
    """State of the quantiser.

    Attributes:
      vectors: float32 [q, n, d], the codes themselves.
      counts: float32 [q, n], moving average of uses per step.
      sums: float32 [q, n, d], moving average of the sum of the vectors that chose each code.
      is_initialized: bool [], whether k-means has run.
    """

    vectors: Array
    counts: Array
    sums: Array
    is_initialized: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class QuantizerStatistics:
    """What `update_codebooks` needs of one batch.

    Attributes:
      counts: float32 [q, n], valid frames that chose each code.
      sums: float32 [q, n, d], sums of the residuals that chose each code.
      residuals: float32 [q, b * t, d], what each level had to quantise.
      mask: bool [b * t], valid frames.
    """

    counts: Array
    sums: Array
    residuals: Array
    mask: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Quantized:
    """Result of `quantize`.

    Attributes:
      latents: float32 [b, t, d], sum of the chosen vectors of the levels in use, with the
        straight-through gradient to the encoder.
      codes: int32 [b, t, q], of all levels, whatever the depth in use; 0 where the mask is 0.
      commitment: float32 [], mean over valid frames, levels in use and channels of the squared
        distance of each level's residual to its (constant) code vector.
      statistics: for `update_codebooks`.
    """

    latents: Array
    codes: Array
    commitment: Array
    statistics: QuantizerStatistics


def empty_codebooks(config: QuantizerConfig, width: int) -> Codebooks:
    """Codebooks before k-means: zeros."""
    shape = (config.levels, config.codebook_size)
    return Codebooks(
        vectors=jnp.zeros((*shape, width)),
        counts=jnp.zeros(shape),
        sums=jnp.zeros((*shape, width)),
        is_initialized=jnp.array(False),
    )


def nearest_codes(x: Float[Array, "f d"], vectors: Float[Array, "n d"]) -> Int[Array, " f"]:
    """Index of the nearest vector by Euclidean distance; ties go to the lowest index.

    The distances of large codebooks are made some codes at a time (not some frames: those may lie
    on many devices).
    """
    size = _codes_at_once(len(x), len(vectors))

    def nearest(vectors):
        dots = jnp.einsum("fd,nd->fn", x, vectors, precision=_HIGHEST)
        distances = jnp.sum(vectors**2, -1)[None] - 2 * dots
        codes = jnp.argmin(distances, axis=-1).astype(jnp.int32)
        return codes, jnp.min(distances, axis=-1)

    def compare(best, start):
        codes, distances = nearest(jax.lax.dynamic_slice_in_dim(vectors, start, size))
        is_nearer = distances < best[1]
        codes = jnp.where(is_nearer, codes + start, best[0])
        return (codes, jnp.where(is_nearer, distances, best[1])), None

    best = nearest(vectors[:size])
    starts = jnp.arange(size, len(vectors), size, dtype=jnp.int32)
    return jax.lax.scan(compare, best, starts)[0][0] if len(starts) else best[0]


def _codes_at_once(frames: int, size: int) -> int:
    """The largest divisor of a codebook's size whose table with all frames is small enough."""
    parts = (n for n in range(1, size) if size % n == 0 and frames * (size // n) <= _TABLE)
    return size // next(parts, size)


def _sums_by_code(
    x: Float[Array, "f d"], codes: Int[Array, " f"], valid: Bool[Array, " f"], size: int
) -> tuple[Float[Array, " n"], Float[Array, "n d"]]:
    """How many valid frames chose each of `size` codes, and the sums of those frames.

    On a mesh both are sums over all devices. Products with a table of zeros and ones: a scatter is
    slow on a TPU.
    """
    part = _codes_at_once(len(x), size)

    def of_codes(start):
        chosen = codes[:, None] == start + jnp.arange(part, dtype=jnp.int32)[None]
        table = (chosen & valid[:, None]).astype(x.dtype)
        return table.sum(0), jnp.einsum("fn,fd->nd", table, x, precision=_HIGHEST)

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
    """Quantises each frame level by level; each level codes what the levels before left over.

    Args:
      latents: [b, t, d]; padding frames may hold anything finite.
      mask: valid frames.
      codebooks: of q levels.
      depths: in [1, q], how many levels each example's reconstruction uses (quantiser dropout).
        Codes and statistics cover all levels, so that the deepest learn from every frame.
    """
    batch, time, width = latents.shape
    x = latents.reshape(-1, width)
    valid = mask.reshape(-1)
    depth = jnp.repeat(depths, time)
    size = codebooks.vectors.shape[1]

    def level_step(carry, level_and_vectors):
        residual, total, commitment = carry
        level, vectors = level_and_vectors
        constant = jax.lax.stop_gradient(residual)
        codes = nearest_codes(constant, vectors)
        chosen = vectors[codes]
        in_use = (valid & (level < depth))[:, None]
        commitment += jnp.sum(jnp.where(in_use, (residual - chosen) ** 2, 0.0))
        counts, sums = _sums_by_code(constant, codes, valid, size)
        total += jnp.where(in_use, chosen, 0.0)
        return (residual - chosen, total, commitment), (codes, counts, sums, constant)

    levels = codebooks.vectors.shape[0]
    vectors = jax.lax.stop_gradient(codebooks.vectors)
    start = (x, jnp.zeros_like(x), jnp.zeros(()))
    (_, total, commitment), (codes, counts, sums, residuals) = jax.lax.scan(
        level_step, start, (jnp.arange(levels), vectors)
    )
    terms = jnp.sum(jnp.where(valid, depth, 0)) * width
    return Quantized(
        latents=latents + jax.lax.stop_gradient(total.reshape(latents.shape) - latents),
        codes=jnp.where(valid[:, None], codes.T, 0).reshape(batch, time, levels),
        commitment=commitment / jnp.maximum(terms, 1),
        statistics=QuantizerStatistics(counts, sums, residuals, valid),
    )


def dequantize(
    codes: Int[Array, "b t q"], vectors: Float[Array, "levels n d"]
) -> Float[Array, "b t d"]:
    """Sum of the vectors of the first q levels, q <= levels."""
    by_level = [vectors[level][codes[..., level]] for level in range(codes.shape[-1])]
    return sum(by_level[1:], by_level[0])


def draw_depths(key: PRNGKeyArray, batch: int, levels: int, probability: float) -> Int[Array, " b"]:
    """Quantiser dropout: with the given probability n_q ~ U{1..Q} for each example, else Q."""
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
    """Codebooks by k-means on the batch, level by level on residuals, if that was not done yet."""

    def run_kmeans():
        x = latents.reshape(-1, latents.shape[-1])
        valid = mask.reshape(-1)

        def level_step(residual, level_key):
            vectors, counts = _kmeans(residual, valid, level_key, config)
            after = residual - vectors[nearest_codes(residual, vectors)]
            return after, (vectors, counts)

        _, (vectors, counts) = jax.lax.scan(level_step, x, jax.random.split(key, config.levels))
        return Codebooks(vectors, counts, vectors * counts[..., None], jnp.array(True))

    return jax.lax.cond(codebooks.is_initialized, lambda: codebooks, run_kmeans)


def _kmeans(
    x: Float[Array, "f d"], valid: Bool[Array, " f"], key: PRNGKeyArray, config: QuantizerConfig
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    # One cluster for every four frames at most: with as many clusters as frames the level would
    # leave nothing over for the next. Spare codes end as copies of the others; they lose every tie,
    # count no use, and this batch's update revives them.
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

    A revived code becomes a random valid residual of its level, and its moving averages start
    anew as if that vector had the mean usage: otherwise the next step would divide the old sums
    by the old counts and undo the revival.
    """
    decay = config.decay
    counts = average_usage(statistics, codebooks, config)
    sums = decay * codebooks.sums + (1 - decay) * statistics.sums
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
