"""Several token stores read as one: exact rates, any hosts, at any step, and nothing mixed up."""

import dataclasses
import json
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_stores import LENGTHS, Lengths, make_store, rows, stage

from audiolm_jax.data.batch_contents import describe_tokens
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
from audiolm_jax.data.tokens.mixture import MOST_IN_A_ROUND, TokenMixture
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.unheard import check_untrained
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.manifest import enter_run

OTHER = {"train": [30, 5, 12], "heldout": [12]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixture")
    make_store(folder / "one", LENGTHS, 1, "one")
    make_store(folder / "two", OTHER, 2, "two", data_fingerprint="e")
    return [str(folder / name) for name in ("one", "two")]


@pytest.fixture(scope="module")
def mixture(folders):
    return TokenMixture.open(folders, (3, 1))


def unlike(count):
    """Stores that differ in a name alone and hold nothing."""
    stores = [Lengths(1) for _ in range(count)]
    for number, store in enumerate(stores):
        store.provenance = dataclasses.replace(store.provenance, dataset=str(number))
    return stores


WEIGHTS = st.lists(st.integers(1, 40), min_size=2, max_size=5)


@given(WEIGHTS, st.integers(0, 10**15))
@settings(max_examples=60, deadline=None)
def test_rates_are_exact_in_every_round_and_even_within(weights, first):
    mixture, total = TokenMixture(unlike(len(weights)), weights), sum(weights)
    which, own = mixture.of(first + np.arange(3 * total))
    for number, weight in enumerate(weights):
        counts = np.cumsum(which == number)
        assert (counts[total:] - counts[:-total] == weight).all()
        even = counts - (1 + np.arange(3 * total)) * weight / total
        # Every store is within half an example of its rate at any time, but not in the same sense.
        share, others = weight / total, len(weights) - 1
        assert np.ptp(even) <= 1 - share + share * others + 1e-9
        # No example of a store is left out or comes twice.
        assert (np.diff(own[which == number]) == 1).all()
        from_start, _ = mixture.of(np.arange(total))
        assert (from_start == number).sum() == weight
    assert (mixture.of(np.arange(total))[1] < np.take(weights, from_start)).all()


@given(WEIGHTS, st.integers(2, 9))
@settings(max_examples=20, deadline=None)
def test_equal_rates_are_one_mixture(weights, factor):
    positions = np.arange(400)
    one, same = (
        TokenMixture(unlike(len(weights)), [w * by for w in weights]) for by in (1, factor)
    )
    np.testing.assert_array_equal(one.of(positions), same.of(positions))


def test_each_store_has_its_own_stream(mixture, folders):
    """What a store gives within a mixture; the first one's is what it gives alone."""
    config = stage("coarse")
    crops = StageStream(mixture, config, "train", 7).crops(np.arange(400))
    alone = StageStream(TokenMixture.open(folders[0]), config, "train", 7).crops(np.arange(300))
    own = np.stack(crops[1:])[:, crops.store == 0]
    np.testing.assert_array_equal(own, np.stack(alone[1:]))
    same = TokenMixture([mixture.stores[0], twin(mixture.stores[0])], (1, 1))
    crops = StageStream(same, config, "train", 7).crops(np.arange(400))
    first, second = (np.stack(crops[1:])[:, crops.store == number] for number in (0, 1))
    assert (first != second).any(axis=0).mean() > 0.5


def twin(store):
    """Another store of the same lengths."""
    other = TokenStore.open(store.directory)
    other.provenance = dataclasses.replace(other.provenance, dataset="twin")
    other.semantic_lengths, other.file_edges = store.semantic_lengths, store.file_edges
    return other


@pytest.mark.parametrize("hosts", [1, 2, 3, 4, 8])
def test_three_epochs_are_the_same_on_any_hosts_and_resumed(mixture, hosts):
    config = stage("semantic")
    windows = StageStream(mixture, config, "train", 7).windows
    steps = -(-3 * 4 * windows // 24)  # of the smaller store, too
    whole = rows(token_batches(mixture, config, 24, 7)(0), steps).reshape(4, steps, 24, -1)
    share = 24 // hosts
    parts = [range(host * share, (host + 1) * share) for host in range(hosts)]
    for part in parts:
        batches = token_batches(mixture, config, 24, 7, rows=part)
        got = rows(batches(0), steps).reshape(4, steps, share, -1)
        np.testing.assert_array_equal(got, whole[:, :, list(part)])
    resumed = rows(batches(steps - 3), 3).reshape(4, 3, share, -1)
    np.testing.assert_array_equal(resumed, whole[:, -3:, list(parts[-1])])


def test_the_heldout_pass_is_of_all_stores(mixture, folders):
    config = stage("coarse")
    parts = [rows(heldout_batches(TokenMixture.open(f), config, 1)(), 99) for f in folders]
    whole = rows(heldout_batches(mixture, config, 1)(), 99)
    np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))
    few = rows(heldout_batches(mixture, config, 4, limit=1)(), 99)
    assert few.shape[1] == 4


