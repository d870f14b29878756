import dataclasses
import random

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from audiolm_jax.errors import InputError
from audiolm_jax.training.checkpoints import Checkpoints, latest_step, name_arrays
from audiolm_jax.training.checksum import checksum
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh, replicated, rules_of, state_shardings
from audiolm_jax.training.state import TrainState

# A reader that fails on a damaged file leaves futures behind that nobody asks for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def make_state(seed=0, size=16):
    """Random bits in every dtype that a state may hold, NaN payloads and -0.0 included."""
    rng = np.random.default_rng(seed)

    def bits(dtype, *shape):
        width = np.dtype(dtype).itemsize
        return jnp.asarray(rng.integers(0, 256, (*shape, width), np.uint8).view(dtype)[..., 0])

    params = nnx.State(
        {
            "kernel": nnx.Param(bits(np.float32, size, 40), out_sharding=("embed", "mlp")),
            "half": nnx.Param(bits(jnp.bfloat16, size, 3), out_sharding=("embed", None)),
            "layers": {0: nnx.Param(bits(np.float32, 5))},
        }
    )
    rest = {"usage": bits(np.int32, 7), "started": jnp.array([True, False]), "zero": -jnp.zeros(())}
    return TrainState(jnp.int32(seed), {"generator": params}, rest, (bits(np.uint32, 4, 4),), {})


def shardings_of(state, preset="none"):
    config = MeshConfig(preset)
    return state_shardings(make_mesh(config), rules_of(config), abstract(state))


def abstract(state):
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)


def assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert x.tobytes() == y.tobytes()


def save_all(directory, steps, keep=2):
    with Checkpoints(directory, keep) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"step": step, "manifest": {"a": [1, None]}})


def restore(directory, preset="none", keep=2):
    state = make_state()
    with Checkpoints(directory, keep) as checkpoints:
        return checkpoints.restore(abstract(state), shardings_of(state, preset))


def test_every_bit_and_the_record_come_back(tmp_path):
    save_all(tmp_path, [3])
    state, record = restore(tmp_path)
    assert_same_bits(state, make_state(3))
    assert record == {"step": 3, "manifest": {"a": [1, None]}}
    kernel = state.params["generator"]["kernel"]
    assert kernel.get_metadata()["out_sharding"] == ("embed", "mlp")


def test_no_checkpoint_is_none(tmp_path):
    assert restore(tmp_path) is None
    assert latest_step(tmp_path) is None


def test_state_may_be_donated_as_soon_as_save_returns(tmp_path):
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: ~x, s), donate_argnums=0)
    with Checkpoints(tmp_path, 1) as checkpoints:
        state = {"x": jnp.arange(1_000_000, dtype=jnp.int32)}
        checkpoints.save(1, state, {})
        for _ in range(3):
            state = overwrite(state)
    target = abstract(state)
    with Checkpoints(tmp_path, 1) as checkpoints:
        state, _ = checkpoints.restore(target, {"x": replicated(None)})
    np.testing.assert_array_equal(state["x"], np.arange(1_000_000))


def test_only_the_newest_are_kept(tmp_path):
    save_all(tmp_path, [1, 2, 10, 11], keep=2)
    assert sorted(int(d.name) for d in (tmp_path / "checkpoints").iterdir()) == [10, 11]
    assert latest_step(tmp_path) == 11


def test_restores_onto_another_mesh(tmp_path):
    save_all(tmp_path, [1])
    state, _ = restore(tmp_path, "fsdp")
    assert_same_bits(state, make_state(1))
    kernel = state.params["generator"]["kernel"].get_value()
    assert kernel.sharding.spec == PartitionSpec("fsdp", None)
    with Checkpoints(tmp_path / "second", 1) as checkpoints:
        checkpoints.save(2, state, {})
    state, _ = restore(tmp_path / "second", "none")
    assert_same_bits(state, make_state(1))


