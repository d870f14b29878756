"""Blocks of a stream: few sizes serve any chunks, and nothing waits longer than it must."""

import numpy as np
import pytest

from audiolm_jax.tokenizers.acoustic.streams import Half, Stream

MOST, PER_INPUT = 20, 4


@pytest.mark.parametrize(("context", "delay", "halvings"), [(0, 0, 0), (0, 3, 0), (3, 0, 2)])
@pytest.mark.parametrize("block_frames", [1, 5, 20])
def test_few_block_sizes_serve_any_chunks(context, delay, halvings, block_frames):
    """What was due is out after every chunk, and each block carries its whole context."""
    blocks = []

    def run(block, span, state):
        blocks.append((block.shape[1] // PER_INPUT, *span[:, 0]))
        # The state holds what comes later.
        results = np.concatenate([state, block[:, ::PER_INPUT]], axis=1)
        return results[:, : results.shape[1] - delay], results[:, results.shape[1] - delay :]

    half = Half(
        run,
        initial_state=lambda batch: np.full((batch, delay), np.nan, np.float32),
        context=context,
        delay=delay,
        units=(PER_INPUT, 1),
        check=lambda inputs: inputs,
        empty=np.zeros(0, np.float32),
    )
    for seed in range(20):
        rng = np.random.default_rng(seed)
        samples = rng.normal(size=rng.integers(1, 300)).astype(np.float32)
        stream = Stream(half, block_frames, MOST, halvings)
        assert stream.latency_frames == block_frames + context + delay
        out, given, longest = [], 0, int(rng.choice([3, 30, 300]))
        while given < len(samples):
            size = int(rng.integers(0, longest + 1))
            out.extend(stream.push(samples[given : given + size]))
            given = min(given + size, len(samples))
            assert 0 <= given // PER_INPUT - len(out) < stream.latency_frames
        left = -(-given // PER_INPUT) - len(out)
        out.extend(stream.finish())
        if left and halvings:
            smallest = (block_frames + 2 * context) // 2**halvings
            assert blocks[-1][0] < 2 * max(2 * context + left, smallest)
        np.testing.assert_array_equal(out, samples[::PER_INPUT])
    small = block_frames + 2 * context
    sizes = {small >> n for n in range(halvings + 1)} | {MOST + 2 * context}
    assert {size for size, _, _ in blocks} <= sizes
    assert {start for _, start, _ in blocks} <= set(range(context + 1))
    assert all(stop > context for _, _, stop in blocks)
