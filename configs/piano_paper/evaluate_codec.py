"""The codec beside Opus on what is held out, not run. What each measure needs:
docs/guide/codec_evaluation.md.

audiolm evaluate configs/piano_paper/evaluate_codec.py
"""

from defaults import DATA

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment


def experiment() -> CodecEvaluateExperiment:
    """Clips of 3 to 10 s."""
    return CodecEvaluateExperiment(
        directory="runs/piano_paper/evaluate_codec",
        title="The codec of configs/piano_paper",
        data=DATA,
        codecs=(("codec", "runs/piano_paper/codec"),),
        runs=("runs/piano_paper/codec",),
    )
