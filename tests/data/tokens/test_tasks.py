"""Through SeqIO: the batches of the plain reader, and tasks that SeqIO's own helpers accept.

What the batches are is proved in test_batches.py, without TensorFlow."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from support.token_stores import LENGTHS, make_store, rows, stage

from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.record import decode_record, encode_record
from audiolm_jax.errors import InputError
from audiolm_jax.stages import StageConfig


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    make_store(folder / "fake", LENGTHS)
    make_store(folder / "other", {"train": [30, 5, 12], "heldout": [9]}, 2, "other")
    return [str(folder / name) for name in ("fake", "other")]


@pytest.mark.parametrize(
    ("name", "hosts"),
    [
        ("semantic", 1),
        ("coarse", 2),
        ("fine", 3),
        *(pytest.param("coarse", hosts, marks=pytest.mark.slow) for hosts in (4, 8)),
    ],
)
def test_both_readers_give_the_same_stream(folders, name, hosts):
    """Three epochs and more of a mixture, on every host, resumed, and the held-out pass."""
    mixture, config = TokenMixture.open(folders, (3, 1)), stage(name)
    steps = -(-3 * 4 * StageStream(mixture, config, "train", 7).windows // 24)
    ours, theirs = (
        lambda rows, reader=reader: token_batches(mixture, config, 24, 7, rows, 0.2, reader)
        for reader in ("plain", "seqio")
    )
    whole = rows(ours(None)(0), steps).reshape(4, steps, 24, -1)
    for host in range(hosts):
        part = list(range(host * 24 // hosts, (host + 1) * 24 // hosts))
        read = rows(theirs(part)(0), steps)
        np.testing.assert_array_equal(read.reshape(4, steps, len(part), -1), whole[:, :, part])
    np.testing.assert_array_equal(rows(theirs(part)(10**12), 2), rows(ours(part)(10**12), 2))
    for limit in (None, 1):
        ours, theirs = (
            list(heldout_batches(mixture, config, 4, rows=(0, 3), limit=limit, reader=reader)())
            for reader in ("plain", "seqio")
        )
        assert len(ours) == len(theirs)
        np.testing.assert_array_equal(rows(iter(theirs), 99), rows(iter(ours), 99))
    for field in ("inputs", "targets", "loss_weights", "levels"):
        assert getattr(ours[0], field).dtype == getattr(theirs[0], field).dtype


@pytest.fixture(scope="module")
def task(folders):
    from audiolm_jax.data.tokens.tasks import add_task

    unsized = StageConfig("coarse", coarse_levels=2, crop_seconds=0.4)
    add_task(folders[0], unsized)
    return add_task(folders[0], unsized)  # as often as one likes


def test_a_task_is_taken_by_name(folders, task):
    import seqio

    from audiolm_jax.data.tokens.converter import StageFeatureConverter

    config = stage("coarse")
    assert task.name == "audiolm:fake:coarse"
    assert seqio.get_mixture_or_task("audiolm:fake:coarse") is task
    assert task.output_features["tokens"].vocabulary.vocab_size == config.vocab_size
    lengths = dict.fromkeys(task.output_features, config.max_tokens)

    def read(**options):
        dataset = seqio.get_dataset(
            task.name, lengths, StageFeatureConverter(), shuffle=True, seed=7, **options
        )
        names = StageFeatureConverter.MODEL_FEATURES
        taken = itertools.islice(dataset.as_numpy_iterator(), 12)
        return np.stack([[example[name] for name in names] for example in taken], axis=1)

    one = read()
    mixture = TokenMixture.open(folders[0])
    np.testing.assert_array_equal(one, rows(token_batches(mixture, config, 4, seed=7)(0), 3))
    np.testing.assert_array_equal(read(shard_info=seqio.ShardInfo(1, 2))[:, :6], one[:, 1::2])


def test_seqios_own_checks_pass(folders, task):
    import seqio
    import tensorflow as tf
    from seqio import test_utils

    stream = StageStream(TokenMixture.open(folders[0]), stage("coarse"), "heldout", None)
    ids, levels, lengths = stream.sequences(np.arange(stream.windows))
    expected = [
        {"tokens": row[:n], "levels": level[:n]}
        for row, level, n in zip(ids, levels, lengths, strict=True)
    ]
    dtypes = {"tokens": tf.int32, "levels": tf.int32}
    for epochs in (1, 2):
        dataset = task.get_dataset(None, "heldout", shuffle=False, num_epochs=epochs)
        test_utils.assert_dataset(dataset, expected * epochs, dtypes)
    first, again = (task.get_dataset(None, "train", seed=3).take(20) for _ in range(2))
    test_utils.assert_datasets_eq(first, again)
    test_utils.assert_datasets_neq(first, task.get_dataset(None, "train", seed=4).take(20))
    shards = [
        task.get_dataset(None, "heldout", shuffle=False, shard_info=seqio.ShardInfo(n, 2))
        for n in range(2)
    ]
    together = [
        e for pair in zip(*(s.as_numpy_iterator() for s in shards), strict=True) for e in pair
    ]
    assert [e["tokens"].tolist() for e in together if len(e["tokens"])] == [
        e["tokens"].tolist() for e in expected
    ]
    (example,) = test_utils.test_preprocessing(task.name, {"train": expected[0]})
    assert example["tokens"].tolist() == expected[0]["tokens"].tolist()


def test_a_task_over_several_stores_is_one_task(folders):
    from audiolm_jax.data.tokens.tasks import add_task

    task = add_task(folders, stage("fine"), weights=(1, 2))
    assert task.name == "audiolm:fake_and_other:fine"
    stream = StageStream(TokenMixture.open(folders, (1, 2)), stage("fine"), "train", 5)
    ids, _, lengths = stream.sequences(np.arange(6))
    read = itertools.islice(task.get_dataset(None, "train", seed=5).as_numpy_iterator(), 6)
    assert [e["tokens"].tolist() for e in read] == [
        row[:n].tolist() for row, n in zip(ids, lengths, strict=True)
    ]
    with pytest.raises(InputError, match=r"a/b: SeqIO takes letters, digits and _.:#"):
        add_task(folders[0], stage("fine"), name="a/b")


def test_shard_damaged_while_reading_is_one_line(tmp_path):
    make_store(tmp_path / "store", {"train": [50] * 20})
    batches = token_batches(
        TokenMixture.open(tmp_path / "store"), stage("fine"), 4, seed=0, reader="seqio"
    )
    for path in (tmp_path / "store").glob("*.array_record"):
        path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(InputError, match=r"train-0000.-of-00002.array_record: ") as caught:
        next(batches(0))
    assert "\n" not in str(caught.value)


def test_tensorflow_reads_what_we_write_and_we_read_what_it_writes(folders):
    import tensorflow as tf

    record = TokenMixture.open(folders[0]).stores[0].record("train", 1)
    example = tf.train.Example.FromString(encode_record(record))
    feature = example.features.feature
    assert feature["frames"].int64_list.value[0] == len(record.codes)
    assert feature["acoustic"].bytes_list.value[0] == record.codes.astype("<u2").tobytes()
    back = decode_record(example.SerializeToString(), "x")
    np.testing.assert_array_equal(back.codes, record.codes)
    assert back.clip_id == record.clip_id


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["seqio", "plain"])
def test_a_stream_left_open_does_not_disturb_the_exit(folders, reader):
    program = (
        "from audiolm_jax.data.tokens.loader import token_batches\n"
        "from audiolm_jax.data.tokens.mixture import TokenMixture\n"
        "from audiolm_jax.stages import StageConfig\n"
        "stage = StageConfig('fine', semantic_clusters=6, codebook_size=5, levels=3,"
        " coarse_levels=2, crop_seconds=0.4)\n"
        f"mixture = TokenMixture.open({folders[0]!r})\n"
        f"stream = token_batches(mixture, stage, 4, seed=0, reader={reader!r})(0)\n"
        "next(stream)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=120)
    assert done.returncode == 0
    assert b"Error" not in done.stderr
