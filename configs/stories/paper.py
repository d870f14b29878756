"""The paper's tables on the bundle of the stories.

./launch/stories.sh; ./launch/flite.sh
unzip models/stories.zip -d models
ln -s WHISPER_FOLDER data/whisper
audiolm evaluate configs/stories/paper.py
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row

_TASKS = "abx evaluate_codec tokens world pairs detector_material detector evaluate_detector"
_NOTES = (
    "The paper's models have 0.3 billion parameters a stage and heard 60,000 hours of people; "
    "these have 4 million and heard 24 hours of synthetic voices telling small stories. The "
    "figures stand side by side to show what is measured, not to compare.",
    "ABX is on 170 sentences of four synthetic voices (the paper: dev-clean). Whisper judges words "
    "of stories and voices never heard. An ending's own speaker is first if nearest by d-vectors "
    "(the paper: a classifier of 291). Pairs are of the closed world, by sums (the paper: sWUGGY "
    "in vocabulary and sBLIMP, by length).",
)
_CODEC = "codec round trip / means"
_MORE = "endings / continued, T = 0.6 / means"


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
            _of(
                "evaluate_codec", "I", "ViSQOL", "3.9", "rows / stories, 12 levels / means / visqol"
            ),
            _of("world", "II", "WER, %", "2.5", "readings / real recording / means / wer"),
            _of("world", "II", "WER, codec, %", "2.6", f"readings / {_CODEC} / wer"),
            _of("world", "II", "WER, revoiced, %", "6.0", "readings / revoiced / means / wer"),
            _of("world", "III", "own voice, codec, %", "100.0", f"endings / {_CODEC} / own_first"),
            _of("world", "III", "own voice, continued, %", "92.6", f"{_MORE} / own_first"),
            _share("pairs", "IV", "words in sentences", "83.7", _pairs("spot_in_sentence")),
            _share("pairs", "IV", "words alone", "", _pairs("spot_the_word")),
            _share("pairs", "IV", "agreement", "64.7", _pairs("agreement")),
            _share(
                "evaluate_detector",
                "IV-H (the detector)",
                "found",
                "98.6",
                "verdicts / as it is / accuracy",
            ),
        ),
        notes=_NOTES,
        licence="Synthetic speech by hibari-tts, SVOX Pico (Apache-2.0) and Flite (BSD-like).",
    )


def _abx(what: str, *papers: str) -> tuple[Row, ...]:
    place = f"rows / {what} / scores / corrected"
    modes = zip(("within", "across"), papers, strict=True)
    return tuple(
        _share("abx", "I", f"ABX {m}, {what}", p, f"{place} / {m} / error") for m, p in modes
    )


def _of(task: str, table: str, what: str, paper: str, place: str) -> Row:
    return Row(f"Table or section {table}", what, paper, task, place)


def _share(task: str, table: str, what: str, paper: str, place: str) -> Row:
    return Row(f"Table or section {table}", f"{what}, %", paper, task, place, scale=100.0)


def _pairs(kind: str) -> str:
    return f"rows / {kind} / accuracies / model, sum"
