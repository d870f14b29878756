import json

import jax
import numpy as np
import pytest
import runtime_toy as toy
from flax import nnx
from jax.sharding import PartitionSpec

from audiolm_jax.errors import InputError
from audiolm_jax.nn.partition import annotate
from audiolm_jax.runtime import mesh as mesh_lib
from audiolm_jax.runtime.mesh import MeshConfig, make_mesh, state_shardings, to_global
from audiolm_jax.runtime.optim import OptimizerConfig

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
        ("dp", {}, (None, None)),
        ("fsdp", {"replicas": 2}, ("fsdp", None)),
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
    assert MeshConfig().rules is None


@pytest.mark.parametrize("preset", ["dp", "fsdp", "fsdp_tp"])
def test_rules_know_every_logical_name_and_every_mesh_axis(preset):
    rules = MeshConfig(preset).rules
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
        ({"preset": "dp", "model": 2}, ["model = 2", "'dp'"]),
        ({"preset": "none", "slices": 2}, ["slices = 2", "'none'"]),
        ({"preset": "fsdp", "replicas": 0}, ["replicas = 0"]),
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
    with pytest.raises(InputError, match=r"batch size = 12: .* 8 devices .*data x fsdp.*"):
        to_global({"x": np.zeros((12, 3))}, mesh)


def test_global_batch_keeps_values_and_is_divided():
    mesh = make_mesh(MeshConfig("fsdp_tp", replicas=2, model=2))
    x = np.arange(48).reshape(16, 3)
    placed = to_global({"x": x}, mesh)["x"]
    np.testing.assert_array_equal(placed, x)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(4, 3)}


def _abstract(shape, *names):
    init = annotate(nnx.initializers.zeros, *names)
    return nnx.eval_shape(lambda: nnx.Param(init(jax.random.key(0), shape), out_sharding=names))


def test_dimension_must_divide():
    config = MeshConfig("fsdp")
    with pytest.raises(InputError, match=r"'embed' of .*odd.* is 12 long .* 8 devices"):
        state_shardings(
            make_mesh(config), config.rules, {"odd": _abstract((12, 4), "embed", "mlp")}
        )


def test_two_dimensions_on_one_axis_are_refused():
    config = MeshConfig("fsdp_tp")
    with pytest.raises(ValueError, match="two dimensions on one mesh axis"):
        state_shardings(make_mesh(config), config.rules, {"w": _abstract((8, 8), "mlp", "vocab")})


def test_adafactor_state_can_be_sharded():
    config = MeshConfig("fsdp_tp", model=2)
    mesh = make_mesh(config)
    program = toy.make_program(OptimizerConfig("adafactor", b1=0.9))
    key = jax.random.key(0)
    shardings = state_shardings(mesh, config.rules, jax.eval_shape(program.init, key))
    with mesh_lib.use_mesh(mesh, config.rules):
        state = jax.jit(program.init, out_shardings=shardings)(key)
    specs = {tuple(x.sharding.spec) for x in jax.tree.leaves(state.opt_state) if x.ndim == 2}
    assert ("fsdp", "model") in specs  # the first moment is as large as its parameter
