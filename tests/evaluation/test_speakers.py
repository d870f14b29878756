"""Whose voice is heard in clips that were made before, with a classifier that can be followed."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from audiolm_jax.audio.files import write_wav
from audiolm_jax.classifiers import listen
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.evaluation.speakers import experiment as speakers
from audiolm_jax.evaluation.speakers.experiment import SpeakersEvaluateExperiment
from audiolm_jax.evaluation.world.experiment import WorldExperiment
from audiolm_jax.evaluation.world.selection import choose_clips, choose_stretches, open_recordings
from audiolm_jax.evaluation.world.systems import CODEC, REVOICED, sound_path, systems_of
from audiolm_jax.evaluation.world.utterances import whole

RATE = 16000
LEVELS = {"ann": 0.1, "bob": 0.5}  # of a voice that is nothing else


def of(speaker, seconds):
    return np.full(round(seconds * RATE), LEVELS[speaker], np.float32)


class Ears(listen.TrainedClassifier):
    """Hears the speaker of the mean level."""

    classes, sample_rate_hz, provenance = ("ann", "bob"), RATE, {}

    def __init__(self):
        pass

    def windows(self, samples):
        distances = [-abs(samples.mean() - level) for level in LEVELS.values()]
        return SimpleNamespace(of_file=np.array(distances))


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Two recordings of 2.5 s, and what a world evaluation made of them: prompts of 0.5 s."""
    for name in LEVELS:
        (tmp_path / "audio" / name).mkdir(parents=True)
        write_wav(tmp_path / "audio" / name / "a.wav", of(name, 2.5), RATE, {})
        (tmp_path / "audio" / name / "transcripts.txt").write_text("a: Some words.\n")
    world = WorldExperiment(
        directory=str(tmp_path / "world"),
        title="",
        data=AudioDataConfig(str(tmp_path / "audio"), "levels"),
        world="world",
        asr=AsrConfig("whisper"),
        bundle="bundle",
        prompts=2,
        prompt_seconds=0.5,
        continuation_seconds=2.0,
        temperatures=(0.6,),
        seeds=(0, 1),
        revoiced=2,
    )
    index, folder = open_recordings(world.data), tmp_path / "world"
    (continued,) = systems_of((0.6,), ())
    for stretch in choose_stretches(index, 2, 2.5):
        own = stretch.clip.speaker
        write_wav(sound_path(folder, CODEC, stretch.name, 0), of(own, 2.5), RATE, {})
        for seed in (0, 1):  # the second turns into bob after a second
            later = own if seed == 0 else "bob"
            samples = np.concatenate([of(own, 1.5), of(later, 1.0)])
            samples[: RATE // 2] = LEVELS["ann"] if own == "bob" else LEVELS["bob"]  # misleads
            write_wav(sound_path(folder, continued, stretch.name, seed), samples, RATE, {})
    for clip in choose_clips(index, 2):
        name = whole(clip).name
        write_wav(sound_path(folder, CODEC, name, 0), of(clip.speaker, 2.5), RATE, {})
        for seed, speaker in ((0, "ann"), (1, "bob")):
            write_wav(sound_path(folder, REVOICED, name, seed), of(speaker, 2.5), RATE, {})
    from audiolm_jax.artifacts.config_json import config_to_dict

    data = {"fingerprint": index.fingerprint}
    report = {"of": {"config": config_to_dict(world)}, "data": data}
    (folder / "report.json").write_text(json.dumps(report))
    monkeypatch.setattr(listen.TrainedClassifier, "load", lambda folder: Ears())
    monkeypatch.setattr(speakers, "fingerprint_of", lambda folder: "f" * 64)
    monkeypatch.setattr(speakers, "model_folder", lambda folder: folder)
    return SpeakersEvaluateExperiment(
        directory=str(tmp_path / "out"), classifier="ears", world=str(folder), similarity=False
    )


def test_accuracy_of_every_system_and_window(made):
    text = made.run().read_text()
    record = json.loads((made.run().parent / "speakers.json").read_text())
    assert record["chance"] == 0.5
    wholes = {row["system"]: row["accuracy"] for row in record["wholes"]}
    endings = {row["system"]: row for row in record["endings"]}
    assert {name: row["mean"] for name, row in wholes.items()} == {
        "real recording": 1.0,
        "codec round trip": 1.0,
        "revoiced": 0.5,  # once ann, once bob, whoever it was
    }
    assert wholes["revoiced"]["clips"] == 2  # recordings, not seeds
    # Without the prompt, which is of the other: 3 of 4 are right, ann's second one is between both.
    windows = endings["continued, T = 0.6"]["windows"]
    assert [x["label"] for x in windows] == ["0 to 1 s", "1 to 2 s"]
    assert [x["accuracy"]["mean"] for x in windows] == [1.0, 0.75]
    assert windows[0]["similarity"] is None
    assert endings["real recording"]["accuracy"]["mean"] == 1.0
    assert endings["continued, T = 0.6"]["accuracy"]["mean"] >= 0.75
    assert "| revoiced | 50.0 (50.0 to 50.0) |" in text
    assert "chance 50.0 %" in text


def test_rows_by_stage_are_those_that_were_made(made):
    from audiolm_jax.evaluation.speakers.clips import WorldClips, read_report
    from audiolm_jax.evaluation.world.systems import COARSE, FINE, TOLD

    world, record = read_report(Path(made.world))
    world = dataclasses.replace(world, by_stage=True)
    clips = WorldClips(world, record | {"endings": [{"system": FINE.label}]})
    assert {COARSE, FINE, TOLD} < {*clips.endings}
    assert {COARSE, FINE} < {*clips.wholes}
    clips = WorldClips(world, record | {"endings": [{"system": TOLD.label}]})  # no fine stage
    assert {COARSE, FINE, TOLD} & {*clips.endings, *clips.wholes} == {TOLD}


def test_windows_are_compared_with_the_prompt(made):
    from audiolm_jax.evaluation.speakers.clips import Heard
    from audiolm_jax.evaluation.speakers.judge import Judge

    def embed(samples):
        level = samples.mean()
        return np.array([np.cos(level), np.sin(level)]) if samples.any() else None

    samples = np.concatenate([of("ann", 1.0), of("bob", 1.0), np.zeros(RATE, np.float32)])
    judged = Judge(Ears(), embed, 1.0)(Heard("s", "n", "ann", 0, of("bob", 0.5), samples))
    assert [x.similarity for x in judged.windows] == [
        pytest.approx(np.cos(0.4)),
        pytest.approx(1.0),
        None,
    ]
    assert [x.accuracy for x in judged.windows] == [1.0, 0.0, 0.0]
    silent = Judge(Ears(), embed, 1.0)(Heard("s", "n", "ann", 0, of("ann", 0.5), samples[:0]))
    assert (silent.heard, silent.is_right, silent.windows) == (None, False, ())


def test_what_does_not_fit_gets_one_line(made, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"--world .*none: no report.json there"):
        dataclasses.replace(made, world=str(tmp_path / "none")).run()
    with pytest.raises(InputError, match=r"--window-seconds 0.0: expected more than 0"):
        dataclasses.replace(made, window_seconds=0.0)
    next((tmp_path / "world" / "sounds" / "revoiced").iterdir()).unlink()
    with pytest.raises(InputError, match=r"\.wav: is missing; run the evaluation that makes it"):
        made.run()
    monkeypatch.setattr(Ears, "classes", ("ann", "cid"))
    with pytest.raises(InputError, match="does not know 'bob', one of 1 speakers"):
        made.run()
    assert not (tmp_path / "out" / "table.md").exists()
