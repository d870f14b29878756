"""What the configs of this folder share: 25 minutes of one voice, small models, 2 CPU cores."""

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.training.config import LoopConfig, OptimizerConfig

DATA = AudioDataConfig(
    source="data/asterisk",
    dataset="asterisk_en",
    exclude=("*/beep*.*", "*/tt-monkeys.*"),  # no speech
)
# What codec and k-means write and the stages read.
LEVELS, CODES, CLUSTERS = 8, 256, 64
# Synthetic speech with known phones: ./launch/flite.sh
FLITE = {
    "audio_dir": "data/flite",
    "items": "data/flite/triphones.item",
    "alignments": "data/flite/alignments.tsv",
}


def loop(steps: int) -> LoopConfig:
    """Four looks at held-out data."""
    return LoopConfig(steps=steps, log_every=20, evaluate_every=steps // 4, checkpoint_every=100)


def stage(
    name: str,
    crop_seconds: float,
    *,
    layers: int,
    batch_size: int,
    steps: int,
    learning_rate: float,
    warmup_steps: int = 50,
    dropout: float = 0.1,
) -> StageExperiment:
    """Layers of width 128 on the demo's tokens."""
    return StageExperiment(
        directory=f"runs/demo/{name}_lm",
        tokens="runs/demo/tokens",
        codec="runs/demo/codec",
        semantic="runs/demo/kmeans",
        batch_size=batch_size,
        model=StageModelConfig(
            stage=StageConfig(
                name,
                semantic_clusters=CLUSTERS,
                codebook_size=CODES,
                levels=LEVELS,
                coarse_levels=2,
                crop_seconds=crop_seconds,
            ),
            decoder=DecoderConfig(
                layers=layers,
                heads=2,
                head_width=64,
                width=128,
                ff_width=256,
                dropout=dropout,
                scan_layers=False,
            ),
        ),
        optimizer=OptimizerConfig(
            learning_rate=learning_rate,
            warmup_steps=warmup_steps,
            schedule="cosine",
            total_steps=steps,
            weight_decay=0.05,
        ),
        loop=loop(steps),
    )
