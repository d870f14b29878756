"""The ABX test of every kind of features, from a config file to the table."""

import json
from decimal import Decimal

import numpy as np
import pytest
from support.tiny_models import CODES, LEVELS, voice

from audiolm_jax.artifacts.model_folder import load_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.main import main
from audiolm_jax.data.alignments import AlignedPhone, write_alignments
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.config import FeatureConfig
from audiolm_jax.evaluation.abx.features import features_of, mfcc
from audiolm_jax.evaluation.abx.items import triphones, write_items
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS

CONFIG = """
from audiolm_jax.evaluation.abx.experiment import AbxExperiment
from audiolm_jax.evaluation.abx.config import FeatureConfig

def experiment():
    return AbxExperiment(
        "{root}/out", "{root}/audio", "{root}/x.item", alignments="{root}/a.tsv", batch_size=4,
        features=(
            FeatureConfig("MFCC", "mfcc"),
            FeatureConfig("codec", "codec", "{parts}/codec", levels=2),
            FeatureConfig("layer", "encoder", "{parts}/encoder", "masked_1", "{parts}/semantic"),
            FeatureConfig("tokens", "semantic", "{parts}/semantic"),
        ),
    )
"""


@pytest.fixture(scope="module")
def parts(tiny_bundle):
    return tiny_bundle.parent / "parts"


@pytest.fixture(scope="module")
def root(parts, tmp_path_factory):
    """Two voices that sing `b ah d` and `b ih d`, the vowels an octave apart, over and over."""
    root = tmp_path_factory.mktemp("abx")
    phones = []
    for speaker, pitch in (("low", 100), ("high", 130)):
        (root / "audio" / speaker).mkdir(parents=True)
        for number in range(2):
            file, pieces, time = f"{speaker}/{number}", [], Decimal(0)
            for name in ("b", "ah", "d", "b", "ih", "d", "pau") * 2:
                height = {"ah": 2, "ih": 4, "pau": 0.3}.get(name, 1)
                pieces.append(voice(0.05, pitch * height, number))
                phones.append(AlignedPhone(file, name, time, time + Decimal("0.05"), speaker))
                time += Decimal("0.05")
            write_wav(root / "audio" / f"{file}.wav", np.concatenate(pieces), 16000, None)
    write_alignments(root / "a.tsv", phones)
    write_items(root / "x.item", triphones(phones))
    (root / "abx.py").write_text(CONFIG.format(root=root, parts=parts))
    return root


def test_every_source(root, parts, capsys, monkeypatch):
    features = {}

    def recorded(*words):
        features.update(found := features_of(*words))
        return found

    monkeypatch.setattr("audiolm_jax.evaluation.abx.features.features_of", recorded)
    assert main(["evaluate", str(root / "abx.py"), "--abx.seed", "1"]) == 0
    assert "MFCC, legacy: within" in capsys.readouterr().out
    record = json.loads((root / "out/abx.json").read_text())
    rows = {row["name"]: row for row in record["rows"]}
    discrete = {"codec, codes of level 1", "tokens, centroids", "tokens, ids"}
    assert set(rows) == {"MFCC", "codec, vectors of 2 levels", "layer"} | discrete
    assert set(record["of"]["models"].values()) == {
        json.loads((parts / name / "model.json").read_text())["fingerprint"]
        for name in ("codec", "encoder", "semantic")
    }
    for name, row in rows.items():
        assert [score["slicing"] for score in row["scores"]] == ["corrected", "legacy"]
        for score in row["scores"]:
            assert score["within"]["cells"] == 4  # two vowels by two speakers
            assert 0 <= score["within"]["error"] <= 1
            assert 0 <= score["across"]["error"] <= 1
        assert (row["purity"] is not None) == (name in discrete)
        assert (row["changes"] is not None) == name.startswith("tokens, ")
    assert rows["MFCC"]["scores"][0]["within"]["error"] < 0.05
    assert rows["tokens, ids"]["rate_hz"] == 25
    assert list(rows["tokens, ids"]["changes"]) == ["0.005", "0.01", "0.02"]
    assert all(0 < change < 1.5 for change in rows["tokens, ids"]["changes"].values())
    table = root / "out/abx.md"
    assert table.read_text().count("\n") == 2 + len(rows)
    before = table.stat().st_mtime_ns
    assert main(["evaluate", str(root / "abx.py"), "--abx.seed", "1"]) == 0
    assert "finished already" in capsys.readouterr().out
    assert table.stat().st_mtime_ns == before

    # Standardised by the k-means, a layer's features are nearest to the centroids of the ids.
    centroids = load_model(parts / "semantic").arrays["kmeans.centroids"]
    np.testing.assert_array_equal(features["tokens, centroids"].codebook, centroids)
    for file, frames in features["layer"].by_file.items():
        nearest = np.square(frames[:, None] - centroids).sum(-1).argmin(1)
        for name in ("tokens, centroids", "tokens, ids"):
            np.testing.assert_array_equal(features[name].by_file[file], nearest)
    assert features["tokens, ids"].codebook is None
    # Without the vector of its first code, that of two levels is one of the second level.
    book = load_model(parts / "codec").arrays[CODEBOOKS]
    for file, vectors in features["codec, vectors of 2 levels"].by_file.items():
        rest = vectors - book[0, features["codec, codes of level 1"].by_file[file]]
        assert np.abs(rest[:, None] - book[1]).max(-1).min(1).max() < 1e-5


def test_latents_are_sums_of_code_vectors(parts):
    codec = load_acoustic_tokenizer(parts / "codec")
    book = load_model(parts / "codec").arrays[CODEBOOKS]
    codes = np.random.default_rng(0).integers(0, CODES, (5, LEVELS))
    expected = sum(book[level, codes[:, level]] for level in range(3))
    np.testing.assert_allclose(codec.latents(codes[:, :3]), expected, rtol=1e-6)


def test_mfcc_frames_are_centred_on_their_times():
    samples = np.zeros(16000, np.float32)
    samples[8000:] = 0.1 * np.random.default_rng(0).standard_normal(8000)
    found = mfcc(samples)
    assert found.shape == (100, 39)
    loud = found[:, 0] > found[:45, 0].mean() + 0.5 * np.ptp(found[:, 0])
    assert abs(int(loud.argmax()) - 50) <= 1
    for count in (1, 159, 160, 161, 400):
        assert mfcc(samples[:count]).shape == (-(-count // 160), 39)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "encoder", "model": "m"}, "layer = '' with source = 'encoder': expected one"),
        ({"source": "mfcc", "model": "m"}, "model = 'm' with source = 'mfcc': expected none"),
        ({"source": "semantic", "model": "m", "levels": 2}, "levels = 2 .*: expected none"),
    ],
)
def test_bad_config(fields, message):
    with pytest.raises(InputError, match=message):
        FeatureConfig("x", **fields)


def test_levels_beyond_the_codec(parts):
    config = FeatureConfig("x", "codec", str(parts / "codec"), levels=LEVELS + 1)
    with pytest.raises(InputError, match=f"levels = {LEVELS + 1}: expected 1 to {LEVELS}"):
        features_of(config, {}, 1)
