"""The paper's tables on the bundle of the stories.

./launch/stories.sh; ./launch/flite.sh
unzip models/stories.zip -d models
ln -s WHISPER_FOLDER data/whisper
audiolm evaluate configs/stories/paper.py
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row
from audiolm_jax.evaluation.paper.rows import (
    abx_errors,
    minimal_pairs,
    percent,
    speaker_accuracy,
    speaker_drift,
    word_errors,
)

_TASKS = (
    "abx evaluate_codec tokens world speakers evaluate_speakers pairs detector_material detector "
    "evaluate_detector"
)
_NOTES = (
    "The paper's models have 0.3 billion parameters a stage and heard 60,000 hours of people; "
    "these have 4 million and heard 24 hours of synthetic voices telling small stories. The "
    "figures stand side by side to show what is measured, not to compare.",
    "ABX is on 170 sentences of four synthetic voices (the paper: dev-clean). Whisper judges words "
    "of stories and voices never heard. The classifier tells 91 synthetic voices apart (the "
    "paper: 291 people). Pairs are of the closed world, by sums (the paper: sWUGGY "
    "in vocabulary and sBLIMP, by length).",
)
_BY_LENGTH = "Table II by length, as SoundStorm's (AudioLM without de-duplication)"
_NEAREST = "Own speaker nearest, by d-vectors"
_ALL = "stories, 12 levels / means"
_CODEC, _MORE = "codec round trip / means", "continued, T = 0.6 / means"
_DETECTED = "verdicts / as it is / accuracy"


def experiment() -> PaperExperiment:
    """All that one bundle and these configs can answer."""
    return PaperExperiment(
        directory=f"{RUNS}/paper",
        title="The stories' models beside the paper",
        tasks=tuple((name, str(Path(__file__).with_name(f"{name}.py"))) for name in _TASKS.split()),
        rows=(
            *abx_errors("units", "6.7", "7.6"),
            *abx_errors("codec, 2 kbit/s", "22.4", "28.7"),
            *abx_errors("codec, 6 kbit/s", "17.8", "26.6"),
            Row("Table I", "ViSQOL, codec", "3.9", "evaluate_codec", f"rows / {_ALL} / visqol", 2),
            *word_errors("Table II, 4 to 10 s", "wer", "4 to 10 s", "2.5", "2.6", "6.0"),
            *word_errors("Table II, 4 to 10 s", "cer", "4 to 10 s", "0.8", "0.9", "3.4"),
            # SoundStorm's: its table has one row for original and codec.
            *word_errors(_BY_LENGTH, "wer", "4 to 10 s", "2.62", "2.62", "4.65"),
            *word_errors(_BY_LENGTH, "wer", "10 to 20 s", "1.95", "1.95", "3.59"),
            *word_errors(_BY_LENGTH, "wer", "20 to 30 s", "2.20", "2.20", "4.79"),
            *word_errors("Table II, whole stories", "wer", None, "", "", ""),
            *word_errors("Table II, whole stories", "cer", None, "", "", ""),
            speaker_accuracy("real recordings", "", "wholes / real recording"),
            speaker_accuracy("codec", "100.0", "wholes / codec round trip"),
            speaker_accuracy("revoiced", "3.2", "wholes / revoiced"),
            speaker_accuracy(
                "continued, without the prompt", "92.6", "endings / continued, T = 0.6"
            ),
            percent("Table III", "chance", "0.3", "evaluate_speakers", "chance"),
            Row(_NEAREST, "codec, %", "", "world", f"endings / {_CODEC} / own_first"),
            Row(_NEAREST, "continued, %", "", "world", f"endings / {_MORE} / own_first"),
            *(speaker_drift("continued, T = 0.6", second) for second in (0, 3, 6)),
            minimal_pairs("words in sentences", "83.7", "spot_in_sentence"),
            minimal_pairs("words alone", "", "spot_the_word"),
            minimal_pairs("agreement", "64.7", "agreement"),
            percent("Section IV-H", "detector", "98.6", "evaluate_detector", _DETECTED),
        ),
        notes=_NOTES,
        licence="Synthetic speech by hibari-tts, SVOX Pico (Apache-2.0) and Flite (BSD-like).",
    )
