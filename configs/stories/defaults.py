"""What the configs of this folder share: the synthetic stories of ./launch/stories.sh."""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

# 24 hours of 16 voices; three more voices, and one story in twenty, are in folders beside it.
DATA = AudioDataConfig(
    source="data/stories/train",
    dataset="stories",
    heldout_percent=1,  # to watch the training by; what is reported comes from the other folders
)
RUNS = "runs/stories"
CLUSTERS = 200  # a closed world of words has few sounds


def stage(
    name: str, crop_seconds: float, *, batch_size: int, steps: int, dropout: float
) -> StageExperiment:
    """6 layers of width 256, 5M parameters beside the embeddings."""
    return StageExperiment(
        directory=f"{RUNS}/{name}_lm",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        batch_size=batch_size,
        model=StageModelConfig(
            stage=StageConfig(
                name,
                semantic_clusters=CLUSTERS,
                codebook_size=1024,
                levels=12,
                coarse_levels=4,
                crop_seconds=crop_seconds,
            ),
            decoder=DecoderConfig(
                layers=6, heads=4, head_width=64, width=256, ff_width=1024, dropout=dropout
            ),
        ),
        optimizer=OptimizerConfig(
            learning_rate=1e-3,
            warmup_steps=200,
            schedule="cosine",
            total_steps=steps,
            weight_decay=0.05,
        ),
        loop=LoopConfig(
            steps=steps, log_every=20, evaluate_every=250, checkpoint_every=100, keep_best=1
        ),
    )
