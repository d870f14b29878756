"""What of the held-out recordings a report shows, and what it says of how models were chosen."""

import pytest
from support.clip_lists import Recording, clip_index

from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.heldout import chosen_by
from audiolm_jax.evaluation.bundle.prompts import choose_prompts


def _index(seconds):
    return clip_index([Recording(f"{n:03d}.wav", length) for n, length in enumerate(seconds)])


def test_prompts_are_drawn_by_seed_among_the_clips_that_are_long_enough():
    index = _index([2.0] * 50 + [3.0 + 0.1 * n for n in range(150)])
    chosen = {seed: choose_prompts(index, 40, 3.0, seed) for seed in range(3)}
    assert chosen[0] == choose_prompts(index, 40, 3.0, 0)
    numbers = {seed: [int(c.clip_id[:3]) for c in clips] for seed, clips in chosen.items()}
    assert len({tuple(own) for own in numbers.values()}) == 3
    for own in numbers.values():
        assert len(set(own)) == 40
        assert min(own) >= 50
        assert 105 < sum(own) / 40 < 145  # of all lengths alike: 124.5 on average
    assert len(choose_prompts(index, 1000, 3.0, 0)) == 150
    with pytest.raises(InputError, match=r"no held-out clip of 30\.0 s"):
        choose_prompts(index, 1, 30.0, 0)


def test_a_checkpoint_chosen_by_what_is_measured_is_named():
    chosen = {"best_of": "lowest loss", "data": {"fingerprint": "a", "clips": 3}}
    origins = {
        "codec": chosen,
        "coarse_lm": {"best_of": "highest accuracy", "data": {"tokens": "b"}},
        "fine_lm": {"data": {"tokens": "a"}},
    }
    assert chosen_by(origins, {"a", "c"}) == {
        "checkpoint of codec": "chosen by the lowest loss on the recordings measured here",
        "checkpoint of coarse_lm": "chosen by the highest accuracy on other recordings",
    }
