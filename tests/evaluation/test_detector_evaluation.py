"""Material for a detector from a bundle, and what is measured on it."""

import dataclasses
import json
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
from support.tiny_models import voice

from audiolm_jax.artifacts.model_folder import save_model
from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.classifiers.calibration import Calibration, Line, probability
from audiolm_jax.classifiers.config import ClassifierConfig, ClassifierTrainConfig
from audiolm_jax.classifiers.train import program
from audiolm_jax.data.index import scan
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.detector.disturb import DISTURBANCES
from audiolm_jax.evaluation.detector.experiment import DetectorEvaluateExperiment
from audiolm_jax.evaluation.detector.material import DetectorMaterialExperiment
from audiolm_jax.evaluation.detector.measures import reliability, verdicts
from audiolm_jax.generation.config import GenerationConfig

RATE = 16000
SPEAKERS = ("anna", "bert", "carl", "dora", "emil", "fred")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    for number, speaker in enumerate(SPEAKERS):
        (folder / "audio" / speaker).mkdir(parents=True)
        write_wav(folder / "audio" / speaker / "a.wav", voice(1.5, 90 + 20 * number), RATE, None)
    write_wav(folder / "audio" / "anna" / "short.wav", voice(1.0, 300), RATE, None)
    return folder


@pytest.fixture(scope="module")
def material(root, tiny_bundle):
    return DetectorMaterialExperiment(
        directory=str(root / "material"),
        data=AudioDataConfig(
            str(root / "audio"), dataset="tones", split_by="speaker", heldout_percent=50
        ),
        bundle=str(tiny_bundle),
        prompt_seconds=1.0,
        continuation_seconds=0.4,
        batch_size=6,
        generation=GenerationConfig(context_seconds=1.0),
    )


@pytest.mark.slow
def test_pairs_are_alike_and_parts_have_speakers_of_their_own(root, material):
    material.run()
    folder, speakers, times = root / "material", {}, {}
    for part, kinds in (("train", 2), ("test", 3)):
        head, *lines = (folder / part / "metadata.tsv").read_text().splitlines()
        assert head == "path\tkind\tspeaker\tprompt"
        rows = [line.split("\t") for line in lines]
        speakers[part] = {speaker for _, _, speaker, _ in rows}
        assert len(rows) == kinds * len(speakers[part])  # the short one is left out
        for path, kind, speaker, prompt in rows:
            samples, rate = read_audio(folder / part / path)
            assert (len(samples), rate) == (6400, RATE)
            assert prompt == f"{speaker}/a.wav"
            provenance = read_provenance(folder / part / path)
            assert (provenance or {}).get("synthetic", False) == (kind == "generated")
            if kind == "original":
                source, _ = read_audio(root / "audio" / prompt, 1.0, 0.4)
                np.testing.assert_array_equal(samples, source)
            times[folder / part / path] = (folder / part / path).stat().st_mtime_ns
    assert speakers["train"] | speakers["test"] == set(SPEAKERS)
    assert not speakers["train"] & speakers["test"]
    # What is there is kept, what is missing comes back as it was.
    lost = next(path for path in times if path.parent.name == "generated")
    content = lost.read_bytes()
    lost.unlink()
    (folder / "material.json").unlink()
    material.run()
    assert lost.read_bytes() == content
    same = {p for p, t in times.items() if p.stat().st_mtime_ns == t}
    assert {p.name for p in times.keys() - same} == {lost.name}
    other = dataclasses.replace(material, seed=5)
    with pytest.raises(InputError, match="the plan of another bundle, config or corpus"):
        other.run()


def write_detector(folder):
    """Untrained, in a model folder like any other."""
    config = ClassifierConfig(channels=(2, 3), label="kind", classes=("real", "generated"))
    trainer = program(config, ClassifierTrainConfig(), optax.sgd(0.0))
    arrays = trainer.export(jax.jit(trainer.init)(jax.random.key(0)))
    line = Line(1.0, 0.1)
    calibration = Calibration(line, line, 0.5, 0.01, 0, 0, 10, 10)
    provenance = {"calibration": dataclasses.asdict(calibration)}
    save_model(folder, "classifier", config, arrays, provenance)


@pytest.mark.slow
def test_every_condition_is_measured(root, material):
    material.run()
    write_detector(root / "model")
    evaluation = DetectorEvaluateExperiment(
        directory=str(root / "evaluation"),
        detector=str(root / "model"),
        data=AudioDataConfig(str(root / "material" / "test"), heldout_percent=0),
        others=(("again", str(root / "material" / "test")),),
    )
    table = evaluation.run().read_text()
    record = json.loads((root / "evaluation" / "detector.json").read_text())
    rows = {row["condition"]: row for row in record["verdicts"]}
    assert {*DISTURBANCES, "originals, through no codec", "again"} == rows.keys()
    assert all(f"| {name} |" in table for name in rows)
    assert rows["again"] == rows["as it is"] | {"condition": "again"}
    assert rows["originals, through no codec"]["accuracy"] is None
    tests = sum(one["recordings"] for one in record["reliability"])
    assert tests == rows["as it is"]["accuracy"]["clips"]


