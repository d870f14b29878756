"""What the configs of this folder share: AudioLM on Libri-Light's 60,000 hours, as in the paper."""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig

# The paper trains on everything: enough is withheld to watch the training by, and no more.
DATA = AudioDataConfig(
    source="data/librilight/unlab-60k", dataset="librilight_60k", heldout_minutes=120.0
)
# The items of Libri-Light's ABX_data.tgz, of LibriSpeech's dev-clean.
ITEMS = {
    "audio_dir": "data/librispeech/LibriSpeech/dev-clean",
    "items": "data/librilight/ABX_data/dev-clean.item",
}


def loop(steps: int) -> LoopConfig:
    """A checkpoint each thousand steps: what a slice that is taken away can lose. The two hours
    held out are some 20 batches at most (docs/guide/tpu.md)."""
    return LoopConfig(
        steps=steps,
        log_every=100,
        evaluate_every=10_000,
        heldout_batches=100,
        checkpoint_every=1_000,
        keep_checkpoints=3,
    )


def stage(name: str, crop_seconds: float) -> StageExperiment:
    """12 layers of width 1024, batch 256, a million steps; Adafactor as T5 has it.

    AdamW with cosine instead: --optimizer.kind adamw --optimizer.schedule cosine
    --optimizer.total-steps 1000000 --optimizer.learning-rate 3e-4 --optimizer.b1 0.9
    --optimizer.clip-norm 1. Off a TPU, for a trial: --model.decoder.attention blocks
    --mesh.preset none and sizes to match.
    """
    return StageExperiment(
        directory=f"runs/librilight_paper/{name}",
        tokens="runs/librilight_paper/tokens",
        codec="runs/librilight_paper/codec",
        semantic="runs/librilight_paper/kmeans",
        batch_size=256,
        model=StageModelConfig(
            stage=StageConfig(
                name,
                semantic_clusters=1024,
                codebook_size=1024,
                levels=12,
                coarse_levels=4,
                crop_seconds=crop_seconds,
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
        edge_share=0.0,
        optimizer=OptimizerConfig(
            kind="adafactor",
            learning_rate=1e-2,
            warmup_steps=10_000,
            schedule="rsqrt",
            b1=0.0,
            clip_norm=None,
        ),
        loop=loop(1_000_000),
        mesh=MeshConfig(preset="fsdp"),
    )
