"""The codec of the stories beside Opus, on stories and voices that it was not trained on.

unzip models/stories.zip -d models
audiolm evaluate configs/stories/evaluate_codec.py --asr.model WHISPER_FOLDER
"""

from defaults import BUNDLE, HELDOUT, RUNS

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.measures.recognition import AsrConfig


def experiment() -> CodecEvaluateExperiment:
    """Whole stories of three speakers; synthetic speech."""
    return CodecEvaluateExperiment(
        directory=f"{RUNS}/evaluate_codec",
        title="The codec of the stories on synthetic voices that it has never heard",
        data=HELDOUT,
        codecs=(("stories", f"{BUNDLE}/codec"),),
        levels=(1, 3, 12),
        opus_kbps=(6.0,),
        max_clip_seconds=40.0,
        max_clips=24,
        asr=AsrConfig(clips=("*",), language="en"),
        licence="Synthetic speech by hibari-tts (Apache-2.0) and Flite (free, BSD-like).",
    )
