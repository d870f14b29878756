"""What the devices of a mesh exchange in a step: weights and gradients, never activations."""

import dataclasses
import math
import re

import jax
import numpy as np
import optax
import pytest

from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.lm.train import program
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh, rules_of, state_shardings, use_mesh
from audiolm_jax.training.step import abstract_arguments, jit_step, make_init
from audiolm_jax.types import TokenBatch

# Sizes that share no factor but those of the mesh, so that a shape tells what it is.
DECODER = DecoderConfig(layers=2, heads=5, head_width=6, width=16, ff_width=22, remat="full")
CONFIG = StageModelConfig(
    StageConfig("semantic", semantic_clusters=30, crop_seconds=0.72), DecoderConfig()
)
EXCHANGE = re.compile(
    r" = (?P<result>.*?) (?P<kind>all-gather|all-reduce|reduce-scatter|all-to-all|"
    r"collective-permute)(-start)?\("
)


def exchanged(preset):
    """(kind, shapes) of every collective of a compiled step on eight devices, and its lowering."""
    config = dataclasses.replace(
        CONFIG, decoder=dataclasses.replace(DECODER, compute_dtype="bfloat16")
    )
    trainer = program(config, StageTrainConfig(), optax.sgd(0.1))
    mesh_config = MeshConfig(preset)
    mesh = make_mesh(mesh_config)
    ids, weights = (
        jax.ShapeDtypeStruct((8, config.stage.max_tokens - 1), dtype)
        for dtype in (np.int32, np.float32)
    )
    with use_mesh(mesh, rules_of(mesh_config)):
        abstract = jax.eval_shape(make_init(trainer), jax.random.key(0))
        shardings = state_shardings(mesh, rules_of(mesh_config), abstract)
        arguments = abstract_arguments(
            abstract, shardings, TokenBatch(ids, ids, weights, ids), mesh
        )
        lowered = jit_step(trainer, mesh, shardings).lower(*arguments)
    found = [
        (
            match["kind"],
            [
                tuple(int(size) for size in shape.split(",") if size)
                for shape in re.findall(r"\[([\d,]*)\]", match["result"])
            ],
        )
        for match in map(EXCHANGE.search, lowered.compile().as_text().splitlines())
        if match
    ]
    assert found
    return found, lowered.as_text()


@pytest.mark.parametrize("preset", [pytest.param("dp", marks=pytest.mark.slow), "fsdp"])
def test_only_weights_and_their_gradients_travel(preset):
    collectives, lowering = exchanged(preset)
    assert {kind for kind, _ in collectives} <= {"all-gather", "all-reduce", "reduce-scatter"}
    length = CONFIG.stage.max_tokens - 1
    largest = CONFIG.stage.vocab_size * DECODER.width
    for kind, shapes in collectives:
        for shape in shapes:
            if shape != (5, length, length):  # the learned bias of every pair of positions
                assert length not in shape, (kind, shape)
                assert math.prod(shape) <= largest, (kind, shape)
    gathers = [kind for kind, _ in collectives if kind == "all-gather"]
    assert bool(gathers) == (preset == "fsdp")
    # Cast before they are made whole (the CPU's compiler widens what travels, a TPU's does not).
    whole = re.findall(
        r"sharding_constraint \S+ <@mesh, \[{}, {}\]> : tensor<16x22x(\w+)>", lowering
    )
    assert set(whole) == {"bf16"}
