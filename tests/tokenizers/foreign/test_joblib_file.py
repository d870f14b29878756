"""k-means files: what joblib writes is read, and nothing that a file names is executed."""

import contextlib
import io
import os
import pickle
import struct
import sys
import time
import zlib

import joblib
import numpy as np
import pytest
from sklearn.cluster import KMeans, MiniBatchKMeans

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.foreign.joblib_file import read_kmeans_file

POINTS = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
CLASS = b"csklearn.cluster._kmeans\nMiniBatchKMeans\n)\x81"  # an empty object of it


@pytest.fixture(scope="module")
def fitted():
    generator = np.random.RandomState(0)
    made = MiniBatchKMeans(4, n_init=1, random_state=generator, compute_labels=False).fit(POINTS)
    made.cluster_centers_ = np.asfortranarray(made.cluster_centers_)
    return made


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("compress", [0, ("zlib", 3)])
def test_what_joblib_writes_is_read(fitted, tmp_path, protocol, compress):
    joblib.dump(fitted, tmp_path / "km.bin", compress, protocol)
    centroids = read_kmeans_file(tmp_path / "km.bin")
    assert centroids.dtype == np.float32
    np.testing.assert_array_equal(centroids, fitted.cluster_centers_)


def test_doubles_and_older_files(tmp_path):
    made = KMeans(3, n_init=1, random_state=0).fit(POINTS.astype(np.float64))
    made.cluster_centers_ = made.cluster_centers_.astype(">f8")
    joblib.dump(made, tmp_path / "km.bin", protocol=3)
    found = read_kmeans_file(tmp_path / "km.bin")
    np.testing.assert_array_equal(found, made.cluster_centers_.astype(np.float32))

    class Older(joblib.numpy_pickle.NumpyArrayWrapper):
        """As before joblib 1.2: neither alignment nor its padding."""

        def __init__(self, *words):
            super().__init__(*words)
            del self.numpy_array_alignment_bytes

    record = Older(np.ndarray, (2, 2), "C", np.dtype("f4"))
    record.__class__ = joblib.numpy_pickle.NumpyArrayWrapper
    body = pickle.dumps(record, 2)[2:-1]  # without header and end
    values = np.arange(4, dtype="f4")
    name = b"X\x10\x00\x00\x00cluster_centers_"
    content = b"\x80\x02" + CLASS + b"}" + name + body + values.tobytes() + b"sb."
    (tmp_path / "old.bin").write_bytes(content)
    np.testing.assert_array_equal(read_kmeans_file(tmp_path / "old.bin"), values.reshape(2, 2))


class _Call:
    """Pickled as a call of `function`."""

    def __init__(self, function, *arguments):
        self.made = (function, arguments)

    def __reduce__(self):
        return self.made


def word(text):
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def joblib_bytes(value):
    stream = io.BytesIO()
    joblib.dump(value, stream)
    return stream.getvalue()


def called(argument):
    return word(argument) + b"\x85R."


