"""Traced programs: kept by all that decides them, the same however they came."""

import threading
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from audiolm_jax.artifacts import traced
from audiolm_jax.artifacts.traced import Program, kept, kept_shapes

X = np.arange(3, dtype=np.float32)


class Pair(NamedTuple):
    left: object
    right: object


jax.export.register_namedtuple_serialization(Pair, serialized_name="test_traced.Pair")


@pytest.fixture
def folder(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    yield tmp_path / "traced"
    jax.config.update("jax_compilation_cache_dir", before)


def counted(traces, facts=("one",)):
    """A new start: a program that notes when it is traced."""

    def fn(pair, x, *, power):
        traces.append(power)
        return Pair([pair.left * x**power, None], (pair.right,))

    return Program(fn, "counted", facts)


def test_a_later_start_does_not_trace(folder):
    traces = []
    for _ in range(2):
        program = counted(traces)
        for power in (2, 3, 2):
            found = program(Pair(X, X + 1), X, power=power)
            np.testing.assert_array_equal(found.left[0], X ** (power + 1))
            assert found.left[1] is None
            np.testing.assert_array_equal(found.right[0], X + 1)
        assert program.count == 2
    assert traces == [2, 3]
    assert len(list(folder.iterdir())) == 2


def test_what_decides_it_is_traced_anew(folder, monkeypatch):
    traces = []
    counted(traces)(Pair(X, X), X, power=1)
    counted(traces, ("other",))(Pair(X, X), X, power=1)
    counted(traces)(Pair(X, X[:1]), X, power=1)
    counted(traces)(Pair(X, X.astype(np.int32)), X, power=1)
    counted(traces)(Pair(X, (X, None)), X, power=1)
    assert len(traces) == 5
    with jax.default_matmul_precision("highest"):
        counted(traces)(Pair(X, X), X, power=1)
    assert len(traces) == 6
    monkeypatch.setattr(traced, "_code", lambda: "of another version")
    counted(traces)(Pair(X, X), X, power=1)
    monkeypatch.setattr(traced, "_settings", lambda: ["another"])
    counted(traces)(Pair(X, X), X, power=1)
    assert len(traces) == 8


@pytest.mark.parametrize("damage", [lambda x: x[:-5], lambda x: b"", lambda x: x + b"x"])
def test_what_is_damaged_is_made_anew(folder, damage):
    traces = []
    counted(traces)(Pair(X, X), X, power=1)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    counted(traces)(Pair(X, X), X, power=1)
    assert len(traces) == 2
    assert len(path.read_bytes()) == len(whole)


def test_without_a_folder_it_is_traced_once_a_start():
    with Off():
        traces = []
        for _ in range(2):
            program = counted(traces)
            program(Pair(X, X), X, power=1)
            program(Pair(X, X), X, power=1)
    assert len(traces) == 2


class Off:
    """The compilation cache, within."""

    def __enter__(self):
        jax.config.update("jax_enable_compilation_cache", False)

    def __exit__(self, *_):
        jax.config.update("jax_enable_compilation_cache", True)


def test_what_is_given_up_is_written_in_place(folder):
    program = Program(lambda x, y: (x + y, x[:1]), "given", donate=[0])
    given, stays = jnp.array(X), jnp.array(X)
    np.testing.assert_array_equal(program(given, stays)[0], 2 * X)
    assert given.is_deleted()
    assert not stays.is_deleted()


def test_within_a_mesh_it_is_of_one_device(folder):
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    program = Program(lambda x: x + 1, "meshed")
    with jax.set_mesh(mesh):
        found = program(X)
        assert not jax.sharding.get_abstract_mesh().empty
    np.testing.assert_array_equal(found, X + 1)
    assert len(found.devices()) == 1


def test_threads_compile_it_once(folder):
    traces, found = [], []

    def fn(x):
        traces.append(x)
        time.sleep(0.1)
        return x * 2

    program = Program(fn, "shared")
    threads = [threading.Thread(target=lambda: found.append(program(X))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(traces) == 1
    assert len(found) == 3


def test_shapes_are_kept_in_order(folder):
    made = []

    def make():
        made.append(1)
        return {"b": (2, 3), "a": ()}

    for _ in range(2):
        assert list(kept_shapes("net", ["config"], make).items()) == [("b", (2, 3)), ("a", ())]
    assert made == [1]


def test_nothing_is_lost_where_nothing_can_be_written(folder):
    folder.parent.joinpath("traced").write_text("a file where a folder is expected")
    assert kept("thing", [], lambda: b"made") == b"made"


def test_threads_compile_others_at_once(folder):
    together = threading.Barrier(2, timeout=60)

    def fn(x):
        together.wait()
        return x * 2

    program, found = Program(fn, "others"), []
    threads = [threading.Thread(target=lambda x=x: found.append(program(x))) for x in (X, X[:1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
