"""The codec against transformers' DacModel with the same weights, through both file formats.

Needs torch and transformers (`pip install 'audiolm_jax[parity]'`), which the lock leaves out:
without them these tests are skipped. Recorded speech is used where data/asterisk_voices holds it.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
from support.dac_files import FIELDS, KWARGS, PAIRS, descript_arrays, write_transformers

from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.dac.config import DacConfig
from audiolm_jax.tokenizers.acoustic.dac.names import convolutional_layers
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.foreign.torch_file import read_torch_file
from audiolm_jax.types import AcousticTokens, AudioBatch

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

SMALL = FIELDS | {"sampling_rate": 16000, "n_codebooks": 4, "codebook_size": 64}
SMALL |= {"encoder_hidden_size": 8, "decoder_hidden_size": 32, "hidden_size": 32}
PUBLISHED = {
    "sampling_rate": 16000,
    "downsampling_ratios": [2, 4, 5, 8],
    "upsampling_ratios": [8, 5, 4, 2],
    "encoder_hidden_size": 64,
    "decoder_hidden_size": 1536,
    "hidden_size": 1024,
    "n_codebooks": 12,
    "codebook_size": 1024,
    "codebook_dim": 8,
}


RECORDINGS = Path(__file__).parents[4] / "data" / "asterisk_voices"
RATE = 16000


def recorded_speech():
    """The first two seconds of the longest clip of each of five voices."""
    # Not what an index has left there.
    voices = sorted(path for path in RECORDINGS.glob("[!.]*") if path.is_dir())
    if len(voices) < 5:
        pytest.skip(f"{RECORDINGS} does not hold five voices")
    clips = [
        max(voice.rglob("*.g722"), key=lambda path: (path.stat().st_size, path.name))
        for voice in voices[:5]
    ]
    return np.concatenate([read_resampled(clip, RATE, "soxr_hq")[: 2 * RATE] for clip in clips])


def synthesised_speech():
    """Ten seconds of voiced sound of moving pitch, in syllables, with breath."""
    t = np.arange(10 * RATE) / RATE
    phase = np.cumsum(2 * np.pi * (120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / RATE)
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    noise = np.random.default_rng(0).standard_normal(len(t))
    rhythm = np.maximum(0, np.sin(2 * np.pi * 3 * t)) ** 0.5
    return (0.1 * rhythm * (voice + 0.2 * noise)).astype(np.float32)


def reference(fields):
    """A DacModel of random weights that keep the signal's size, alphas and biases among them."""
    torch.manual_seed(0)
    config = transformers.DacConfig(**{k: v for k, v in fields.items() if k != "hop_length"})
    model = transformers.DacModel(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("alpha"):
                value.uniform_(0.5, 2.0)
            elif name.endswith("bias"):
                value.normal_(0, 0.02)
            elif value.ndim == 3:
                transposed = "conv_t" in name
                fan_in = 2 * value.shape[0] if transposed else value.shape[1] * value.shape[2]
                value.normal_(0, 0.7 * fan_in**-0.5)
    return model


def pairs_of(fields):
    config = DacConfig(
        strides=tuple(fields["downsampling_ratios"]), decoder_width=fields["decoder_hidden_size"]
    )
    return {x.transformers: x.descript for x in convolutional_layers(config)}


def kwargs_of(fields):
    return KWARGS | {
        "encoder_dim": fields["encoder_hidden_size"],
        "encoder_rates": fields["downsampling_ratios"],
        "latent_dim": fields["hidden_size"],
        "decoder_dim": fields["decoder_hidden_size"],
        "decoder_rates": fields["upsampling_ratios"],
        "n_codebooks": fields["n_codebooks"],
        "codebook_size": fields["codebook_size"],
        "codebook_dim": fields["codebook_dim"],
        "sample_rate": fields["sampling_rate"],
    }


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(SMALL, id="small"),
        pytest.param(PUBLISHED, id="16khz", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("speech", [synthesised_speech, recorded_speech])
def test_codes_and_samples_are_those_of_torch(fields, speech, tmp_path, capsys):
    clip = speech()
    assert len(clip) == 10 * RATE
    model = reference(fields)
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(clip)[None, None]).audio_codes
        heard = model.decode(audio_codes=expected).audio_values.numpy().ravel()
    expected = expected[0].T.numpy()
    model.save_pretrained(tmp_path / "transformers")
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    state = {n: torch.from_numpy(x) for n, x in descript_arrays(arrays, pairs_of(fields)).items()}
    torch.save(
        {"state_dict": state, "metadata": {"kwargs": kwargs_of(fields)}}, tmp_path / "weights.pth"
    )
    for source in ("transformers", "weights.pth"):
        out = tmp_path / "out" / source
        assert main(["import", "dac", str(tmp_path / source), "--out", str(out)]) == 0
        codec = load_acoustic_tokenizer(out)
        codes = codec.encode(AudioBatch.from_clips([clip])).codes[0]
        equal = (codes == expected).mean()
        tokens = AcousticTokens(
            expected[None].astype(np.int32), np.array([len(expected)], np.int32)
        )
        samples = codec.decode(tokens).samples[0]
        difference = np.abs(samples[: len(heard)] - heard).max()
        with capsys.disabled():
            print(
                f"\n{source}: {equal:.4%} of {codes.size} codes equal, {len(np.unique(expected))} "
                f"different ones; samples within {difference:.1e} of {np.abs(heard).max():.2f}"
            )
        assert equal >= 0.999
        assert difference < 1e-4
        assert 0.05 < np.abs(heard).max() < 1


def test_names_are_those_written_out():
    assert pairs_of(FIELDS) == PAIRS


class _Surprise:
    def __reduce__(self):
        return (print, ("executed",))


def test_torch_files_that_are_refused(tmp_path, capsys):
    path = tmp_path / "weights.pth"
    torch.save({"state_dict": {}, "metadata": {"kwargs": _Surprise()}}, path)
    assert main(["import", "dac", str(path), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1
    assert "pickled objects" in lines[0]
    assert "print" in lines[0]

    path.write_bytes(pickle.dumps(_Surprise()))
    with pytest.raises(InputError, match=r"weights\.pth"):
        read_torch_file(path)
    path.write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"weights\.pth"):
        read_torch_file(path)
    assert capsys.readouterr().out == ""
    torch.save({"metadata": {"kwargs": KWARGS}}, path)
    assert main(["import", "dac", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "no state_dict" in capsys.readouterr().err


def test_safetensors_of_torch_are_read(tmp_path):
    """The layout this suite writes without torch is the one that DacModel reads."""
    folder = write_transformers(tmp_path / "dac")
    _, info = transformers.DacModel.from_pretrained(folder, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
