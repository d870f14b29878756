"""Decoding: the same logits as in training, the same bits in any company and any portions."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.tiny_stages import STAGE, coarse_prompt, make_stage

from audiolm_jax.errors import InputError
from audiolm_jax.generation import decode, loop
from audiolm_jax.generation.config import Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.lm import stepwise
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.stages import (
    BOS,
    EOS,
    FIRST_ID,
    PAD,
    legal_ids,
    unflatten_levels,
    without_condition,
)


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch):
    monkeypatch.setattr(decode, "BUCKET", 8)


@pytest.fixture(scope="module")
def coarse():
    return StageDecoder(*make_stage("coarse"))


@pytest.fixture(scope="module")
def semantic():
    return StageDecoder(*make_stage("semantic"))


def keys_of(rows, seed=0):
    return jax.random.split(seed_key(seed), rows)


def request(prompts, offsets, steps, seed=0, temperature=1.0, allow_end=False):
    ends = [allow_end] * len(prompts) if isinstance(allow_end, bool) else allow_end
    keys = keys_of(len(prompts), seed)
    return prompts, offsets, steps, keys, Sampling(temperature), ends


def generate(decoder, *args, **options):
    return decoder.generate(*request(*args, **options))


def whole_logits(config, arrays, sequences):
    """Logits of each sequence by one pass of the trained module, padded on the right."""
    padded = np.zeros((len(sequences), -(-max(map(len, sequences)) // 32) * 32), np.int32)
    for row, sequence in enumerate(sequences):
        padded[row, : len(sequence)] = sequence
    model = nnx.merge(*load_decoder(config, arrays))
    logits = np.asarray(jax.jit(lambda model, ids: model(ids))(model, padded))
    return [rows[: len(sequence)] for rows, sequence in zip(logits, sequences, strict=True)]


def cached_logits(decoder, sequences, lengths):
    """Logits of all that follows each row's first `lengths` tokens, fed one by one after these."""
    fed = len(sequences[0]) - lengths[0]
    start = decode.round_up(max(lengths) - 1)
    prompts = [s[:n] for s, n in zip(sequences, lengths, strict=True)]
    carry, size = decoder._read(prompts, start, decode.round_up(fed))
    tokens = np.zeros((fed + 1, size), np.int32)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        tokens[:, row] = sequence[length - 1 :]
    before = np.zeros(size, np.int32)
    before[: len(lengths)] = np.array(lengths) - 1

    def feed(caches, inputs):
        tokens, index = inputs
        positions = before + index if decoder._how.decoder.is_rotary else None
        where = jnp.asarray(before), positions, jnp.int32(start)
        x, caches = stepwise.step(decoder._weights, tokens, index, *where, caches, decoder._how)
        return caches, stepwise.logits(decoder._weights, x, decoder._how)

    run = jax.jit(lambda caches: jax.lax.scan(feed, caches, (tokens, jnp.arange(fed + 1)))[1])
    return np.moveaxis(np.asarray(run(carry.caches)), 1, 0)[: len(sequences)]


@pytest.mark.parametrize(
    ("stage", "options"),
    [
        ("semantic", {}),
        ("coarse", {}),
        ("fine", {}),
        ("fine", {"position": "rope", "qk_norm": True, "tied_embeddings": True}),
        pytest.param("coarse", {"compute_dtype": "bfloat16"}, marks=pytest.mark.slow),
        pytest.param("coarse", {"position": "rope", "layers": 1}, marks=pytest.mark.slow),
        pytest.param("coarse", {"attention": "flash", "remat": "full"}, marks=pytest.mark.slow),
        pytest.param("coarse", {"heads": 1, "relative_max_distance": 300}, marks=pytest.mark.slow),
    ],
    ids=lambda x: x if isinstance(x, str) else "+".join(x) or "paper",
)
def test_cached_logits_are_those_of_the_whole_sequence(stage, options):
    """Rows with prompts of 1 to 20 tokens, then ten more fed one by one."""
    config, arrays = make_stage(stage, **options)
    rng = np.random.default_rng(0)
    lengths = [1, 20, int(rng.integers(2, 20)), int(rng.integers(2, 20))]
    vocab = config.stage.vocab_size
    sequences = [rng.integers(0, vocab, length + 10).astype(np.int32) for length in lengths]
    found = cached_logits(StageDecoder(config, arrays), sequences, lengths)
    whole = whole_logits(config, arrays, sequences)
    for length, got, expected in zip(lengths, found, whole, strict=True):
        tolerance = (3e-2 if "compute_dtype" in options else 1e-5) * np.abs(expected).max()
        np.testing.assert_allclose(got, expected[length - 1 :], atol=tolerance)


