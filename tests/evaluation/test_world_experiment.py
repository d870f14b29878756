"""`audiolm evaluate` of the words that are said: the whole road with tiny untrained models."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from support.tiny_models import CLUSTERS, voice

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import AsrConfig, HeardWord, Recognizer, TextErrors
from audiolm_jax.evaluation.world import judge, listen
from audiolm_jax.evaluation.world.experiment import WorldExperiment
from audiolm_jax.evaluation.world.language import read_world
from audiolm_jax.evaluation.world.systems import Sounds
from audiolm_jax.evaluation.world.units import UnitBigrams
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.stages import BOS, FIRST_ID, Sequence

SYSTEMS = ["real recording", "codec round trip", "continued, T = 0.5", "continued, T = 1"]


class Fake(Recognizer):
    """Hears two words in the prompt, then one a second: of the world if the sound is real."""

    fingerprint, heard = "f" * 64, 0
    normalize = staticmethod({"one": "1"}.get)

    def __init__(self, folder, language):
        self.normalize = lambda word: {"one": "1"}.get(word, word)

    def words(self, samples):
        type(self).heard += 1
        assert samples.dtype == np.float32
        seconds = len(samples) / 16000
        texts = ["leo", "has", "1", "pair.", "leo", "cut"]
        return [
            HeardWord(text, 0.4 * n, 0.4 * n + 0.4)
            for n, text in enumerate(texts[: round(seconds / 0.4)])
        ]


def embed(samples):
    """The pitch of a voice, roughly, as a direction."""
    spectrum = np.abs(np.fft.rfft(samples, 16000))[60:400]
    return spectrum / np.linalg.norm(spectrum) if samples.any() else None


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("world_evaluation")
    for speaker, pitch in (("ann", 90), ("bob", 150)):
        own = folder / "audio" / speaker
        own.mkdir(parents=True)
        for n in range(2):
            write_wav(own / f"{n}.wav", voice(2.5 + n / 5, pitch, n), 16000, {})
        (own / "transcripts.txt").write_text(
            "".join(f"{n}: Leo has one pear. Leo cut.\n" for n in range(2))
        )
    world = folder / "world"
    world.mkdir()
    (world / "words.txt").write_text("has\nleo\none\npear\n")
    (world / "bigrams.txt").write_text("<s> leo\nleo has\nhas one\none pear\npear </s>\n")
    (world / "homophones.tsv").write_text("spelling\tword\npair\tpear\n")
    shutil.copytree(tiny_bundle, folder / "bundle")
    return folder


@pytest.fixture(autouse=True)
def fakes(monkeypatch):
    """No recognizer, no voices, no jiwer."""

    class Judgement(listen.Judgement):
        def __init__(self, experiment):
            super().__init__(experiment, Fake, lambda: embed)

    def count(transcript, heard):
        wrong = sum(a != b for a, b in zip(transcript.split(), heard.split(), strict=False))
        return TextErrors(len(transcript.split()), wrong, 0, 0)

    monkeypatch.setattr(listen, "Judgement", Judgement)
    monkeypatch.setattr(judge, "count_errors", count)


@pytest.fixture
def experiment(root, tmp_path):
    return WorldExperiment(
        directory=str(tmp_path / "out"),
        title="What they say",
        data=AudioDataConfig(str(root / "audio"), "voices"),
        world=str(root / "world"),
        asr=AsrConfig("whisper"),
        bundle=str(root / "bundle"),
        prompts=3,
        prompt_seconds=0.8,
        continuation_seconds=1.6,
        temperatures=(0.5, 1.0),
        revoiced=1,
        bands=((0.5, 2.0), (2.0, 4.0)),
        generation=GenerationConfig(context_seconds=1.0),
        examples=1,
        licence="Nobody spoke.",
    )


@pytest.mark.slow
def test_the_whole_road_and_again(experiment, monkeypatch, caplog):
    caplog.set_level("INFO")
    page = experiment.run()
    folder = page.parent
    record = json.loads((folder / "report.json").read_text())
    assert [row["system"] for row in record["endings"]] == SYSTEMS
    assert [row["system"] for row in record["readings"]] == [*SYSTEMS[:2], "revoiced"]
    assert len(record["every_ending"]) == 3 * 4
    first = record["every_ending"][0]
    # leo has, 1 pair. leo (cut): 3 words after the prompt; has one, one pear, pear. leo.
    assert first["heard"] == "1 pair. leo cut"
    expected = {"words": 3, "known": 3, "pairs": 3, "legal": 3, "sentences": 1, "whole": 1}
    assert {name: first["said"][name] for name in expected} == expected
    assert first["said"]["seconds"] == pytest.approx(1.6)
    means = record["endings"][0]["means"]
    assert means["known"]["mean"] == means["legal"]["mean"] == means["own_first"]["mean"] == 100
    assert means["words_a_second"]["mean"] == pytest.approx(3 / 1.6)
    assert record["readings"][0]["means"]["wer"]["mean"] == 0.0  # "pair" sounds like "pear"
    assert record["readings"][0]["means"]["spelled_wer"]["mean"] == pytest.approx(100 / 6)
    # Sounds say what made them, and tell temperatures apart.
    wavs = sorted((folder / "sounds").rglob("*.wav"))
    assert len(wavs) == 3 * 3 + 4  # two of them of a beginning
    # The recording is too long for the first band: its first sentence is read for it.
    assert [(band["label"], band["items"]) for band in record["bands"]] == [
        ("0.5 to 2 s", 1),
        ("2 to 4 s", 1),
    ]
    begun = record["every_beginning"]
    assert [x["system"] for x in begun] == [*SYSTEMS[:2], "revoiced"]
    assert {x["transcript"] for x in begun} == {"Leo has one pear."}
    assert all(1.4 <= x["seconds"] <= 1.8 for x in begun)
    assert "whisper-normalizer" in record["asr"]["normalizer"]
    assert {path.parent.name for path in wavs} == {
        "codec",
        "continued_0.5",
        "continued_1",
        "revoiced",
    }
    cold, warm = (
        read_audio(next((folder / "sounds" / f"continued_{t}").iterdir()))[0] for t in ("0.5", "1")
    )
    assert len(cold) == len(warm) == round(2.4 * 16000)
    assert not np.array_equal(cold, warm)
    provenance = read_provenance(next((folder / "sounds" / "continued_0.5").iterdir()))
    assert provenance["generation"]["semantic"]["temperature"] == 0.5
    assert provenance["system"] == "continued, T = 0.5"
    text = page.read_text()
    assert text.count("<audio") == 4
    assert text.count("<blockquote>1 pair. leo cut</blockquote>") == 4
    assert "no person spoke those" in text
    table = (folder / "table.md").read_text()
    assert "| continued, T = 0.5 |" in table
    assert "(at least 85)" in table
    assert "\n".join(table.splitlines()) in "\n".join(caplog.messages)
    assert {path.stem for path in (folder / "figures").iterdir()} == {"known", "legal"}
    # Interrupted: what is there is not made or heard again, and the result is the same.
    before, heard = {path: path.stat().st_mtime_ns for path in wavs}, Fake.heard
    wavs[0].unlink()
    (folder / "report.json").unlink()
    experiment.run()
    after = {path: path.stat().st_mtime_ns for path in wavs}
    assert [path for path in wavs if after[path] != before[path]] == [wavs[0]]
    assert Fake.heard == heard
    assert json.loads((folder / "report.json").read_text()) == record
    # Finished: nothing is done.
    monkeypatch.setattr(listen, "Judgement", None)
    experiment.run()


@pytest.mark.slow
def test_rows_by_stage(experiment):
    record = json.loads((experiment.run().parent / "report.json").read_text())
    asked = dataclasses.replace(experiment, by_stage=True)
    page = asked.run()
    more = json.loads((page.parent / "report.json").read_text())
    rows = ["coarse levels alone", "fine stage on the recording's coarse codes"]
    for table, added in (("endings", [*rows, "told the recording's units"]), ("readings", rows)):
        assert [row["system"] for row in more[table]][2 : 2 + len(added)] == added
        assert [row for row in more[table] if row["system"] not in added] == record[table]
    bands = more["bands"][0]["rows"]
    assert [row["system"] for row in bands] == [row["system"] for row in more["readings"]]
    assert page.read_text().count("<audio") == 4 + 3
    folders = {path.name for path in (page.parent / "sounds").iterdir()}
    assert {"coarse", "fine", "told"} < folders


def test_recordings_alone(experiment):
    experiment = dataclasses.replace(experiment, bundle=None, similarity=False, revoiced=0)
    page, heard = experiment.run(), Fake.heard
    record = json.loads((page.parent / "report.json").read_text())
    page.unlink()
    experiment.run()
    assert Fake.heard == heard  # what was heard is kept
    assert json.loads((page.parent / "report.json").read_text()) == record
    assert [row["system"] for row in record["endings"]] == ["real recording"]
    assert record["readings"] == []
    assert record["endings"][0]["means"]["own_first"] is None
    assert "Voices were not compared." in (page.parent / "table.md").read_text()


def test_units_of_a_bigram_model_are_spoken(experiment, root):
    from audiolm_jax.evaluation.measures.ngram import NgramModel
    from audiolm_jax.evaluation.world.selection import choose_stretches, open_recordings
    from audiolm_jax.evaluation.world.systems import systems_of

    bundle = load_bundle(root / "bundle")
    rng = np.random.default_rng(0)
    walks = [np.append([BOS], FIRST_ID + rng.permutation(CLUSTERS)) for _ in range(4)]
    stage = bundle.stages["semantic"].config.stage
    model = NgramModel([Sequence(walk.astype(np.int32), 1) for walk in walks], stage, 2)
    index = open_recordings(experiment.data)
    stretches = choose_stretches(index, 2, 2.4)
    (system,) = systems_of((), (1.0,))
    folder = root / "bigrams"
    draws = {1.0: UnitBigrams(model, 1.0)}
    sounds = Sounds(folder, index, bundle, experiment.generation, (0, 1), draws, "store")
    wanted = sounds.end(system, stretches, 12800, 1.6)
    assert [(x.place, x.seed) for x in wanted] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    samples = [read_audio(x.path)[0] for x in wanted]
    assert all(len(x) == 38400 for x in samples)
    assert not np.array_equal(samples[0], samples[1])
    assert read_provenance(wanted[0].path)["counted_on"] == "store"


def test_what_is_missing_is_said_before_anything_is_made(experiment, root, tmp_path):
    def refuses(message, **changes):
        with pytest.raises(InputError, match=re.escape(message)):
            dataclasses.replace(experiment, **changes).run()
        assert not (tmp_path / "out" / "sounds").exists()

    refuses("no words.txt there", world=str(tmp_path))
    refuses("--prompts 9: ", prompts=9)
    refuses("--revoiced 9: ", revoiced=9)
    refuses(
        "--prompt-seconds 0.81: expected a multiple of the 0.04 s", prompt_seconds=0.81, prompts=2
    )
    refuses("bundle.json", bundle=str(tmp_path))
    refuses("--data.source", data=AudioDataConfig(str(tmp_path / "nothing"), "voices"))
    (tmp_path / "one").mkdir()
    shutil.copytree(root / "audio" / "ann", tmp_path / "one" / "ann")
    one = AudioDataConfig(str(tmp_path / "one"), "voices")
    refuses("1 speakers of two recordings or more", data=one, prompts=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompts": 0}, "--prompts 0: expected 1 or more"),
        ({"revoiced": -1}, "--revoiced -1: expected 0 or more"),
        ({"speaker_clips": 1}, "--speaker-clips 1: expected 2 or more"),
        ({"prompt_seconds": 0.0}, "--prompt-seconds 0.0: expected more than 0"),
        ({"continuation_seconds": float("nan")}, "--continuation-seconds nan"),
        ({"continuation_seconds": 29.5}, "expected 30 together at most"),
        ({"temperatures": ()}, "--temperatures (): expected numbers"),
        ({"temperatures": (0.5, 0.5)}, "none of them twice"),
        ({"bigram_temperatures": (-1.0,)}, "--bigram-temperatures (-1.0,)"),
        ({"seeds": ()}, "--seeds ()"),
        ({"asr": AsrConfig(None)}, "--asr.model None"),
        ({"asr": AsrConfig("w", language="fr")}, "--asr.language fr"),
        ({"bundle": None, "tokens": "t"}, "--tokens t: is of no use without --bundle"),
        ({"data": AudioDataConfig("x", sample_rate_hz=24000)}, "--data.sample-rate-hz 24000"),
        ({"others": AudioDataConfig("x", sample_rate_hz=8000)}, "--others.sample-rate-hz 8000"),
    ],
)
def test_fields_that_make_no_sense(experiment, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        dataclasses.replace(experiment, **change)


def test_the_world_that_is_read_is_the_folders(root):
    world = read_world(root / "world", str)
    assert (len(world.words), len(world.bigrams)) == (4, 5)
