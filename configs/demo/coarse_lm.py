"""Stage 2, small: about 4 minutes on 2 CPU cores.

audiolm train configs/demo/coarse_lm.py
"""

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.decoder import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.loop import LoopConfig
from audiolm_jax.training.optim import OptimizerConfig

STEPS = 240


def experiment() -> StageExperiment:
    """Crops of 4 s, 3 layers of width 128."""
    return StageExperiment(
        directory="runs/demo/coarse_lm",
        tokens="runs/demo/tokens",
        codec="runs/demo/codec",
        semantic="runs/demo/kmeans",
        batch_size=12,
        model=StageModelConfig(
            stage=StageConfig(
                "coarse",
                semantic_clusters=64,
                codebook_size=256,
                levels=8,
                coarse_levels=2,
                crop_seconds=4.0,
            ),
            decoder=DecoderConfig(
                layers=3,
                heads=2,
                head_width=64,
                width=128,
                ff_width=256,
                dropout=0.1,
                scan_layers=False,
            ),
        ),
        optimizer=OptimizerConfig(
            learning_rate=4e-3,
            warmup_steps=20,
            schedule="cosine",
            total_steps=STEPS,
            weight_decay=0.05,
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=STEPS // 4, checkpoint_every=100),
    )