def test_a_prompt_longer_than_a_block_of_queries_reads_as_a_whole():
    config, arrays = make_stage("coarse")
    tokens = np.random.default_rng(0).integers(0, config.stage.vocab_size, 300).astype(np.int32)
    decoder = StageDecoder(config, arrays)
    (expected,) = whole_logits(config, arrays, [tokens])
    read = np.zeros(decode.round_up(len(tokens)), np.int32)
    read[: len(tokens)] = tokens
    x = decoder._run_prompt(read)[0][:, : len(tokens)]
    plain = dataclasses.replace(decoder._how, by_lanes=False)
    found = stepwise.logits(decoder._weights, x, plain)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_greedy_ids_and_all_probabilities_are_those_of_the_whole_sequence(coarse):
    config, arrays = make_stage("coarse")
    prompts, offsets = [coarse_prompt(1, 3), coarse_prompt(2, 0)], [3, 0]
    outs = generate(coarse, prompts, offsets, [9, 9], temperature=0.0)
    table = legal_ids(STAGE)
    sequences = [np.concatenate([p, out.ids]) for p, out in zip(prompts, outs, strict=True)]
    whole = whole_logits(config, arrays, sequences)
    for prompt, offset, out, logits in zip(prompts, offsets, outs, whole, strict=True):
        legal = table[(offset + np.arange(9)) % 2]
        logits = np.where(legal, logits[len(prompt) - 1 : -1], -np.inf).astype(np.float64)
        expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        np.testing.assert_allclose(
            out.log_probs, expected[np.arange(9), out.ids], rtol=1e-4, atol=1e-4
        )
        logits[:, EOS] = -np.inf
        np.testing.assert_array_equal(out.ids, logits.argmax(-1))
        # One pass over the finished sequence finds the same.
        tokens, begin = np.concatenate([prompt, out.ids]), len(prompt) - offset
        scores = coarse.score(tokens, begin)
        assert len(scores) == offset + 9
        np.testing.assert_allclose(scores[offset:], out.log_probs, rtol=1e-4, atol=1e-4)


def test_scores_of_what_cannot_be_are_minus_infinity(coarse, semantic):
    prompt = coarse_prompt(0, 4)
    assert np.isfinite(coarse.score(prompt, len(prompt) - 4)).all()
    assert np.isfinite(coarse.score(np.append(prompt, EOS), len(prompt) - 4)).all()
    swapped = np.append(prompt, STAGE.acoustic_start + 7)  # level 1 where level 0 is due
    assert coarse.score(swapped, len(prompt) - 4)[-1] == -np.inf
    repeated = np.array([BOS, FIRST_ID, FIRST_ID], np.int32)
    assert (semantic.score(repeated, 1) == -np.inf).tolist() == [False, True]
    assert len(coarse.score(prompt, len(prompt))) == 0
    with pytest.raises(ValueError, match="target_start 0"):
        coarse.score(prompt, 0)


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


def same(one, two):
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.log_probs, two.log_probs)
    assert one.ended == two.ended


def test_a_row_has_the_same_bits_alone_in_any_batch_and_in_any_portions(coarse):
    """Prompts of 3 to 13 tokens, one in a longer bucket, with and without an end."""
    rng = np.random.default_rng(0)
    known = [2, 0, 8, 1, 1, 0, 3]
    prompts = [coarse_prompt(10 + n, n) for n in known]
    steps, ends = [5, 8, 3, 8, 0, 6, 7], [True, False, True, False, True, True, False]
    keys = keys_of(7)

    def run(places):
        prompts_, known_, steps_, ends_ = (
            [x[i] for i in places] for x in (prompts, known, steps, ends)
        )
        how = keys[np.array(places)], Sampling(1.5), ends_
        return coarse.generate(prompts_, known_, steps_, *how)

    together = run(range(7))
    assert [len(out.ids) for out in together if not out.ended] == [
        count for count, out in zip(steps, together, strict=True) if not out.ended
    ]
    for places in ([0], [1], [2], [5], [6, 3, 1, 0]):
        for place, out in zip(places, run(places), strict=True):
            same(out, together[place])
    decoding = coarse.open(prompts, known, steps, keys, Sampling(1.5), ends)
    assert [len(out.ids) for out in decoding.results()] == [0] * 7
    until = np.zeros(7, int)
    while (until < steps).any():
        until += rng.integers(0, 5, 7)
        decoding.advance(until.tolist())
        for out, whole, count in zip(decoding.results(), together, until, strict=True):
            assert len(out.ids) == min(count, len(whole.ids))
            np.testing.assert_array_equal(out.ids, whole.ids[:count])
            np.testing.assert_array_equal(out.log_probs, whole.log_probs[:count])
            assert out.ended == (whole.ended and count > len(whole.ids))
    decoding.advance(99)
    for out, whole in zip(decoding.results(), together, strict=True):
        same(out, whole)


