"""Token batches: right, as they always were, the same after a restart and on any hosts."""

import dataclasses
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_stores import CUT, LENGTHS, Lengths, digest, make_store, rows, stage

from audiolm_jax.data.index import file_of
from audiolm_jax.data.stream import spread
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.sequences import build_sequences
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    PAD,
    SEP,
    build_sequence,
    deduplicate,
    legal_ids,
    level_rows,
    unflatten_levels,
)
from audiolm_jax.training.config import LoopConfig

ENDS = {"long.wav#0004", "c#0000.wav#0001", "long.wav#0004.wav", "b#0001.wav", "b.wav"}


def tokens(directory):
    return TokenMixture.open(directory)


def crops_of(stream, count):
    """(record, start, stop) of the first positions of a single store."""
    return [tuple(crop) for crop in np.stack(stream.crops(np.arange(count))[1:], 1).tolist()]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokens") / "store"
    return directory, make_store(directory, LENGTHS)


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_resumed_stream_is_the_stream(store, name):
    batches = token_batches(tokens(store[0]), stage(name), 4, seed=7)
    whole = rows(batches(0), 12)
    np.testing.assert_array_equal(rows(batches(5), 7), whole[:, 20:])
    np.testing.assert_array_equal(rows(batches(0), 12), whole)
    assert not np.array_equal(
        rows(token_batches(tokens(store[0]), stage(name), 4, seed=8)(0), 12), whole
    )
    assert rows(batches(10**12), 1).shape == whole[:, :4].shape


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_batches_are_those_that_a_step_is_compiled_for(store, name):
    model = StageModelConfig(stage(name), DecoderConfig())
    experiment = StageExperiment(
        directory="run",
        tokens="tokens",
        codec="codec",
        semantic="semantic",
        loop=LoopConfig(1),
        model=model,
        batch_size=4,
    )
    expected = experiment.abstract_batch()
    real = next(token_batches(tokens(store[0]), stage(name), 4, seed=7)(0))
    for field in ("inputs", "targets", "loss_weights", "levels"):
        of_step, of_data = getattr(expected, field), getattr(real, field)
        assert (of_step.shape, of_step.dtype) == (of_data.shape, of_data.dtype)
    assert experiment.units_per_step() == ("tokens", float(real.inputs.size))


def test_hosts_together_are_one_host(store):
    """Shares as a mesh deals them: rows need not be neighbours, and two hosts may need the same."""
    config = stage("coarse")
    whole = rows(token_batches(tokens(store[0]), config, 6, seed=1)(3), 5).reshape(4, 5, 6, -1)
    for share in ((0, 3), (1, 2, 4, 5), (0, 3), (4,)):
        part = rows(token_batches(tokens(store[0]), config, 6, 1, rows=share)(3), 5)
        np.testing.assert_array_equal(part.reshape(4, 5, len(share), -1), whole[:, :, list(share)])


@pytest.mark.parametrize("share", [(0, 1), (1, 3), (2,), None])
def test_a_host_reads_its_records_only_and_each_once(store, monkeypatch, share):
    read, tokens_of = [], TokenStore.tokens

    def noted(self, split, number):
        read.append(number)
        return tokens_of(self, split, number)

    monkeypatch.setattr(TokenStore, "tokens", noted)
    config = stage("coarse", crop_seconds=10.0)  # no record is longer: window n is record n
    assert len(list(heldout_batches(tokens(store[0]), config, 4, "train", rows=share)())) == 3
    assert sorted(read) == [n for n in range(9) if share is None or n % 4 in share]


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_sequences_are_the_heldout_batches_without_padding(store, name):
    config = stage(name)
    rows = []
    for batch in heldout_batches(tokens(store[0]), config, 4)():
        for inputs, targets, weights in zip(
            batch.inputs, batch.targets, batch.loss_weights, strict=True
        ):
            if weights.any():
                length = int(np.max(np.nonzero(weights))) + 1
                first = int(np.argmax(weights)) + 1
                rows.append((first, [*inputs[:1], *targets[:length]]))
    sequences = TokenStore.open(store[0]).sequences("heldout", config)
    assert [(s.target_start, s.tokens.tolist()) for s in sequences] == rows
    assert any(EOS in tokens for _, tokens in rows) == config.has_end_token
    assert len({EOS in tokens for _, tokens in rows}) == 1 + config.has_end_token


