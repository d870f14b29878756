"""The paper's tables on the bundle of the stories.

./launch/stories.sh; ./launch/flite.sh
python -m tools.stories.cloze data/stories
unzip models/stories.zip -d models
ln -s WHISPER_FOLDER data/whisper
audiolm evaluate configs/stories/paper.py
"""

from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.paper import rows
from audiolm_jax.evaluation.paper.experiment import PaperExperiment, Row

_TASKS = (
    "abx vocoder_units residual vocoder_residual abx_residual evaluate_tokens tokens world "
    "speakers evaluate_speakers pairs cloze detector_material detector evaluate_detector"
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
_RESIDUAL = "residual, vectors of 24 levels"
_CODEC_2, _CODEC_6 = "codec, 2 kbit/s, vectors", "codec, 6 kbit/s, vectors"
_BY_LENGTH = "Table II by length, as SoundStorm's (AudioLM without de-duplication)"
_NEAREST = "Own speaker nearest, by d-vectors"
_CODEC, _MORE = "codec round trip / means", "continued, T = 0.6 / means"
_DETECTED = "verdicts / as it is / accuracy"


def experiment() -> PaperExperiment:
    """All that one bundle and these configs can answer."""
    return PaperExperiment(
        directory=f"{RUNS}/paper",
        title="The stories' models beside the paper",
        tasks=tuple((name, str(Path(__file__).with_name(f"{name}.py"))) for name in _TASKS.split()),
        rows=(
            *rows.abx_errors("units", "units, centroids", "6.7", "7.6"),
            *rows.abx_errors("residual levels", _RESIDUAL, "5.6", "6.2", "abx_residual"),
            *rows.abx_errors("codec, 2 kbit/s", f"{_CODEC_2} of 4 levels", "22.4", "28.7"),
            *rows.abx_errors("codec, 6 kbit/s", f"{_CODEC_6} of 12 levels", "17.8", "26.6"),
            *rows.token_quality("1.1", "1.4", "3.3", "3.9"),
            *rows.word_errors("Table II, 4 to 10 s", "wer", "4 to 10 s", "2.5", "2.6", "6.0"),
            *rows.word_errors("Table II, 4 to 10 s", "cer", "4 to 10 s", "0.8", "0.9", "3.4"),
            # SoundStorm's: its table has one row for original and codec.
            *rows.word_errors(_BY_LENGTH, "wer", "4 to 10 s", "2.62", "2.62", "4.65"),
            *rows.word_errors(_BY_LENGTH, "wer", "10 to 20 s", "1.95", "1.95", "3.59"),
            *rows.word_errors(_BY_LENGTH, "wer", "20 to 30 s", "2.20", "2.20", "4.79"),
            *rows.word_errors("Table II, whole stories", "wer", None, "", "", ""),
            *rows.word_errors("Table II, whole stories", "cer", None, "", "", ""),
            rows.speaker_accuracy("real recordings", "", "wholes / real recording"),
            rows.speaker_accuracy("codec", "100.0", "wholes / codec round trip"),
            rows.speaker_accuracy("revoiced", "3.2", "wholes / revoiced"),
            rows.speaker_accuracy(
                "continued, without the prompt", "92.6", "endings / continued, T = 0.6"
            ),
            rows.percent("Table III", "chance", "0.3", "evaluate_speakers", "chance"),
            Row(_NEAREST, "codec, %", "", "world", f"endings / {_CODEC} / own_first"),
            Row(_NEAREST, "continued, %", "", "world", f"endings / {_MORE} / own_first"),
            *(rows.speaker_drift("continued, T = 0.6", second) for second in (0, 3, 6)),
            rows.minimal_pairs("words in sentences", "83.7", "spot_in_sentence"),
            rows.minimal_pairs("words alone", "", "spot_the_word"),
            rows.minimal_pairs("agreement", "64.7", "agreement"),
            rows.minimal_pairs("own ending, or another topic's", "", "topic_cloze", "cloze"),
            rows.minimal_pairs("own ending, or a contradiction", "", "story_cloze", "cloze"),
            rows.percent("Section IV-H", "detector", "98.6", "evaluate_detector", _DETECTED),
        ),
        notes=_NOTES,
        licence="Synthetic speech by hibari-tts, SVOX Pico (Apache-2.0) and Flite (BSD-like).",
    )
