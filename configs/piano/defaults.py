"""What the configs of this folder share: the synthetic piano of ./launch/piano.sh."""

from typing import Literal

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

# Pieces of the folder heldout are held out, by the column split of metadata.tsv. MAESTRO's folder
# takes the same place: --data.source /data/maestro-v3.0.0
DATA = AudioDataConfig(source="data/piano", dataset="piano", split_by="official")
RUNS = "runs/piano"
CLUSTERS = 512
# The paper has 2^14 codes; a step of 2 CPU cores has 768 frames, too few to keep so many alive.
LEVELS, CODES = 3, 1 << 12


def stage(
    name: Literal["semantic", "coarse"],
    crop_seconds: float,
    *,
    batch_size: int,
    steps: int,
    softmax: Literal["all", "legal"] = "legal",
    dropout: float = 0.1,
) -> StageExperiment:
    """6 layers of width 192: 3.5M parameters beside the embeddings."""
    return StageExperiment(
        directory=f"{RUNS}/{name}_lm",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        begin_at_centroids=True,
        batch_size=batch_size,
        model=StageModelConfig(
            stage=StageConfig(
                name,
                semantic_clusters=CLUSTERS,
                codebook_size=CODES,
                levels=LEVELS,
                coarse_levels=LEVELS,  # all: there is no fine stage
                crop_seconds=crop_seconds,
                deduplicate=False,
            ),
            decoder=DecoderConfig(
                layers=6,
                heads=4,
                head_width=48,
                width=192,
                ff_width=768,
                dropout=dropout,
                position="time",
                qk_norm=True,
                scan_layers=False,
            ),
        ),
        train=StageTrainConfig(softmax=softmax),
        optimizer=OptimizerConfig(
            learning_rate=2e-3,
            warmup_steps=100,
            schedule="cosine",
            total_steps=steps,
            final_fraction=0.05,
            b2=0.95,
            weight_decay=0.05,
        ),
        loop=LoopConfig(
            steps=steps,
            log_every=20,
            evaluate_every=250,
            heldout_batches=8,
            checkpoint_every=50,
            keep_best=1,
        ),
    )
