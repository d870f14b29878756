"""What tokens of each kind keep of the sound, the paper's Table I: decoders trained on them.

audiolm train configs/stories/vocoder_units.py
audiolm train configs/stories/residual.py
audiolm train configs/stories/vocoder_residual.py
audiolm evaluate configs/stories/evaluate_tokens.py
"""

import dataclasses
from pathlib import Path

from defaults import CODEC, RUNS

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecEvaluateExperiment:
    """The recordings of evaluate_codec.py; of each decoder all levels that it learnt."""
    of_codec = load_experiment(Path(__file__).with_name("evaluate_codec.py"))
    assert isinstance(of_codec, CodecEvaluateExperiment)
    return dataclasses.replace(
        of_codec,
        directory=f"{RUNS}/evaluate_tokens",
        title="What tokens keep of synthetic voices never heard",
        codecs=(
            ("units", f"{RUNS}/vocoder_units"),
            ("residual", f"{RUNS}/vocoder_residual"),
            ("codec", CODEC),
        ),
        levels=(4,),  # of the codec, 2 kbit/s; of the 24 a part says little
        opus_kbps=(),
        asr=AsrConfig(),
    )
