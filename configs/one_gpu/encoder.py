"""w2v-BERT for one card, not run.

audiolm plan configs/one_gpu/encoder.py --topology rtx4090x1
audiolm train configs/one_gpu/encoder.py

Spans, and a loss at what is not hidden, are those of configs/asterisk, which says why.
"""

import dataclasses
from pathlib import Path

from defaults import DATA, LARGER, MESH, RUNS, loop, shortened

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 100_000


def experiment() -> EncoderExperiment:
    """4 + 4 conformers of width 384, 48 crops of 8 s."""
    larger = load_experiment(LARGER / "encoder.py")
    small = load_experiment(Path(__file__).parents[1] / "asterisk" / "encoder.py")
    assert isinstance(larger, EncoderExperiment)
    assert isinstance(small, EncoderExperiment)
    return dataclasses.replace(
        larger,
        directory=f"{RUNS}/encoder",
        data=DATA,
        crop_seconds=8.0,
        batch_size=48,
        model=dataclasses.replace(
            larger.model,
            subsample_channels=64,
            contrastive_layers=4,
            masked_layers=4,
            codebook_size=512,
            conformer=dataclasses.replace(
                larger.model.conformer, width=384, heads=6, ff_width=1536
            ),
        ),
        train=dataclasses.replace(
            small.train, frequency_warp=0.0, gumbel_temperature_decay=0.99995
        ),
        optimizer=shortened(larger.optimizer, STEPS),
        loop=dataclasses.replace(loop(STEPS), keep_best=0, export="last"),
        mesh=MESH,
    )