@pytest.mark.parametrize(
    "weights", [(), (1,), (1, 0), (3, -1), (1, 2, 3), (MOST_IN_A_ROUND, 1)], ids=str
)
def test_weights_that_do_not_fit_are_refused(folders, weights):
    with pytest.raises(InputError, match=r"--token-weights .*: expected 2 whole numbers"):
        TokenMixture.open(folders, weights)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"codec_fingerprint": "x"}, "codec_fingerprint x, but .*one has c"),
        ({"semantic_fingerprint": "x"}, "semantic_fingerprint x, but .*one has s"),
        ({"resampler": "x"}, "resampler x, but"),
    ],
)
def test_stores_of_other_tokenizers_are_not_mixed(folders, tmp_path, change, line):
    make_store(tmp_path / "odd", OTHER, 2, "odd", **change)
    with pytest.raises(InputError, match=f"--tokens {tmp_path}/odd: {line}") as caught:
        TokenMixture.open([folders[0], str(tmp_path / "odd")], (1, 1))
    assert "\n" not in str(caught.value)


def test_a_store_counts_once_and_must_have_the_split(folders, tmp_path):
    with pytest.raises(InputError, match=r"one: named twice"):
        TokenMixture.open([folders[0], folders[0]], (1, 1))
    with pytest.raises(InputError, match="no token store"):
        TokenMixture.open([])
    make_store(tmp_path / "all", {"train": [9]}, 3, "all")
    tokens = TokenMixture.open([folders[0], str(tmp_path / "all")], (1, 1))
    with pytest.raises(InputError, match=f"{tmp_path}/all: token store has no heldout clip"):
        heldout_batches(tokens, stage("fine"), 4)


def experiment(tmp_path, tokens, **changes):
    for part in ("codec", "semantic"):
        (tmp_path / part).mkdir(exist_ok=True)
        record = {"kind": part, "fingerprint": part[0]}
        (tmp_path / part / "model.json").write_text(json.dumps(record))
    return StageExperiment(
        directory=str(tmp_path / "run"),
        tokens=tokens,
        codec=str(tmp_path / "codec"),
        semantic=str(tmp_path / "semantic"),
        loop=LoopConfig(1),
        model=StageModelConfig(stage("coarse"), DecoderConfig()),
        batch_size=8,
        **changes,
    )


def test_a_run_goes_on_with_the_same_tokens_only(tmp_path, folders):
    (tmp_path / "run").mkdir()
    make_store(tmp_path / "new", OTHER, 2, "two", data_fingerprint="f")

    def enter(tokens, **changes):
        run = experiment(tmp_path, tokens, **changes)
        enter_run(tmp_path / "run", run.manifest(0, run.data_facts()), ["*"])

    enter(tuple(folders), token_weights=(3, 1))
    enter(tuple(folders), token_weights=(3, 1), reader="plain")
    for tokens, weights, line in [
        ((folders[0], str(tmp_path / "new")), (3, 1), "data.tokens is"),
        (tuple(folders), (1, 1), r"config.token_weights is \[3, 1\]"),
        (tuple(reversed(folders)), (3, 1), "data.dataset is"),
        (folders[0], (), "config.token_weights is"),
    ]:
        with pytest.raises(InputError, match=line) as caught:
            enter(tokens, token_weights=weights)
        assert "\n" not in str(caught.value)


