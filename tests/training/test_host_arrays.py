"""Arrays of several hosts on the first: exports; restores that hosts see differently."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from support import host_arrays_cases as cases
from support.hosts import call

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.host_arrays import merge_hosts, save_on_first_host, to_first_host
from audiolm_jax.training.mesh import make_mesh


def read(folder, name, count):
    return [(folder / f"{name}_{own}").read_text() for own in range(count)]


def test_on_one_host_arrays_are_put_together(tmp_path):
    arrays = cases.make_arrays(make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2)))
    for name, array in arrays.items():
        assert to_first_host(array).tobytes() == cases.values(name).tobytes()
        assert array._npy_value is None or array.sharding.is_fully_replicated  # nothing is kept
    own = np.arange(3)
    assert merge_hosts(own) is own
    assert to_first_host(own) is own
    first = save_on_first_host(arrays, lambda x: save_model(tmp_path / "a", "toy", {}, x, {}))
    numpy = {name: cases.values(name) for name in arrays}
    assert first == save_model(tmp_path / "b", "toy", {}, numpy, {})
    for name in ("weights.safetensors", "model.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_arrays_are_asked_for_in_their_order_and_the_rest_is_not_left_out():
    mesh = make_mesh(MeshConfig("fsdp"))
    sharding = NamedSharding(mesh, PartitionSpec("fsdp"))
    arrays = {name: jax.device_put(np.arange(8.0), sharding) for name in "ab"}
    with pytest.raises(ValueError, match="'b' was asked for, it is the turn of 'a'"):
        save_on_first_host(arrays, lambda whole: np.asarray(whole["b"]))
    assert save_on_first_host(arrays, lambda whole: float(np.asarray(whole["a"])[7])) == 7


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_a_model_of_several_hosts_is_that_of_one(tmp_path, count):
    call("support.host_arrays_cases:save", tmp_path, count=count, devices=8 // count)
    arrays = {name: cases.values(name) for name in cases.ARRAYS}
    expected = save_model(tmp_path / "one", "toy", {"a": 1}, arrays, {})
    assert set(read(tmp_path, "fingerprint", count)) == {expected}
    assert load_model(tmp_path / "model").fingerprint == expected
    for name in ("weights.safetensors", "model.json"):
        two = (tmp_path / "model" / name).read_bytes()
        assert two == (tmp_path / "one" / name).read_bytes()
    assert set(read(tmp_path, "refused", count)) == {"the disk of the first host is full"}
    assert set(read(tmp_path, "merged", count)) == {str([-1.5] * 5)}


@pytest.mark.slow
def test_what_one_host_cannot_read_is_damaged_for_all(tmp_path):
    said = call("support.host_arrays_cases:restore", tmp_path)
    assert read(tmp_path, "restored", 2) == ["1 True"] * 2
    for step, why in ((4, "damaged checkpoint"), (3, "alone cannot read"), (2, "their checksum")):
        assert [f"checkpoints/{step}" in text and why in text for _, text in said] == [True, False]
        assert (tmp_path / "checkpoints_unreadable" / str(step)).is_dir()
    full = read(tmp_path, "full", 2)
    assert "process 1 failed: RESOURCE_EXHAUSTED" in full[0]
    assert "RESOURCE" in full[1]
    (arrays,) = set(read(tmp_path, "arrays", 2))
    assert arrays.startswith("1 ")
    assert "('data', 'fsdp', 'model')" in arrays
