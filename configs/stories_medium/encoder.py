"""w2v-BERT of a medium size on the synthetic stories, not run.

audiolm plan configs/stories_medium/encoder.py --topology v5e:2x4
audiolm train configs/stories_medium/encoder.py
"""

import dataclasses

from defaults import MESH, RUNS, SMALL, loop, optimizer

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 40_000


def experiment() -> EncoderExperiment:
    """6 + 6 conformers of width 384, 64 crops of 6.4 s."""
    small = load_experiment(SMALL / "encoder.py")
    assert isinstance(small, EncoderExperiment)
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/encoder",
        crop_seconds=6.4,
        batch_size=64,
        model=dataclasses.replace(
            small.model,
            subsample_channels=32,
            contrastive_layers=6,
            masked_layers=6,
            conformer=dataclasses.replace(
                small.model.conformer, width=384, heads=6, ff_width=1536, compute_dtype="bfloat16"
            ),
        ),
        optimizer=optimizer(1e-3, STEPS),
        loop=loop(STEPS),
        mesh=MESH,
    )
