import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.tiny_stages import random_arrays

from audiolm_jax.artifacts.config_json import config_from_dict, config_to_dict
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.lm import decoder
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.decoder import (
    check_backend,
    load_decoder,
    make_decoder,
    output_logits,
)
from audiolm_jax.lm.positions import rotary_positions
from audiolm_jax.nn.flash import attention as flash_attention
from audiolm_jax.nn.fused_attention import fused_causal_attention
from audiolm_jax.nn.state_arrays import flatten_state
from audiolm_jax.stages import StageConfig

STAGE = StageConfig(
    "coarse", semantic_clusters=9, codebook_size=5, levels=4, coarse_levels=2, crop_seconds=1.0
)
DECODER = DecoderConfig(
    layers=2,
    heads=2,
    head_width=4,
    width=12,
    ff_width=16,
    dropout=0.5,
    relative_buckets=6,
    relative_max_distance=9,
)
CONFIG = StageModelConfig(STAGE, DECODER)


def load_random(config):
    return load_decoder(config, random_arrays(config))


def jitted(config):
    """A model, and its forward pass as one compiled function."""
    graphdef, state = load_random(config)
    model = nnx.merge(graphdef, state)
    run = jax.jit(lambda state, ids, key: nnx.merge(graphdef, state)(ids, dropout_key=key))
    return model, lambda ids, key=None: np.asarray(run(state, ids, key))


@pytest.fixture(scope="module")
def made():
    return jitted(CONFIG)


@pytest.fixture(scope="module")
def model(made):
    return made[0]


@pytest.fixture(scope="module")
def forward(made):
    return made[1]


def random_ids(seed, shape):
    return np.random.default_rng(seed).integers(0, STAGE.vocab_size, shape).astype(np.int32)


OPTIONS = [
    {},
    {"position": "rope", "tied_embeddings": True},
    pytest.param({"qk_norm": True, "remat": "dots"}, marks=pytest.mark.slow),
    pytest.param({"remat": "full", "scan_layers": False}, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "+".join(options) or "paper")
def test_no_logit_depends_on_a_later_token(options):
    decoder = dataclasses.replace(DECODER, **options)
    model = nnx.merge(*load_random(dataclasses.replace(CONFIG, decoder=decoder)))
    ids = random_ids(0, (1, 14))
    embedded = model.embedding(ids)
    # One scalar per position, its gradient with respect to every position's embedding.
    positions = rotary_positions(ids, decoder, model.stage)

    def squares(embedded):
        logits = output_logits(model, model.run_layers(embedded, positions))
        return jnp.sum(logits**2, axis=(0, 2))

    jacobian = jax.jit(jax.jacrev(squares))(embedded)
    reach = np.abs(np.asarray(jacobian)).sum((1, 3))
    assert reach.shape == (14, 14)
    assert (reach[np.triu_indices(14, 1)] == 0).all()
    assert (reach[np.tril_indices(14)] > 0).all()


def test_hostile_padding_changes_nothing_before_it(forward):
    ids = random_ids(1, (3, 10))
    changed = ids.copy()
    changed[:, 6:] = (changed[:, 6:] + 1) % STAGE.vocab_size
    logits, other = forward(ids), forward(changed)
    np.testing.assert_array_equal(logits[:, :6], other[:, :6])
    assert (logits[:, 6:] != other[:, 6:]).mean() > 0.9


def test_position_matters_beyond_the_content_of_the_past(forward):
    ids = np.full((1, 8), 7, np.int32)
    logits = forward(ids)
    assert np.abs(logits[0, 3] - logits[0, 6]).max() < 1e-4  # equal tokens mix to equal values
    ids[0, 0] = 8
    logits = forward(ids)
    swapped = forward(ids[:, [1, 0, 2, 3, 4, 5, 6, 7]])
    assert np.abs(logits[0, 7] - swapped[0, 7]).max() > 1e-3


@pytest.mark.parametrize("scan", [True, False])
def test_layers_are_scanned_or_each_traced(scan):
    decoder = dataclasses.replace(DECODER, scan_layers=scan)
    model = nnx.merge(*load_random(dataclasses.replace(CONFIG, decoder=decoder)))
    assert ("scan[" in str(jax.make_jaxpr(model)(random_ids(0, (1, 6))))) == scan


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_gradient(model, remat):
    """What "dots" and "full" keep is tests/nn/test_stack.py's matter."""
    decoder = dataclasses.replace(DECODER, remat=remat)
    graphdef, _ = load_random(dataclasses.replace(CONFIG, decoder=decoder))
    ids = random_ids(2, (2, 7))

    def gradient(graphdef, state):
        loss = lambda s: jnp.sum(nnx.merge(graphdef, s)(ids) ** 2)  # noqa: E731
        return jax.tree.leaves(jax.jit(jax.grad(loss))(state))

    plain, state = nnx.split(model)
    assert graphdef != plain
    for a, b in zip(gradient(plain, state), gradient(graphdef, state), strict=True):
        assert np.abs(a).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max())


