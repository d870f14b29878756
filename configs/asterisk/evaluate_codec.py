"""Both codecs of this folder beside Opus, on held-out clips of the five Asterisk voices.

audiolm evaluate configs/asterisk/evaluate_codec.py --asr.model WHISPER_FOLDER

Without --asr.model words are not counted. What each measure needs: docs/guide/codec_evaluation.md.
"""

from defaults import DATA

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.measures.recognition import AsrConfig


def experiment() -> CodecEvaluateExperiment:
    """Clips of 3 to 10 s; words of the English voice."""
    return CodecEvaluateExperiment(
        directory="runs/asterisk/evaluate_codec",
        title="Codecs on the five Asterisk voices",
        data=DATA,
        codecs=(
            ("light", "runs/asterisk/codec_light"),
            ("SoundStream", "runs/asterisk/soundstream"),
        ),
        asr=AsrConfig(clips=("en_US_f_Allison/*",), language="en"),
        runs=("runs/asterisk/codec_light", "runs/asterisk/soundstream"),
        licence=(
            "Asterisk core sounds: English and Spanish (Allison Smith) and French (June Wallack) "
            "under CC BY-SA 3.0, Italian (Carlo Flora) and Russian (Maxim Topal) under CC BY 3.0; "
            "see data/asterisk_voices/COPYRIGHT."
        ),
    )
