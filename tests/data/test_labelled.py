"""Crops with classes: as many of each, the right one beside each crop, bad labels by name."""

import contextlib
import itertools

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.index import scan
from audiolm_jax.data.labelled import LabelledCrops, read_labels
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError

RATE = 4000
KINDS = {"a": ("real", 1.0), "b": ("generated", 8.0), "c": ("real", 0.5), "d": ("generated", 3.0)}


@pytest.fixture
def folder(tmp_path):
    """Every sample tells its file: 0.1, 0.2, 0.3, 0.4."""
    lines = ["path\tkind"]
    for number, (name, (kind, seconds)) in enumerate(KINDS.items(), 1):
        samples = np.full(round(seconds * RATE), number / 10, np.float32)
        write_wav(tmp_path / f"{name}.wav", samples, RATE, None)
        lines.append(f"{name}.wav\t{kind}")
    (tmp_path / "metadata.tsv").write_text("\n".join(lines) + "\n")
    return tmp_path


def config(folder, **fields):
    defaults = {"heldout_percent": 0, "sample_rate_hz": RATE}
    return AudioDataConfig(source=str(folder), **(defaults | fields))


def open_crops(index, labels, split="train", **fields):
    sizes = {"crop_seconds": 1.0, "batch_size": 6, "seed": 3} | fields
    return LabelledCrops(index, split, labels, **sizes)


def taken(stream, count=None):
    with contextlib.closing(stream):
        return list(itertools.islice(stream, count))


def class_of(batch):
    """From the samples themselves."""
    number = np.rint(10 * batch.audio.samples[:, 0]).astype(int)
    return np.isin(number, (2, 4)).astype(int)


def test_classes_come_equally_often_and_beside_their_crops(folder):
    index = scan(config(folder))
    labels = read_labels(index, "kind", ("real", "generated"))
    crops = open_crops(index, labels)
    batches = taken(crops.labelled(0), 20)
    for batch in batches:
        np.testing.assert_array_equal(batch.labels, class_of(batch))
        assert batch.labels.dtype == np.int32
        assert batch.labels.sum() == 3  # though 11 of 12.5 s are generated
    resumed = taken(open_crops(index, labels).labelled(17), 1)[0]
    np.testing.assert_array_equal(resumed.audio.samples, batches[17].audio.samples)
    np.testing.assert_array_equal(resumed.labels, batches[17].labels)
    share = taken(open_crops(index, labels, rows=(1, 4)).labelled(17), 1)[0]
    np.testing.assert_array_equal(share.labels, batches[17].labels[[1, 4]])
    np.testing.assert_array_equal(share.audio.samples, batches[17].audio.samples[[1, 4]])
    # Within a class clips come as often as they are long.
    seen = np.concatenate([np.rint(10 * b.audio.samples[:, 0]) for b in batches])
    assert (seen == 2).sum() > 1.5 * (seen == 4).sum()
    lines = crops.describe(17)
    names = ["abcd"[int(n) - 1] for n in np.rint(10 * batches[17].audio.samples[:, 0])]
    assert [line.split(": ")[1].split(".wav")[0] for line in lines] == names


def test_classes_take_turns_over_the_steps_too(folder):
    index = scan(config(folder))
    labels = read_labels(index, "kind", ("real", "generated"))
    for batch in taken(open_crops(index, labels, batch_size=3).labelled(0), 6):
        np.testing.assert_array_equal(batch.labels, class_of(batch))
    odd = taken(open_crops(index, labels, batch_size=3).labelled(1), 1)[0]
    assert odd.labels.tolist() == [1, 0, 1]


def test_held_out_windows_have_their_classes_and_no_balance(folder):
    index = scan(config(folder, split_by="time", heldout_percent=90))
    labels = read_labels(index, "kind")
    assert labels.classes == ("generated", "real")  # sorted, where none are named
    (batch, *more) = taken(open_crops(index, labels, "heldout").labelled_heldout())
    heldout = index.of("heldout")
    windows = sum(-(-n // RATE) for n in heldout.num_samples)
    is_there = np.concatenate([b.audio.lengths > 0 for b in (batch, *more)])
    assert is_there.sum() == windows
    for one in (batch, *more):
        valid = one.audio.lengths > 0
        np.testing.assert_array_equal(one.labels[valid], 1 - class_of(one)[valid])


def test_a_speaker_is_a_label_too(tmp_path):
    for name in ("anna", "bert"):
        (tmp_path / name).mkdir()
        for number in range(2):
            samples = np.full(RATE, 0.1 * (number + 1), np.float32)
            samples[0] = 0.5 if name == "anna" else 0.3
            write_wav(tmp_path / name / f"{number}.wav", samples, RATE, None)
    labels = read_labels(scan(config(tmp_path)), "speaker")
    assert labels.classes == ("anna", "bert")
    assert labels.codes.tolist() == [0, 0, 1, 1]


def test_another_label_is_another_fingerprint(folder):
    before = read_labels(scan(config(folder)), "kind").fingerprint()
    table = (folder / "metadata.tsv").read_text().replace("c.wav\treal", "c.wav\tgenerated")
    (folder / "metadata.tsv").write_text(table)
    assert read_labels(scan(config(folder)), "kind").fingerprint() != before


@pytest.mark.parametrize(
    ("column", "classes", "words"),
    [
        ("mood", (), r"--label mood: .*a\.wav has none; name it in metadata\.tsv"),
        ("kind", ("real", "fake"), r"b\.wav is of class 'generated', expected real, fake"),
        ("kind", ("real", "generated", "other"), r"no clip of class 'other' to train on"),
    ],
)
def test_bad_labels_are_named(folder, column, classes, words):
    with pytest.raises(InputError, match=words):
        read_labels(scan(config(folder)), column, classes)


def test_one_class_is_none(folder):
    table = (folder / "metadata.tsv").read_text().replace("generated", "real")
    (folder / "metadata.tsv").write_text(table)
    with pytest.raises(InputError, match=r"all of .* is 'real', expected two classes"):
        read_labels(scan(config(folder)), "kind")
    with pytest.raises(InputError, match="no clip of class 'generated' to train on"):
        read_labels(scan(config(folder)), "kind", ("real", "generated"))
