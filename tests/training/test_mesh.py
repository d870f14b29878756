import dataclasses
import json
from unittest import mock

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from support import training_toy as toy

from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import annotate
from audiolm_jax.training import mesh as mesh_lib
from audiolm_jax.training.config import MeshConfig, OptimizerConfig
from audiolm_jax.training.mesh import (
    gather,
    host_rows,
    make_mesh,
    rules_of,
    state_shardings,
    to_global,
)

AXIS_NAMES = {"batch", "length", "time", "embed", "mlp", "heads", "kv", "vocab"}
AXIS_NAMES |= {"channels_in", "channels_out", "codes", "layers", "levels"}


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "one"
    state = toy.run_toy(directory, toy.loop_config(6))
    return state, _metrics(directory)


def _metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("preset", "sizes", "kernel_spec"),
    [
        pytest.param("dp", {}, (None, None), marks=pytest.mark.slow),
        pytest.param("fsdp", {"replicas": 2}, ("fsdp", None), marks=pytest.mark.slow),
        ("fsdp_tp", {"slices": 2, "model": 2}, ("fsdp", "model")),
    ],
)
def test_eight_devices_train_as_one(tmp_path, one_device, preset, sizes, kernel_spec):
    state = toy.run_toy(tmp_path, toy.loop_config(6), preset, **sizes)
    kernel = state.params["a"]["layers"][0]["up"]["kernel"].get_value()
    moment = state.opt_state[1][0].mu["a"]["layers"][0]["up"]["kernel"].get_value()
    assert len(kernel.sharding.device_set) == 8
    assert kernel.sharding.spec == moment.sharding.spec == PartitionSpec(*kernel_spec)

    reference_state, reference = one_device
    lines = _metrics(tmp_path)
    assert len(lines) == len(reference) > 4
    for line, expected in zip(lines, reference, strict=True):
        assert line.keys() == expected.keys()
        np.testing.assert_allclose(list(line.values()), list(expected.values()), rtol=1e-5)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(reference_state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_without_preset_there_is_no_mesh():
    assert make_mesh(MeshConfig()) is None
    assert rules_of(MeshConfig()) is None


@pytest.mark.parametrize("preset", ["dp", "fsdp", "fsdp_tp"])
def test_rules_know_every_logical_name_and_every_mesh_axis(preset):
    rules = rules_of(MeshConfig(preset))
    assert set(rules) == AXIS_NAMES
    mesh = make_mesh(MeshConfig(preset))
    axes = {
        a for entry in rules.values() for a in ([entry] if isinstance(entry, str) else entry or ())
    }
    assert axes <= set(mesh.axis_names)


@pytest.mark.parametrize(
    ("config", "shape"),
    [
        (MeshConfig("dp"), (8, 1, 1)),
        (MeshConfig("fsdp"), (1, 8, 1)),
        (MeshConfig("fsdp", slices=2), (2, 4, 1)),
        (MeshConfig("fsdp_tp", slices=2, replicas=2, model=2), (4, 1, 2)),
    ],
)
def test_shape_of_the_mesh(config, shape):
    assert make_mesh(config).devices.shape == shape


def test_parameters_stay_within_a_slice():
    grid = make_mesh(MeshConfig("fsdp", slices=2)).devices
    slices = [{device.id for device in part.ravel()} for part in grid]
    assert slices == [{0, 1, 2, 3}, {4, 5, 6, 7}]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"preset": "dp", "model": 2}, ["--mesh.model 2", "--mesh.preset dp"]),
        ({"preset": "none", "slices": 2}, ["--mesh.slices 2", "--mesh.preset none"]),
        ({"preset": "fsdp", "replicas": 0}, ["--mesh.replicas 0"]),
    ],
)
def test_config_refuses_sizes_without_meaning(fields, words):
    with pytest.raises(InputError) as error:
        MeshConfig(**fields)
    assert all(word in str(error.value) for word in words)


def test_sizes_must_divide_the_devices():
    with pytest.raises(InputError, match="= 3 does not divide 8 devices"):
        make_mesh(MeshConfig("fsdp_tp", model=3))


def test_batch_must_divide():
    mesh = make_mesh(MeshConfig("fsdp"))
    with pytest.raises(InputError, match=r"--batch-size 12: .* 8 devices .*data x fsdp.*"):
        to_global({"x": np.zeros((12, 3))}, mesh)


def test_global_batch_keeps_values_and_is_divided():
    mesh = make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2))
    x = np.arange(48).reshape(16, 3)
    placed = to_global({"x": x}, mesh)["x"]
    np.testing.assert_array_equal(placed, x)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(4, 3)}


