"""w2v-BERT, small: about 3 minutes on 2 CPU cores.

audiolm train configs/demo/encoder.py
"""

from defaults import DATA, loop

from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)
from audiolm_jax.training.config import OptimizerConfig

STEPS = 500


def experiment() -> EncoderExperiment:
    """2 + 2 conformers of width 128."""
    return EncoderExperiment(
        directory="runs/demo/encoder",
        data=DATA,
        crop_seconds=3.0,
        batch_size=8,
        model=W2vBertConfig(
            subsample_channels=16,
            contrastive_layers=2,
            masked_layers=2,
            codebook_size=128,
            code_width=64,
            conformer=ConformerConfig(width=128, heads=4, ff_width=512, dropout=0.0, remat="none"),
        ),
        train=W2vBertTrainConfig(
            # Why these differ from the paper's: configs/asterisk/encoder.py.
            mask_probability=0.13,
            mask_length=4,
            visible_weight=0.5,
            frequency_warp=0.15,
            distractors=50,
            gumbel_temperature_decay=0.994,
            diversity_weight=0.5,
        ),
        optimizer=OptimizerConfig(
            learning_rate=1.5e-3,
            warmup_steps=STEPS // 12,
            schedule="cosine",
            total_steps=STEPS,
            final_fraction=0.05,
            weight_decay=0.01,
        ),
        loop=loop(STEPS),
    )
