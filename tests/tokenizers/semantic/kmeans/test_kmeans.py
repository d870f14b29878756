"""k-means: equal to a reference, on any devices, whole or interrupted; seeds; bad input."""

import dataclasses
import signal

import jax
import numpy as np
import pytest

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.kmeans import fit
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.distances import nearest
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.kmeans.passes import Passes, Scale, measure_scale
from audiolm_jax.tokenizers.semantic.kmeans.seeding import initial_centroids, plus_plus
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh
from audiolm_jax.training.preemption import TrainingStopped


def blobs(clusters=7, per_cluster=40, width=5, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, width)) * 20
    labels = np.repeat(np.arange(clusters), per_cluster)
    points = centres[labels] + rng.normal(size=(len(labels), width))
    order = rng.permutation(len(labels))
    scale, shift = rng.uniform(0.01, 100, width), rng.normal(size=width) * 1000
    return (points[order] * scale + shift).astype(np.float32), labels[order]


def noise(frames=1000, width=6, seed=1):
    return np.random.default_rng(seed).normal(size=(frames, width)).astype(np.float32)


def ids_of(result, features):
    return np.asarray(nearest(features, result.mean, result.std, result.centroids))


def test_recovers_well_separated_clusters_whatever_the_scale_of_a_dimension():
    features, labels = blobs()
    result = fit_kmeans(features, KmeansConfig(clusters=7, iterations=20))
    ids = ids_of(result, features)
    assert len({(a, b) for a, b in zip(ids, labels, strict=True)}) == 7
    np.testing.assert_array_equal(np.bincount(ids, minlength=7), result.counts)


def test_equals_a_reference_in_numpy():
    features = noise(300)
    config = KmeansConfig(clusters=9, iterations=8, seed=3)
    result = fit_kmeans(features, config)
    np.testing.assert_allclose(result.mean, features.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(result.std, features.std(axis=0), atol=1e-5)

    points = ((features - features.mean(axis=0)) / features.std(axis=0)).astype(np.float64)
    scale = measure_scale(features, 100)
    centroids = initial_centroids(Passes(features, scale, 256, None), config)
    inertia = []
    for i in range(9):
        distances = ((points[:, None] - centroids[None]) ** 2).sum(axis=-1)
        ids = distances.argmin(axis=1)
        inertia.append(distances.min(axis=1).mean())
        if i < 8:
            centroids = np.stack([points[ids == k].mean(axis=0) for k in range(9)])
    np.testing.assert_allclose(result.centroids, centroids, atol=1e-4)
    np.testing.assert_allclose(result.inertia, inertia, rtol=1e-4)
    assert (np.diff(result.inertia) <= 1e-6).all()
    np.testing.assert_array_equal(np.bincount(ids, minlength=9), result.counts)


def test_statistics_of_blocks_are_those_of_the_whole():
    features = noise(1001) * [1e-3, 1, 1e3, 1, 1, 1] + [0, 1e4, 0, -1e3, 0, 5]
    features[:, 5] = 5
    scale = measure_scale(features.astype(np.float32), 97)
    exact = features.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(scale.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(scale.std[:5], exact.std(axis=0)[:5], rtol=1e-6)
    assert scale.std[5] == 1


def test_blocks_do_not_change_the_result():
    features = noise(1000)
    config = KmeansConfig(clusters=7, iterations=5)
    whole = fit_kmeans(features, config)
    blocks = fit_kmeans(features, dataclasses.replace(config, block_frames=256))
    np.testing.assert_array_equal(whole.counts, blocks.counts)
    np.testing.assert_allclose(whole.centroids, blocks.centroids, atol=1e-5)


def assert_same(one, two):
    for field in dataclasses.fields(one):
        expected = getattr(one, field.name)
        np.testing.assert_array_equal(getattr(two, field.name), expected, strict=True)


@pytest.mark.parametrize("sizes", [{"preset": "dp"}, {"preset": "fsdp_tp", "model": 2}])
def test_eight_devices_equal_one_bit_for_bit(sizes):
    features = noise(1000, 16)
    config = KmeansConfig(13, iterations=4, block_frames=64)  # the last round is not full
    mesh = make_mesh(MeshConfig(**sizes))
    assert mesh.size == 8
    assert_same(fit_kmeans(features, config), fit_kmeans(features, config, mesh))


def test_each_device_takes_a_block_of_its_own_and_adds_its_share_of_the_clusters():
    source, mesh = noise(2048), make_mesh(MeshConfig("dp"))
    table = Passes(source, measure_scale(source, 256), 256, mesh)
    assert (table.blocks.rounds, table.blocks.parts, table.blocks.count) == (1, 8, 8)
    seen = []

    def recorded(rows, *shared, kept=table._sums):
        found = kept(rows, *shared)
        seen.append((rows[0].shape, shared[-1].sharding, found[0][0]))
        return found

    table._sums = recorded
    table.lloyd(noise(12))
    ((rows, centroids, sums),) = seen
    assert rows == (8, 256, 6)
    assert centroids.is_fully_replicated
    assert sums.shape == (8, 16, 6)
    assert sums.sharding.shard_shape(sums.shape) == (8, 2, 6)


@pytest.mark.parametrize("stop", [1, 4])
def test_interrupted_equals_uninterrupted_bit_for_bit(tmp_path, monkeypatch, stop):
    features = noise(1000)
    config = KmeansConfig(12, iterations=8, block_frames=256)
    whole = fit_kmeans(features, config, directory=tmp_path / "whole")
    saves = []

    def killed(directory, state, kept=fit.keep):
        if state.step == stop and not saves:
            saves.append(state.step)
            raise KeyboardInterrupt  # after the metrics, before the state
        kept(directory, state)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "keep", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_kmeans(features, config, directory=tmp_path / "cut")
    assert fit.read_state(tmp_path / "cut").step == stop - 1
    again = fit_kmeans(features, config, directory=tmp_path / "cut")
    assert_same(whole, again)
    metrics = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "cut")]
    assert metrics[0] == metrics[1]
    assert metrics[0].count('"inertia"') == len(whole.inertia)


