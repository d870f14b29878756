"""A tiny coarse stage with dropout, trained by the real loop, for tests of meshes and hosts.

Run as a script it is one process of several, or of one, that trains on batches in memory:
python lm_run.py DIRECTORY STEPS MESH_JSON [audiolm train's flags for several processes]
"""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from audiolm_jax.cli.configured import Processes
from audiolm_jax.cli.options import parse
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import shard_name, write_manifest, write_shard
from audiolm_jax.data.walk import BadFile
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.config import DecoderConfig, StageModelConfig
from audiolm_jax.stages import StageConfig, build_sequence, level_rows
from audiolm_jax.training import loop
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig
from audiolm_jax.training.distributed import joined
from audiolm_jax.training.manifest import build_manifest
from audiolm_jax.training.mesh import host_rows, make_mesh
from audiolm_jax.types import TokenBatch

BATCH = 16
STAGE = StageConfig(
    "coarse", semantic_clusters=12, codebook_size=8, levels=4, coarse_levels=2, crop_seconds=0.4
)
DECODER = DecoderConfig(layers=2, heads=8, head_width=4, width=32, ff_width=32, dropout=0.1)


def experiment(root: Path, steps: int, mesh: MeshConfig, **changes):
    """Optimizer and peak rate as in the paper's configs, reached within a few steps."""
    loop_config = LoopConfig(
        steps, log_every=1, evaluate_every=10, checkpoint_every=4, tensorboard=False
    )
    defaults = {
        "directory": str(root / "run"),
        "tokens": str(root / "tokens"),
        "codec": str(root / "codec"),
        "semantic": str(root / "semantic"),
        "loop": loop_config,
        "model": StageModelConfig(STAGE, DECODER),
        "batch_size": BATCH,
        "optimizer": OptimizerConfig("adafactor", 0.01, 5, schedule="rsqrt", b1=0.0),
        "mesh": mesh,
        "reader": "plain",
    }
    return StageExperiment(**(defaults | changes))


def make_batch(step: int) -> TokenBatch:
    """Sequences of unequal length; every third recording goes on after its window."""
    rng, length = np.random.default_rng([3, step]), STAGE.max_tokens - 1
    shape = (BATCH, length)
    batch = TokenBatch(*(np.zeros(shape, dtype) for dtype in "iifi"))
    for row in range(BATCH):
        u, ends = int(rng.integers(1, STAGE.crop_semantic + 1)), row % 3 > 0
        clusters, codes = random_tokens(rng, u)
        sequence = build_sequence(clusters, codes, ends, STAGE)
        tokens, start = sequence.tokens, sequence.target_start
        last = len(tokens) - 1
        batch.inputs[row, :last] = tokens[:-1]
        batch.targets[row, :last] = tokens[1:]
        batch.loss_weights[row, start - 1 : last] = 1
        batch.levels[row, start - 1 : last] = level_rows(len(tokens) - start, ends, STAGE)
    return batch


def random_tokens(
    rng: np.random.Generator, count: int, stage: StageConfig = STAGE
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens with something to learn: runs of semantic tokens, codes that follow from them."""
    clusters = np.repeat(rng.integers(0, stage.semantic_clusters, count), 3)[:count]
    frames = np.repeat(clusters, stage.frames_per_semantic)
    noise = rng.integers(0, 2, (len(frames), stage.levels))
    return clusters, (frames[:, None] + np.arange(stage.levels) + noise) % stage.codebook_size


def make_store(root: Path, records: int = 24, stage: StageConfig = STAGE) -> None:
    """A token store, and what the trainer wants to know of the models that wrote it."""
    for part in ("codec", "semantic"):
        (root / part).mkdir()
        (root / part / "model.json").write_text(json.dumps({"kind": part, "fingerprint": part}))
    sizes = TokenSizes(
        stage.semantic_clusters,
        stage.semantic_rate_hz,
        stage.acoustic_rate_hz,
        stage.levels,
        stage.codebook_size,
    )
    provenance = TokenProvenance(
        dataset="fake",
        data_fingerprint="d",
        sample_rate_hz=16000,
        resampler="soxr_hq",
        padding=PADDING_RULE,
        codec_fingerprint="codec",
        semantic_fingerprint="semantic",
        sizes=sizes,
        format_version=FORMAT_VERSION,
    )
    rng = np.random.default_rng(0)
    (root / "tokens").mkdir()
    for split, count in (("train", records), ("heldout", records // 3)):
        made = []
        for number in range(count):
            clusters, codes = random_tokens(rng, int(rng.integers(4, 40)), stage)
            made.append(
                TokenRecord(
                    clip_id=f"{split}{number}.wav",
                    codes=codes.astype(np.uint16),
                    clusters=clusters.astype(np.uint16),
                    dataset="fake",
                    speaker="",
                    text="",
                    source_rate_hz=16000,
                )
            )
        write_shard(root / "tokens" / shard_name(split, 0, 1), made, provenance)
    write_manifest(
        root / "tokens", provenance, {"train": 1, "heldout": 1}, [BadFile("x.wav", "bad")]
    )


def run_lm(directory: Path, steps: int, mesh: MeshConfig, **changes):
    """The final state after training on batches in memory, of which this host makes its rows."""
    config = experiment(directory, steps, mesh, **changes)
    share = list(host_rows(make_mesh(mesh), BATCH))

    def rows(step: int) -> TokenBatch:
        return jax.tree.map(lambda x: x[share], make_batch(step))

    def batches(start: int):
        while True:
            yield rows(start)
            start += 1

    record = build_manifest(config, {"loop": 0}, {}, {}, None)
    return loop.train(
        config.program(),
        config.loop,
        Path(config.directory),
        batches,
        lambda: [rows(2**20), rows(2**20 + 1)],
        record,
        mesh,
    )


if __name__ == "__main__":
    where, steps, mesh = sys.argv[1:4]
    with joined(parse(Processes, sys.argv[4:], "lm_run").config):
        run_lm(Path(where), int(steps), MeshConfig(**json.loads(mesh)))
