"""Decoding on eight devices, by the rules of training, writes what one device writes."""

import jax
import numpy as np
import pytest
from support.tiny_stages import coarse_prompt, make_stage

from audiolm_jax.generation import decode
from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.mesh import make_mesh, rules_of

KNOWN = [0, 3, 5, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "sizes"), [("fsdp_tp", {"model": 2}), ("fsdp", {"replicas": 2}), ("dp", {})]
)
def test_eight_devices_decode_as_one(monkeypatch, preset, sizes):
    """Probabilities within 1e-4 of one device's, and the same ids, which no draw here hangs on."""
    monkeypatch.setattr(decode, "BUCKET", 8)
    config, arrays = make_stage("coarse")
    mesh_config = MeshConfig(preset, **sizes)
    mesh, rules = make_mesh(mesh_config), rules_of(mesh_config)
    one, many = StageDecoder(config, arrays), StageDecoder(config, arrays, mesh=mesh, rules=rules)
    embedding = many._weights.embedding
    assert len(embedding.sharding.device_set) == 8
    prompts = [coarse_prompt(seed, known) for seed, known in enumerate(KNOWN)]
    keys = jax.random.split(seed_key(0), 4)
    asked = prompts, KNOWN, [8, 6, 8, 7], keys, Sampling(0.8), [True] * 4
    for got, expected in zip(many.generate(*asked), one.generate(*asked), strict=True):
        np.testing.assert_array_equal(got.ids, expected.ids)
        np.testing.assert_allclose(got.log_probs, expected.log_probs, rtol=1e-4, atol=1e-4)
        assert got.ended == expected.ended
    tokens, start = prompts[2], len(prompts[2]) - KNOWN[2]
    np.testing.assert_allclose(
        many.score(tokens, start), one.score(tokens, start), rtol=1e-4, atol=1e-4
    )