def test_rope_and_t5_know_positions_by_different_means():
    decoder = dataclasses.replace(DECODER, position="rope")
    _, run = jitted(dataclasses.replace(CONFIG, decoder=decoder))
    ids = random_ids(3, (1, 6))
    swapped = ids[:, [1, 0, 2, 3, 4, 5]]
    assert ids[0, 0] != ids[0, 1]
    assert np.abs(run(ids)[0, 5] - run(swapped)[0, 5]).max() > 1e-3
    names = random_arrays(dataclasses.replace(CONFIG, decoder=decoder))
    assert not [name for name in names if name.startswith("position")]


def test_tied_embeddings_are_one_array_that_survives_export_and_load():
    decoder = dataclasses.replace(DECODER, tied_embeddings=True)
    config = dataclasses.replace(CONFIG, decoder=decoder)
    model, run = jitted(config)
    arrays = flatten_state(nnx.state(model))
    big = [name for name, array in arrays.items() if STAGE.vocab_size in array.shape]
    assert big == ["embedding.embedding"]
    ids = random_ids(4, (1, 5))
    again = nnx.merge(*load_decoder(config, arrays))
    np.testing.assert_array_equal(again.embedding.embedding[...], model.embedding.embedding[...])
    # Scaled by the width, as in t5x: the embeddings have variance 1.
    x = jax.random.normal(jax.random.key(5), (1, 3, decoder.width))
    expected = model.final_norm(x) @ model.embedding.embedding[...].T / decoder.width**0.5
    np.testing.assert_allclose(output_logits(model, x), expected, rtol=1e-4, atol=1e-5)
    # It serves at both ends: the last position's id is not read anywhere else.
    arrays["embedding.embedding"] = arrays["embedding.embedding"].copy()
    arrays["embedding.embedding"][STAGE.vocab_size - 1] *= 2
    ids[ids == STAGE.vocab_size - 1] = 0
    logits = run(ids)
    run_again = jax.jit(lambda state: nnx.merge(nnx.graphdef(model), state)(ids))
    changed = run_again(nnx.state(nnx.merge(*load_decoder(config, arrays)))) - logits
    assert (np.abs(changed).max((0, 1)) > 1e-3).nonzero()[0].tolist() == [STAGE.vocab_size - 1]


def test_flash_attention_computes_the_same_and_needs_a_tpu(model, forward, monkeypatch):
    decoder = dataclasses.replace(DECODER, attention="flash")
    with pytest.raises(InputError, match=r"^decoder.attention = 'flash': needs a TPU"):
        check_backend(decoder)
    check_backend(DECODER)
    interpreted = functools.partial(flash_attention.flash_causal_attention, interpret=True)
    decoder = dataclasses.replace(decoder, flash_block=256)
    monkeypatch.setattr(flash_attention, "flash_causal_attention", interpreted)
    config, ids = dataclasses.replace(CONFIG, decoder=decoder), random_ids(5, (1, 9))
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make_decoder(config, jax.random.key(0))))
    run = jax.jit(lambda state: nnx.merge(graphdef, state)(ids))
    assert "flash_attention_forward_256" in str(jax.make_jaxpr(run)(nnx.state(model)))
    np.testing.assert_allclose(run(nnx.state(model)), forward(ids), rtol=1e-4, atol=1e-4)
    # A model folder is used wherever it is: loaded, it attends in blocks.
    assert nnx.merge(*load_random(config)).config.attention == "blocks"


