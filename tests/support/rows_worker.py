"""Rows of a model of a real size decode to the same bits in batches of 1 to 16, at any place."""

import jax
import numpy as np
from flax import nnx

from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.decoder import make_decoder
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.stages import BOS, FIRST_ID, SEP, StageConfig

STEPS = 12


def make_decoder_of(weights: str) -> StageDecoder:
    """Random weights at their usual spread."""
    config = StageModelConfig(
        StageConfig("coarse", 1024, 1024, 12),
        DecoderConfig(layers=6, heads=8, head_width=64, width=512, ff_width=2048),
    )
    shapes = flatten_shapes(
        nnx.eval_shape(lambda: nnx.state(make_decoder(config, jax.random.key(0))))
    )
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=shape).astype(np.float32) * (0.05 if len(shape) > 1 else 1.0)
        for name, shape in shapes.items()
    }
    return StageDecoder(config, arrays, weights=weights)


def decode(
    decoder: StageDecoder, prompts: list, keys: jax.Array, places: list[int], portions: list[int]
) -> list:
    """Some of the prompts as one batch."""
    count = len(places)
    chosen = [prompts[place] for place in places], [0] * count, [STEPS] * count
    how = keys[np.array(places)], Sampling(1.0), [True] * count
    decoding = decoder.open(*chosen, *how)
    for until in portions:
        decoding.advance(until)
    return decoding.results()


def main() -> None:
    """Compares every row with itself alone."""
    rng = np.random.default_rng(1)
    prompts = []
    for _ in range(16):
        told = FIRST_ID + rng.integers(0, 1024, rng.integers(1, 200))
        prompts.append(np.concatenate([[BOS], told, [SEP]]).astype(np.int32))
    keys = jax.random.split(seed_key(3), 16)
    for weights in ("float32", "int8"):
        decoder = make_decoder_of(weights)
        alone = [decode(decoder, prompts, keys, [place], [STEPS])[0] for place in range(5)]
        assert len({out.ids.tobytes() for out in alone}) == 5
        for count in (4, 7, 16) if weights == "float32" else (7,):
            others = rng.permutation(np.arange(5, 16))[: max(0, count - 5)].tolist()
            places = rng.permutation([*range(min(count, 5)), *others]).tolist()
            portions = [1, 5, STEPS] if count == 7 else [STEPS]
            outs = decode(decoder, prompts, keys, places, portions)
            for place, out in zip(places, outs, strict=True):
                if place >= len(alone):
                    continue
                np.testing.assert_array_equal(out.ids, alone[place].ids, f"{weights} {count}")
                np.testing.assert_array_equal(out.log_probs, alone[place].log_probs)
        print(f"{weights}: equal bits", flush=True)


if __name__ == "__main__":
    main()
