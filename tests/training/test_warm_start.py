import dataclasses

import jax
import numpy as np
import pytest
from support import training_toy as toy

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.errors import InputError
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.training import loop, manifest
from audiolm_jax.training.checkpoints import name_arrays
from audiolm_jax.training.config import MeshConfig, WarmStartConfig
from audiolm_jax.training.warm_start import read_warm_start

LAYER = r"layers\.0\.(.*)"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "source"
    return directory, jax.device_get(toy.run_toy(directory, toy.loop_config(3)))


def fresh_state(seed=5):
    return toy.make_program().init(jax.random.key(seed))


def apply(config, state=None):
    return name_arrays(read_warm_start(config).apply(state or fresh_state()))


def test_weights_are_taken_over_and_nothing_else(source):
    directory, end = source
    state = fresh_state()
    found, there = apply(WarmStartConfig(str(directory)), state), name_arrays(end)
    before = name_arrays(state)
    for name, array in found.items():
        taken = name.startswith(("params.", "rest.", "ema."))
        np.testing.assert_array_equal(array, (there if taken else before)[name])
    assert int(found["step"]) == 0


def test_renames_swap_groups_and_fresh_and_dropped_let_go(source):
    directory, end = source
    config = WarmStartConfig(
        str(directory),
        renames={rf"params\.a\.{LAYER}": r"params.b.layers.0.\1", r"ema\.(.*)": r"params.a.\1"},
        fresh=(r"params\.b\..*", r"rest\.mean"),
        dropped=(r"ema\..*", r"rest\..*"),
    )
    state = fresh_state()
    found, there, before = apply(config, state), name_arrays(end), name_arrays(state)
    for part in ("up.kernel", "down.bias"):
        same = np.testing.assert_array_equal
        same(found[f"params.a.layers.0.{part}"], there[f"params.b.layers.0.{part}"])
        same(found[f"ema.layers.0.{part}"], there[f"params.a.layers.0.{part}"])
        same(found[f"params.b.layers.0.{part}"], before[f"params.b.layers.0.{part}"])
    same(found["rest.mean"], before["rest.mean"])


def test_a_model_folder_is_a_source_too(source, tmp_path):
    _, end = source
    weights = flatten_state(end.params["a"])
    save_model(tmp_path / "model", "toy", toy.loop_config(1), weights, {})
    config = WarmStartConfig(
        str(tmp_path / "model"),
        renames={r"(?:params\.a|params\.b|ema)\.(.*)": r"params.\1"},
        fresh=("rest.*",),
    )
    found = apply(config)
    for name, array in weights.items():
        for group in ("params.a", "params.b", "ema"):
            np.testing.assert_array_equal(found[f"{group}.{name}"], array)
    facts = read_warm_start(config).facts
    assert facts.keys() == {"source", "fingerprint"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"renames": {r"rest\.mean": "rest.median"}},
            r"'rest\.mean' would come from 'rest\.median'",
        ),
        ({"fresh": (r"rest\.mean",)}, r"'rest\.mean' of .* would be used nowhere"),
        (
            {"renames": {r"params\.a\.layers\.0\.up\.kernel": "params.a.layers.0.down.kernel"}},
            r"has shape \(8, 16\), but 'params\.a\.layers\.0\.down\.kernel' of .* has \(16, 8\)",
        ),
        ({"renames": {r"rest\.(.*)": r"rest.\2"}}, r"does not fit its pattern"),
    ],
)
def test_what_does_not_fit_is_one_line(source, fields, words):
    with pytest.raises(InputError, match=words) as error:
        apply(WarmStartConfig(str(source[0]), **fields))
    assert "\n" not in str(error.value)


def test_bad_patterns_and_sources_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"--warm-start\.fresh: '\(' is not a regular expression"):
        WarmStartConfig("run", fresh=("(",))
    with pytest.raises(InputError, match="neither a run directory with a checkpoint nor a model"):
        read_warm_start(WarmStartConfig(str(tmp_path)))


@pytest.mark.slow
def test_a_run_starts_from_it_and_goes_on_without_it(source, tmp_path):
    directory, end = source
    warm = read_warm_start(WarmStartConfig(str(directory)))

    def train(path, steps, warm_start, mesh=None):
        config = toy.loop_config(steps, log_every=1)
        record = manifest.build_manifest(toy.ToyConfig(config), {"loop": 0}, {}, {})
        return loop.train(
            toy.make_program(), config, path, toy.batches, toy.heldout, record,
            mesh or MeshConfig(), loop.LoopContext(warm_start=warm_start and warm_start.apply),
        )  # fmt: skip

    one = train(tmp_path / "one", 6, warm)
    sharded = train(tmp_path / "sharded", 6, warm, MeshConfig("fsdp"))
    train(tmp_path / "two", 3, warm)
    two = train(tmp_path / "two", 6, None)  # its checkpoint has all: the source may be gone
    cold = train(tmp_path / "cold", 6, None)
    for a, b, c in zip(*map(jax.tree.leaves, (one, two, sharded)), strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-4, atol=1e-5)
    kernel = "params.a.layers.0.up.kernel"
    assert (np.asarray(name_arrays(one)[kernel]) != np.asarray(name_arrays(cold)[kernel])).any()
    # The source is as it was: its arrays were not donated to the first update.
    for name, array in warm.arrays.items():
        np.testing.assert_array_equal(array, name_arrays(end)[name])


def test_fresh_values_do_not_depend_on_what_is_taken(source):
    every = WarmStartConfig(str(source[0]), fresh=(".*",), dropped=(".*",))
    state = fresh_state()
    for a, b in zip(apply(every, state).values(), name_arrays(state).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert dataclasses.asdict(every)["renames"] == {}
