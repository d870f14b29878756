"""The codec beside Opus on what is held out, not run. What each measure needs:
docs/guide/codec_evaluation.md.

audiolm evaluate configs/one_gpu/evaluate_codec.py
"""

from defaults import DATA

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment


def experiment() -> CodecEvaluateExperiment:
    """Clips of 3 to 10 s."""
    return CodecEvaluateExperiment(
        directory="runs/one_gpu/evaluate_codec",
        title="The codec of configs/one_gpu",
        data=DATA,
        codecs=(("codec", "runs/one_gpu/codec"),),
        runs=("runs/one_gpu/codec",),
    )