def parse(batch, row, config):
    """(condition ids, target ids) of a row, checking everything the batch says about them."""
    inputs, targets = batch.inputs[row], batch.targets[row]
    weights, levels = batch.loss_weights[row], batch.levels[row]
    length = int(np.max(np.nonzero(weights), initial=-1)) + 1
    assert batch.inputs.dtype == batch.targets.dtype == batch.levels.dtype == np.int32
    assert weights.dtype == np.float32
    assert inputs[0] == BOS
    np.testing.assert_array_equal(inputs[1:length], targets[: length - 1])
    assert (inputs[length:] == PAD).all()
    assert (targets[length:] == PAD).all()
    assert (weights[length:] == 0).all()
    assert (levels[weights == 0] == 0).all()
    first = int(np.argmax(weights))
    assert (weights[first:length] == 1).all()
    wanted = targets[first:length]
    table, m = legal_ids(config), len(config.target_levels)
    assert table[np.arange(len(wanted)) % m, wanted].all()
    end = len(config.level_names) - 1
    is_end = wanted == EOS
    np.testing.assert_array_equal(levels[first:length] == end, is_end)
    np.testing.assert_array_equal(
        levels[first:length][~is_end], (np.arange(len(wanted)) % m)[~is_end]
    )
    return inputs[: first + 1], wanted


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_heldout_is_every_token_once(store, name):
    config, (directory, records) = stage(name), store
    expected = []
    for record in records["heldout"]:
        parts = -(-len(record.clusters) // config.crop_semantic)
        edges = [part * len(record.clusters) // parts for part in range(parts + 1)]
        for start, stop in itertools.pairwise(edges):
            codes = record.codes[2 * start : 2 * stop].astype(int)
            semantic = deduplicate(record.clusters[start:stop].astype(int)) + FIRST_ID
            expected.append((semantic, codes, stop == len(record.clusters)))
    seen = 0
    for batch in heldout_batches(tokens(directory), config, 4)():
        assert batch.inputs.shape == (4, config.max_tokens - 1)
        for row in range(4):
            if seen == len(expected):
                assert not batch.inputs[row].any()
                assert not batch.loss_weights[row].any()
                continue
            semantic, codes, ends = expected[seen]
            condition, target = parse(batch, row, config)
            if config.has_end_token:
                assert (target[-1] == EOS) == ends
                target = target[:-1] if ends else target
            if name == "semantic":
                np.testing.assert_array_equal(target, semantic)
                assert condition.tolist() == [BOS]
            else:
                levels = config.target_levels
                np.testing.assert_array_equal(
                    unflatten_levels(target, levels, config), codes[:, levels.start : levels.stop]
                )
                assert condition[-1] == SEP
            if name == "coarse":
                np.testing.assert_array_equal(condition[1:-1], semantic)
            if name == "fine":
                np.testing.assert_array_equal(
                    unflatten_levels(condition[1:-1], range(2), config), codes[:, :2]
                )
            seen += 1
    assert seen == len(expected)


def test_a_limited_pass_is_spread_over_all_records_and_the_same_on_any_hosts(store):
    config = stage("fine")
    whole = rows(heldout_batches(tokens(store[0]), config, 4)(), 99)
    few = rows(heldout_batches(tokens(store[0]), config, 4, limit=2)(), 99)
    chosen = spread(sum(-(-n // config.crop_semantic) for n in (10, 4, 23, 61, 1)), 8)
    assert len(chosen) == 8
    np.testing.assert_array_equal(few, whole[:, chosen])
    parts = [
        rows(heldout_batches(tokens(store[0]), config, 4, rows=share, limit=2)(), 99).reshape(
            4, 2, 2, -1
        )
        for share in ((0, 1), (2, 3))
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2).reshape(few.shape), few)
    np.testing.assert_array_equal(
        rows(heldout_batches(tokens(store[0]), config, 4, limit=99)(), 99), whole
    )


def test_heldout_hosts_get_equal_numbers_of_batches(store):
    config = stage("fine")
    whole = rows(heldout_batches(tokens(store[0]), config, 8)(), 99)
    parts = [
        list(heldout_batches(tokens(store[0]), config, 8, rows=(2 * host, 2 * host + 1))())
        for host in range(4)
    ]
    assert len({len(part) for part in parts}) == 1
    together = np.stack([[b.targets for b in part] for part in parts], axis=1)
    np.testing.assert_array_equal(together.reshape(whole[1].shape), whole[1])


def test_an_epoch_visits_records_by_length_and_crops_anywhere(store):
    config = stage("semantic")
    stream = StageStream(tokens(store[0]), config, "train", 3)
    lengths = [len(record.clusters) for record in store[1]["train"]]
    total = stream.windows
    assert total == sum(-(-length // 10) for length in lengths)
    crops = crops_of(stream, 40 * total)
    first, second = crops[:total], crops[total : 2 * total]
    for epoch in (first, second):
        visits = np.bincount([record for record, _, _ in epoch])
        np.testing.assert_array_equal(visits, [-(-length // 10) for length in lengths])
    assert [w[0] for w in first] != [w[0] for w in second]
    long = lengths.index(100)
    assert {start for record, start, _ in crops if record == long} == set(range(91))
    for record, start, stop in first:
        assert stop - start == min(10, lengths[record])
        assert 0 <= start < stop <= lengths[record]


@pytest.fixture(scope="module", params=["new", "old"])
def cut_store(tmp_path_factory, request):
    """A store of now, and one of before: nothing beside its records tells their ids."""
    directory = tmp_path_factory.mktemp("cut") / "store"
    make_store(directory, {"train": CUT, "heldout": CUT})
    if request.param == "old":
        for path in directory.glob("*.array_record.json"):
            summary = json.loads(path.read_text())
            summary.pop("clip_ids", None)
            path.write_text(json.dumps(summary))
    return directory


@pytest.mark.parametrize("name", ["semantic", "coarse"])
def test_a_recording_ends_once_however_it_is_cut(cut_store, name):
    config = stage(name)
    ends = sum(
        EOS in batch.targets[row]
        for batch in heldout_batches(tokens(cut_store), config, 4)()
        for row in range(4)
    )
    assert ends == len(ENDS)
    sequences = TokenStore.open(cut_store).sequences("heldout", config)
    assert sum(EOS in sequence.tokens for sequence in sequences) == len(ENDS)


@pytest.mark.parametrize("name", ["semantic", "coarse"])
def test_random_crops_end_where_a_recording_ends_and_nowhere_else(cut_store, name):
    config, store = stage(name), TokenStore.open(cut_store)
    batches = token_batches(tokens(cut_store), config, 32, seed=0)
    crops = iter(crops_of(StageStream(tokens(cut_store), config, "train", 0), 320))
    ended, at_cuts = 0, 0
    for batch in itertools.islice(batches(0), 10):
        for row in range(32):
            number, _, stop = next(crops)
            record = store.record("train", number)
            is_over = stop == len(record.clusters)
            assert (EOS in batch.targets[row]) == (is_over and record.clip_id in ENDS)
            ended += is_over and record.clip_id in ENDS
            at_cuts += is_over and record.clip_id not in ENDS
    assert ended > 5
    assert at_cuts > 5


@pytest.mark.parametrize("cut_store", ["new"], indirect=True)
def test_edges_of_recordings_get_their_share(cut_store):
    """Half of it begins a file and half ends one, cut or not; files come as often as before."""
    records = list(TokenStore.open(cut_store).records("train"))
    ids = [record.clip_id for record in records]
    begin = {n for n, name in enumerate(ids) if file_of(name)[1] == 0}
    end = {n for n, name in enumerate(ids) if name in ENDS}
    shares, count = {}, 1500
    shuffled = {
        share: crops_of(
            StageStream(tokens(cut_store), stage("coarse", 0.16), "train", 5, share), count
        )
        for share in (0.0, 0.2, 1.0)
    }
    plain = shuffled[0.0]
    for share, crops in shuffled.items():
        first = sum(n in begin and start == 0 for n, start, _ in crops)
        last = sum(n in end and stop == len(records[n].clusters) for n, _, stop in crops)
        shares[share] = first / count, last / count
        moved = sum(crop != other for crop, other in zip(crops, plain, strict=True)) / count
        assert share * 0.7 <= moved <= share * 1.05
        for (n, start, stop), (m, _, _) in zip(crops, plain, strict=True):
            assert file_of(ids[n])[0] == file_of(ids[m])[0]
            assert 0 <= start < stop == start + 4 <= len(records[n].clusters)
    for side in (0, 1):
        assert shares[0.0][side] < 0.08
        # Beside those that are drawn there by chance; three standard deviations.
        assert shares[0.2][side] == pytest.approx(0.1 + 0.8 * shares[0.0][side], abs=0.024)
        assert 0.45 < shares[1.0][side] < 0.57


@pytest.mark.parametrize("cut_store", ["new"], indirect=True)
def test_a_stream_with_edges_is_resumed_and_ends_as_often_as_it_should(cut_store):
    config = stage("coarse", 0.16)
    batches = token_batches(tokens(cut_store), config, 16, seed=7, edge_share=0.4)
    whole = rows(batches(0), 20)
    np.testing.assert_array_equal(rows(batches(17), 3), whole[:, 17 * 16 :])
    part = rows(token_batches(tokens(cut_store), config, 16, 7, rows=(3, 9), edge_share=0.4)(0), 20)
    own = whole.reshape(4, 20, 16, -1)[:, :, [3, 9]]
    np.testing.assert_array_equal(part, own.reshape(part.shape))
    assert 0.2 <= np.mean((whole[1] == EOS).any(axis=1)) < 0.35


def test_a_stage_learns_from_the_edges_that_its_config_asks_for(tmp_path):
    make_store(tmp_path / "tokens", {"train": CUT, "heldout": [10]})
    for part in ("codec", "semantic"):
        (tmp_path / part).mkdir()
        record = {"kind": part, "fingerprint": part[0]}
        (tmp_path / part / "model.json").write_text(json.dumps(record))
    parts = {name: str(tmp_path / name) for name in ("tokens", "codec", "semantic")}
    model = StageModelConfig(stage("coarse", 0.16), DecoderConfig())
    fields = {"directory": "run", "loop": LoopConfig(1), "model": model, "batch_size": 16, **parts}
    fields["reader"] = "plain"
    with pytest.raises(InputError, match=r"--edge-share 1\.5: expected 0 to 1"):
        StageExperiment(**fields, edge_share=1.5)
    assert StageExperiment(**fields).edge_share >= 0.1
    data = StageExperiment(**fields, edge_share=1.0).open_data()
    ends = (next(data.batches(0)).targets == EOS).any(axis=1)
    assert 0 < ends.sum() < 16
    for row, ends_here in zip(data.describe(0), ends, strict=True):
        assert ends_here or "frames 0 to" in row


@pytest.mark.parametrize(
    ("name", "needed"), [("semantic", "semantic"), ("fine", "codec"), ("coarse", None)]
)
def test_a_stage_asks_only_for_the_tokenizers_that_it_hears(tmp_path, name, needed):
    make_store(tmp_path / "tokens", {"train": CUT, "heldout": [10]})
    for part in ("codec", "semantic"):
        (tmp_path / part).mkdir()
        record = {"kind": part, "fingerprint": part[0] if part == needed else "another"}
        (tmp_path / part / "model.json").write_text(json.dumps(record))
    parts = {each: str(tmp_path / each) for each in ("tokens", "codec", "semantic")}
    model = StageModelConfig(stage(name, 0.16), DecoderConfig())
    fields = {"directory": "run", "loop": LoopConfig(1), "model": model, "batch_size": 4, **parts}
    experiment = StageExperiment(**fields, reader="plain")
    if needed is None:
        with pytest.raises(InputError, match="written by codec c, but --codec"):
            experiment.open_data()
        return
    assert experiment.upstream() == {needed: needed[0]}
    provenance = experiment.open_data().provenance
    assert provenance.keys() == {needed, "semantic_tokens_per_second", "tokens_read"}
    assert provenance["tokens_read"]["tokenizers"] == [needed]


@pytest.mark.parametrize(
    ("change", "numbers"),
    [
        ({"semantic_clusters": 7}, ("7", "6")),
        ({"codebook_size": 9}, ("9", "5")),
        ({"levels": 4}, ("4", "3")),
        ({"acoustic_rate_hz": 75}, ("75", "50")),
    ],
)
def test_stage_that_does_not_fit_names_both_numbers(store, change, numbers):
    with pytest.raises(InputError) as caught:
        token_batches(tokens(store[0]), stage("coarse", **change), 4, seed=0)
    (field,) = change
    assert f"stage.{field.replace('_', '-')} {numbers[0]}" in str(caught.value)
    assert f"written with {numbers[1]}" in str(caught.value)


@pytest.mark.parametrize(("size", "share"), [(0, None), (4, ()), (4, (3, 4)), (4, (1, 0))])
def test_rows_that_are_not_in_the_batch_are_refused(store, size, share):
    with pytest.raises(InputError, match="batch-size = 0" if size == 0 else "rows = .* 0 to 3"):
        token_batches(tokens(store[0]), stage("coarse"), size, seed=0, rows=share)


def test_missing_splits_are_refused(tmp_path):
    make_store(tmp_path / "store", {"train": [5, 5]})
    with pytest.raises(InputError, match="no heldout clip"):
        heldout_batches(tokens(tmp_path / "store"), stage("coarse"), 4)


GOLDEN = json.loads((Path(__file__).parent / "golden_stream.json").read_text())


def test_crops_are_those_of_runs_in_progress():
    """Golden: a change here is another stream, and no run of before can be resumed."""
    mixture, config = TokenMixture([Lengths(20011)]), stage("coarse", 10.0)
    for key, wanted in GOLDEN["crops"].items():
        seed, share, first = key.split()
        stream = StageStream(mixture, config, "train", int(seed), float(share))
        crops = stream.crops(int(first) + np.arange(1500))
        assert digest(np.stack(crops[1:], axis=1)) == wanted, key


@pytest.mark.parametrize("lengths", [LENGTHS, {"train": CUT, "heldout": CUT}], ids=["plain", "cut"])
def test_batches_are_those_of_runs_in_progress(tmp_path, request, lengths):
    """Golden, as above; 10**6 and 10**12 are steps of 4 rows."""
    make_store(tmp_path / "store", lengths)
    mixture, which = tokens(tmp_path / "store"), request.node.callspec.id
    for key, wanted in GOLDEN["batches"].items():
        store, name, crop, share, step = key.split()
        if store == which:
            stream = StageStream(mixture, stage(name, float(crop)), "train", 7, float(share))
            batch = stream.batch(4 * int(step) + np.arange(20 if int(step) else 120))
            assert digest(rows(iter([batch]), 1)) == wanted, key
    for key, wanted in GOLDEN["heldout"].items():
        store, name, crop, *limit = key.split()
        if store == which:
            most = 4 * int(limit[0]) if limit else None
            stream = StageStream(mixture, stage(name, float(crop)), "heldout", None, most=most)
            batch = stream.batch(np.arange(-(-stream.windows // 4) * 4))
            assert digest(rows(iter([batch]), 1)) == wanted, key


@given(
    st.sampled_from(["semantic", "coarse", "fine"]),
    st.lists(st.none() | st.tuples(st.integers(1, 10), st.booleans()), min_size=1, max_size=6),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_a_batch_is_its_sequences_one_by_one(name, shapes, seed, deduplicates, is_told):
    config = stage(name, deduplicate=deduplicates, semantic_condition=is_told)
    rng = np.random.default_rng(seed)
    windows = [
        shape
        and (
            rng.integers(0, 2, shape[0]).astype(np.uint16) * 5,  # many runs, also over the edges
            rng.integers(0, 5, (2 * shape[0], 3)).astype(np.uint16),
            shape[1],
        )
        for shape in shapes
    ]
    many = build_sequences(windows, config)
    for window, ids, levels, length in zip(windows, *many[:2], many[2].tolist(), strict=True):
        if window is None:
            assert length == 0
        else:
            clusters, codes = (part.astype(np.int32) for part in window[:2])
            one = build_sequence(clusters, codes, window[2], config)
            assert ids[:length].tolist() == one.tokens.tolist()
            ends = bool(one.tokens[-1] == EOS and config.has_end_token)
            wanted = level_rows(length - one.target_start, ends, config)
            assert levels[:length].tolist() == [-1] * one.target_start + wanted.tolist()
        assert (ids[length:] == PAD).all()
        assert (levels[length:] == -1).all()


@pytest.mark.parametrize("name", ["semantic", "coarse"])
def test_an_id_that_the_store_cannot_hold_is_one_line(tmp_path, monkeypatch, name):
    make_store(tmp_path / "store", {"train": [50] * 4})
    store = TokenStore.open(tmp_path / "store")
    few = dataclasses.replace(store.sizes, semantic_clusters=3)
    monkeypatch.setattr(TokenStore, "sizes", few)
    batches = token_batches(TokenMixture([store]), stage(name, semantic_clusters=3), 8, seed=0)
    with pytest.raises(InputError, match=r"train-0000.-of-00002.array_record: record .* cluster 5"):
        next(batches(0))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "damage", "line"),
    [
        ("train-00001-of-00002.array_record", flip, r"content differs from MANIFEST.json"),
        ("train-00001-of-00002.array_record", Path.unlink, r"missing, expected \d+"),
        ("MANIFEST.json", lambda path: path.write_text(path.read_text()[:-9]), r"damaged: "),
        ("MANIFEST.json", Path.unlink, r"is unfinished"),
    ],
)
def test_a_damaged_store_of_several_is_named_when_they_are_opened(tmp_path, name, damage, line):
    for seed, part in enumerate("ab"):
        make_store(tmp_path / part, LENGTHS, seed, data_fingerprint=part)
    damage(tmp_path / "b" / name)
    with pytest.raises(InputError, match=f"{tmp_path}/b.*{line}") as caught:
        TokenMixture.open([str(tmp_path / part) for part in "ab"], (3, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(bytes(1000))])
def test_a_shard_damaged_while_reading_is_one_line(tmp_path, damage):
    """As a store is found that is too large to be hashed when it is opened."""
    make_store(tmp_path / "store", {"train": [50] * 20})
    batches = token_batches(tokens(tmp_path / "store"), stage("fine"), 32, seed=0)
    for path in (tmp_path / "store").glob("*.array_record"):
        damage(path)
    with pytest.raises(InputError, match=r"train-0000.-of-00002.array_record: ") as caught:
        for _ in itertools.islice(batches(0), 4):
            pass
    assert "\n" not in str(caught.value)


def test_the_plain_reader_loads_no_tensorflow(store):
    program = (
        "from audiolm_jax.data.tokens.loader import token_batches\n"
        "from audiolm_jax.data.tokens.mixture import TokenMixture\n"
        "from audiolm_jax.stages import StageConfig\n"
        "stage = StageConfig('fine', 6, 5, 3, coarse_levels=2, crop_seconds=0.4)\n"
        f"batches = token_batches(TokenMixture.open({str(store[0])!r}), stage, 4, seed=0)\n"
        "assert next(batches(0)).inputs.shape[0] == 4\n"
        "import sys; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "array_record" in loaded
    assert loaded & {"tensorflow", "tensorflow_datasets", "seqio", "apache_beam"} == set()


@pytest.mark.parametrize("package", ["tensorflow", "seqio"])
def test_without_tensorflow_the_other_reader_is_named(store, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    line = f"--reader seqio: {package} is not installed .*; --reader plain reads the same"
    with pytest.raises(InputError, match=line):
        token_batches(tokens(store[0]), stage("fine"), 4, seed=0, reader="seqio")
    with pytest.raises(InputError, match=line):
        heldout_batches(tokens(store[0]), stage("fine"), 4, reader="seqio")
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    with pytest.raises(InputError, match=r"\.array_record: .*; pip install array-record"):
        next(token_batches(tokens(store[0]), stage("fine"), 4, seed=0)(0))
