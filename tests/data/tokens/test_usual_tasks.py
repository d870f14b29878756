"""`audiolm_jax.seqio_tasks`: the tokens of a stage, named as SeqIO's converters take them."""

import itertools

import numpy as np
import pytest
from support.token_stores import LENGTHS, make_store, stage

from audiolm_jax import seqio_tasks
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.errors import InputError
from audiolm_jax.stages import BOS, EOS, PAD, SEP


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    make_store(folder / "fake", LENGTHS)
    make_store(folder / "other", {"train": [30, 5, 12], "heldout": [9]}, 2, "other")
    return [str(folder / name) for name in ("fake", "other")]


def expected(folders, config, split, seed, count=None, weights=()):
    """(inputs, targets) of the positions of the stage's own stream."""
    stream = StageStream(TokenMixture.open(folders, weights), config, split, seed)
    ids, levels, lengths = stream.sequences(np.arange(count or stream.windows))
    found = []
    for row, level, length in zip(ids, levels, lengths, strict=True):
        start = int(np.argmax(level >= 0))
        assert row[0] == BOS
        found.append((row[1:start].tolist(), row[start:length].tolist()))
    return found


def pairs(dataset, count=None):
    taken = itertools.islice(dataset.as_numpy_iterator(), count)
    return [(x["inputs"].tolist() if "inputs" in x else [], x["targets"].tolist()) for x in taken]


@pytest.mark.parametrize("name", ["semantic", "coarse", "fine"])
def test_a_task_gives_exactly_the_tokens_of_the_stage(folders, name):
    import seqio

    config, store = stage(name), folders[0]
    seqio_tasks.add(store, config)
    task = seqio.get_mixture_or_task(f"audiolm_fake_{name}")
    lengths = seqio_tasks.feature_lengths(task.name)
    assert list(lengths) == (["targets"] if name == "semantic" else ["inputs", "targets"])

    heldout = task.get_dataset(lengths, "heldout", shuffle=False)
    assert pairs(heldout) == expected(store, config, "heldout", None)
    again = [pairs(task.get_dataset(lengths, "train", seed=3), 40) for _ in range(2)]
    assert again[0] == again[1] == expected(store, config, "train", 3, 40)
    assert pairs(task.get_dataset(lengths, "train", seed=4), 40) != again[0]
    shards = [
        pairs(task.get_dataset(lengths, "train", seed=3, shard_info=seqio.ShardInfo(n, 4)), 10)
        for n in range(4)
    ]
    assert [shards[n % 4][n // 4] for n in range(40)] == again[0]
    # All ids are the vocabulary's, padding is none of them, and SEP ends what is told.
    feature = task.output_features["targets"]
    assert feature.vocabulary.vocab_size == config.vocab_size
    assert feature.vocabulary.eos_id == (EOS if config.has_end_token else None)
    ids = [token for pair in again[0] for part in pair for token in part]
    assert PAD not in ids
    assert max(ids) < config.vocab_size
    assert all(inputs[-1] == SEP for inputs, _ in again[0] if name != "semantic")
    # Nothing is cut: the longest of each has the length that is given.
    longest = max(len(targets) for _, targets in again[0])
    assert longest in (lengths["targets"], lengths["targets"] - config.has_end_token)


@pytest.mark.parametrize("name", ["semantic", "coarse"])
def test_seqios_decoder_converter_learns_the_targets_alone(folders, name):
    import seqio

    config = stage(name)
    task = seqio_tasks.add(folders[0], config, name=f"mine.{name}")
    dataset = seqio.get_dataset(
        f"mine.{name}",
        seqio_tasks.feature_lengths(task.name),
        dataset_split="heldout",
        shuffle=False,
        feature_converter=seqio.DecoderFeatureConverter(pack=False),
    )
    rows = list(dataset.as_numpy_iterator())
    wanted = expected(folders[0], config, "heldout", None)
    assert len(rows) == len(wanted)
    for row, (inputs, targets) in zip(rows, wanted, strict=True):
        whole = inputs + targets
        ids, weights = row["decoder_target_tokens"], row["decoder_loss_weights"]
        assert ids[: len(whole)].tolist() == whole
        assert not ids[len(whole) :].any()
        assert row["decoder_input_tokens"][1 : len(whole)].tolist() == whole[:-1]
        assert row["decoder_input_tokens"][0] == 0
        assert np.flatnonzero(weights).tolist() == [*range(len(inputs), len(whole))]


def test_several_stores_and_a_mixture_of_seqio(folders):
    import seqio

    config = stage("fine")
    both = seqio_tasks.add(folders, config, weights=(1, 2))
    assert both.name == "audiolm_fake_and_other_fine"
    lengths = seqio_tasks.feature_lengths(both.name)
    read = pairs(both.get_dataset(lengths, "train", seed=5), 12)
    assert read == expected(folders, config, "train", 5, 12, (1, 2))
    for number, folder in enumerate(folders):
        seqio_tasks.add(folder, config, name=f"part{number}")
    seqio.MixtureRegistry.remove("parts")
    seqio.MixtureRegistry.add("parts", [("part0", 1), ("part1", 3)])
    mixed = seqio.get_mixture_or_task("parts").get_dataset(lengths, "train", seed=1)
    parts = [expected(folder, config, "train", 1, 80) for folder in folders]
    for pair in pairs(mixed, 20):
        assert pair in parts[0] or pair in parts[1]


def test_the_papers_crops_and_what_does_not_fit(folders, tmp_path):
    with pytest.raises(InputError, match="coarse-levels 4: expected 1 to --model"):
        seqio_tasks.add(folders[0], "coarse")
    task = seqio_tasks.add(folders[0], "semantic", name="paper")
    assert seqio_tasks.feature_lengths(task.name) == {"targets": 751}
    with pytest.raises(InputError, match="stage 'course': expected one of semantic, coarse, fine"):
        seqio_tasks.add(folders[0], "course")
    with pytest.raises(InputError, match=str(tmp_path)):
        seqio_tasks.add(tmp_path, "semantic")
