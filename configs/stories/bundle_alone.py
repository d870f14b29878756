"""The bundle with the stage 2 of coarse_alone.py in place of its own: goes on from sound alone.

audiolm train configs/stories/coarse_alone.py
audiolm train configs/stories/bundle_alone.py
"""

from defaults import BUNDLE, RUNS

from audiolm_jax.experiments.bundle import BundleExperiment

PARTS = ("codec", "semantic", "semantic_lm", "fine_lm")


def experiment() -> BundleExperiment:
    """Its stage 1 is there, and nobody asks it."""
    return BundleExperiment(
        directory=f"{RUNS}/bundle_alone",
        parts=(
            *((part, f"{BUNDLE}/{part}") for part in PARTS),
            ("coarse_lm", f"{RUNS}/coarse_alone"),
        ),
        purpose="Stage 2 without semantic tokens: for an ablation, not to be shared.",
    )
