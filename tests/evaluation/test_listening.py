"""Listening tests: what is on the page, what only in the key, and the score of answers."""

import json
import re
import shutil

import numpy as np
import pytest
from scipy.stats import binom
from support.tiny_models import voice

from audiolm_jax.audio.files import read_audio, write_wav
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.listening.experiment import ListeningExperiment
from audiolm_jax.evaluation.listening.page import render
from audiolm_jax.evaluation.listening.score import ListeningScoreExperiment
from audiolm_jax.evaluation.listening.trials import Key, Trial, read_key
from audiolm_jax.generation.config import GenerationConfig


@pytest.fixture(scope="module")
def root(tmp_path_factory, tiny_bundle):
    folder = tmp_path_factory.mktemp("listening")
    for number in range(4):
        (folder / "audio" / f"speaker{number}").mkdir(parents=True)
        sound = voice(2.5, 90 + 30 * number, number)
        write_wav(folder / "audio" / f"speaker{number}" / "a.wav", sound, 16000, None)
    shutil.copytree(tiny_bundle, folder / "bundle")
    return folder


def experiment(root, directory, **changes):
    fields = {
        "directory": str(directory),
        "title": "What goes on?",
        "data": AudioDataConfig(str(root / "audio"), "voices"),
        "bundle": str(root / "bundle"),
        "prompts": 2,
        "prompt_seconds": 0.8,
        "continuation_seconds": 0.8,
        "generation": GenerationConfig(context_seconds=1.0),
    }
    return ListeningExperiment(**(fields | changes))


def test_the_page_asks_and_tells_nothing(root, tmp_path):
    page = experiment(root, tmp_path / "test").run()
    key = read_key(page.parent)
    truths = sorted(trial.truth for trial in key.trials)
    assert truths == ["model", "model", "recording", "recording"]
    assert len({trial.prompt for trial in key.trials}) == 4  # no recording twice
    text = page.read_text()
    assert text.count("<audio") == 4
    assert f'data-test="{key.test}"' in text
    shown = re.sub(r'src="data:[^"]*"', "", text)
    for secret in ("speaker", key.bundle, *(file for trial in key.trials for file in trial.files)):
        assert secret not in shown
    lengths = {len(read_audio(page.parent / trial.files[0])[0]) for trial in key.trials}
    assert lengths == {round(1.6 * 16000)}
    assert re.findall(r'https?://[^"\' )]+', shown) == []

    before = page.stat().st_mtime_ns
    experiment(root, tmp_path / "test").run()
    assert page.stat().st_mtime_ns == before


