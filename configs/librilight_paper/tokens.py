"""Both kinds of tokens of 60,000 hours, not run.

audiolm tokenize configs/librilight_paper/tokens.py --worker 0/16

On 16 machines that see the same folders, each with its number; docs/guide/tokens.md.
"""

from defaults import DATA

from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.tokens import TokenizeExperiment


def experiment() -> TokenizeExperiment:
    """1,024 shards, 59 hours each."""
    return TokenizeExperiment(
        directory="runs/librilight_paper/tokens",
        data=DATA,
        codec="runs/librilight_paper/codec",
        semantic="runs/librilight_paper/kmeans",
        tokenize=TokenizeConfig(shards=1024),
    )