def test_each_condition_is_heard_as_it_disturbs(tmp_path):
    lines = ["path\tkind"]
    for number, kind in enumerate(("real", "generated", "real")):
        write_wav(tmp_path / f"{number}.wav", voice(1.5, 100 + 20 * number), RATE, None)
        lines.append(f"{number}.wav\t{kind}")
    (tmp_path / "metadata.tsv").write_text("\n".join(lines) + "\n")
    data = AudioDataConfig(str(tmp_path), heldout_percent=0)
    evaluation = DetectorEvaluateExperiment("none", "none", data, seed=3)
    index = scan(evaluation.data)

    def hear(samples):
        return SimpleNamespace(log_odds=float(np.abs(samples, dtype=np.float64).sum()))

    names = ("as it is", "first 1 s", "white noise, 20 dB below")
    odds, labels, paths = evaluation._hear(SimpleNamespace(hear=hear), index, names)
    assert list(odds) == list(names)
    assert sorted(labels) == [0, 0, 1]
    assert len(paths) == len(index.clips)
    for name, heard in odds.items():
        for place, clip in enumerate(index.clips):
            disturbed = DISTURBANCES[name](index.load(clip), RATE, 3 + place)
            assert heard[place] == hear(disturbed).log_odds


@pytest.mark.parametrize(
    ("kinds", "rate_hz", "message"),
    [
        (("real", "generated"), 8000, r"--data\.sample-rate-hz = 8000: the detector hears 16000"),
        (("real", "real"), RATE, r"nothing in it is of kind 'generated'"),
        (("generated", "generated"), RATE, r"nothing in it is of kind 'real'"),
        (("real", "fake"), RATE, r"holds kind 'fake', expected real, generated"),
    ],
)
def test_what_cannot_be_judged_gets_one_line(tmp_path, kinds, rate_hz, message):
    (tmp_path / "sound").mkdir()
    lines = ["path\tkind"]
    for number, kind in enumerate(kinds):
        write_wav(tmp_path / f"sound/{number}.wav", voice(1.5, 100 + 20 * number), RATE, None)
        lines.append(f"{number}.wav\t{kind}")
    (tmp_path / "sound/metadata.tsv").write_text("\n".join(lines) + "\n")
    write_detector(tmp_path / "model")
    data = AudioDataConfig(str(tmp_path / "sound"), heldout_percent=0, sample_rate_hz=rate_hz)
    out = tmp_path / "out"
    evaluation = DetectorEvaluateExperiment(str(out), str(tmp_path / "model"), data)
    with pytest.raises(InputError, match=message) as error:
        evaluation.run()
    assert len(str(error.value).splitlines()) == 1
    assert not list(out.glob("*.[mj]*"))  # neither table nor record


def test_verdicts_by_hand():
    odds, labels = np.array([-3.0, -1.0, 0.5, 2.0, 1.0, -0.5]), np.array([0, 0, 0, 0, 1, 1])
    found = verdicts("x", odds, labels, 1.5, 0)
    assert found.accuracy.mean == pytest.approx((2 / 4 + 1 / 2) / 2)
    assert found.auc == pytest.approx((3 + 2) / 8)  # 1.0 is above three of four, -0.5 above two
    assert (found.false_positives, found.misses) == (0.25, 1.0)


def test_odds_that_are_true_are_reliable():
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 2, 50_000)
    labels = (rng.random(50_000) < probability(odds)).astype(int)
    bins, error = reliability(odds, labels)
    assert error < 0.01
    assert sum(one.recordings for one in bins) == 50_000
    _, wrong = reliability(3 * odds, labels)
    assert wrong > 0.1


def test_speakers_must_tell_the_parts_apart():
    data = AudioDataConfig("stories/unheard", dataset="unheard")
    with pytest.raises(InputError, match=r"--data\.split-by = file: expected speaker"):
        DetectorMaterialExperiment(directory="x", data=data, bundle="y")


@pytest.mark.parametrize("name", DISTURBANCES)
def test_a_disturbed_recording_stays_in_step(name):
    """It is most like the original where it was, up to what Opus's filters shift (0.4 ms)."""
    samples = voice(2.0, 120)
    disturbed = DISTURBANCES[name](samples, RATE, 0)
    size = len(disturbed)
    assert size == (RATE if "first 1 s" in name else len(samples))
    assert np.isfinite(disturbed).all()
    assert np.abs(disturbed).max() <= 1.2
    inner = samples[2000 : size - 2000]
    lags = [float(inner @ disturbed[2000 + d : size - 2000 + d]) for d in range(-40, 41)]
    assert abs(int(np.argmax(lags)) - 40) <= 6
