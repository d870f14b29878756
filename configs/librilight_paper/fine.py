"""Stage 3 as in the paper: 16 chips of TPU v4 (or v5e, v5p, v6e), not run.

audiolm plan configs/librilight_paper/fine.py --topology v4:2x2x4
audiolm train configs/librilight_paper/fine.py

226.5 M parameters; sequences of 1,801 tokens, 461,056 a step.
AdamW with cosine instead of Adafactor: --optimizer.kind adamw --optimizer.schedule cosine
--optimizer.total-steps 1000000 --optimizer.learning-rate 3e-4 --optimizer.b1 0.9
--optimizer.clip-norm 1. Off a TPU, for a trial: --model.decoder.attention blocks --mesh.preset none
and sizes to match.
"""

from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.decoder import DecoderConfig, StageModelConfig
from audiolm_jax.lm.train import StageTrainConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.loop import LoopConfig
from audiolm_jax.training.mesh import MeshConfig
from audiolm_jax.training.optim import OptimizerConfig


def experiment() -> StageExperiment:
    """Crops of 3 s, 12 layers of width 1024, batch 256, a million steps."""
    return StageExperiment(
        directory="runs/librilight_paper/fine",
        tokens="runs/librilight_paper/tokens",
        codec="runs/librilight_paper/codec",
        semantic="runs/librilight_paper/kmeans",
        batch_size=256,
        model=StageModelConfig(
            stage=StageConfig(
                "fine",
                semantic_clusters=1024,
                codebook_size=1024,
                levels=12,
                coarse_levels=4,
                crop_seconds=3.0,
            ),
            decoder=DecoderConfig(
                layers=12,
                heads=16,
                head_width=64,
                width=1024,
                ff_width=4096,
                dropout=0.1,
                position="t5",
                relative_buckets=32,
                relative_max_distance=128,
                attention="flash",
                remat="kernels",
                compute_dtype="bfloat16",
            ),
        ),
        train=StageTrainConfig(z_loss_weight=1e-4),
        optimizer=OptimizerConfig(
            kind="adafactor",
            learning_rate=1e-2,
            warmup_steps=10_000,
            schedule="rsqrt",
            b1=0.0,
            clip_norm=None,
        ),
        loop=LoopConfig(
            steps=1_000_000,
            log_every=100,
            evaluate_every=10_000,
            checkpoint_every=1_000,
            keep_checkpoints=3,
        ),
        mesh=MeshConfig(preset="fsdp"),
    )