@pytest.fixture(scope="module")
def unconditional():
    """A coarse stage that may do without its condition."""
    config, arrays = make_stage("coarse")
    stage = dataclasses.replace(config.stage, condition_dropout=0.1)
    return StageDecoder(dataclasses.replace(config, stage=stage), arrays)


@pytest.mark.parametrize("guidance", [0.0, 2.5])
def test_guided_ids_follow_what_the_condition_changes(coarse, unconditional, guidance):
    config, arrays = make_stage("coarse")
    offsets = [3, 0, 4, 8, 6]
    prompts = [coarse_prompt(seed, known) for seed, known in enumerate(offsets, 1)]
    sampling = Sampling(0.0, guidance=guidance)
    asked = keys_of(5), sampling, [False] * 5
    outs = unconditional.generate(prompts, offsets, [9] * 5, *asked)
    for prompt, offset, out in zip(prompts, offsets, outs, strict=True):
        hidden = without_condition(prompt)
        assert hidden.tolist() == [
            PAD if 1 <= place <= len(prompt) - offset - 2 else token
            for place, token in enumerate(prompt.tolist())
        ]
        both = [np.concatenate([p, out.ids]) for p in (prompt, hidden)]
        legal = legal_ids(STAGE)[(offset + np.arange(9)) % 2]
        told, untold = (x[len(prompt) - 1 : -1] for x in whole_logits(config, arrays, both))
        masked = np.where(legal, told, -np.inf).astype(np.float64)
        expected = masked - np.log(np.exp(masked).sum(-1, keepdims=True))
        found = expected[np.arange(9), out.ids]
        np.testing.assert_allclose(out.log_probs, found, rtol=1e-4, atol=1e-4)
        wanted = np.where(legal, untold + guidance * (told - untold), -np.inf)
        wanted[:, EOS] = -np.inf
        np.testing.assert_array_equal(out.ids, wanted.argmax(-1))
    plain = generate(coarse, prompts, offsets, [9] * 5, temperature=0.0)
    assert any((a.ids != b.ids).any() for a, b in zip(outs, plain, strict=True))


def test_a_stage_that_may_do_without_is_guided_unless_told_otherwise(coarse, unconditional):
    prompts, offsets, steps = [coarse_prompt(1, 3), coarse_prompt(2, 0)], [3, 0], [9, 9]
    usual = generate(unconditional, prompts, offsets, steps, temperature=0.0)

    def at(guidance):
        how = keys_of(2), Sampling(0.0, guidance=guidance), [False, False]
        return unconditional.generate(prompts, offsets, steps, *how)

    for one, two in zip(usual, at(2.0), strict=True):
        same(one, two)
    plain = generate(coarse, prompts, offsets, steps, temperature=0.0)
    for one, two in zip(plain, at(1.0), strict=True):
        same(one, two)
    assert any((a.ids != b.ids).any() for a, b in zip(usual, plain, strict=True))


def test_a_guided_row_has_the_same_bits_alone_and_in_any_batch(unconditional):
    known = [2, 0, 8, 4, 6, 2, 0, 2, 4]
    prompts, steps = (
        [coarse_prompt(30 + i, n) for i, n in enumerate(known)],
        [5, 8, 3, 8, 1, 6, 7, 2, 8],
    )
    keys, sampling = keys_of(9, seed=1), Sampling(1.5, guidance=1.7)
    together = unconditional.generate(prompts, known, steps, keys, sampling, [True] * 9)
    for i, out in enumerate(together):
        one = [prompts[i]], [known[i]], [steps[i]], keys[i : i + 1], sampling, [True]
        same(unconditional.generate(*one)[0], out)
    assert any(out.ended for out in together)


