"""What the configs of this folder share: LibriSpeech's 960 hours, 8 GPUs or a v5e-16; not run.

audiolm audit data/librispeech/LibriSpeech --configs configs/librispeech/*.py

Between configs/one_gpu and configs/librilight_paper; docs/guide/presets.md says why these sizes.
On TPUs the stages' kernel: --model.decoder.attention flash --model.decoder.remat kernels
"""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig, StageTrainConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig

# Its dev and test folders are held out, 21 hours.
DATA = AudioDataConfig(
    source="data/librispeech/LibriSpeech", dataset="librispeech", split_by="official"
)
RUNS = "runs/librispeech"
CLUSTERS = 500
LAYER = "masked_4"  # to be chosen by sweep.py
MESH = MeshConfig(preset="dp")
# The items of Libri-Light's ABX_data.tgz, of LibriSpeech's dev-clean.
ITEMS = {
    "audio_dir": "data/librispeech/LibriSpeech/dev-clean",
    "items": "data/librilight/ABX_data/dev-clean.item",
}


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
    """The best of what is held out is kept, for 960 hours are read many times."""
    return LoopConfig(
        steps=steps,
        log_every=50,
        evaluate_every=2_000,
        heldout_batches=20,
        checkpoint_every=1_000,
        keep_best=1,
        export="best",
    )


def stage(name: str, crop_seconds: float, *, batch_size: int, steps: int) -> StageExperiment:
    """12 layers of width 768."""
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
                deduplicate=False,
            ),
            decoder=DecoderConfig(
                layers=12,
                heads=12,
                head_width=64,
                width=768,
                ff_width=3072,
                position="time",
                qk_norm=True,
                remat="full",
                compute_dtype="bfloat16",
            ),
        ),
        train=StageTrainConfig(softmax="legal"),
        optimizer=optimizer(5e-4, steps),
        loop=loop(steps),
        mesh=MESH,
    )
