"""w2v-BERT of the size of HuBERT's base model on LibriSpeech, not run.

audiolm plan configs/librispeech/encoder.py --topology h100x8 v5e-16
audiolm train configs/librispeech/encoder.py
"""

import dataclasses
from pathlib import Path

from defaults import DATA, MESH, RUNS, loop, optimizer

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.load import load_experiment

STEPS = 200_000


def experiment() -> EncoderExperiment:
    """6 + 6 conformers of width 512, 256 crops of 10 s; losses are the paper's."""
    paper = load_experiment(Path(__file__).parents[1] / "librilight_paper" / "w2v_bert_xl.py")
    assert isinstance(paper, EncoderExperiment)
    return dataclasses.replace(
        paper,
        directory=f"{RUNS}/encoder",
        data=DATA,
        crop_seconds=10.0,
        batch_size=256,
        model=dataclasses.replace(
            paper.model,
            contrastive_layers=6,
            masked_layers=6,
            code_width=256,
            conformer=dataclasses.replace(paper.model.conformer, width=512, ff_width=2048),
        ),
        optimizer=optimizer(1e-3, STEPS),
        loop=dataclasses.replace(loop(STEPS), keep_best=0, export="last"),
        mesh=MESH,
    )
