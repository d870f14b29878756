import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from audiolm_jax.errors import InputError
from audiolm_jax.generation import decode
from audiolm_jax.generation.decode import StageDecoder, decode_step, prefill
from audiolm_jax.generation.sampling import row_keys
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.lm.decoder import UnstackedDecoder, load_decoder, make_decoder, output_logits
from audiolm_jax.nn.state_arrays import flatten_shapes
from audiolm_jax.stages import BOS, EOS, FIRST_ID, SEP, StageConfig, legal_ids, unflatten_levels

STAGE = StageConfig(
    "coarse", semantic_clusters=6, codebook_size=7, levels=3, coarse_levels=2, crop_seconds=1.0
)
DECODER = DecoderConfig(
    layers=2,
    heads=2,
    head_width=4,
    width=12,
    ff_width=16,
    relative_buckets=6,
    relative_max_distance=8,
)


def make_stage(name, **decoder):
    """A config, and weights large enough that tokens are neither foregone nor all alike.

    From numpy: initialising with jax.random compiles for seconds.
    """
    config = StageModelConfig(
        dataclasses.replace(STAGE, name=name), dataclasses.replace(DECODER, **decoder)
    )
    state = nnx.eval_shape(lambda: nnx.state(make_decoder(config, jax.random.key(0))))
    rng = np.random.default_rng(0)
    return config, {
        name: rng.normal(0.0, 3.0 if name == "position.table" else 0.4, shape).astype(np.float32)
        for name, shape in flatten_shapes(state).items()
    }


def whole_logits(model, sequences):
    """Logits of each sequence by one pass over all, padded on the right."""
    padded = np.zeros((len(sequences), max(map(len, sequences))), np.int32)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    logits = np.asarray(jax.jit(lambda model, ids: model(ids))(model, padded))
    return [rows[: len(sequence)] for rows, sequence in zip(logits, sequences, strict=True)]


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch):
    monkeypatch.setattr(decode, "BUCKET", 8)


@pytest.fixture(scope="module")
def coarse():
    return StageDecoder(*make_stage("coarse"))


@pytest.fixture(scope="module")
def semantic():
    return StageDecoder(*make_stage("semantic"))


def coarse_prompt(seed, known):
    rng = np.random.default_rng(seed)
    clusters = FIRST_ID + rng.integers(0, 6, rng.integers(1, 5))
    codes = STAGE.acoustic_start + 7 * (np.arange(known) % 2) + rng.integers(0, 7, known)
    return np.concatenate([[BOS], clusters, [SEP], codes]).astype(np.int32)


def generate(decoder, prompts, offsets, steps, keys=None, temperature=1.0, allow_end=False):
    keys = row_keys(jax.random.key(0), len(prompts)) if keys is None else keys
    return decoder.generate(prompts, offsets, steps, keys, temperature, allow_end)


@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"compute_dtype": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param({"position": "rope", "tied_embeddings": True}, marks=pytest.mark.slow),
        {"qk_norm": True, "attention": "flash", "remat": "full"},
    ],
    ids=lambda options: "+".join(options) or "paper",
)
def test_cached_logits_are_those_of_the_whole_sequence(options):
    """Rows with prompts of 1 to 9 tokens, hostile padding, ten tokens fed one by one."""
    config, arrays = make_stage("coarse", **options)
    model = nnx.merge(*load_decoder(config, arrays))
    rng = np.random.default_rng(0)
    lengths, slots, fed = np.array([1, 4, 9, 2], np.int32), 9, 10
    vocab = config.stage.vocab_size
    sequences = [rng.integers(0, vocab, length + fed).astype(np.int32) for length in lengths]
    padded = rng.integers(0, vocab, (4, slots)).astype(np.int32)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        padded[row, :length] = sequence[:length]
    tokens = np.stack([s[n:] for s, n in zip(sequences, lengths, strict=True)], axis=1)

    @jax.jit
    def cached(padded, lengths, tokens):
        parts = UnstackedDecoder(model)
        x, caches = prefill(parts, padded, fed)

        def feed(caches, inputs):
            logits, caches = decode_step(parts, inputs[0], inputs[1], lengths, caches, slots)
            return caches, logits

        _, steps = jax.lax.scan(feed, caches, (tokens, jnp.arange(fed)))
        return output_logits(parts, x), jnp.moveaxis(steps, 0, 1)

    prompt_logits, step_logits = cached(padded, lengths, tokens)
    for row, (length, whole) in enumerate(
        zip(lengths, whole_logits(model, sequences), strict=True)
    ):
        got = np.concatenate([prompt_logits[row, :length], step_logits[row]])
        tolerance = (3e-2 if "compute_dtype" in options else 1e-5) * np.abs(whole).max()
        np.testing.assert_allclose(got, whole, atol=tolerance)


def test_greedy_ids_are_the_best_legal_ids_of_the_whole_sequence(coarse):
    prompts, offsets = [coarse_prompt(1, 3), coarse_prompt(2, 0)], [3, 0]
    outs = generate(coarse, prompts, offsets, [9, 9], temperature=0.0)
    table = legal_ids(STAGE)
    sequences = [np.concatenate([p, out.ids]) for p, out in zip(prompts, outs, strict=True)]
    whole = whole_logits(nnx.merge(*load_decoder(*make_stage("coarse"))), sequences)
    for prompt, offset, out, logits in zip(prompts, offsets, outs, whole, strict=True):
        logits = logits[len(prompt) - 1 : -1]
        legal = table[(offset + np.arange(9)) % 2]
        legal[:, EOS] = False
        np.testing.assert_array_equal(out.ids, np.where(legal, logits, -np.inf).argmax(-1))


