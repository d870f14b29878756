"""Groups of recordings compared: chances by counting, claims at random, reports and bad input."""

import csv
import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from support.tiny_models import voice

from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.groups.experiment import GroupsExperiment
from audiolm_jax.evaluation.groups.items import Measured, read_measured
from audiolm_jax.evaluation.groups.split import Recordings, split
from audiolm_jax.evaluation.groups.tables import markdown
from audiolm_jax.evaluation.measures.groups import Values, compare, holm
from audiolm_jax.evaluation.world.judge import Errors, Said
from audiolm_jax.evaluation.world.results import Ending, Reading


def values(numerators, denominators=None):
    numerators = np.asarray(numerators, np.float64)
    return Values(numerators, np.ones(len(numerators)) if denominators is None else denominators)


@pytest.mark.parametrize("seed", range(4))
def test_chance_is_the_share_of_divisions_with_as_large_a_difference(seed):
    """Against all divisions of 9 units into 4 and 5."""
    rng = np.random.default_rng(seed)
    over, under = rng.normal(size=9) + 3, rng.integers(1, 6, 9).astype(np.float64)
    inside = np.arange(9) < 4
    over[inside] += rng.choice([0.0, 4.0])

    def difference(chosen):
        return over[chosen].sum() / under[chosen].sum() - over[~chosen].sum() / under[~chosen].sum()

    found = difference(inside)
    divisions = [np.isin(np.arange(9), some) for some in itertools.combinations(range(9), 4)]
    as_large = [abs(difference(chosen)) >= abs(found) - 1e-12 for chosen in divisions]
    result = compare(values(over, under), inside, 2, 1, seed)
    assert result.difference[0] == pytest.approx(found)
    assert result.chance == pytest.approx(np.mean(as_large), abs=4 * 0.5 / math.sqrt(9_999))


def test_too_few_are_not_judged():
    inside = np.arange(12) < 4
    few = compare(values(np.arange(12)), inside, 5, 1, 0)
    assert (few.chance, few.difference) == (None, None)
    assert few.inside.mean == 1.5
    under = np.ones(12)
    under[:3] = 0  # nothing to divide by: these tell nothing
    assert compare(values(np.arange(12), under), inside, 2, 1, 0).chance is None
    assert compare(values(np.arange(12)), inside, 4, 1, 0).chance < 0.05


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def recordings(groups, speakers=None):
    ids = {f"{number}.wav": number for number in range(len(groups))}
    return Recordings(ids, speakers or groups, {"accent": groups})


def measured(numbers, heading="PESQ", higher_is_better=True):
    parts = tuple((f"{place}.wav", float(x), 1.0) for place, x in enumerate(numbers))
    return Measured("codec", heading, 2, higher_is_better, parts)


@pytest.mark.parametrize(("draws", "most"), [(15, 2), pytest.param(100, 7, marks=pytest.mark.slow)])
def test_random_groups_differ_seldom(draws, most):
    """With 3 measures of 4 groups a draw, no more than 5 % of the draws may claim anything."""
    rng, claims = np.random.default_rng(0), 0
    for seed in range(draws):
        groups = rng.choice(["a", "b", "c", "d"], 48).tolist()
        of_one = [measured(rng.gamma(2, size=48), f"measure {n}") for n in range(3)]
        rows = split(recordings(groups), {"one": of_one}, ("accent",), "clip", 5, seed)
        claims += any(row.verdict in ("better", "worse") for row in rows)
    assert claims <= most


@pytest.mark.parametrize("higher_is_better", [True, False])
def test_a_true_difference_is_found_and_named(higher_is_better):
    rng = np.random.default_rng(1)
    groups = ["a"] * 20 + ["b"] * 20 + ["c"] * 20 + [""] * 5 + ["d"] * 3
    numbers = rng.normal(size=68)
    numbers[:20] += 3
    one = measured(numbers, "WER, %", higher_is_better)
    rows = split(recordings(groups), {"one": [one]}, ("accent",), "clip", 10, 0)
    verdicts = {row.group: row.verdict for row in rows}
    expected = ("better", "worse") if higher_is_better else ("worse", "better")
    assert verdicts["a"] == expected[0]
    assert verdicts["b"] == expected[1] or verdicts["c"] == expected[1]
    assert verdicts["d"] == "too few to judge"
    assert rows[0].clips == 20
    assert rows[0].difference[1] < rows[0].difference[0] < rows[0].difference[2]
    text = markdown(rows, "clip", 10)
    assert f"accent a, one speaker | one: codec | WER, % | {rows[0].inside.mean:.2f}" in text
    assert "(too few)" in text