def test_pairs_have_both_orders(root, tmp_path):
    page = experiment(root, tmp_path / "pairs", prompts=4, other=str(root / "bundle"), seed=3).run()
    key = read_key(page.parent)
    assert (key.kind, len(key.trials)) == ("pairs", 4)
    for trial in key.trials:
        assert trial.files[trial.truth == "B"].startswith("bundle/")
        assert trial.files[trial.truth == "A"].startswith("other/")
    assert [trial.truth for trial in key.trials].count("A") == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": 0}, "--prompts 0: expected 1 or more"),
        ({"prompts": 3}, "--prompts 6: .* has 4 stretches of 1.6 s"),
        ({"continuation_seconds": 0.0}, "--continuation-seconds 0.0: expected more than 0"),
    ],
)
def test_bad_fields_get_one_line(root, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        experiment(root, tmp_path / "test", **changes).run()
    assert not (tmp_path / "test" / "test.html").exists()


# The score.


def made_key(count, kind="real_or_continued"):
    truths = {"real_or_continued": ("recording", "model"), "pairs": ("A", "B")}[kind]
    trials = [
        Trial(n, truths[n % 2], f"p{n}", (f"{n}.wav",), ("0",), 0) for n in range(1, count + 1)
    ]
    return Key(kind, "b" * 16, None, tuple(trials))


def write_test(folder, key):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key.json").write_text(json.dumps(key.json()))
    return folder


def write_answers(path, key, rater, given, **changes):
    listed = [{"trial": n, "answer": a, "plays": 1, "seconds": 9.5} for n, a in given.items()]
    path.write_text(json.dumps({"test": key.test, "rater": rater, "answers": listed} | changes))
    return str(path)


def test_score_by_hand(tmp_path):
    """Two raters: 7 of 10 right, and 3 of 8 with two left out."""
    key = made_key(10)
    write_test(tmp_path / "test", key)
    wrong = {"recording": "model", "model": "recording"}
    first = {t.number: t.truth if t.number <= 7 else wrong[t.truth] for t in key.trials}
    second = {t.number: t.truth if t.number <= 3 else wrong[t.truth] for t in key.trials[:8]}
    files = (
        write_answers(tmp_path / "1.json", key, "ann", first),
        write_answers(tmp_path / "2.json", key, "ben", second),
    )
    score = ListeningScoreExperiment(str(tmp_path / "score"), str(tmp_path / "test"), files)
    page = score.run()
    rows = {
        r["label"]: r for r in json.loads((tmp_path / "score" / "score.json").read_text())["rows"]
    }
    everything = rows["all raters"]
    assert (everything["right"], everything["answers"], everything["unanswered"]) == (10, 18, 2)
    assert everything["chance"] == pytest.approx(2 * binom.sf(9, 18, 0.5))
    # Clopper and Pearson: with the bounds as truth each tail has 2.5 %.
    assert binom.sf(9, 18, everything["low"]) == pytest.approx(0.025, abs=1e-6)
    assert binom.cdf(10, 18, everything["high"]) == pytest.approx(0.025, abs=1e-6)
    assert everything["trials_low"] < 10 / 18 < everything["trials_high"]
    assert (rows["ann"]["right"], rows["ben"]["right"]) == (7, 3)
    models = rows["all raters, of models"]
    assert (models["answers"], models["right"]) == (9, 6)  # 1, 3, 5, 7 and 1, 3, of 5 and 4
    assert "| all raters | 18 | 2 | 55.6 |" in page.read_text()


def test_preferences_count_for_the_bundle_wherever_it_stood(tmp_path):
    key = made_key(6, "pairs")
    write_test(tmp_path / "test", key)
    answers = {trial.number: trial.truth for trial in key.trials}
    file = write_answers(tmp_path / "1.json", key, "ann", answers)
    score = ListeningScoreExperiment(str(tmp_path / "score"), str(tmp_path / "test"), (file,))
    assert "| all raters | 6 | 0 | 100.0 |" in score.run().read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": "0" * 16}, "1.json: of test 0000000000000000, expected"),
        ({"answers": []}, "1.json: holds no answer"),
        ({"answers": [{"trial": 11, "answer": "model"}]}, "trial 11 is 'model', expected 1 to 10"),
        ({"answers": [{"trial": 1, "answer": "A"}]}, "trial 1 is 'A', expected 1 to 10, recording"),
        ({"answers": [{"trial": 1, "answer": "model"}] * 2}, "answers a trial twice"),
        ({"answers": 3}, "no file that the page saved"),
    ],
)
def test_bad_answers_get_one_line(tmp_path, changes, message):
    key = made_key(10)
    write_test(tmp_path / "test", key)
    file = write_answers(tmp_path / "1.json", key, "ann", {1: "model"}, **changes)
    with pytest.raises(InputError, match=message):
        ListeningScoreExperiment(str(tmp_path / "score"), str(tmp_path / "test"), (file,)).run()
    assert not (tmp_path / "score" / "score.md").exists()


def test_a_rater_counts_once_and_a_changed_key_not_at_all(tmp_path):
    key = made_key(4)
    write_test(tmp_path / "test", key)
    files = [
        write_answers(tmp_path / f"{n}.json", key, "ann", {1: "model", 2: "model"}) for n in (1, 2)
    ]
    fields = str(tmp_path / "score"), str(tmp_path / "test"), tuple(files)
    with pytest.raises(InputError, match="two files are by 'ann'"):
        ListeningScoreExperiment(*fields).run()
    stored = key.json()
    stored["trials"][0]["truth"] = "recording"
    (tmp_path / "test" / "key.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"key.json: was changed after the test was made"):
        ListeningScoreExperiment(*fields).run()


def test_titles_are_escaped(tmp_path):
    sound = np.zeros(1600, np.float32)
    write_wav(tmp_path / "1.wav", sound, 16000, None)
    text = render(made_key(1), tmp_path, "<script>alert(1)</script>", 3.0)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text
