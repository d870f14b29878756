"""A preset made so small that it trains on a CPU in seconds: the same reduction for all of them.

What is kept: the kind of network and its options, losses, optimizer, schedule and mesh. What is
less: layers, widths, codes, clusters, levels, frames, crops, batch and steps.
"""

import dataclasses
from pathlib import Path
from typing import Any

from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.kmeans import KmeansExperiment
from audiolm_jax.experiments.residual import ResidualExperiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.trained import StepExperiment
from audiolm_jax.experiments.vocoder import VocoderExperiment
from audiolm_jax.tokenizers.acoustic.soundstream.config import (
    SoundStreamConfig,
    SoundStreamTrainConfig,
)
from audiolm_jax.training.config import LoopConfig, OptimizerConfig
from support import tiny_models

STEPS, ROWS = 20, 8  # rows: one for each device of the tests
LEVELS = 3  # of residual tokens


def reduced(experiment: StepExperiment, root: Path, data: AudioDataConfig) -> StepExperiment:
    """The same in small, in `root`, where a stage's tokens are in `tokens`."""
    loop = LoopConfig(STEPS, log_every=1, evaluate_every=10, checkpoint_every=10, tensorboard=False)
    kept = {"keep_best": experiment.loop.keep_best, "export": experiment.loop.export}
    fields: dict[str, Any] = {
        "directory": str(root / "run"),
        "batch_size": ROWS,
        "optimizer": _optimizer(experiment.optimizer),
        "loop": dataclasses.replace(loop, **kept),
        "warm_start": None,
    }
    replace = dataclasses.replace
    if isinstance(experiment, StageExperiment):
        decoder = replace(
            experiment.model.decoder,
            layers=2, heads=2, head_width=16, width=32, ff_width=64, attention="blocks",
        )  # fmt: skip
        stage = replace(
            experiment.model.stage, semantic_clusters=12, codebook_size=8, crop_seconds=0.4
        )
        parts = {part: str(root / part) for part in ("tokens", "codec", "semantic")}
        model = replace(experiment.model, stage=stage, decoder=decoder)
        return replace(
            experiment, model=model, reader="plain", sample_bundle=None, begin_at_centroids=False,
            **parts, **fields,
        )  # fmt: skip
    if isinstance(experiment, EncoderExperiment):
        conformer = replace(experiment.model.conformer, width=32, heads=2, ff_width=64)
        model = replace(
            experiment.model,
            subsample_channels=4, masked_layers=1, codebook_size=16, code_width=8,
            contrastive_layers=min(1, experiment.model.contrastive_layers), conformer=conformer,
        )  # fmt: skip
        train = replace(experiment.train, distractors=4, least_code_use=0.0)
        return replace(experiment, data=data, crop_seconds=1.0, model=model, train=train, **fields)
    assert isinstance(experiment, CodecExperiment)
    if isinstance(experiment, VocoderExperiment):
        fields["tokens"] = str(root / "frozen")
    return replace(
        experiment, data=data, crop_seconds=0.4, samples=0, model=_codec(experiment),
        train=_gan(experiment),
        discriminator_optimizer=_optimizer(experiment.discriminator_optimizer), **fields,
    )  # fmt: skip


def reduced_kmeans(experiment: KmeansExperiment, root: Path, data: AudioDataConfig) -> Any:
    """The same in small, of the tiny encoder in `root`."""
    kmeans = dataclasses.replace(
        experiment.kmeans, clusters=tiny_models.CLUSTERS, layer=tiny_models.KMEANS.layer,
        max_frames=400, block_frames=64,
    )  # fmt: skip
    levels = {"levels": LEVELS} if isinstance(experiment, ResidualExperiment) else {}
    return dataclasses.replace(
        experiment, directory=str(root / "kmeans"), data=data, encoder=str(root / "encoder"),
        batch_size=2, kmeans=kmeans, **levels,
    )  # fmt: skip


def _codec(experiment: CodecExperiment) -> SoundStreamConfig:
    replace = dataclasses.replace
    if isinstance(experiment, VocoderExperiment):
        # Of what makes its tokens, which are those of `tiny_models`.
        levels = min(LEVELS, experiment.model.levels)
        quantizer = replace(
            experiment.model.quantizer, levels=levels, codebook_size=tiny_models.CLUSTERS
        )
        width = tiny_models.ENCODER.conformer.width
        return replace(experiment.model, channels=2, embedding_width=width, quantizer=quantizer)
    quantizer = replace(experiment.model.quantizer, codebook_size=16, revival_threshold=0.01)
    frame_rate = experiment.model.frame_rate
    if frame_rate is not None:
        frame_rate = replace(frame_rate, width=16, encoder_blocks=1, decoder_blocks=1)
    return replace(
        experiment.model, channels=2, embedding_width=8, quantizer=quantizer, frame_rate=frame_rate
    )


def _gan(experiment: CodecExperiment) -> SoundStreamTrainConfig:
    judges = dataclasses.replace(
        experiment.train.discriminators,
        wave_width=4, wave_max_width=16, stft_width=2, stft_window=128, stft_hop=64,
    )  # fmt: skip
    start = min(experiment.train.discriminator_start_step, STEPS // 2)
    return dataclasses.replace(
        experiment.train, discriminators=judges, discriminator_start_step=start
    )


def _optimizer(config: OptimizerConfig) -> OptimizerConfig:
    total = None if config.total_steps is None else STEPS
    return dataclasses.replace(config, warmup_steps=min(config.warmup_steps, 5), total_steps=total)
