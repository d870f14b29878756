"""Imported encoders against the transformers library with the same random weights.

Needs torch and transformers, which the lock leaves out: without them these tests are skipped.
`python tests/tokenizers/semantic/test_encoder_parity.py` writes the golden file anew.
"""

import jax
import numpy as np
import pytest
from support.encoder_files import ENCODERS, GOLDEN, KINDS, clips, write_encoder

from audiolm_jax.cli.main import main
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
from audiolm_jax.types import AudioBatch

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

LARGE = {
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}
PUBLISHED = {
    "hubert": (transformers.HubertConfig, {}),
    "hubert_large": (transformers.HubertConfig, LARGE),
    "w2v_bert2": (transformers.Wav2Vec2BertConfig, {}),
}


def reference(folder, sounds):
    """Hidden states of each sound alone, and of all in one padded batch with its mask."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    if model.config.model_type == "hubert":
        extractor = transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    else:
        extractor = transformers.SeamlessM4TFeatureExtractor()

    def run(sounds):
        inputs = extractor(sounds, sampling_rate=16000, padding=True, return_tensors="pt")
        with torch.no_grad():
            outputs = model(**inputs, output_hidden_states=True)
        states = [x.numpy() for x in (*outputs.hidden_states, outputs.last_hidden_state)]
        return np.stack(states, axis=1), inputs["attention_mask"].numpy().sum(1)

    alone = []
    for sound in sounds:
        states, frames = run([sound])
        # The mel extractor fills an odd last frame; the mask says that it is none.
        alone.append(states[0][:, : frames[0]])
    return alone, run(sounds)[0]


def relative(x, expected):
    return np.sqrt(np.square(x - expected).sum() / np.square(expected).sum())


def compare(folder, sounds, out):
    """Largest relative difference of a layer, from torch alone and in a padded batch."""
    alone, together = reference(folder, sounds)
    encoder = load_frame_encoder(out)
    layers = encoder.config.layers
    run = jax.jit(lambda params, audio: encoder.module(params).hidden_states(audio, layers))
    states, frames = run(encoder.params, AudioBatch.from_clips(sounds))
    worst = {"alone": 0.0, "together": 0.0}
    for i, expected in enumerate(alone):
        count = expected.shape[1]
        assert frames[i] == count
        for k in range(layers + 1):
            found = np.asarray(states[k, i, :count])
            worst["alone"] = max(worst["alone"], relative(found, expected[k]))
            difference = relative(found, together[i, k, :count])
            worst["together"] = max(worst["together"], difference)
    return worst


@pytest.mark.parametrize("name", ENCODERS)
def test_small(name, tmp_path):
    fields = ENCODERS[name]
    folder = write_encoder(tmp_path / name, fields)
    out = tmp_path / "out"
    assert main(["import", KINDS[fields["model_type"]], str(folder), "--out", str(out)]) == 0
    worst = compare(folder, clips(), out)
    assert worst["alone"] < 1e-4
    # Torch lets padding into the norm over a recording, and into the batch norm of positions.
    leaks = name in ("hubert", "hubert_25hz")
    assert (worst["together"] < 1e-4) != leaks


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, None], ids=["2_layers", "all_layers"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_layout(name, layers, tmp_path, capsys):
    make, fields = PUBLISHED[name]
    torch.manual_seed(0)
    total = layers or (12 if name == "hubert" else 24)
    model = transformers.AutoModel.from_config(make(**fields, num_hidden_layers=total)).eval()
    with torch.no_grad():
        for value in model.parameters():
            if value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
    model.save_pretrained(tmp_path / name)
    kind = KINDS[model.config.model_type]
    del model
    out = tmp_path / "out"
    assert main(["import", kind, str(tmp_path / name), "--out", str(out)]) == 0
    worst = compare(tmp_path / name, clips((48_000, 24_567)), out)
    with capsys.disabled():
        print(f"\n{name}, {total} layers: {worst}")
    assert worst["alone"] < 1e-3
    assert worst["together"] < 1e-3 or name == "hubert"


def test_the_golden_file_is_torchs(tmp_path):
    golden = np.load(GOLDEN)
    for name, states in make_golden(tmp_path).items():
        np.testing.assert_allclose(golden[name], states, rtol=1e-3, atol=1e-4, err_msg=name)


def make_golden(root):
    """States of the longest clip alone: input of the blocks, their outputs, the last one."""
    return {
        name: reference(write_encoder(root / name, fields), clips()[1:2])[0][0]
        for name, fields in ENCODERS.items()
    }


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    np.savez(GOLDEN, **make_golden(Path(tempfile.mkdtemp())))
