"""The codec of the stories on stories that it has not heard, by voices that it has.

audiolm evaluate configs/stories/evaluate_codec_known.py
"""

import dataclasses
from pathlib import Path

from defaults import RUNS

from audiolm_jax.evaluation.codecs.experiment import CodecEvaluateExperiment
from audiolm_jax.evaluation.measures.recognition import AsrConfig
from audiolm_jax.experiments.load import load_experiment


def experiment() -> CodecEvaluateExperiment:
    """All levels alone, on more and shorter stretches, for groups.py to split."""
    unheard = load_experiment(Path(__file__).with_name("evaluate_codec.py"))
    return dataclasses.replace(
        unheard,
        directory=f"{RUNS}/evaluate_codec_known",
        title="The codec of the stories on synthetic voices that it knows",
        data=dataclasses.replace(
            unheard.data,
            source="data/stories",  # where metadata.tsv is
            dataset="stories_unheard",
            exclude=("train/*", "heldout_both/*", "heldout_speakers/*", "*_slow/*", "pairs/*"),
            max_seconds=8.0,
        ),
        levels=(12,),
        min_clip_seconds=4.0,
        max_clip_seconds=10.0,
        max_clips=150,
        asr=AsrConfig(),
    )
