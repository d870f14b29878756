"""What the configs of this folder share: the synthetic stories of ./launch/stories.sh."""

import dataclasses
from typing import Literal

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

# 22 hours of 88 voices; three more voices, and one story in twenty, are in folders beside it.
DATA = AudioDataConfig(
    source="data/stories/train",
    dataset="stories",
    heldout_percent=1,  # to watch the training by; what is reported comes from the other folders
)
# Stories and voices that no part is trained on; all but one or two of its files are held out.
HELDOUT = dataclasses.replace(
    DATA,
    source="data/stories/heldout_both",
    dataset="stories_heldout_both",
    heldout_percent=99,
)
RUNS = "runs/stories"
BUNDLE = "models/stories"  # unzip models/stories.zip -d models
CODEC, SEMANTIC = f"{BUNDLE}/codec", f"{BUNDLE}/semantic"
CURVES = "configs/stories/curves"  # held-out metrics of the runs that made the bundle
CLUSTERS = 1024  # the paper's; fewer lose what is said: docs/results/stories.md


def stage(
    name: str,
    crop_seconds: float,
    run: str,
    *,
    batch_size: int,
    steps: int,
    layers: int = 6,
    width: int = 192,
    softmax: Literal["all", "legal"] = "legal",
    dropout: float = 0.0,
) -> StageExperiment:
    """6 layers of width 192 are 3.5M parameters beside the embeddings."""
    return StageExperiment(
        directory=f"{RUNS}/{run}",
        tokens=f"{RUNS}/tokens",
        codec=CODEC,
        semantic=SEMANTIC,
        begin_at_centroids=True,
        batch_size=batch_size,
        model=StageModelConfig(
            stage=StageConfig(
                name,
                semantic_clusters=CLUSTERS,
                codebook_size=1024,
                levels=12,
                coarse_levels=2,  # what is said is in them: docs/results/stories.md
                crop_seconds=crop_seconds,
                deduplicate=False,
            ),
            decoder=DecoderConfig(
                layers=layers,
                heads=4,
                head_width=width // 4,
                width=width,
                ff_width=4 * width,
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
            reference=f"{CURVES}/{run}.jsonl",
        ),
    )
