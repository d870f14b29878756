"""`audiolm evaluate` of a codec: the whole road on tones, what it writes and what it refuses."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from support.tiny_models import CODES, LEVELS, PROVENANCE, voice, write_codec

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.codecs import experiment as codec_evaluation
from audiolm_jax.evaluation.codecs.compare import measuring_pool
from audiolm_jax.evaluation.codecs.comparison import ClipRecord, Row
from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.measures import quality
from audiolm_jax.evaluation.measures.recognition import AsrConfig, Recognizer, TextErrors
from audiolm_jax.evaluation.page import training
from audiolm_jax.evaluation.page.training import TrainerSummary

VISQOL = "pip install visqol-python"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codec_evaluation")
    write_codec(folder / "codec")
    for n in range(8):
        samples = voice(1.1 + 0.1 * n, 90 + 20 * n, n)
        (folder / "audio").mkdir(exist_ok=True)
        write_wav(folder / "audio" / f"{n}.wav", samples, 16000, {})
    (folder / "audio" / "transcripts.txt").write_text("".join(f"{n}: tone {n}\n" for n in range(8)))
    return folder


@pytest.fixture
def experiment(root, tmp_path):
    return CodecEvaluateExperiment(
        directory=str(tmp_path / "out"),
        title="Tones",
        data=AudioDataConfig(str(root / "audio"), "tones", heldout_percent=60),
        codecs=(("tiny", str(root / "codec")),),
        levels=(1, 2, 12),
        opus_kbps=(6.0, 24.0),
        min_clip_seconds=1.0,
        max_clips=2,
        examples=1,
    )


@pytest.fixture(autouse=True)
def few_packages(monkeypatch):
    """ViSQOL and PESQ are not installed, the recognizer's packages are; nothing is spawned."""

    def missing(metric, mapping):
        return tuple(name for name in ("visqol-python", "pesq") if metric.name in name)

    monkeypatch.setattr(codec_evaluation, "missing_packages", missing)
    monkeypatch.setattr("os.cpu_count", lambda: 1)


class Deaf(Recognizer):
    """A recognizer that hears "tone 1" in everything."""

    fingerprint = "f" * 64
    normalize = staticmethod(str.upper)

    def __init__(self, folder, language):
        assert language == "en"

    def errors(self, transcript, heard):
        return words_apart(transcript, heard)

    def __call__(self, samples):
        assert samples.dtype == np.float32
        return "tone 1"


def words_apart(transcript, heard):
    pairs = list(zip(transcript.split(), heard.split(), strict=True))
    wrong = sum(one != other for one, other in pairs)
    return TextErrors(len(pairs), wrong, len(transcript), wrong)