def test_sigterm_saves_and_the_same_call_goes_on(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    config = KmeansConfig(12, iterations=8, block_frames=256)
    whole = fit_kmeans(noise(), config)

    def told_to_stop(*words, kept=fit.updated_centroids):
        signal.raise_signal(signal.SIGTERM)
        return kept(*words)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "updated_centroids", told_to_stop)
        with pytest.raises(TrainingStopped) as stopped:
            fit_kmeans(noise(), config, directory=tmp_path)
    assert stopped.value.code == 75
    assert "stopped, saved at step 1; run again to go on" in caplog.text
    again = fit_kmeans(noise(), config, directory=tmp_path)
    np.testing.assert_array_equal(again.centroids, whole.centroids)
    np.testing.assert_array_equal(again.inertia, whole.inertia)


def test_seeding_of_any_number_of_frames_is_nearly_as_good_as_plus_plus():
    features, _ = blobs(clusters=30, per_cluster=60, seed=7)
    table = Passes(features, measure_scale(features, 4096), 2048, None)
    points = table.scale.apply(features)
    seeds = initial_centroids(table, KmeansConfig(30))
    best = np.asarray(plus_plus(points, np.ones(len(points), np.float32), 30, jax.random.key(0)))
    assert set(map(tuple, seeds)) | set(map(tuple, best)) <= set(map(tuple, points))
    random = points[np.random.default_rng(0).choice(len(points), 30)]
    ours, plain, chance = (table.lloyd(x).distances.mean() for x in (seeds, best, random))
    assert ours < 1.5 * plain
    assert ours < 0.5 * chance


def test_features_mapped_into_memory_give_the_same(tmp_path):
    features = noise(500)
    features.tofile(tmp_path / "features")
    mapped = np.memmap(tmp_path / "features", np.float32, "r", shape=features.shape)
    on_disk, in_memory = (fit_kmeans(x, KmeansConfig(5, iterations=4)) for x in (mapped, features))
    np.testing.assert_array_equal(on_disk.centroids, in_memory.centroids)


def test_deterministic_bit_for_bit_and_seeded():
    features = noise(200, 4)
    first, second = (fit_kmeans(features, KmeansConfig(12, iterations=6)) for _ in range(2))
    np.testing.assert_array_equal(first.centroids, second.centroids)
    other = fit_kmeans(features, KmeansConfig(12, iterations=6, seed=1))
    assert not np.array_equal(first.centroids, other.centroids)


def test_an_empty_cluster_moves_to_the_farthest_frame():
    source = np.array([[0.0], [1.0], [2.0], [50.0]], np.float32)
    for mesh in (None, make_mesh(MeshConfig("dp"))):
        table = Passes(source, Scale(np.zeros(1, np.float32), np.ones(1, np.float32)), 256, mesh)
        found = table.lloyd(np.array([[1.0], [1000.0], [2000.0]], np.float32))
        np.testing.assert_array_equal(found.counts, [4, 0, 0])
        updated = fit.updated_centroids(table, found, np.array([1, 2]))
        np.testing.assert_allclose(updated, [[13.25], [50.0], [0.0]])


def test_never_leaves_a_cluster_empty():
    # Many equal points and a few others tempt k-means to leave clusters without members.
    features = np.concatenate([np.zeros((500, 3)), noise(12, 3)]).astype(np.float32)
    result = fit_kmeans(features, KmeansConfig(clusters=10, iterations=15))
    assert result.counts.min() >= 1
    assert result.counts.sum() == 512


def test_a_dimension_that_never_varies_is_harmless():
    features, _ = blobs()
    features[:, 2] = 7
    assert np.isfinite(fit_kmeans(features, KmeansConfig(clusters=7)).centroids).all()


def test_bad_input_is_named(tmp_path):
    features, _ = blobs()
    with pytest.raises(InputError, match="fewer clusters"):
        fit_kmeans(features[:5], KmeansConfig(clusters=7))
    with pytest.raises(InputError, match="many are equal"):
        fit_kmeans(np.ones((50, 3), np.float32), KmeansConfig(4))
    features[3, 1] = np.nan
    with pytest.raises(InputError, match="NaN"):
        fit_kmeans(features, KmeansConfig(clusters=7))
    with pytest.raises(InputError, match=r"--kmeans\.clusters = 0"):
        KmeansConfig(clusters=0)
    (tmp_path / fit.STATE).write_bytes(b"no state")
    with pytest.raises(InputError, match=r"kmeans_state\.npz: damaged"):
        fit_kmeans(noise(), KmeansConfig(clusters=7), directory=tmp_path)
