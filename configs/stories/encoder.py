"""w2v-BERT on synthetic stories: about an hour of one CPU core.

audiolm train configs/stories/encoder.py

--loop.seed and --directory make another of the same kind.
"""

from defaults import DATA

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

STEPS = 6_000


def experiment() -> EncoderExperiment:
    """2 + 2 conformers of width 160."""
    return EncoderExperiment(
        directory="runs/stories/encoder",
        data=DATA,
        crop_seconds=3.2,
        batch_size=8,
        model=W2vBertConfig(
            subsample_channels=8,
            contrastive_layers=2,
            masked_layers=2,
            codebook_size=256,
            code_width=64,
            conformer=ConformerConfig(width=160, heads=4, ff_width=640, dropout=0.0, remat="none"),
        ),
        train=W2vBertTrainConfig(
            # Spans of 160 ms, and a loss at what is not hidden: with the paper's 400 ms and none so
            # short a training learns what lies around a token and forgets the token itself.
            mask_probability=0.13,
            mask_length=4,
            visible_weight=0.5,
            frequency_warp=0.15,  # sixteen voices are few; this makes them differ
            distractors=50,
            gumbel_temperature_decay=0.999,
            diversity_weight=0.5,  # with 0.1 40 of the 256 codes are in use after 150 steps
        ),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-3,
            warmup_steps=200,
            schedule="cosine",
            total_steps=STEPS,
            final_fraction=0.05,
            weight_decay=0.01,
        ),
        loop=LoopConfig(steps=STEPS, log_every=50, evaluate_every=500, checkpoint_every=250),
    )