@pytest.mark.slow
def test_the_whole_road(experiment, monkeypatch, caplog, root):
    caplog.set_level("INFO")
    monkeypatch.setattr(codec_evaluation, "Recognizer", Deaf)
    metrics = ({"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "heldout/loss": 2.5})
    run = TrainerSummary("light run", 2, "4 x 1 s", 10, 0.1, "1 x cpu", metrics, ("loss",))
    monkeypatch.setattr(training, "summarize_run", {Path("runs/light_run"): run}.get)
    experiment = dataclasses.replace(
        experiment, asr=AsrConfig("whisper", max_clips=3), runs=("runs/light_run",)
    )
    page = experiment.run()
    assert f"visqol: not measured: {VISQOL}" in caplog.text
    text = (page.parent / "table.md").read_text()
    assert "\n".join(text.splitlines()) in "\n".join(caplog.messages)
    record = json.loads((page.parent / "report.json").read_text())
    known = {"speakers": 0, "known": 0, "nameless_clips": len(record["clips"])}
    assert record["heldout_speakers"] == known
    assert "held-out clips is unknown" in text
    assert "held-out clips is unknown" in page.read_text()
    rows = [config_from_dict(Row, row, "row") for row in record["rows"]]
    assert [row.condition.label for row in rows] == [
        "original", "tiny, 1 level", "tiny, 2 levels", f"tiny, {LEVELS} levels", "Opus 6 kbit/s",
        "Opus 24 kbit/s",
    ]  # fmt: skip
    for row in rows:
        assert f"| {row.condition.label} |" in text
        assert row.means["wer"].clips == 3
        assert row.means["wer"].mean in (pytest.approx(100 * k / 6) for k in (2, 3))
    for row in rows[1:]:
        assert set(row.means) == {"stoi", "si_sdr_db", "mel_distance", "wer", "cer"}
        assert row.means["mel_distance"].clips == 2
    assert rows[3].condition.kbps == LEVELS * np.log2(CODES) * 50 / 1000
    assert 0 < rows[3].entropy_kbps < rows[3].condition.kbps <= rows[3].measured_kbps
    assert rows[5].means["mel_distance"].mean < rows[4].means["mel_distance"].mean
    assert text.count("not measured") == 2 * (len(rows) + 1)
    clips = [config_from_dict(ClipRecord, clip, "clip") for clip in record["clips"]]
    waveform = [clip for clip in clips if clip.results[1].scores]
    assert len(waveform) == 2
    mean = np.mean([clip.results[1].scores["si_sdr_db"] for clip in waveform])
    assert rows[1].means["si_sdr_db"].mean == pytest.approx(mean)
    assert sum(clip.transcript is not None for clip in clips) == 3
    assert all(result.heard == "tone 1" for clip in clips[:1] for result in clip.results)
    assert [len(use["levels"]) for use in record["codebooks"]] == [LEVELS]
    # Original, three depths of the codec, Opus at its lowest.
    assert page.read_text().count("<audio") == 5
    figures = {path.stem for path in (page.parent / "figures").iterdir()}
    assert figures == {"stoi", "si_sdr_db", "mel_distance", "wer", "cer", "perplexity"} | {
        "training_1_light_run"
    }
    before = page.stat().st_mtime_ns
    experiment.run()
    assert page.stat().st_mtime_ns == before


@pytest.mark.slow  # starts Python twice
def test_processes_answer_as_one_does():
    low, high, soft = voice(1.0, 100), voice(1.0, 110), 0.5 * voice(1.0, 100, 1)
    names, answers = ("si_sdr_db", "mel_distance"), []
    for workers in (1, 2):
        with measuring_pool(workers) as pool:
            waiting = [
                pool.submit(quality.measure, low, other, names, "polynomial")
                for other in (high, soft)
            ]
            answers.append([future.result() for future in waiting])
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_what_is_asked_for_must_be_there(experiment, tmp_path):
    with pytest.raises(InputError, match=f"required asks for visqol.*{VISQOL}"):
        dataclasses.replace(experiment, required=("visqol",)).run()
    with pytest.raises(InputError, match="no trained model here"):
        dataclasses.replace(experiment, codecs=(("a", str(tmp_path)),)).run()
    with pytest.raises(InputError, match=r"--asr.model .*no model.bin"):
        dataclasses.replace(experiment, asr=AsrConfig(str(tmp_path))).run()
    with pytest.raises(InputError, match=r"none of . held-out clips is 9 to 10 s long"):
        dataclasses.replace(experiment, min_clip_seconds=9.0).run()
    with pytest.raises(InputError, match="no finished run here"):
        dataclasses.replace(experiment, runs=(str(tmp_path),), min_clip_seconds=9.0).run()
    assert not (tmp_path / "out").exists()


def test_a_codec_that_learnt_from_the_clips_is_refused(experiment, root, tmp_path, monkeypatch):
    data = {"dataset": "tones", "heldout_percent": 59}
    monkeypatch.setitem(PROVENANCE, "config", {"data": data})
    write_codec(tmp_path / "codec")
    seen = dataclasses.replace(experiment, codecs=(("seen", str(tmp_path / "codec")),))
    with pytest.raises(InputError, match=r"= 60, .* was trained on tones with heldout_percent 59"):
        seen.run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codecs": ()}, "at least one"),
        ({"codecs": (("a", "x"), ("a", "y"))}, "label of its own"),
        ({"codecs": (("Opus", "x"),)}, "other than 'Opus'"),
        ({"codecs": tuple((c, "x") for c in "abcde")}, "expected at most 4"),
        ({"levels": (0, 1)}, "numbers from 1"),
        ({"opus_kbps": (5.0,)}, "--opus-kbps 5: expected 6 to 510"),
        ({"min_clip_seconds": 0.5}, "--min-clip-seconds 0.5"),
        ({"max_clip_seconds": 1.0}, "--max-clip-seconds 1.0"),
        ({"max_clips": 0}, "--max-clips 0"),
        ({"required": ("mos",)}, "--required mos: expected visqol, pesq"),
        ({"required": ("wer",)}, "name a Whisper folder in --asr.model"),
        ({"data": AudioDataConfig("x", sample_rate_hz=24000)}, "expected 16000"),
    ],
)
def test_fields_that_make_no_sense(experiment, change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(experiment, **change)
