"""The residual quantizer against numpy, and what revival, k-means and dropout promise."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from audiolm_jax.tokenizers.acoustic.soundstream import rvq
from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import (
    Codebooks,
    average_usage,
    dead_codes,
    draw_depths,
    empty_codebooks,
    perplexity,
    update_codebooks,
)

CONFIG = QuantizerConfig(levels=3, codebook_size=4, decay=0.9, revival_threshold=0.0)
BATCH, TIME, WIDTH = 3, 10, 2


def on_device(function):
    """The function, given numpy arrays as arrays of JAX."""

    def run(*arguments):
        arrays = (np.ndarray, np.generic)
        put = lambda x: jnp.asarray(x) if isinstance(x, arrays) else x  # noqa: E731
        return function(*jax.tree.map(put, arguments))

    return run


quantize, dequantize = on_device(rvq.quantize), on_device(rvq.dequantize)
initialize_codebooks = on_device(rvq.initialize_codebooks)
run_quantize = jax.jit(quantize)
run_update = jax.jit(update_codebooks, static_argnums=3)
run_initialize = jax.jit(initialize_codebooks, static_argnums=4)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture
def codebooks():
    shape = (CONFIG.levels, CONFIG.codebook_size)
    vectors, counts = random(*shape, WIDTH, seed=1), np.abs(random(*shape, seed=2)) + 0.5
    return Codebooks(vectors, counts, vectors * counts[..., None], np.array(True))


@pytest.fixture
def frames():
    mask = np.arange(TIME)[None] < np.array([TIME, 4, 0])[:, None]
    return random(BATCH, TIME, WIDTH), mask


def full_depth():
    return np.full(BATCH, CONFIG.levels)


def test_codes_and_residuals_equal_numpy(codebooks, frames):
    latents, mask = frames
    result = run_quantize(latents, mask, codebooks, full_depth())
    residual = latents.astype(np.float64)
    total, squares = 0.0, 0.0
    for level, vectors in enumerate(codebooks.vectors):
        distances = ((residual[..., None, :] - vectors) ** 2).sum(-1)
        codes = distances.argmin(-1)
        np.testing.assert_array_equal(result.codes[..., level][mask], codes[mask])
        residual = residual - vectors[codes]
        total = total + vectors[codes]
        squares += (residual[mask] ** 2).sum()
    assert not np.asarray(result.codes)[~mask].any()
    np.testing.assert_allclose(result.latents[mask], total[mask], atol=1e-5)
    np.testing.assert_allclose((total + residual)[mask], latents[mask], atol=1e-5)
    terms = mask.sum() * CONFIG.levels * WIDTH
    np.testing.assert_allclose(result.commitment, squares / terms, rtol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_prefix_of_levels_decodes_what_a_shallow_example_used(codebooks, frames, depth):
    latents, mask = frames
    result = run_quantize(latents, mask, codebooks, np.full(BATCH, depth))
    decoded = dequantize(result.codes[..., :depth], codebooks.vectors)
    np.testing.assert_allclose(result.latents[mask], decoded[mask], atol=1e-6)


def test_straight_through_and_commitment_gradients(codebooks, frames):
    latents, mask = frames

    def gradients(weights):
        def total(z):
            result = quantize(z, mask, codebooks, full_depth())
            return weights[0] * result.latents.sum() + weights[1] * result.commitment

        return jax.jit(jax.grad(total))(latents)

    gradient = gradients((1.0, 0.0))
    np.testing.assert_array_equal(gradient, np.ones_like(latents))
    gradient = gradients((0.0, 1.0))
    assert np.abs(gradient[mask]).min() > 0
    assert not np.asarray(gradient)[~mask].any()


def test_padding_frames_count_nowhere(codebooks, frames):
    latents, mask = frames
    other = np.where(mask[..., None], latents, 1e3).astype(np.float32)
    a = run_quantize(latents, mask, codebooks, full_depth())
    b = run_quantize(other, mask, codebooks, full_depth())
    np.testing.assert_array_equal(a.statistics.counts, b.statistics.counts)
    np.testing.assert_array_equal(a.statistics.sums, b.statistics.sums)
    np.testing.assert_array_equal(a.commitment, b.commitment)
    config = dataclasses.replace(CONFIG, revival_threshold=100.0)  # every code is revived
    for first, second in zip(
        jax.tree.leaves(run_update(a.statistics, codebooks, jax.random.key(0), config)),
        jax.tree.leaves(run_update(b.statistics, codebooks, jax.random.key(0), config)),
        strict=True,
    ):
        np.testing.assert_array_equal(first, second)


def test_moving_averages_equal_numpy(codebooks, frames):
    latents, mask = frames
    counts, sums = codebooks.counts.astype(np.float64), codebooks.sums.astype(np.float64)
    current = codebooks
    for step in range(3):
        result = run_quantize(latents + np.float32(step), mask, current, full_depth())
        for level in range(CONFIG.levels):
            residual = (latents + step)[mask]
            for before in range(level):
                residual -= np.asarray(current.vectors)[before][result.codes[..., before][mask]]
            codes = np.asarray(result.codes[..., level][mask])
            used = np.bincount(codes, minlength=CONFIG.codebook_size)
            moved = np.stack([residual[codes == n].sum(0) for n in range(CONFIG.codebook_size)])
            counts[level] = 0.9 * counts[level] + 0.1 * used
            sums[level] = 0.9 * sums[level] + 0.1 * moved
        current = run_update(result.statistics, current, jax.random.key(0), CONFIG)
        np.testing.assert_allclose(current.counts, counts, rtol=1e-4)
        np.testing.assert_allclose(current.sums, sums, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(current.vectors, sums / counts[..., None], rtol=1e-3, atol=1e-4)


def test_unused_code_keeps_its_vector_without_revival(codebooks, frames):
    latents, mask = frames
    idle = dataclasses.replace(
        codebooks, counts=np.zeros_like(codebooks.counts), sums=np.zeros_like(codebooks.sums)
    )
    result = run_quantize(latents, np.zeros_like(mask), idle, full_depth())
    after = run_update(result.statistics, idle, jax.random.key(0), CONFIG)
    np.testing.assert_array_equal(after.vectors, idle.vectors)


def test_revival_brings_every_code_back_and_resets_its_sums():
    """Half the codes start out of reach; all are in use within 100 steps. Without the reset those
    revived would die again at once."""
    size = 16
    config = QuantizerConfig(levels=1, codebook_size=size, revival_threshold=4.0)
    vectors = random(1, size, WIDTH)
    vectors[:, size // 2 :] += 1e3
    counts = np.full((1, size), 8, np.float32)  # the mean use: 128 frames a step
    books = Codebooks(vectors, counts, vectors * counts[..., None], np.array(True))
    mask = np.ones((4, 32), bool)
    recent = np.zeros((1, size))
    for step in range(100):
        latents = random(4, 32, WIDTH, seed=step)
        result = run_quantize(latents, mask, books, np.full(4, 1))
        usage = average_usage(result.statistics, books, config)
        dead = np.asarray(dead_codes(usage, config))
        books = run_update(result.statistics, books, jax.random.key(step), config)
        if dead.any():
            candidates = latents.reshape(-1, WIDTH)
            for vector in np.asarray(books.vectors)[dead]:
                assert (candidates == vector).all(-1).any()
            np.testing.assert_allclose(
                np.asarray(books.sums)[dead],
                (np.asarray(books.vectors) * np.asarray(books.counts)[..., None])[dead],
                rtol=1e-6,
            )
            assert (np.asarray(books.counts)[dead] >= config.revival_threshold).all()
        recent = np.asarray(result.statistics.counts) + 0.9 * recent
    assert (recent > 0.5).all()


@pytest.mark.slow
def test_eight_devices_hold_the_codebooks_of_one():
    """k-means, 50 steps of moving averages and revivals on the same global batches.

    Sums are added in another order, so vectors agree within 1e-5, sums and counts within 1e-4 of
    their size; the codes chosen, the uses counted and the codes revived are equal.
    """
    config = QuantizerConfig(levels=3, codebook_size=32, decay=0.95, revival_threshold=1.0)

    def step(books, latents, mask, key):
        kmeans_key, revival_key = jax.random.split(key)
        books = initialize_codebooks(books, latents, mask, kmeans_key, config)
        result = quantize(latents, mask, books, jnp.full(latents.shape[0], 3))
        dead = dead_codes(average_usage(result.statistics, books, config), config)
        books = update_codebooks(result.statistics, books, revival_key, config)
        return books, (result.codes, result.statistics.counts, dead)

    def run(place):
        books, seen = empty_codebooks(config, 4), []
        books, compiled = place(books), jax.jit(step)
        for i in range(50):
            # Sounds wander, so that codes die.
            latents = random(16, 8, 4, seed=i) + 3 * np.sin(i / 3 + np.arange(4, dtype=np.float32))
            mask = np.arange(8)[None] < np.random.default_rng(i).integers(2, 9, 16)[:, None]
            batch = [place(x, "data") for x in (latents, mask)]
            books, outputs = compiled(books, *batch, jax.random.key(i))
            seen.append(jax.tree.map(np.asarray, outputs))
        return jax.tree.map(np.asarray, books), seen, batch

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    alone, seen_alone, _ = run(lambda x, *_: jax.device_put(x, jax.devices()[0]))
    shared, seen_shared, batch = run(
        lambda x, *axes: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*axes)))
    )
    assert len(batch[0].addressable_shards) == 8
    assert batch[0].addressable_shards[0].data.shape == (2, 8, 4)
    for ours, theirs in zip(seen_alone, seen_shared, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert sum(dead[2].sum() for dead in seen_alone[1:]) > 20
    np.testing.assert_allclose(shared.vectors, alone.vectors, rtol=0, atol=1e-5)
    np.testing.assert_allclose(shared.counts, alone.counts, rtol=1e-4)
    np.testing.assert_allclose(shared.sums, alone.sums, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_large_codebooks_in_parts_give_the_same(codebooks, frames, monkeypatch):
    latents, mask = frames
    config = dataclasses.replace(CONFIG, codebook_size=12)
    vectors = random(3, 12, WIDTH, seed=5)
    vectors[:, 7] = vectors[:, 2]  # a tie between two parts
    books = dataclasses.replace(empty_codebooks(config, WIDTH), vectors=vectors)
    results = []
    for table in (1 << 24, 4 * BATCH * TIME, 1):
        monkeypatch.setattr(rvq, "_TABLE", table)
        started = jax.jit(lambda *x: initialize_codebooks(*x, config))(
            empty_codebooks(config, WIDTH), latents, mask, jax.random.key(0)
        )
        results.append(
            (jax.jit(lambda *x: quantize(*x))(latents, mask, books, full_depth()), started)
        )
    assert (np.asarray(results[0][0].codes) == 2).any()
    for other in results[1:]:
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), results[0], other
        )


def test_vectors_without_averages_are_kept_as_if_used_equally_often(codebooks, frames):
    latents, mask = frames
    empty = empty_codebooks(CONFIG, WIDTH)
    released = dataclasses.replace(empty, vectors=codebooks.vectors)
    started = run_initialize(released, latents, mask, jax.random.key(0), CONFIG)
    np.testing.assert_array_equal(started.vectors, codebooks.vectors)
    np.testing.assert_allclose(started.counts, (TIME + 4) / CONFIG.codebook_size, rtol=1e-6)
    np.testing.assert_allclose(
        started.sums, codebooks.vectors * started.counts[..., None], rtol=1e-6
    )
    assert started.is_initialized


def test_sixteen_thousand_codes_need_a_bounded_table():
    """Piano: 3 levels of 2**14. 8,000 frames would make tables of 500 MiB each."""
    config = QuantizerConfig(levels=3, codebook_size=1 << 14)
    books = jax.eval_shape(lambda: empty_codebooks(config, 64))
    latents, mask = jax.ShapeDtypeStruct((16, 500, 64), np.float32), np.ones((16, 500), bool)

    def step(latents, books, key):
        books = initialize_codebooks(books, latents, mask, key, config)
        result = quantize(latents, mask, books, jnp.full(16, 3))
        return update_codebooks(result.statistics, books, key, config)

    compiled = jax.jit(step).lower(latents, books, jax.eval_shape(jax.random.key, 0)).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 300 << 20


def test_revival_picks_valid_frames_only():
    config = QuantizerConfig(levels=1, codebook_size=64, revival_threshold=1e6)
    latents = random(2, 8, WIDTH)
    mask = np.zeros((2, 8), bool)
    mask[0, 3] = mask[1, 6] = True
    books = empty_codebooks(config, WIDTH)
    statistics = run_quantize(latents, mask, books, np.ones(2, int)).statistics
    vectors = np.asarray(run_update(statistics, books, jax.random.key(0), config).vectors[0])
    revived = {tuple(v) for v in vectors}
    assert revived == {tuple(latents[0, 3]), tuple(latents[1, 6])}


def test_kmeans_finds_separate_clusters_once():
    config = dataclasses.replace(CONFIG, levels=2, kmeans_iterations=20)
    centers = np.array([[-20, 0], [0, 20], [20, 0], [0, -20]], np.float32)
    latents = centers[np.arange(400) % 4].reshape(4, 100, 2) + 0.1 * random(4, 100, 2)
    mask = np.ones((4, 100), bool)
    mask[:, 90:] = False
    latents[:, 90:] = 1e4
    empty = empty_codebooks(config, 2)
    # A draw that puts two starts into one cluster ends in a local optimum, as k-means does.
    books = [run_initialize(empty, latents, mask, jax.random.key(s), config) for s in range(8)]
    errors = []
    for book in books:
        distance = np.abs(centers[:, None] - np.asarray(book.vectors[0])[None]).sum(-1).min(1)
        errors.append(distance.max())
        np.testing.assert_allclose(book.sums, book.vectors * book.counts[..., None], rtol=1e-5)
        np.testing.assert_array_equal(book.counts.sum(-1), [360, 360])
        assert book.is_initialized
    assert min(errors) < 0.2
    again = run_initialize(books[0], latents * 2, mask, jax.random.key(9), config)
    np.testing.assert_array_equal(again.vectors, books[0].vectors)


def test_few_frames_start_few_clusters_and_the_update_revives_the_rest():
    """As many clusters as frames would leave residuals of zero to every deeper level."""
    config = QuantizerConfig(levels=2, codebook_size=16, revival_threshold=0.001)
    latents, mask = random(1, 20, WIDTH), np.ones((1, 20), bool)
    empty = empty_codebooks(config, WIDTH)
    books = run_initialize(empty, latents, mask, jax.random.key(0), config)
    assert (np.asarray(books.counts) > 0).sum(-1).tolist() == [5, 5]
    statistics = run_quantize(latents, mask, books, np.full(1, 2)).statistics
    assert np.abs(statistics.residuals[1]).mean() > 0.05
    books = run_update(statistics, books, jax.random.key(1), config)
    assert (np.asarray(books.counts) > config.revival_threshold).all()
    assert len(np.unique(np.asarray(books.vectors[1]), axis=0)) > 8


def test_quantizer_dropout_is_uniform_over_depths():
    draw = functools.partial(draw_depths, batch=4000, levels=4)
    depths = np.asarray(draw(jax.random.key(0), probability=1.0))
    shares = np.bincount(depths, minlength=5)[1:] / len(depths)
    np.testing.assert_allclose(shares, 0.25, atol=0.03)
    np.testing.assert_array_equal(draw(jax.random.key(0), probability=0.0), 4)
    half = np.asarray(draw(jax.random.key(0), probability=0.5))
    np.testing.assert_allclose((half == 4).mean(), 0.5 + 0.125, atol=0.03)


def test_perplexity():
    usage = jnp.array([[1.0, 1, 1, 1], [5, 0, 0, 0], [3, 3, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(perplexity(usage), [4, 1, 2, 1], rtol=1e-6)
