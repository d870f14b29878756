"""The paper's tables on the bundle of the stories.

./launch/stories.sh; ./launch/flite.sh
unzip models/stories.zip -d models
ln -s WHISPER_FOLDER data/whisper
audiolm evaluate configs/stories/paper.py
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row

_TASKS = (
    "abx evaluate_codec tokens world speakers evaluate_speakers pairs detector_material detector "
    "evaluate_detector"
)
_NOTES = (
    "The paper's models have 0.3 billion parameters a stage and heard 60,000 hours of people; "
    "these have 4 million and heard 24 hours of synthetic voices telling small stories. The "
    "figures stand side by side to show what is measured, not to compare.",
    "ABX is on 170 sentences of four synthetic voices (the paper: dev-clean). Whisper judges words "
    "of stories and voices never heard. The classifier tells 67 synthetic voices apart (the "
    "paper: 291 people). Pairs are of the closed world, by sums (the paper: sWUGGY "
    "in vocabulary and sBLIMP, by length).",
)
_BY_LENGTH = "Table II by length, as SoundStorm's (AudioLM without de-duplication)"
_NEAREST = "Own speaker nearest, by d-vectors"
_ALL, _REAL = "stories, 12 levels / means", "real recording / means"
_CODEC, _MORE = "codec round trip / means", "continued, T = 0.6 / means"
_DETECTED = "verdicts / as it is / accuracy"


def experiment() -> PaperExperiment:
    """All that one bundle and these configs can answer."""
    return PaperExperiment(
        directory=f"{RUNS}/paper",
        title="The stories' models beside the paper",
        tasks=tuple((name, str(Path(__file__).with_name(f"{name}.py"))) for name in _TASKS.split()),
        rows=(
            *_abx("units", "6.7", "7.6"),
            *_abx("codec, 2 kbit/s", "22.4", "28.7"),
            *_abx("codec, 6 kbit/s", "17.8", "26.6"),
            Row("Table I", "ViSQOL, codec", "3.9", "evaluate_codec", f"rows / {_ALL} / visqol", 2),
            *_errors("Table II, 4 to 10 s", "wer", "4 to 10 s", "2.5", "2.6", "6.0"),
            *_errors("Table II, 4 to 10 s", "cer", "4 to 10 s", "0.8", "0.9", "3.4"),
            # SoundStorm's: its table has one row for original and codec.
            *_errors(_BY_LENGTH, "wer", "4 to 10 s", "2.62", "2.62", "4.65"),
            *_errors(_BY_LENGTH, "wer", "10 to 20 s", "1.95", "1.95", "3.59"),
            *_errors(_BY_LENGTH, "wer", "20 to 30 s", "2.20", "2.20", "4.79"),
            *_errors("Table II, whole stories", "wer", None, "", "", ""),
            *_errors("Table II, whole stories", "cer", None, "", "", ""),
            _speaker("real recordings", "", "wholes / real recording"),
            _speaker("codec", "100.0", "wholes / codec round trip"),
            _speaker("revoiced", "3.2", "wholes / revoiced"),
            _speaker("continued, without the prompt", "92.6", "endings / continued, T = 0.6"),
            _share("Table III", "chance", "0.3", "evaluate_speakers", "chance"),
            Row(_NEAREST, "codec, %", "", "world", f"endings / {_CODEC} / own_first"),
            Row(_NEAREST, "continued, %", "", "world", f"endings / {_MORE} / own_first"),
            *(_drift(f"{n} to {n + 1} s") for n in (0, 3, 6)),
            _share("Table IV", "words in sentences", "83.7", "pairs", _pairs("spot_in_sentence")),
            _share("Table IV", "words alone", "", "pairs", _pairs("spot_the_word")),
            _share("Table IV", "agreement", "64.7", "pairs", _pairs("agreement")),
            _share("Section IV-H", "detector", "98.6", "evaluate_detector", _DETECTED),
        ),
        notes=_NOTES,
        licence="Synthetic speech by hibari-tts, SVOX Pico (Apache-2.0) and Flite (BSD-like).",
    )


def _abx(what: str, *papers: str) -> tuple[Row, ...]:
    place = f"rows / {what} / scores / corrected"
    modes = zip(("within", "across"), papers, strict=True)
    return tuple(
        _share("Table I", f"ABX {m}, {what}", p, "abx", f"{place} / {m} / error") for m, p in modes
    )


def _errors(table: str, measure: str, band: str | None, *papers: str) -> tuple[Row, ...]:
    place = "readings" if band is None else f"bands / {band} / rows"
    systems = zip((_REAL, _CODEC, "revoiced / means"), papers, strict=True)
    return tuple(
        Row(
            table,
            f"{measure.upper()}, {system.split(' / ')[0]}, {band or 'all'}, %",
            paper,
            "world",
            f"{place} / {system} / {measure}",
        )
        for system, paper in systems
    )


def _share(table: str, what: str, paper: str, task: str, place: str) -> Row:
    return Row(table, f"{what}, %", paper, task, place, scale=100.0)


def _speaker(what: str, paper: str, place: str) -> Row:
    return _share("Table III", what, paper, "evaluate_speakers", f"{place} / accuracy")


def _drift(window: str) -> Row:
    place = f"endings / continued, T = 0.6 / windows / {window} / accuracy"
    return _share("Voice along a continuation", window, "", "evaluate_speakers", place)


def _pairs(kind: str) -> str:
    return f"rows / {kind} / accuracies / model, sum"