def test_guidance_needs_a_stage_that_may_do_without(coarse, semantic, unconditional):
    for decoder, prompt, why in (
        (coarse, coarse_prompt(0, 2), "not trained to do without"),
        (semantic, np.array([BOS], np.int32), "told nothing that could guide"),
    ):
        name = decoder.config.stage.name
        with pytest.raises(InputError, match=rf"^--generation\.{name}\.guidance 2\.0: .*{why}"):
            decoder.open([prompt], [0], [1], keys_of(1), Sampling(1.0, guidance=2.0), [False])
    for wrong in (-0.5, float("inf"), float("nan")):
        asked = keys_of(1), Sampling(1.0, guidance=wrong), [False]
        with pytest.raises(InputError, match=r"guidance .*: expected a finite"):
            unconditional.open([coarse_prompt(0, 2)], [2], [1], *asked)


def test_same_key_same_ids_other_key_other_ids(coarse):
    prompts, known, steps = [coarse_prompt(1, 0)] * 2, [0, 0], [24, 24]
    one = generate(coarse, prompts, known, steps)
    two = generate(coarse, prompts, known, steps)
    np.testing.assert_array_equal(one[0].ids, two[0].ids)
    assert (one[0].ids != one[1].ids).any()  # equal prompts, keys of their own


def test_semantic_tokens_never_repeat_not_even_the_prompt(semantic):
    prompts = [np.array([BOS, FIRST_ID + n % 6], np.int32) for n in range(8)]
    outs = generate(semantic, prompts, [1] * 8, [16] * 8, temperature=0.3)
    for prompt, out in zip(prompts, outs, strict=True):
        tokens = np.concatenate([prompt, out.ids])
        assert (np.diff(tokens) != 0).all()
        assert ((out.ids >= FIRST_ID) & (out.ids < FIRST_ID + 6)).all()


def test_rows_stop_at_their_own_end_token_where_they_may():
    config, arrays = make_stage("coarse")
    arrays["output.kernel"] = arrays["output.kernel"] * 0.1  # near to uniform
    decoder = StageDecoder(config, arrays)
    prompts = [coarse_prompt(seed, 1) for seed in range(16)]
    may = [row % 2 == 0 for row in range(16)]
    outs = generate(decoder, prompts, [1] * 16, [40] * 16, allow_end=may)
    for out in outs[1::2]:
        assert len(out.ids) == 40
        assert not out.ended
    assert len({len(out.ids) for out in outs}) > 3
    for out in outs[::2]:
        assert EOS not in out.ids
        assert out.ended == (len(out.ids) < 40)
        if out.ended:
            assert (1 + len(out.ids)) % 2 == 0  # never in the middle of a frame


def test_an_end_token_after_the_last_step_does_not_count(semantic):
    prompts = [np.array([BOS], np.int32)] * 8
    outs = generate(semantic, prompts, [0] * 8, [1] * 7 + [8], allow_end=True, temperature=30.0)
    for out in outs[:7]:
        assert out.ended == (len(out.ids) == 0)


def test_nothing_asked_nothing_given(coarse):
    assert generate(coarse, [], [], []) == []
    outs = generate(coarse, [coarse_prompt(0, 0)] * 2, [0, 0], [0, 4])
    assert [len(out.ids) for out in outs] == [0, 4]
    assert len(generate(coarse, [coarse_prompt(0, 0)], [0], [0])[0].ids) == 0


def test_sizes_within_a_bucket_and_equal_decoders_share_their_programs(coarse):
    generate(coarse, [coarse_prompt(0, 1)], [1], [5])
    sizes = loop.advance.count, loop.prompt_layer.count
    other = StageDecoder(*make_stage("coarse", dropout=0.5))
    for known, steps in ((0, 1), (1, 4), (2, 8)):
        generate(other, [coarse_prompt(0, known)], [known], [steps])
    assert (loop.advance.count, loop.prompt_layer.count) == sizes


def test_bad_requests_are_refused(coarse):
    prompt = coarse_prompt(0, 2)
    with pytest.raises(InputError, match=r"^--generation\.coarse\.temperature -1\.0: expected"):
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


@pytest.mark.slow
def test_rows_of_a_real_size_have_the_same_bits_in_every_batch():
    """d 512 x 6 as users run it: compiled with all optimizations, in a process of its own."""
    worker = Path(__file__).parent.parent / "support" / "rows_worker.py"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XLA_", "JAX_"))}
    environment |= {"JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, str(worker)], env=environment, check=True)