@pytest.mark.parametrize("damage", ["flip", "cut", "remove", "empty"])
def test_damaged_newest_falls_back_and_says_so(tmp_path, caplog, damage):
    save_all(tmp_path, [1, 2])
    files = [f for f in (tmp_path / "checkpoints" / "2" / "state").rglob("*") if f.is_file()]
    payload = max(files, key=lambda f: f.stat().st_size if f.parent.name == "d" else 0)
    content = payload.read_bytes()
    match damage:
        case "flip":
            middle = len(content) // 2
            payload.write_bytes(
                content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            )
        case "cut":
            payload.write_bytes(content[: len(content) // 2])
        case "empty":
            payload.write_bytes(b"")
        case "remove":
            payload.unlink()
    state, record = restore(tmp_path)
    assert record["step"] == 1
    assert_same_bits(state, make_state(1))
    assert "checkpoints/2: damaged checkpoint" in caplog.text
    assert "taking step 1" in caplog.text
    assert (tmp_path / "checkpoints_unreadable" / "2").is_dir()
    save_all(tmp_path, [2])  # the place is free again
    assert restore(tmp_path)[1]["step"] == 2


def test_a_run_that_fell_back_writes_the_same_step_again(tmp_path):
    save_all(tmp_path, [1, 2])
    (tmp_path / "checkpoints" / "2" / "record" / "metadata").write_text("{")
    with Checkpoints(tmp_path, 2) as checkpoints:
        _, record = checkpoints.restore(abstract(make_state()), shardings_of(make_state()))
        assert record["step"] == 1
        checkpoints.save(2, make_state(7), {"step": 2, "again": True})
    state, record = restore(tmp_path)
    assert record == {"step": 2, "again": True}
    assert_same_bits(state, make_state(7))


def test_no_damage_anywhere_passes_unnoticed(tmp_path):
    save_all(tmp_path, [1, 2])
    rng = random.Random(0)
    files = sorted(f for f in (tmp_path / "checkpoints" / "2").rglob("*") if f.is_file())
    good = {1: make_state(1), 2: make_state(2)}
    for path in rng.sample(files, 8):
        content = path.read_bytes()
        place = rng.randrange(len(content))
        damaged = bytes([content[place] ^ (1 << rng.randrange(8))])
        path.write_bytes(content[:place] + damaged + content[place + 1 :])
        state, _ = restore(tmp_path, keep=None)  # reading only: nothing is set aside
        assert_same_bits(state, good[int(state.step)])
        path.write_bytes(content)


def test_unfinished_checkpoint_is_not_taken(tmp_path):
    save_all(tmp_path, [1])
    unfinished = tmp_path / "checkpoints" / "2.orbax-checkpoint-tmp"
    unfinished.mkdir()
    (unfinished / "junk").write_text("x")
    assert latest_step(tmp_path) == 1
    assert restore(tmp_path)[1]["step"] == 1
    assert not unfinished.exists()


def test_nothing_readable_is_an_error_not_a_fresh_start(tmp_path):
    save_all(tmp_path, [1, 2])
    for path in (tmp_path / "checkpoints").rglob("metadata"):
        path.write_text("{")
    with pytest.raises(InputError, match="none of the 2 checkpoints can be read"):
        restore(tmp_path)
    assert latest_step(tmp_path) == 2


def test_a_device_without_room_is_no_damage(tmp_path, monkeypatch):
    save_all(tmp_path, [1, 2])

    def full(*words, **more):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.StandardCheckpointHandler, "restore", full)
        with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
            restore(tmp_path)
    assert restore(tmp_path)[1]["step"] == 2


def test_a_restore_reads_the_arrays_once(tmp_path, monkeypatch):
    save_all(tmp_path, [1])
    reads = []

    def counted(self, *words, kept=ocp.StandardCheckpointHandler.restore, **more):
        reads.append(words[0].parent.name)
        return kept(self, *words, **more)

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "restore", counted)
    state, _ = restore(tmp_path, "fsdp")
    assert reads == ["1"]
    assert_same_bits(state, make_state(1))


def test_another_model_is_named_not_taken_for_damage(tmp_path):
    save_all(tmp_path, [1])
    other = make_state(size=24)
    with (
        Checkpoints(tmp_path, 2) as checkpoints,
        pytest.raises(InputError, match=r"'params.generator.half\S*' is \['bfloat16', \[16, 3\]\]"),
    ):
        checkpoints.restore(abstract(other), shardings_of(other))


def test_nothing_is_pickled(tmp_path):
    save_all(tmp_path, [1])
    for path in tmp_path.rglob("*"):
        assert path.suffix not in {".pkl", ".pickle"}
        if path.is_file():
            assert not path.read_bytes().startswith(b"\x80\x04")


def test_names_are_unique_and_the_same_for_groups_and_states():
    names = list(name_arrays(make_state()))
    assert "params.generator.layers.0" in names
    assert "opt_state.0" in names
    assert len(names) == len(jax.tree.leaves(make_state()))


def test_checksum_does_not_depend_on_sharding():
    mesh = make_mesh(MeshConfig("fsdp_tp", model=2))
    x = jax.random.normal(jax.random.key(0), (8, 6, 4))
    sums = {
        checksum({"x": jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))})
        for spec in [(), ("fsdp",), (None, "model"), ("model", None, "fsdp"), (("fsdp", "model"),)]
    }
    assert sums == {checksum({"x": x})}


def test_checksum_is_that_of_stored_checkpoints(monkeypatch):
    """In whatever pieces it is summed."""
    rng = np.random.default_rng(5)
    arrays = {
        "a": rng.integers(0, 2**32, (3, 5, 7), np.uint32),
        "b": rng.integers(0, 2**16, (1, 130), np.uint16),
        "c": np.array([True, False, True]),
        "d": np.full((), 1.5, np.float32),
    }
    expected = 0
    for order, array in enumerate(arrays.values()):
        bits = (array.astype(np.uint8) if array.dtype == bool else array).reshape(-1)
        for place, value in enumerate(bits.view(f"u{bits.dtype.itemsize}").tolist()):
            expected += (2 * order + 1) * value * (2 * place + 3)
    for together in (1, 2, 6, 34, 35, 36, 1 << 20):
        monkeypatch.setattr("audiolm_jax.training.checksum._SUMMED_TOGETHER", together)
        assert checksum(arrays) == expected % 2**64


def test_checksum_sees_bits_places_and_order():
    x, y = jnp.arange(6, dtype=jnp.float32).reshape(2, 3), jnp.ones((2, 3))
    variants = [
        {"x": x, "y": y},
        {"x": y, "y": x},
        {"x": x.at[0, 0].set(-0.0), "y": y},
        {"x": x[::-1], "y": y},
        {"x": x[:, ::-1], "y": y},
        {"x": x.at[1, 2].set(jnp.nextafter(jnp.float32(5), jnp.float32(6))), "y": y},
    ]
    assert len({checksum(v) for v in variants}) == len(variants)


def test_record_of_a_state_with_two_arrays_in_one_variable_is_refused():
    state = dataclasses.replace(make_state(), rest={"v": nnx.Variable({"a": 1.0, "b": 2.0})})
    with pytest.raises(ValueError, match="more or less than one array"):
        name_arrays(state)