@dataclasses.dataclass
class FakeDevice:
    id: int
    process_index: int
    slice_index: int = 0
    platform: str = "tpu"
    device_kind: str = "none"


def fake_mesh(shape, processes):
    """What `host_rows` sees of a mesh: `processes[i]` drives the i-th device."""
    devices = np.array([FakeDevice(i, p) for i, p in enumerate(processes)]).reshape(shape)
    mesh = mock.Mock(spec=Mesh)
    mesh.devices, mesh.shape = devices, dict(zip(mesh_lib.AXES, shape, strict=True))
    return mesh


@pytest.mark.parametrize(
    ("shape", "processes", "shares"),
    [
        ((1, 4, 1), [0, 0, 1, 1], [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ((2, 2, 1), [0, 1, 0, 1], [(0, 1, 4, 5), (2, 3, 6, 7)]),  # as a torus may lie
        ((1, 2, 2), [0, 0, 1, 1], [(0, 1, 2, 3), (4, 5, 6, 7)]),
        ((1, 2, 2), [0, 1, 0, 1], [tuple(range(8)), tuple(range(8))]),  # model spans the hosts
        ((1, 1, 4), [0, 0, 1, 1], [tuple(range(8)), tuple(range(8))]),
    ],
)
def test_a_host_gets_the_rows_that_its_devices_hold(monkeypatch, shape, processes, shares):
    monkeypatch.setattr(mesh_lib, "batch_sharding", lambda mesh, batch: None)
    for host, share in enumerate(shares):
        monkeypatch.setattr(jax, "process_index", lambda host=host: host)
        assert host_rows(fake_mesh(shape, processes), 8) == share
        assert host_rows(fake_mesh(shape, processes), 8, host) == share
        assert host_rows(fake_mesh(shape, processes), 8, 1 - host) == shares[1 - host]


def test_one_host_gets_all_rows_and_gathers_them():
    mesh = make_mesh(MeshConfig("fsdp_tp", model=2))
    assert host_rows(mesh, 16) == host_rows(None, 16) == tuple(range(16))
    with pytest.raises(InputError, match=r"--batch-size 6: does not divide over the 4 devices"):
        host_rows(mesh, 6)
    x = np.arange(48).reshape(16, 3)
    np.testing.assert_array_equal(gather(to_global({"x": x}, mesh))["x"], x)


def test_several_hosts_build_the_same_global_batch(monkeypatch):
    """The path of many hosts, taken by one that holds all rows."""
    mesh = make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2))
    x = np.arange(48).reshape(16, 3)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    placed = to_global({"x": x}, mesh)["x"]
    monkeypatch.undo()
    assert placed.shape == (16, 3)
    for shard in placed.addressable_shards:
        np.testing.assert_array_equal(shard.data, x[shard.index])


@pytest.mark.parametrize(("slices", "found"), [(1, 2), (4, 2), (2, 1)])
def test_slices_of_a_tpu_are_those_there_are(slices, found):
    devices = [FakeDevice(i, 0, i * found // 8) for i in range(8)]
    with pytest.raises(InputError, match=f"--mesh.slices {slices}: the devices form {found}"):
        make_mesh(MeshConfig("fsdp", slices=slices), devices)


def _abstract(shape, *names):
    init = annotate(nnx.initializers.zeros, *names)
    return nnx.eval_shape(lambda: nnx.Param(init(jax.random.key(0), shape), out_sharding=names))


def test_dimension_must_divide():
    config = MeshConfig("fsdp")
    with pytest.raises(InputError, match=r"'embed' of .*odd.* is 12 long .* 8 devices"):
        state_shardings(
            make_mesh(config), rules_of(config), {"odd": _abstract((12, 4), "embed", "mlp")}
        )


def test_two_dimensions_on_one_axis_are_refused():
    config = MeshConfig("fsdp_tp")
    with pytest.raises(ValueError, match="two dimensions on one mesh axis"):
        state_shardings(
            make_mesh(config), rules_of(config), {"w": _abstract((8, 8), "mlp", "vocab")}
        )


def test_adafactor_state_can_be_sharded():
    config = MeshConfig("fsdp_tp", model=2)
    mesh = make_mesh(config)
    program = toy.make_program(OptimizerConfig("adafactor", b1=0.9))
    key = jax.random.key(0)
    shardings = state_shardings(mesh, rules_of(config), jax.eval_shape(program.init, key))
    with mesh_lib.use_mesh(mesh, rules_of(config)):
        state = jax.jit(program.init, out_shardings=shardings)(key)
    specs = {tuple(x.sharding.spec) for x in jax.tree.leaves(state.opt_state) if x.ndim == 2}
    assert ("fsdp", "model") in specs  # the first moment is as large as its parameter