@pytest.mark.parametrize("position", ["t5", "rope"])
def test_cudnn_attention_computes_the_same_and_needs_a_gpu(position, monkeypatch):
    """By JAX's plain implementation of the same function: cuDNN's own was not run."""
    blocks = dataclasses.replace(
        DECODER, position=position, head_width=8, dropout=0.0, compute_dtype="bfloat16"
    )
    fused = dataclasses.replace(blocks, attention="cudnn")
    with pytest.raises(InputError, match=r"^decoder.attention = 'cudnn': needs a GPU, not cpu"):
        check_backend(fused)
    plain = functools.partial(fused_causal_attention, implementation="xla")
    monkeypatch.setattr(decoder, "fused_causal_attention", plain)
    ids, logits = random_ids(5, (2, 10)), []
    for config in (blocks, fused):
        whole = dataclasses.replace(CONFIG, decoder=config)
        graphdef = nnx.graphdef(nnx.eval_shape(lambda c=whole: make_decoder(c, jax.random.key(0))))
        state = load_random(whole)[1]
        run = jax.jit(lambda state, g=graphdef: nnx.merge(g, state)(ids))
        logits.append(np.asarray(run(state)))
    np.testing.assert_allclose(logits[1], logits[0], atol=0.05 * np.abs(logits[0]).max())
    assert (logits[1] != logits[0]).any()
    assert nnx.merge(*load_random(whole)).config.attention == "blocks"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "cuDNN multiplies no float32; add --model.decoder.compute-dtype bfloat16"),
        ({"compute_dtype": "bfloat16", "head_width": 132}, "expected a multiple of 8 up to 128"),
        ({"compute_dtype": "bfloat16", "head_width": 12}, "expected a multiple of 8 up to 128"),
    ],
)
def test_what_cudnn_cannot_do_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(DECODER, attention="cudnn", **fields)


def test_dropout_needs_a_key_and_follows_it(forward):
    ids = random_ids(5, (2, 6))
    one, two = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(forward(ids, one), forward(ids, one))
    assert (forward(ids, one) != forward(ids, two)).mean() > 0.9
    assert (forward(ids, one) != forward(ids)).mean() > 0.9


def test_bfloat16_arithmetic_keeps_float32_parameters_and_logits(forward):
    config = dataclasses.replace(
        CONFIG, decoder=dataclasses.replace(DECODER, compute_dtype="bfloat16")
    )
    (half, run), ids = jitted(config), random_ids(6, (2, 9))
    assert {str(a.dtype) for a in jax.tree.leaves(nnx.state(half))} == {"float32"}
    whole, logits = forward(ids), run(ids)
    assert logits.dtype == np.float32
    difference = np.abs(logits - whole)
    assert 0 < difference.max() < 0.1 * np.abs(whole).max()


def test_every_parameter_names_its_axes(model):
    is_variable = lambda leaf: isinstance(leaf, nnx.Variable)  # noqa: E731
    for variable in jax.tree.leaves(nnx.state(model), is_leaf=is_variable):
        assert len(variable.get_metadata()["out_sharding"]) == variable.ndim


def test_weights_survive_export_and_load(model, forward):
    arrays = flatten_state(nnx.state(model))
    graphdef, params = load_decoder(CONFIG, arrays)
    ids = random_ids(7, (2, 9))
    logits = jax.jit(lambda params: nnx.merge(graphdef, params)(ids))(params)
    np.testing.assert_allclose(logits, forward(ids), rtol=1e-6)
    arrays["output.kernel"] = arrays["output.kernel"][:-1]
    with pytest.raises(InputError, match=r"folder: array 'output.kernel' has shape"):
        load_decoder(CONFIG, arrays, "folder")


@pytest.mark.parametrize(
    ("stage", "vocab", "count"),
    [("semantic", 1028, 203458048), ("coarse", 5124, 211846656), ("fine", 12292, 226526720)],
)
def test_paper_size_counts_its_parameters(stage, vocab, count):
    config = load_experiment(Path(f"configs/librilight_paper/{stage}.py")).model
    shapes = nnx.eval_shape(lambda: nnx.state(make_decoder(config, jax.random.key(0))))
    assert sum(a.size for a in jax.tree.leaves(shapes)) == count
    matrices = 12 * (4 * 1024**2 + 3 * 1024 * 4096) + 2 * vocab * 1024
    assert count == matrices + 25 * 1024 + 32 * 16


def test_config_round_trip():
    again = config_from_dict(StageModelConfig, config_to_dict(CONFIG), "x")
    assert again == CONFIG


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("layers", 0),
        ("heads", 0),
        ("head_width", -1),
        ("width", 0),
        ("ff_width", 0),
        ("dropout", 1.0),
        ("dropout", float("nan")),
        ("relative_buckets", 7),
        ("relative_buckets", 0),
        ("relative_max_distance", 3),
    ],
)
def test_bad_config_is_refused_by_field(field, value):
    with pytest.raises(InputError, match=rf"^--model\.decoder\.{field.replace('_', '-')} "):
        dataclasses.replace(DECODER, **{field: value})


def test_rope_needs_heads_of_even_width():
    with pytest.raises(InputError, match=r"^--model\.decoder\.head-width 5: expected an even"):
        dataclasses.replace(DECODER, position="rope", head_width=5)