def test_whole_speakers_are_exchanged():
    """Clips of one speaker are one unit: two speakers a side tell nothing."""
    speakers = [f"speaker {number // 10}" for number in range(40)]
    groups = ["a"] * 20 + ["b"] * 20
    numbers = np.repeat([1.0, 2.0, 3.0, 4.0], 10)
    found = recordings(groups, speakers)
    clips = split(found, {"one": [measured(numbers)]}, ("accent",), "clip", 2, 0)
    assert {row.verdict for row in clips} == {"better", "worse"}
    whole = split(found, {"one": [measured(numbers)]}, ("accent",), "speaker", 2, 0)
    assert {row.verdict for row in whole} == {"no difference shown"}
    assert whole[0].chance == pytest.approx(1 / 3 * 2, abs=0.05)  # 2 of 6 divisions, times 2


# From reports on.

CLIPS = [f"{speaker}/{n}.wav" for speaker in ("ann", "ben") for n in range(6)]


@pytest.fixture
def folder(tmp_path):
    """12 recordings of two speakers, of whom ben's codec scores are worse."""
    lines = ["path\tspeaker\taccent\tage"]
    for number, clip in enumerate(CLIPS):
        (tmp_path / "audio" / clip).parent.mkdir(parents=True, exist_ok=True)
        write_wav(tmp_path / "audio" / clip, voice(0.4, 100 + 10 * number), 16000, None)
        speaker = clip.split("/")[0]
        lines.append(f"{clip}\t{speaker}\t{'en' if speaker == 'ann' else 'de'}\t3")
    (tmp_path / "audio" / "metadata.tsv").write_text("\n".join(lines) + "\n")
    report = {"of": {}, "clips": [codec_clip(n, clip) for n, clip in enumerate(CLIPS)]}
    (tmp_path / "codec").mkdir()
    (tmp_path / "codec" / "report.json").write_text(json.dumps(report))
    return tmp_path


def codec_clip(number, clip_id):
    is_bad = number >= 6
    scores = {"pesq": 3.0 - is_bad + 0.01 * number, "stoi": None}
    errors = {"words": 10, "word_errors": number % 6, "characters": 50, "character_errors": 5}
    results = [
        {"condition": "original", "scores": {}, "errors": errors},
        {"condition": "light, 12 levels", "scores": scores, "errors": None},
    ]
    return {"clip_id": clip_id, "results": results}


def experiment(folder, **changes):
    fields = {
        "directory": str(folder / "groups"),
        "data": AudioDataConfig(str(folder / "audio"), dataset="tones"),
        "reports": (("codec", str(folder / "codec")),),
        "columns": ("accent",),
        "least": 5,
    }
    return GroupsExperiment(**(fields | changes))


