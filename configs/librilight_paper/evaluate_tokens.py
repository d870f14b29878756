"""What tokens of each kind keep of the sound, the paper's Table I, not run.

audiolm evaluate configs/librilight_paper/evaluate_tokens.py
"""

import dataclasses
from pathlib import Path

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecEvaluateExperiment:
    """ViSQOL above all, on clips of 3 to 10 s."""
    of_codec = load_experiment(Path(__file__).with_name("evaluate_codec.py"))
    assert isinstance(of_codec, CodecEvaluateExperiment)
    return dataclasses.replace(
        of_codec,
        directory="runs/librilight_paper/evaluate_tokens",
        title="What tokens keep of the sound",
        codecs=(
            ("units", "runs/librilight_paper/vocoder_units"),
            ("residual", "runs/librilight_paper/vocoder_residual"),
            ("codec", "runs/librilight_paper/codec"),
        ),
        levels=(4,),
        opus_kbps=(),
        required=("visqol",),
        runs=(),
    )