def test_every_id_is_legal_for_its_position_whatever_the_offset(coarse):
    known = [0, 1, 2, 5]
    prompts = [coarse_prompt(seed, n) for seed, n in enumerate(known)]
    steps = [8, 7, 6, 7]
    for out, n, count, prompt in zip(
        generate(coarse, prompts, known, steps, temperature=50.0), known, steps, prompts,
        strict=True,
    ):  # fmt: skip
        assert len(out.ids) == count
        assert not out.ended
        codes = unflatten_levels(
            np.concatenate([prompt[len(prompt) - n :], out.ids]), range(2), STAGE
        )
        assert codes.shape == ((n + count) // 2, 2)


def test_a_row_does_not_feel_its_batch_nor_its_padding(coarse):
    keys = row_keys(jax.random.key(4), 3)
    known = [2, 0, 30]  # the third row's prompt needs a longer bucket
    prompts = [coarse_prompt(10 + n, n) for n in known]
    steps = [5, 12, 3]
    together = generate(coarse, prompts, known, steps, keys, 0.9, allow_end=True)
    for row in range(3):
        alone = generate(
            coarse, prompts[row : row + 1], known[row : row + 1], steps[row : row + 1],
            keys[row : row + 1], 0.9, allow_end=True,
        )[0]  # fmt: skip
        np.testing.assert_array_equal(alone.ids, together[row].ids)
        assert alone.ended == together[row].ended


def test_same_key_same_ids_other_key_other_ids(coarse):
    prompts, known, steps = [coarse_prompt(1, 0)] * 2, [0, 0], [24, 24]
    one = generate(coarse, prompts, known, steps)
    two = generate(coarse, prompts, known, steps)
    np.testing.assert_array_equal(one[0].ids, two[0].ids)
    assert (one[0].ids != one[1].ids).any()  # equal prompts, keys of their own


def test_more_steps_only_add_tokens(coarse):
    few, many = (generate(coarse, [coarse_prompt(1, 2)], [2], [n])[0].ids for n in (5, 20))
    np.testing.assert_array_equal(few, many[:5])


def test_semantic_tokens_never_repeat_not_even_the_prompt(semantic):
    prompts = [np.array([BOS, FIRST_ID + n % 6], np.int32) for n in range(12)]
    outs = generate(semantic, prompts, [1] * 12, [15] * 12, temperature=0.3)
    for prompt, out in zip(prompts, outs, strict=True):
        tokens = np.concatenate([prompt, out.ids])
        assert (np.diff(tokens) != 0).all()
        assert ((out.ids >= FIRST_ID) & (out.ids < FIRST_ID + 6)).all()


def test_rows_stop_at_their_own_end_token():
    config, arrays = make_stage("coarse")
    arrays["output.kernel"] = arrays["output.kernel"] * 0.1  # near to uniform
    decoder = StageDecoder(config, arrays)
    prompts = [coarse_prompt(seed, 1) for seed in range(16)]
    outs = generate(decoder, prompts, [1] * 16, [40] * 16, allow_end=True)
    assert any(out.ended for out in outs)
    assert len({len(out.ids) for out in outs}) > 3
    for out in outs:
        assert EOS not in out.ids
        assert out.ended == (len(out.ids) < 40)
        if out.ended:
            assert (1 + len(out.ids)) % 2 == 0  # never in the middle of a frame
    never = generate(decoder, prompts, [1] * 16, [40] * 16, allow_end=False)
    assert {len(out.ids) for out in never} == {40}


def test_an_end_token_after_the_last_step_does_not_count():
    config, arrays = make_stage("semantic")
    decoder = StageDecoder(config, arrays)
    prompts = [np.array([BOS], np.int32)] * 32
    outs = generate(decoder, prompts, [0] * 32, [1] * 31 + [25], allow_end=True, temperature=3.0)
    for out in outs[:31]:
        assert out.ended == (len(out.ids) == 0)


def test_nothing_asked_nothing_given(coarse):
    assert generate(coarse, [], [], []) == []
    outs = generate(coarse, [coarse_prompt(0, 0)] * 2, [0, 0], [0, 4])
    assert [len(out.ids) for out in outs] == [0, 4]
    assert len(generate(coarse, [coarse_prompt(0, 0)], [0], [0])[0].ids) == 0


@pytest.mark.slow
def test_sizes_within_a_bucket_share_one_program():
    decoder = StageDecoder(*make_stage("fine"))
    for known, steps in ((0, 1), (3, 4), (1, 8)):
        prompt = np.concatenate([[BOS, SEP], np.full(known, FIRST_ID + 14, np.int32)])
        generate(decoder, [prompt.astype(np.int32)], [known], [steps])
    assert decoder._run._cache_size() == 1


def test_bad_requests_are_refused(coarse):
    prompt = coarse_prompt(0, 2)
    with pytest.raises(InputError, match=r"^temperature = -1\.0"):
        generate(coarse, [prompt], [2], [1], temperature=-1.0)
    for prompts, offsets, steps in (
        ([prompt], [2, 2], [1]),
        ([prompt], [len(prompt)], [1]),
        ([prompt], [2], [-1]),
        ([prompt[:0]], [0], [1]),
        ([np.append(prompt, STAGE.vocab_size)], [0], [1]),
    ):
        with pytest.raises(ValueError, match=r"row|prompt|offsets"):
            generate(coarse, prompts, offsets, steps)
    with pytest.raises(InputError, match=r"^somewhere: array"):
        StageDecoder(coarse.config, {}, "somewhere")
