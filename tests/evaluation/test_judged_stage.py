"""What `audiolm evaluate` measures of the parts of a bundle."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from support.tiny_models import DECODER, random_arrays
from support.token_stores import make_store
from support.token_stores import stage as small_stage

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.evaluation.bundle import heldout
from audiolm_jax.generation.bundle import StageModel
from audiolm_jax.lm.config import KIND, StageModelConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.stages import StageConfig, build_sequence, condition_tokens
from audiolm_jax.types import TokenBatch

STAGE = StageConfig("semantic", 8, 4, levels=2, coarse_levels=1, crop_seconds=1.0)


def test_a_stage_trained_by_the_tpu_kernel_is_judged_anywhere(monkeypatch):
    rng = np.random.default_rng(0)
    clips = [rng.permutation(8)[None].repeat(3, 0).ravel()[:20] for _ in range(6)]
    sequences = [build_sequence(clip, np.zeros((40, 2), int), True, STAGE) for clip in clips]
    rows = np.stack([sequence.tokens for sequence in sequences])
    ones = np.ones_like(rows[:, 1:])
    ends = (rows[:, 1:] == rows[:, -1:]).astype(np.int32)
    batch = TokenBatch(rows[:, :-1], rows[:, 1:], ones.astype(np.float32), ends)
    store = object.__new__(TokenStore)
    store.directory = Path("store")
    other = object.__new__(TokenStore)
    asked = []

    def batches_of(mixture):
        assert mixture.stores == (other,)
        return lambda: iter([batch])

    def of(self, split, config):
        asked.append((self, split))
        return sequences

    monkeypatch.setattr(TokenStore, "sequences", of)
    monkeypatch.setattr(heldout, "heldout_batches", lambda mixture, *sizes: batches_of(mixture))

    def judge(attention):
        config = StageModelConfig(STAGE, dataclasses.replace(DECODER, attention=attention))
        arrays = random_arrays(lambda: make_decoder(config, jax.random.key(0)), 0)
        folder = ModelFolder(KIND, {}, arrays, "0" * 64, {})
        return heldout.measure_likelihood(StageModel(config, folder), store, other)

    assert judge("flash") == judge("blocks")
    assert set(asked) == {(store, "train"), (other, "heldout")}


@pytest.mark.parametrize("name", ["coarse", "fine"])
@pytest.mark.parametrize("deduplicate", [True, False])
def test_exchanged_windows_keep_their_targets_and_are_told_what_another_says(
    name, deduplicate, tmp_path
):
    make_store(tmp_path / "s", {"train": [20, 20], "heldout": [10, 4, 23, 7, 1]})
    store = TokenStore.open(str(tmp_path / "s"))
    stage = small_stage(name, deduplicate=deduplicate)
    own = list(store.windows("heldout", stage))
    plain = [build_sequence(*window, stage) for window in own]
    batches = list(heldout._exchanged_batches(store, stage))
    rows = [row for batch in batches for row in zip(batch.targets, batch.loss_weights, strict=True)]
    assert len(rows) >= len(own) >= 6
    differ = 0
    for place, (targets, weights) in enumerate(rows):
        if place >= len(own):
            assert not weights.any()
            continue
        codes = own[place][1]
        target = plain[place].tokens[plain[place].target_start :]
        np.testing.assert_array_equal(targets[weights > 0], target)
        units, others, _ = own[(place + len(own) // 2) % len(own)]
        told = np.resize(others[:, :2], (len(codes), 2))
        full = np.concatenate([told, codes[:, 2:]], axis=1) if name == "fine" else codes
        condition = condition_tokens(np.resize(units, len(codes) // 2), full, stage)
        np.testing.assert_array_equal(targets[: len(condition) - 1], condition[1:])
        differ += not np.array_equal(condition, plain[place].tokens[: len(condition)])
    assert differ >= 4


def test_a_stage_that_hears_nothing_loses_nothing_by_the_exchange(tmp_path):
    """A decoder whose attention gives nothing knows the newest token alone."""
    make_store(tmp_path / "s", {"train": [20, 20], "heldout": [10, 9, 23, 17]})
    store = TokenStore.open(str(tmp_path / "s"))
    stage = small_stage("coarse", deduplicate=False)
    config = StageModelConfig(stage, dataclasses.replace(DECODER, position="time"))
    arrays = random_arrays(lambda: make_decoder(config, jax.random.key(0)), 0)
    hears = heldout.measure_likelihood(
        StageModel(config, ModelFolder(KIND, {}, arrays, "0" * 64, {})), store, store
    )
    assert abs(hears.total.exchanged_nats - hears.total.model_nats) > 1e-4
    arrays["layers.attention.out.kernel"] = 0 * arrays["layers.attention.out.kernel"]
    deaf = heldout.measure_likelihood(
        StageModel(config, ModelFolder(KIND, {}, arrays, "0" * 64, {})), store, store
    )
    assert deaf.total.exchanged_nats == pytest.approx(deaf.total.model_nats, abs=1e-6)


def test_nothing_is_exchanged_where_nothing_is_told_or_nobody_else_is_there(tmp_path):
    make_store(tmp_path / "one", {"train": [20, 20], "heldout": [9]})
    make_store(tmp_path / "two", {"train": [20, 20], "heldout": [9, 9]})
    one, two = (TokenStore.open(str(tmp_path / name)) for name in ("one", "two"))
    told, alone = (small_stage("coarse", semantic_condition=x) for x in (True, False))
    assert list(heldout._exchanged_batches(one, told)) == []
    assert list(heldout._exchanged_batches(two, alone)) == []
    assert list(heldout._exchanged_batches(two, small_stage("semantic"))) == []
    assert len(list(heldout._exchanged_batches(two, told))) == 1
