import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.w2v_bert import kmeans
from audiolm_jax.tokenizers.w2v_bert.kmeans import KmeansConfig, fit_kmeans, nearest


def blobs(clusters=7, per_cluster=40, width=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, width)) * 20
    labels = np.repeat(np.arange(clusters), per_cluster)
    points = centres[labels] + rng.normal(size=(len(labels), width))
    order = rng.permutation(len(labels))
    scale, shift = rng.uniform(0.01, 100, width), rng.normal(size=width) * 1000
    return (points[order] * scale + shift).astype(np.float32), labels[order]


def ids_of(result, features):
    return np.asarray(nearest(features, result.mean, result.std, result.centroids))


def test_recovers_well_separated_clusters_whatever_the_scale_of_a_dimension():
    features, labels = blobs()
    result = fit_kmeans(features, KmeansConfig(clusters=7, iterations=20))
    ids = ids_of(result, features)
    assert len({(a, b) for a, b in zip(ids, labels, strict=True)}) == 7
    np.testing.assert_array_equal(np.bincount(ids, minlength=7), result.counts)


def test_equals_a_reference_in_numpy():
    features = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32)
    config = KmeansConfig(clusters=9, iterations=8, seed=3)
    result = fit_kmeans(features, config)
    np.testing.assert_allclose(result.mean, features.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(result.std, features.std(axis=0), atol=1e-5)

    points = ((features - features.mean(axis=0)) / features.std(axis=0)).astype(np.float64)
    start = fit_kmeans(features, KmeansConfig(clusters=9, iterations=1, seed=3))
    inertia, centroids = [], None
    for i in range(8):
        if i == 0:
            centroids = start.centroids.astype(np.float64)
            inertia.append(start.inertia[0])
            continue
        distances = ((points[:, None] - centroids[None]) ** 2).sum(axis=-1)
        ids = distances.argmin(axis=1)
        inertia.append(distances.min(axis=1).mean())
        centroids = np.stack([points[ids == k].mean(axis=0) for k in range(9)])
    np.testing.assert_allclose(result.centroids, centroids, atol=1e-4)
    np.testing.assert_allclose(result.inertia, inertia, rtol=1e-4)
    assert (np.diff(result.inertia) <= 1e-6).all()


def test_chunks_do_not_change_the_result(monkeypatch):
    features, _ = blobs(seed=2)
    config = KmeansConfig(clusters=7, iterations=5)
    whole = fit_kmeans(features, config)
    monkeypatch.setattr(kmeans, "CHUNK", 64)  # 280 points: four full chunks and a partial one
    chunked = fit_kmeans(features, config)
    np.testing.assert_array_equal(whole.counts, chunked.counts)
    np.testing.assert_allclose(whole.centroids, chunked.centroids, atol=1e-4)


def test_deterministic_bit_for_bit_and_seeded():
    features = np.random.default_rng(4).normal(size=(200, 4)).astype(np.float32)
    first, second = (fit_kmeans(features, KmeansConfig(12, iterations=6)) for _ in range(2))
    np.testing.assert_array_equal(first.centroids, second.centroids)
    other = fit_kmeans(features, KmeansConfig(12, iterations=6, seed=1))
    assert not np.array_equal(first.centroids, other.centroids)


def test_subset_is_used_beyond_max_frames():
    features, _ = blobs()
    result = fit_kmeans(features, KmeansConfig(clusters=7, iterations=10, max_frames=100))
    assert result.counts.sum() == 100


def test_an_empty_cluster_moves_to_the_farthest_point():
    points = np.array([[0.0], [1.0], [2.0], [50.0]], np.float32)
    centroids = np.array([[1.0], [1000.0], [2000.0]], np.float32)
    updated, counts, _ = kmeans._lloyd(points[None], np.ones((1, 4), bool), centroids)
    np.testing.assert_array_equal(counts, [4, 0, 0])
    np.testing.assert_allclose(updated, [[13.25], [50.0], [0.0]])


def test_never_leaves_a_cluster_empty():
    # Many equal points and a few others tempt k-means to leave clusters without members.
    rng = np.random.default_rng(5)
    features = np.concatenate([np.zeros((500, 3)), rng.normal(size=(12, 3))]).astype(np.float32)
    result = fit_kmeans(features, KmeansConfig(clusters=10, iterations=15))
    assert result.counts.min() >= 1
    assert result.counts.sum() == 512


def test_a_dimension_that_never_varies_is_harmless():
    features, _ = blobs()
    features[:, 2] = 7
    assert np.isfinite(fit_kmeans(features, KmeansConfig(clusters=7)).centroids).all()


def test_bad_input_is_named():
    features, _ = blobs()
    with pytest.raises(InputError, match="fewer clusters"):
        fit_kmeans(features[:5], KmeansConfig(clusters=7))
    with pytest.raises(InputError, match="many are equal"):
        fit_kmeans(np.ones((50, 3), np.float32), KmeansConfig(clusters=4))
    features[3, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        fit_kmeans(features, KmeansConfig(clusters=7))
    with pytest.raises(InputError, match=r"kmeans\.clusters = 0"):
        KmeansConfig(clusters=0)