def test_a_report_is_split_and_left_alone_when_finished(folder):
    page = experiment(folder).run()
    rows = json.loads((folder / "groups" / "groups.json").read_text())["rows"]
    found = {(row["measure"], row["group"]): row for row in rows}
    assert found["PESQ", "de"]["verdict"] == "worse"
    assert found["PESQ", "de"]["inside"]["mean"] == pytest.approx(2.085)
    assert found["WER, %", "de"]["verdict"] == "no difference shown"
    assert found["WER, %", "de"]["inside"]["mean"] == pytest.approx(25)
    assert set(found) == {(m, g) for m in ("PESQ", "WER, %", "CER, %") for g in ("de", "en")}
    assert "| accent de, one speaker | codec: light, 12 levels | PESQ |" in page.read_text()
    with (folder / "groups" / "groups.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 6
    assert {line["verdict"] for line in lines if line["measure"] == "PESQ"} == {"better", "worse"}

    written = page.stat().st_mtime_ns
    experiment(folder).run()
    assert page.stat().st_mtime_ns == written
    with (folder / "codec" / "report.json").open("a") as file:
        file.write("\n")  # another report
    experiment(folder).run()
    assert page.stat().st_mtime_ns > written


def test_reports_of_worlds_and_detectors_are_read(folder):
    said = Said(seconds=7.0, words=4, known=3, pairs=2, legal=1, sentences=0, whole=0)
    ending = Ending("continued", CLIPS[0], "0", "ann", 0, "", said, None)
    reading = Reading("revoiced", CLIPS[7], "ben", 0, "", "", said, Errors(10, 2, 3), 9.0)
    world = {
        "of": {"config": {"similarity": True}},
        "every_ending": [dataclasses.asdict(ending)],
        "every_reading": [dataclasses.asdict(reading)],
    }
    (folder / "world").mkdir()
    (folder / "world" / "report.json").write_text(json.dumps(world))
    found = {(m.system, m.heading): m.parts for m in read_measured(folder / "world")}
    assert found["continued", "words of the world, %"] == ((CLIPS[0], 300, 4),)
    assert found["continued", "own speaker first, %"] == ((CLIPS[0], 0.0, 1),)
    assert found["revoiced, whole recordings", "WER, %"] == ((CLIPS[7], 200, 10),)
    assert not any(heading == "words a second" for _, heading in found)
    assert ("continued", "whole sentences, %") not in found  # no sentence was heard to end

    odds = {CLIPS[0]: -1.0, CLIPS[1]: 2.0, CLIPS[2]: 2.0, CLIPS[3]: -3.0}
    kinds = dict(zip(odds, ("real", "real", "generated", "original"), strict=True))
    (folder / "detector").mkdir()
    record = {"log_odds": odds, "kinds": kinds}
    (folder / "detector" / "detector.json").write_text(json.dumps(record))
    real, generated = read_measured(folder / "detector")
    assert real.parts == ((CLIPS[0], 100.0, 1.0), (CLIPS[1], 0.0, 1.0))
    assert generated.parts == ((CLIPS[2], 100.0, 1.0),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("city",)}, "--columns city: says nothing of any recording"),
        ({"columns": ("age",)}, "--columns age: .* have only '3'; nothing to compare"),
        ({"columns": ()}, "--columns .*: expected at least one"),
        ({"reports": (("a", "x"), ("a", "y"))}, "--reports .*: expected at least one, none"),
        ({"systems": ("Opus",)}, "--systems 'Opus': no report has it; expected light, 12 levels,"),
        ({"least": 1}, "--least 1: expected 2 or more"),
        ({"columns": ("speaker",), "unit": "speaker"}, "--columns speaker with --unit speaker"),
    ],
)
def test_bad_input_gets_one_line(folder, changes, message):
    with pytest.raises(InputError, match=message):
        experiment(folder, **changes).run()
    assert not (folder / "groups" / "groups.md").exists()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (None, "codec: expected report.json or detector.json of an evaluation; run it first"),
        ("{", "report.json: of an older version or damaged"),
        ('{"rows": []}', "report.json: says nothing of single clips"),
        ('{"clips": []}', "report.json: measured nothing of any clip; there are no groups"),
        ('{"clips": [{"clip": 1}]}', "report.json: of an older version or damaged"),
        ('{"every_ending": [], "of": {}}', "report.json: of an older version or damaged"),
        (
            json.dumps({"clips": [codec_clip(0, "other/1.wav")]}),
            "--reports codec: judges other/1.wav, which is not in the recordings",
        ),
    ],
)
def test_bad_reports_get_one_line(folder, record, message):
    path = folder / "codec" / "report.json"
    path.unlink()
    if record is not None:
        path.write_text(record)
    with pytest.raises(InputError, match=message):
        experiment(folder).run()