SYSTEM = b"cposix\nsystem\n"
HOSTILE = {
    "system": lambda do: pickle.dumps(_Call(os.system, do)),
    "by hand": lambda do: b"\x80\x02" + SYSTEM + word(do) + b"\x85R.",
    "eval": lambda do: pickle.dumps(_Call(eval, f"__import__('os').system({do!r})")),
    "nested": lambda do: pickle.dumps(_Call(list, [_Call(os.system, do)])),
    "in an array": lambda do: joblib_bytes({"a": np.array([_Call(os.system, do)], object)}),
    "in the state": lambda do: (
        b"\x80\x02" + CLASS + b"}" + word("a") + SYSTEM + word(do) + b"\x85Rsb."
    ),
    # A number of the memo means a harmless name, then another.
    "memo": lambda do: (
        b"\x80\x02cnumpy\ndtype\nq\x010" + SYSTEM + b"q\x010h\x01" + word(do) + b"\x85R."
    ),
    # A name put together on the stack, and one by a path of attributes.
    "stack": lambda do: (
        b"\x80\x04" + word("posix") + word("system") + b"\x93" + word(do) + b"\x85R."
    ),
    "path": lambda do: (
        b"\x80\x04" + word("numpy") + word("f2py.os.system") + b"\x93" + word(do) + b"\x85R."
    ),
    "instance": lambda do: b"\x80\x02(" + word(do) + b"iposix\nsystem\n.",
    "object": lambda do: b"\x80\x02(" + SYSTEM + word(do) + b"o.",
    "keywords": lambda do: b"\x80\x04" + SYSTEM + word(do) + b"\x85}\x92.",
    "extension": lambda do: b"\x80\x02\x82\x01.",
    "persistent": lambda do: b"\x80\x02" + word(do) + b"Q.",
    # Only names can be called, not what a call returned.
    "twice": lambda do: b"\x80\x02cnumpy\ndtype\n)R)R.",
    # The state of a name, by which unpickling would change a class.
    "state of a name": lambda do: b"\x80\x02cnumpy\ndtype\n}" + word("a") + word(do) + b"sb.",
    "slots of a name": lambda do: (
        b"\x80\x02cnumpy\ndtype\nN}" + word("__setstate__") + word(do) + b"s\x86b."
    ),
    # Attributes of what is allowed, of modules, and by getattr.
    "globals": lambda do: (
        b"\x80\x04" + word("numpy") + word("dtype.__init__.__globals__") + b"\x93."
    ),
    "dotted": lambda do: b"\x80\x04" + word("os") + word("path.os.system") + b"\x93" + called(do),
    "dotted module": lambda do: b"\x80\x02cos.path\nos.system\n" + called(do),
    "getattr": lambda do: (
        b"\x80\x02cbuiltins\ngetattr\ncos\n__dict__\n" + word("system") + b"\x86R" + called(do)
    ),
    "import": lambda do: b"\x80\x02cbuiltins\n__import__\n" + called("os"),
    "exec of Python 2": lambda do: b"\x80\x02c__builtin__\neval\n" + called(do),
    "method of a value": lambda do: b"\x80\x02" + word("{0}") + word("format") + b"\x86\x81.",
    "__setstate__ of another class": lambda do: (
        b"\x80\x02cfunctools\npartial\n)\x81(" + SYSTEM + word(do) + b"\x85}Ntb)R."
    ),
    "state of a list": lambda do: b"\x80\x02]}" + word("extend") + word(do) + b"sb.",
    "set": lambda do: b"\x80\x04\x8f(" + word(do) + b"\x90.",
    "bytearray": lambda do: b"\x80\x05\x96" + struct.pack("<Q", 2**40) + do.encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("compressed", [False, True])
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, name, compressed, monkeypatch):
    sign, file, calls = tmp_path / "ran", tmp_path / "km.bin", []
    content = HOSTILE[name](f"touch {sign}")
    file.write_bytes(zlib.compress(content) if compressed else content)
    for where in ("pickle.loads", "pickle.Unpickler", "joblib.load", "os.system", "builtins.eval"):
        monkeypatch.setattr(where, lambda *_: calls.append(name))
    before = set(sys.modules)
    with pytest.raises(InputError) as caught:
        read_kmeans_file(file)
    monkeypatch.undo()
    message = str(caught.value).replace(str(file), "FILE")
    assert "\n" not in message
    assert len(message) < 300
    assert "nothing of it was executed" in message or "damaged" in message
    assert not calls
    assert not sign.exists()
    assert set(sys.modules) == before


def test_the_hostile_files_do_harm_to_who_loads_them(tmp_path):
    """Else the test above would prove nothing."""
    for name in ("system", "by hand", "nested", "in an array", "in the state", "memo", "stack"):
        sign, file = tmp_path / name, tmp_path / "km.bin"
        file.write_bytes(HOSTILE[name](f"touch '{sign}'"))
        with contextlib.suppress(Exception):
            joblib.load(file)
        assert sign.exists(), name


def test_files_that_would_take_for_ever_do_not(tmp_path):
    # Tuples of tuples by the memo: 2^100 leaves to whoever prints, hashes or compares them.
    deep = b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(100))
    for tail in (
        b"X\x01\x00\x00\x00a\x93.",  # as a name
        b"cnumpy\ndtype\n" + b"h\x63\x93.",
        b"}" + b"h\x63" + b"Ns.",  # as a key
        b".",
    ):
        path = tmp_path / "deep.bin"
        path.write_bytes(b"\x80\x04" + deep + tail)
        start = time.monotonic()
        with pytest.raises(InputError):
            read_kmeans_file(path)
        assert time.monotonic() - start < 5


def test_files_that_are_damaged(fitted, tmp_path):
    path = tmp_path / "km.bin"

    def refuse(content, words):
        path.write_bytes(content)
        with pytest.raises(InputError, match=words) as caught:
            read_kmeans_file(path)
        assert "\n" not in str(caught.value)

    whole = joblib_bytes(fitted)
    for size in (len(whole) - 1, len(whole) // 2, 40, 3):
        refuse(whole[:size], "damaged")
    refuse(zlib.compress(whole)[:-20], "cut short")
    refuse(b"x" + whole, "damaged zlib stream")
    refuse(b"", "not a joblib file")
    refuse(b"\x1f\x8b" + whole, "not a joblib file")
    refuse(joblib_bytes([1, 2]), "holds no k-means")
    refuse(joblib_bytes({"a": np.array([None])}), "an array of something else than numbers")
    refuse(joblib_bytes(MiniBatchKMeans(4)), "no cluster_centers_")
    fitted.cluster_centers_[0, 0] = np.nan
    refuse(joblib_bytes(fitted), "not finite numbers")
    # An array that claims more than the file holds is not allotted.
    huge = whole.replace(b"K\x04K\x06\x86", b"J\xff\xff\xff\x7fK\x06\x86")
    assert huge != whole
    refuse(huge, "cut short")
    rng = np.random.default_rng(0)
    for _ in range(200):  # whatever is changed: an array, or one line
        broken = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        with contextlib.suppress(InputError):
            assert read_kmeans_file(path).ndim == 2
