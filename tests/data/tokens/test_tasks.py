"""Token batches through SeqIO: right, the same after a restart, the same on any number of hosts."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest

from audiolm_jax.data.index import file_of
from audiolm_jax.data.stream import spread
from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord, decode_record, encode_record
from audiolm_jax.data.tokens.store import TokenStore, shard_name, write_manifest, write_shard
from audiolm_jax.data.walk import BadFile
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    PAD,
    SEP,
    StageConfig,
    deduplicate,
    legal_ids,
    unflatten_levels,
)
from audiolm_jax.training.config import LoopConfig

SIZES = TokenSizes(
    semantic_clusters=6, semantic_rate_hz=25, acoustic_rate_hz=50, levels=3, codebook_size=5
)


def stage(name, crop_seconds=0.4, **changes):
    sizes = {"semantic_clusters": 6, "codebook_size": 5, "levels": 3, "coarse_levels": 2}
    return StageConfig(name=name, crop_seconds=crop_seconds, **{**sizes, **changes})


def make_store(directory, lengths, seed=0):
    """`lengths[split]`: semantic tokens of each record, or of each by its id; two shards each."""
    provenance = TokenProvenance(
        dataset="fake",
        data_fingerprint="d",
        sample_rate_hz=16000,
        resampler="soxr_hq",
        padding=PADDING_RULE,
        codec_fingerprint="c",
        semantic_fingerprint="s",
        sizes=SIZES,
        format_version=FORMAT_VERSION,
    )
    rng, records = np.random.default_rng(seed), {}
    directory.mkdir()
    for split, sizes in lengths.items():
        if not isinstance(sizes, dict):
            sizes = {f"{split}{n}.wav": size for n, size in enumerate(sizes)}
        named = list(sizes.items())
        # Ids and byte strings full of zeros, which padding must not be confused with.
        records[split] = [
            TokenRecord(
                clip_id=clip_id,
                codes=rng.integers(0, 5, (2 * size, 3)).astype(np.uint16) * (number % 3 > 0),
                clusters=rng.integers(0, 6, size).astype(np.uint16) * (number % 4 > 0),
                dataset="fake",
                speaker="",
                text="",
                source_rate_hz=16000,
            )
            for number, (clip_id, size) in enumerate(named)
        ]
        for shard in range(2):
            path = directory / shard_name(split, shard, 2)
            write_shard(path, records[split][shard::2], provenance)
        records[split] = records[split][0::2] + records[split][1::2]
    write_manifest(directory, provenance, dict.fromkeys(lengths, 2), [BadFile("x.wav", "bad")])
    return records


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tokens") / "store"
    lengths = {"train": [3, 10, 11, 40, 7, 25, 1, 100, 9], "heldout": [10, 4, 23, 61, 1]}
    return directory, make_store(directory, lengths)


def rows(batches, count):
    """First `count` batches as one array [fields, rows, l]."""
    taken = list(itertools.islice(batches, count))
    fields = [[b.inputs, b.targets, b.loss_weights, b.levels] for b in taken]
    return np.concatenate([np.stack(part) for part in fields], axis=1)


@pytest.mark.parametrize(
    "name", ["semantic", *(pytest.param(n, marks=pytest.mark.slow) for n in ("coarse", "fine"))]
)
def test_resumed_stream_is_the_stream(store, name):
    batches = token_batches(store[0], stage(name), 4, seed=7)
    whole = rows(batches(0), 12)
    np.testing.assert_array_equal(rows(batches(5), 7), whole[:, 20:])
    np.testing.assert_array_equal(rows(batches(0), 12), whole)
    assert not np.array_equal(rows(token_batches(store[0], stage(name), 4, seed=8)(0), 12), whole)
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
    real = next(token_batches(store[0], stage(name), 4, seed=7)(0))
    for field in ("inputs", "targets", "loss_weights", "levels"):
        of_step, of_data = getattr(expected, field), getattr(real, field)
        assert (of_step.shape, of_step.dtype) == (of_data.shape, of_data.dtype)
    assert experiment.units_per_step() == ("tokens", float(real.inputs.size))


def test_hosts_together_are_one_host(store):
    """Shares as a mesh deals them: rows need not be neighbours, and two hosts may need the same."""
    config = stage("coarse")
    whole = rows(token_batches(store[0], config, 6, seed=1)(3), 5).reshape(4, 5, 6, -1)
    for share in ((0, 3), (1, 2, 4, 5), (0, 3), (4,)):
        part = rows(token_batches(store[0], config, 6, 1, rows=share)(3), 5)
        np.testing.assert_array_equal(part.reshape(4, 5, len(share), -1), whole[:, :, list(share)])


@pytest.mark.parametrize("share", [(0, 1), (1, 3), (2,), None])
def test_a_host_reads_its_records_only_and_each_once(store, monkeypatch, share):
    read, record = [], TokenStore.record

    def noted(self, split, number):
        read.append(number)
        return record(self, split, number)

    monkeypatch.setattr(TokenStore, "record", noted)
    config = stage("coarse", crop_seconds=10.0)  # no record is longer: window n is record n
    assert len(list(heldout_batches(store[0], config, 4, "train", rows=share)())) == 3
    assert sorted(read) == [n for n in range(9) if share is None or n % 4 in share]


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_sequences_are_the_heldout_batches_without_padding(store, name):
    config = stage(name)
    rows = []
    for batch in heldout_batches(store[0], config, 4)():
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
    for batch in heldout_batches(directory, config, 4)():
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
    whole = rows(heldout_batches(store[0], config, 4)(), 99)
    few = rows(heldout_batches(store[0], config, 4, limit=2)(), 99)
    chosen = spread(sum(-(-n // config.crop_semantic) for n in (10, 4, 23, 61, 1)), 8)
    assert len(chosen) == 8
    np.testing.assert_array_equal(few, whole[:, chosen])
    parts = [
        rows(heldout_batches(store[0], config, 4, rows=share, limit=2)(), 99).reshape(4, 2, 2, -1)
        for share in ((0, 1), (2, 3))
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis=2).reshape(few.shape), few)
    np.testing.assert_array_equal(rows(heldout_batches(store[0], config, 4, limit=99)(), 99), whole)


def test_heldout_hosts_get_equal_numbers_of_batches(store):
    config = stage("fine")
    whole = rows(heldout_batches(store[0], config, 8)(), 99)
    parts = [
        list(heldout_batches(store[0], config, 8, rows=(2 * host, 2 * host + 1))())
        for host in range(4)
    ]
    assert len({len(part) for part in parts}) == 1
    together = np.stack([[b.targets for b in part] for part in parts], axis=1)
    np.testing.assert_array_equal(together.reshape(whole[1].shape), whole[1])


def test_an_epoch_visits_records_by_length_and_crops_anywhere(store):
    from audiolm_jax.data.tokens.tasks import TokenWindows  # with TensorFlow, so not above

    config = stage("semantic")
    windows = TokenWindows(TokenStore.open(store[0]), config)
    lengths = [len(record.clusters) for record in store[1]["train"]]
    total = windows.num_windows("train")
    assert total == sum(-(-length // 10) for length in lengths)
    first, second = (
        [windows.crop_at("train", p, 3) for p in range(e * total, (e + 1) * total)] for e in (0, 1)
    )
    for epoch in (first, second):
        visits = np.bincount([record for record, _, _ in epoch])
        np.testing.assert_array_equal(visits, [-(-length // 10) for length in lengths])
    assert [w[0] for w in first] != [w[0] for w in second]
    long = lengths.index(100)
    starts = [
        windows.crop_at("train", p, 3)[1]
        for p in range(40 * total)
        if windows.crop_at("train", p, 3)[0] == long
    ]
    assert set(starts) == set(range(91))
    for record, start, stop in first:
        assert stop - start == min(10, lengths[record])
        assert 0 <= start < stop <= lengths[record]


# As `data.index` names the clips of files that it cuts, and of files that only look like them.
CUT = {
    **{f"long.wav#{part:04d}": 23 for part in range(5)},
    **{f"c#0000.wav#{part:04d}": 10 for part in range(2)},
    "long.wav#0004.wav": 17,
    "b#0001.wav": 12,
    "b.wav": 4,
}
ENDS = {"long.wav#0004", "c#0000.wav#0001", "long.wav#0004.wav", "b#0001.wav", "b.wav"}


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
        for batch in heldout_batches(cut_store, config, 4)()
        for row in range(4)
    )
    assert ends == len(ENDS)
    sequences = TokenStore.open(cut_store).sequences("heldout", config)
    assert sum(EOS in sequence.tokens for sequence in sequences) == len(ENDS)


@pytest.mark.parametrize("name", ["semantic", "coarse"])
def test_random_crops_end_where_a_recording_ends_and_nowhere_else(cut_store, name):
    from audiolm_jax.data.tokens.tasks import TokenWindows  # with TensorFlow, so not above

    config, store = stage(name), TokenStore.open(cut_store)
    batches = token_batches(cut_store, config, 32, seed=0)
    windows, position, ended, at_cuts = TokenWindows(store, config), 0, 0, 0
    for batch in itertools.islice(batches(0), 10):
        for row in range(32):
            number, _, stop = windows.crop_at("train", position, seed=0)
            record, position = store.record("train", number), position + 1
            is_over = stop == len(record.clusters)
            assert (EOS in batch.targets[row]) == (is_over and record.clip_id in ENDS)
            ended += is_over and record.clip_id in ENDS
            at_cuts += is_over and record.clip_id not in ENDS
    assert ended > 5
    assert at_cuts > 5


@pytest.fixture(scope="module")
def windows_of(cut_store):
    from audiolm_jax.data.tokens.tasks import TokenWindows  # with TensorFlow, so not above

    store = TokenStore.open(cut_store)
    return lambda share: TokenWindows(store, stage("coarse", 0.16), edge_share=share), store


@pytest.mark.parametrize("cut_store", ["new"], indirect=True)
def test_edges_of_recordings_get_their_share(windows_of):
    """Half of it begins a file and half ends one, cut or not; files come as often as before."""
    make, store = windows_of
    records = list(store.records("train"))
    ids = [record.clip_id for record in records]
    begin = {n for n, name in enumerate(ids) if file_of(name)[1] == 0}
    end = {n for n, name in enumerate(ids) if name in ENDS}
    shares, count = {}, 1500
    shuffled = {share: make(share) for share in (0.0, 0.2, 1.0)}
    plain = [shuffled[0.0].crop_at("train", p, 5) for p in range(count)]
    for share, windows in shuffled.items():
        crops = [windows.crop_at("train", p, 5) for p in range(count)]
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
    batches = token_batches(cut_store, config, 16, seed=7, edge_share=0.4)
    whole = rows(batches(0), 20)
    np.testing.assert_array_equal(rows(batches(17), 3), whole[:, 17 * 16 :])
    part = rows(token_batches(cut_store, config, 16, 7, rows=(3, 9), edge_share=0.4)(0), 20)
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
    with pytest.raises(InputError, match=r"--edge-share 1\.5: expected 0 to 1"):
        StageExperiment(**fields, edge_share=1.5)
    assert StageExperiment(**fields).edge_share >= 0.1
    data = StageExperiment(**fields, edge_share=1.0).open_data()
    ends = (next(data.batches(0)).targets == EOS).any(axis=1)
    assert 0 < ends.sum() < 16
    for row, ends_here in zip(data.describe(0), ends, strict=True):
        assert ends_here or "frames 0 to" in row


def test_registered_task_can_be_read_by_name(store):
    import seqio

    from audiolm_jax.data.tokens.converter import StageFeatureConverter
    from audiolm_jax.data.tokens.tasks import stage_task

    config = stage("coarse")
    stage_task(TokenStore.open(store[0]), config)
    task = stage_task(TokenStore.open(store[0]), config)
    assert task.name == "audiolm:fake:coarse"
    assert task.output_features["tokens"].vocabulary.vocab_size == config.vocab_size
    lengths = {"tokens": config.max_tokens, "levels": config.max_tokens}

    def read(**options):
        dataset = seqio.get_dataset(
            task.name, lengths, StageFeatureConverter(), shuffle=True, seed=7, **options
        )
        return np.stack(
            [e["decoder_target_tokens"] for e in itertools.islice(dataset.as_numpy_iterator(), 12)]
        )

    one = read()
    ours = rows(token_batches(store[0], config, 4, seed=7)(0), 3)[1]
    np.testing.assert_array_equal(one, ours)
    second = read(shard_info=seqio.ShardInfo(1, 2))
    np.testing.assert_array_equal(second[:6], one[1::2])


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
        token_batches(store[0], stage("coarse", **change), 4, seed=0)
    (field,) = change
    assert f"stage.{field.replace('_', '-')} {numbers[0]}" in str(caught.value)
    assert f"written with {numbers[1]}" in str(caught.value)


@pytest.mark.parametrize(("size", "share"), [(0, None), (4, ()), (4, (3, 4)), (4, (1, 0))])
def test_rows_that_are_not_in_the_batch_are_refused(store, size, share):
    with pytest.raises(InputError, match="batch-size = 0" if size == 0 else "rows = .* 0 to 3"):
        token_batches(store[0], stage("coarse"), size, seed=0, rows=share)


def test_missing_splits_are_refused(tmp_path):
    make_store(tmp_path / "store", {"train": [5, 5]})
    with pytest.raises(InputError, match="no heldout clip"):
        heldout_batches(tmp_path / "store", stage("coarse"), 4)


def test_shard_damaged_while_reading_is_one_line(tmp_path):
    make_store(tmp_path / "store", {"train": [50] * 20})
    batches = token_batches(tmp_path / "store", stage("fine"), 4, seed=0)
    for path in (tmp_path / "store").glob("*.array_record"):
        path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(InputError, match=r"train-0000.-of-00002.array_record: ") as caught:
        next(batches(0))
    assert "\n" not in str(caught.value)


def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(store):
    import tensorflow as tf

    record = store[1]["train"][1]
    example = tf.train.Example.FromString(encode_record(record))
    feature = example.features.feature
    assert feature["frames"].int64_list.value[0] == len(record.codes)
    assert feature["acoustic"].bytes_list.value[0] == record.codes.astype("<u2").tobytes()
    back = decode_record(example.SerializeToString(), "x")
    np.testing.assert_array_equal(back.codes, record.codes)
    assert back.clip_id == record.clip_id


@pytest.mark.slow
def test_a_stream_left_open_does_not_disturb_the_exit(store):
    program = (
        "from audiolm_jax.data.tokens.loader import token_batches\n"
        "from audiolm_jax.stages import StageConfig\n"
        "stage = StageConfig('fine', semantic_clusters=6, codebook_size=5, levels=3,"
        " coarse_levels=2, crop_seconds=0.4)\n"
        f"stream = token_batches({str(store[0])!r}, stage, 4, seed=0)(0)\n"
        "next(stream)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == 0
    assert b"Error" not in done.stderr
