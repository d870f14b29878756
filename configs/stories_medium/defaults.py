"""What the configs of this folder share: configs/stories for one GPU or a small TPU slice, not run.

Planned only (docs/guide/stories.md). One device: --mesh.preset none. On TPUs the stages' kernel:
--model.decoder.attention flash.
"""

import dataclasses
from pathlib import Path

from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig

SMALL = Path(__file__).parents[1] / "stories"
RUNS = "runs/stories_medium"
CLUSTERS = 200
MESH = MeshConfig(preset="dp")


def optimizer(learning_rate: float, steps: int) -> OptimizerConfig:
    """AdamW with cosine."""
    return OptimizerConfig(
        learning_rate=learning_rate,
        warmup_steps=steps // 20,
        schedule="cosine",
        total_steps=steps,
        final_fraction=0.05,
        b2=0.95,
        weight_decay=0.05,
    )


def loop(steps: int) -> LoopConfig:
    """A checkpoint every few minutes."""
    return LoopConfig(
        steps=steps,
        log_every=50,
        evaluate_every=1_000,
        heldout_batches=20,
        checkpoint_every=500,
        keep_best=1,
    )


def stage(name: str, crop_seconds: float, *, batch_size: int, steps: int) -> StageExperiment:
    """12 layers of width 512 of the stage that configs/stories trains."""
    small = load_experiment(SMALL / f"{name}_lm.py")
    assert isinstance(small, StageExperiment)
    model = small.model
    return dataclasses.replace(
        small,
        directory=f"{RUNS}/{name}_lm",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        batch_size=batch_size,
        model=dataclasses.replace(
            model,
            stage=dataclasses.replace(
                model.stage, semantic_clusters=CLUSTERS, crop_seconds=crop_seconds
            ),
            decoder=dataclasses.replace(
                model.decoder,
                layers=12,
                heads=8,
                head_width=64,
                width=512,
                ff_width=2048,
                dropout=0.1,
                remat="dots",
                scan_layers=True,
                compute_dtype="bfloat16",
            ),
        ),
        train=dataclasses.replace(small.train, softmax="legal"),
        optimizer=optimizer(1e-3, steps),
        loop=loop(steps),
        mesh=MESH,
    )