def test_one_store_is_described_as_it_always_was(tmp_path, folders):
    run = experiment(tmp_path, folders[0])
    store = TokenStore.open(folders[0])
    assert run.data_facts() == {"dataset": "one", "tokens": store.fingerprint}
    manifest = json.loads(json.dumps(run.manifest(0, run.data_facts())))
    assert manifest["config"]["tokens"] == folders[0]
    for field in ("token_weights", "reader"):  # a run older than the fields
        del manifest["config"][field]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    enter_run(tmp_path / "run", run.manifest(0, run.data_facts()), ["*"])


def test_a_stage_learns_from_all_stores_that_its_config_names(tmp_path, folders, mixture):
    run = experiment(tmp_path, tuple(folders), token_weights=(3, 1), reader="plain")
    data = run.open_data()
    wanted = token_batches(mixture, stage("coarse"), 8, 0, edge_share=run.edge_share)
    np.testing.assert_array_equal(rows(data.batches(2), 3), rows(wanted(2), 3))
    described = data.describe(0)
    assert described == describe_tokens(mixture, stage("coarse"), 8, 0, run.edge_share)(0)
    assert [f"of {folders[1]})" in row for row in described].count(True) == 2
    assert data.facts["stores"] == [store.fingerprint for store in mixture.stores]
    rates = [
        store.manifest["splits"]["train"]["statistics"]["semantic_deduplicated_per_second"]
        for store in mixture.stores
    ]
    assert data.provenance["semantic_tokens_per_second"] == pytest.approx(
        0.75 * rates[0] + 0.25 * rates[1]
    )
    every = dataclasses.replace(stage("coarse"), deduplicate=False)
    assert mixture.semantic_per_second(every) == 25.0


def test_a_stage_of_a_mixture_is_judged_on_any_of_its_stores(tmp_path, mixture):
    stages = {"coarse": {"data": mixture.facts()}}
    for store in mixture.stores:
        index = Mock(spec=ClipIndex, clips=(), fingerprint=store.provenance.data_fingerprint)
        check_untrained(index, store, stages)
    make_store(tmp_path / "odd", OTHER, 2, "odd")
    odd = TokenStore.open(tmp_path / "odd")
    with pytest.raises(InputError, match="name the store it was trained on"):
        check_untrained(index, odd, stages)


@pytest.mark.parametrize(
    ("part", "changed", "fits"),
    [
        ("semantic_lm", {"codec_fingerprint": "c" * 64}, True),
        ("semantic_lm", {"semantic_fingerprint": "s" * 64}, False),
        ("semantic_lm", {"data_fingerprint": "d" * 16}, False),
        ("fine_lm", {"codec_fingerprint": "c" * 64}, False),
        ("fine_lm", {"semantic_fingerprint": "s" * 64}, True),
        ("coarse_lm", {"codec_fingerprint": "c" * 64}, False),
        ("coarse_lm", {"semantic_fingerprint": "s" * 64}, False),
    ],
)
def test_a_stage_is_judged_on_other_stores_of_the_tokens_it_reads(
    tmp_path, folders, mixture, part, changed, fits
):
    run = experiment(tmp_path, tuple(folders), token_weights=(3, 1), reader="plain")
    model = StageModelConfig(stage(part.removesuffix("_lm")), DecoderConfig())
    opened = dataclasses.replace(run, model=model).open_data()
    learnt = {part: {"data": opened.facts} | opened.provenance}
    for store in mixture.stores:
        other = object.__new__(TokenStore)
        other.directory = tmp_path / "other"
        other.provenance = dataclasses.replace(store.provenance, **changed)
        index = Mock(spec=ClipIndex, clips=(), fingerprint=other.provenance.data_fingerprint)
        if fits:
            check_untrained(index, other, learnt)
        else:
            with pytest.raises(InputError, match="name the store it was trained on"):
                check_untrained(index, other, learnt)
