"""Stage 3, small: about 2 minutes on 2 CPU cores.

audiolm train configs/demo/fine_lm.py
"""

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.decoder import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.loop import LoopConfig
from audiolm_jax.training.optim import OptimizerConfig

STEPS = 200


def experiment() -> StageExperiment:
    """Crops of 1 s, 2 layers of width 128."""
    return StageExperiment(
        directory="runs/demo/fine_lm",
        tokens="runs/demo/tokens",
        codec="runs/demo/codec",
        semantic="runs/demo/kmeans",
        batch_size=16,
        model=StageModelConfig(
            stage=StageConfig(
                "fine",
                semantic_clusters=64,
                codebook_size=256,
                levels=8,
                coarse_levels=2,
                crop_seconds=1.0,
            ),
            decoder=DecoderConfig(
                layers=2,
                heads=2,
                head_width=64,
                width=128,
                ff_width=256,
                dropout=0.1,
                scan_layers=False,
            ),
        ),
        optimizer=OptimizerConfig(
            learning_rate=3e-3,
            warmup_steps=50,
            schedule="cosine",
            total_steps=STEPS,
            weight_decay=0.05,
        ),
        loop=LoopConfig(steps=STEPS, log_every=20, evaluate_every=STEPS // 4, checkpoint_every=100),
    )
