"""The imported encoders by themselves: what torch computed, mel frames, tokens, sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.encoder_files import ENCODERS, GOLDEN, KINDS, clips, write_encoder

from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.semantic.hubert.config import HubertConfig
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
from audiolm_jax.tokenizers.semantic.transformer import pool_to_tokens
from audiolm_jax.tokenizers.semantic.w2v_bert2.config import W2vBert2Config
from audiolm_jax.tokenizers.semantic.w2v_bert2.mel import log_mel_frames
from audiolm_jax.tokenizers.semantic.w2v_bert2.model import (
    W2vBert2,
    pick_distances,
    spread_distances,
)
from audiolm_jax.types import AudioBatch

# Looked at by name, each in one layer only, for each is compiled; its place in the golden file.
NAMED = {
    "hubert": ("layer_1", 1),
    "hubert_large": ("output", 3),
    "hubert_25hz": ("layer_2", 2),
    "w2v_bert2": ("layer_1", 1),
}


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request, tmp_path_factory):
    root, fields = tmp_path_factory.mktemp("encoder"), ENCODERS[request.param]
    folder = write_encoder(root / "weights", fields)
    kind = KINDS[fields["model_type"]]
    assert main(["import", kind, str(folder), "--out", str(root / "out")]) == 0
    made = load_frame_encoder(root / "out")
    made.name = request.param
    return made


def relative(found, expected):
    return np.sqrt(np.square(found - expected).sum() / np.square(expected).sum())


def test_features_are_those_of_torch(encoder):
    layer, place = NAMED[encoder.name]
    expected = np.load(GOLDEN)[encoder.name][place]
    audio = AudioBatch.from_clips(clips()[:2])  # the second is the longer one
    features, _ = encoder.features(audio, layer)
    per_token = encoder.config.frames_per_token
    whole = len(expected) // per_token
    pooled = expected[: whole * per_token].reshape(whole, per_token, -1).mean(1)
    assert relative(features[1, :whole], pooled) < 1e-4


# One of each class: the features above went through the same blocks.
@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["hubert_large", "w2v_bert2"], indirect=True)
def test_hidden_states_are_those_of_torch(encoder):
    golden = np.load(GOLDEN)[encoder.name][:3]
    audio = AudioBatch.from_clips(clips()[:2])
    run = jax.jit(lambda params, audio: encoder.module(params).hidden_states(audio, 2))
    states, frames = run(encoder.params, audio)
    assert frames[1] == states.shape[2] == golden.shape[1]
    for found, expected in zip(np.asarray(states)[:, 1], golden, strict=True):
        assert relative(found, expected) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["hubert_large", "w2v_bert2"], indirect=True)
def test_blocks_taken_apart_give_what_the_stack_gives(encoder):
    apart = encoder.module(encoder.params)
    assert isinstance(apart.blocks, nnx.List)  # a CPU's layout; a TPU scans the stack
    stacked = encoder.module(encoder.params)
    stacked.blocks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked.blocks)
    run = jax.jit(lambda module, audio: module.hidden_states(audio, 2)[0])
    audio = AudioBatch.from_clips(clips())
    states = run(apart, audio)
    np.testing.assert_allclose(states, run(stacked, audio), rtol=1e-4, atol=1e-5)
    none = jax.jit(lambda module, audio: module.hidden_states(audio, 0)[0])(apart, audio)
    np.testing.assert_allclose(none, states[:1], rtol=1e-4, atol=1e-5)


def test_frames_become_tokens():
    x = np.arange(2 * 5, dtype=np.float32).reshape(2, 5, 1)
    pooled, lengths = jax.jit(pool_to_tokens, static_argnums=(3, 4, 5))(
        x, np.array([5, 2]), np.array([7 * 320, 3 * 320 + 1]), 4, 640, 2
    )
    np.testing.assert_array_equal(lengths, [4, 2])
    # Frames 0 to 4, then the last one again; of the second item frames 5 and 6, then 6 again.
    np.testing.assert_array_equal(pooled[..., 0], [[0.5, 2.5, 4, 4], [5.5, 6, 0, 0]])


@pytest.mark.parametrize("config", [HubertConfig(), W2vBert2Config()])
def test_published_sizes(config):
    assert config.frame_hop_samples == 320
    assert config.hop_samples == 640
    assert config.reach_samples == (560 if isinstance(config, W2vBert2Config) else 400)
    # Frames of the encoder never reach beyond the recording's tokens, and miss at most 2 of them.
    for samples in range(config.reach_samples, 20_000, 37):
        frames = 1 + (samples - config.reach_samples) // 320
        assert 0 <= -(-samples // 640) * 2 - frames <= 2 + (samples % 640 > 0)


def test_mel_frames_are_kaldis():
    """Against the definition, written out in float64."""
    (clip,) = clips([3001])
    window = np.hanning(400) ** 0.85
    mel = lambda hz: 1127 * np.log(1 + hz / 700)  # noqa: E731
    edges = np.linspace(mel(20), mel(8000), 82)
    places = mel(np.arange(257) * 31.25)
    filters = np.stack(
        [np.interp(places, edges[i : i + 3], [0, 1, 0], 0, 0) for i in range(80)], axis=1
    )
    expected = []
    for start in range(0, 3001 - 399, 160):
        x = clip[start : start + 400].astype(np.float64) * 32768
        x = x - x.mean()
        x = np.append(0.03 * x[0], x[1:] - 0.97 * x[:-1]) * window
        power = np.abs(np.fft.rfft(x, 512)) ** 2
        expected.append(np.log(np.maximum(power @ filters, 2.0**-23)))
    expected = np.array(expected)
    samples = np.pad(clip, (0, 999))[None]

    config = W2vBert2Config(width=2, heads=1, layers=1, ff_width=1, conv_kernel=1)
    model = W2vBert2(config, rngs=nnx.Rngs(params=0))

    @jax.jit
    def run(samples, lengths):
        return log_mel_frames(samples, lengths, 80), model.mel_pairs(AudioBatch(samples, lengths))

    (found, frames), (pairs, count) = run(samples, np.array([3001], np.int32))
    assert frames[0] == len(expected) == 17
    np.testing.assert_allclose(found[0, :17], expected, atol=2e-3)
    assert count[0] == 8
    expected = (expected - expected.mean(0)) / np.sqrt(expected.var(0, ddof=1) + 1e-7)
    np.testing.assert_allclose(pairs[0, :8].reshape(16, 80), expected[:16], atol=3e-3)
    assert not np.asarray(pairs[0, 9:]).any()


@pytest.mark.parametrize("spread_by", [pick_distances, spread_distances])
@pytest.mark.parametrize(("frames", "left", "right"), [(9, 3, 2), (2, 3, 5), (1, 2, 2)])
def test_scores_of_distances_are_spread_over_pairs(frames, left, right, spread_by):
    scores = np.random.default_rng(0).normal(size=(2, 3, frames, left + right + 1))
    spread = jax.jit(spread_by, static_argnums=(1, 2))
    found = np.asarray(spread(scores.astype(np.float32), left, right))
    for i in range(frames):
        for j in range(frames):
            place = min(max(j - i, -left), right) + left
            np.testing.assert_allclose(found[:, :, i, j], scores[:, :, i, place], rtol=1e-6)


@pytest.mark.parametrize(
    ("config", "changes", "field"),
    [
        (HubertConfig, {"conv_kernels": (10, 3)}, "conv_kernels"),
        (HubertConfig, {"conv_strides": ()}, "conv_strides"),
        (HubertConfig, {"conv_widths": (512, 0)}, "conv_widths"),
        (HubertConfig, {"heads": 7}, "width"),
        (HubertConfig, {"position_groups": 11}, "width"),
        (W2vBert2Config, {"heads": 3}, "width"),
        (W2vBert2Config, {"frames_per_token": 0}, "frames_per_token"),
    ],
)
def test_sizes_that_cannot_be(config, changes, field):
    with pytest.raises(InputError, match=rf"^{field} = "):
        config(**changes)
