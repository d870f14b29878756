"""What the configs of this folder share: a hundred hours of speech, one card of 24 GB; not run.

audiolm audit data/speech --configs configs/one_gpu/*.py

data/speech is any folder of recordings, such as LibriSpeech's train-clean-100 or your own after
`audiolm prepare`; another is named by --data.source. As configs/librispeech, smaller;
docs/guide/presets.md says why these sizes.
"""

import dataclasses
from pathlib import Path

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.load import load_experiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig

DATA = AudioDataConfig(source="data/speech", dataset="speech", heldout_minutes=60.0)
RUNS = "runs/one_gpu"
# The items of Libri-Light's ABX_data.tgz, of LibriSpeech's dev-clean.
ITEMS = {
    "audio_dir": "data/librispeech/LibriSpeech/dev-clean",
    "items": "data/librilight/ABX_data/dev-clean.item",
}
LARGER = Path(__file__).parents[1] / "librispeech"
MESH = MeshConfig()


def shortened(config: OptimizerConfig, steps: int) -> OptimizerConfig:
    """The same schedule over fewer steps."""
    return dataclasses.replace(config, warmup_steps=steps // 20, total_steps=steps)


def loop(steps: int) -> LoopConfig:
    """The best of what is held out is kept."""
    return LoopConfig(
        steps=steps,
        log_every=50,
        evaluate_every=1_000,
        heldout_batches=20,
        checkpoint_every=500,
        keep_best=1,
        export="best",
    )


def stage(name: str, crop_seconds: float, *, batch_size: int, steps: int) -> StageExperiment:
    """12 layers of width 640."""
    larger = load_experiment(LARGER / f"{name}_lm.py")
    assert isinstance(larger, StageExperiment)
    model = larger.model
    decoder = dataclasses.replace(model.decoder, heads=10, width=640, ff_width=2560)
    return dataclasses.replace(
        larger,
        directory=f"{RUNS}/{name}_lm",
        tokens=f"{RUNS}/tokens",
        codec=f"{RUNS}/codec",
        semantic=f"{RUNS}/kmeans",
        batch_size=batch_size,
        model=dataclasses.replace(
            model,
            stage=dataclasses.replace(model.stage, crop_seconds=crop_seconds),
            decoder=decoder,
        ),
        optimizer=shortened(larger.optimizer, steps),
        loop=loop(steps),
        mesh=MESH,
    )
