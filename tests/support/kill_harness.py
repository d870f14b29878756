"""Kills and restarts real `audiolm train` processes at random moments until a run is finished."""

import dataclasses
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.data.tokens.provenance import (
    FORMAT_VERSION,
    PADDING_RULE,
    TokenProvenance,
    TokenSizes,
)
from audiolm_jax.data.tokens.record import TokenRecord
from audiolm_jax.data.tokens.store import shard_name, write_manifest, write_shard
from audiolm_jax.training.checkpoints import CHECKPOINTS, Checkpoints, latest_step
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.training.metrics import METRICS, read_metrics

SAVE_EVERY = 3
ROOT = Path(__file__).parents[2]

HEAD = """
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.encoder import EncoderExperiment
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.lm.decoder import DecoderConfig, StageModelConfig
from audiolm_jax.training.config import LoopConfig
from audiolm_jax.stages import StageConfig
from audiolm_jax.tokenizers.acoustic.soundstream.discriminators import DiscriminatorConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.rvq import QuantizerConfig
from audiolm_jax.tokenizers.acoustic.soundstream.train import SoundStreamTrainConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.config import (
    ConformerConfig,
    W2vBertConfig,
    W2vBertTrainConfig,
)


def loop(metric):
    return LoopConfig(
        steps={steps}, log_every=1, evaluate_every=7, checkpoint_every={every}, keep_best=1,
        best_metric=metric, tensorboard=False,
    )


def experiment():
"""
STAGE = """
    stage = StageConfig("semantic", semantic_clusters=8, codebook_size=16, levels=2,
                        coarse_levels=1, crop_seconds=1.0)
    decoder = DecoderConfig(layers=1, heads=2, head_width=4, width=8, ff_width=8, dropout=0.1)
    return StageExperiment(
        directory="{run}", tokens="{root}/tokens", codec="{root}/codec", semantic="{root}/semantic",
        loop=loop("loss"), model=StageModelConfig(stage, decoder), batch_size=2,
        reader="plain",
    )
"""
CODEC = """
    model = SoundStreamConfig(
        channels=2, width_multipliers=(1, 1, 1, 2, 2), embedding_width=4,
        quantizer=QuantizerConfig(levels=2, codebook_size=8, revival_threshold=0.1),
    )
    discriminators = DiscriminatorConfig(wave_scales=(1,), wave_width=4, wave_max_width=4,
                                         stft_width=2, stft_window=128, stft_hop=64)
    train = SoundStreamTrainConfig(discriminators=discriminators, discriminator_start_step=4,
                                   discriminator_every=2, generator_ema_decay=0.9)
    return CodecExperiment(
        directory="{run}", data=AudioDataConfig("{root}/audio", heldout_percent=30),
        loop=loop("spectral_loss"), crop_seconds=0.2, batch_size=2, model=model, train=train,
    )
"""
ENCODER = """
    model = W2vBertConfig(
        mel_bins=16, subsample_channels=4, contrastive_layers=1, masked_layers=1, codebook_size=8,
        code_width=8, conformer=ConformerConfig(width=16, heads=2, ff_width=16, remat="none"),
    )
    return EncoderExperiment(
        directory="{run}", data=AudioDataConfig("{root}/audio", heldout_percent=30),
        loop=loop("loss"), crop_seconds=1.0, batch_size=2, model=model,
        train=W2vBertTrainConfig(distractors=4),
    )
"""
TRAINERS = {"stage": STAGE, "codec": CODEC, "encoder": ENCODER}


def write_inputs(root: Path) -> None:
    """Noise to train on: recordings, a token store and the models it claims to come from."""
    rng = np.random.default_rng(0)
    (root / "audio").mkdir()
    for i in range(10):
        sound = (0.1 * rng.standard_normal(16000 + 800 * i)).astype(np.float32)
        write_wav(root / "audio" / f"{i}.wav", sound, 16000, None)
    upstream = {
        name: save_model(root / name, name, LoopConfig(1), {"x": np.full(1, i, np.float32)}, {})
        for i, name in enumerate(("codec", "semantic"))
    }
    provenance = TokenProvenance(
        "noise", "d", 16000, "soxr_hq", PADDING_RULE, upstream["codec"], upstream["semantic"],
        TokenSizes(8, 25, 50, 2, 16), FORMAT_VERSION,
    )  # fmt: skip
    (root / "tokens").mkdir()
    for split, count in (("train", 12), ("heldout", 3)):
        records = []
        for i in range(count):
            codes, clusters = rng.integers(0, 16, (120, 2)), rng.integers(0, 8, 60)
            records.append(
                TokenRecord(
                    f"{split}_{i}",
                    codes.astype(np.uint16),
                    clusters.astype(np.uint16),
                    "noise",
                    "",
                    "",
                    16000,
                )
            )
        write_shard(root / "tokens" / shard_name(split, 0, 1), records, provenance)
    write_manifest(root / "tokens", provenance, {"train": 1, "heldout": 1}, [])


@dataclasses.dataclass
class Harness:
    """One trainer on tiny data.

    Attributes:
      root: from `write_inputs`.
      trainer: of `TRAINERS`.
      steps: of each run.
    """

    root: Path
    trainer: str
    steps: int

    def start(self, run: str, errors: int | None = None) -> subprocess.Popen:
        """`audiolm train` in a process of its own."""
        config = self.root / f"{run}.py"
        text = HEAD.replace("{steps}", str(self.steps)).replace("{every}", str(SAVE_EVERY))
        body = TRAINERS[self.trainer].replace("{run}", str(self.root / run))
        config.write_text(text + body.replace("{root}", str(self.root)))
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "JAX_COMPILATION_CACHE_DIR": str(self.root / "xla"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        command = [sys.executable, "-m", "audiolm_jax", "train", str(config)]
        said = subprocess.DEVNULL if errors is None else errors
        return subprocess.Popen(command, env=environment, stdout=said, stderr=errors)

    def finish(self, run: str) -> Path:
        """Trains to the end without being disturbed."""
        assert self.start(run).wait(timeout=600) == 0
        return self.root / run

    def kill_and_restart(self, run: str, kills: int, seed: int) -> dict[str, int]:
        """Kills a run `kills` times and then lets it finish; returns how many hit what."""
        rng, hit = random.Random(seed), {"saving": 0, "training": 0, "starting": 0}
        directory, number = self.root / run, 0
        while sum(hit.values()) < kills:
            began, known = time.monotonic(), latest_step(directory)
            # One in six before anything is trained; every other one as soon as a save begins.
            plan = "starting" if rng.random() < 1 / 6 else ("saving", "training")[number % 2]
            number += 1
            with (self.root / f"{run}.err").open("w+") as errors:
                process = self.start(run, errors.fileno())
                self._await_moment(process, directory, plan, rng)
                assert process.poll() is None, f"{run} ended before kill {number}: more steps"
                process.kill()
                process.wait()
                errors.seek(0)
                said = errors.read()
            seen = max((x["step"] for x in read_metrics(directory / METRICS)), default=0)
            done = latest_step(directory) or 0
            # No more is lost than the steps since the last save, and those while it was written.
            assert done >= seen - 2 * SAVE_EVERY
            if plan != "starting" and known is not None:
                assert f"going on from step {known}" in said
            unfinished = [d for d in (directory / CHECKPOINTS).glob("*") if not d.name.isdigit()]
            # A start that was killed early leaves what the one before did not finish.
            kind = plan if plan == "starting" else "saving" if unfinished else "training"
            hit[kind] += 1
            print(
                f"{run}: kill {sum(hit.values())} ({kind}) after {time.monotonic() - began:.1f} s, "
                f"seen {seen}, saved {done}",
                flush=True,
            )
        self.finish(run)
        return hit

    def _await_moment(
        self, process: subprocess.Popen, directory: Path, plan: str, rng: random.Random
    ) -> None:
        if plan == "starting":
            time.sleep(rng.uniform(0, 5))
            return
        # Training goes on for a checkpoint or two; of the saves also the first of a start is hit.
        target = (latest_step(directory) or 0) + SAVE_EVERY * rng.randint(plan == "training", 2)
        lines, deadline, moved = self._lines(directory), time.monotonic() + 300, False
        while process.poll() is None and time.monotonic() < deadline:
            # A line that was not there: this start has left its restored checkpoint behind.
            moved |= self._lines(directory) > lines
            if moved and (latest_step(directory) or 0) >= target:
                if plan == "saving":
                    self._await_save(process, directory, deadline)
                    time.sleep(rng.uniform(0, 0.05))
                    return
                if not self._is_saving(directory):
                    return
            time.sleep(0.001)

    def _await_save(self, process: subprocess.Popen, directory: Path, deadline: float) -> None:
        while process.poll() is None and time.monotonic() < deadline:
            if self._is_saving(directory):
                return
            time.sleep(0.001)

    def _is_saving(self, directory: Path) -> bool:
        return any((directory / CHECKPOINTS).glob("*tmp*"))

    def _lines(self, directory: Path) -> int:
        path = directory / METRICS
        return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_same_run(one: Path, two: Path) -> None:
    """Everything in the last checkpoint, the metrics and the model have the same bits."""
    states = []
    for directory in (one, two):
        with Checkpoints(directory, keep=None) as checkpoints:
            arrays, saved = checkpoints.restore_arrays()
        states.append((saved["record"]["step"], arrays))
    (step, arrays), (other_step, others) = states
    assert step == other_step
    assert arrays.keys() == others.keys()
    assert any(name.startswith("opt_state.") for name in arrays)
    for name, array in arrays.items():
        assert array.tobytes() == others[name].tobytes(), name
    for name in (METRICS, "best.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    fingerprints = [load_model(directory / "model").fingerprint for directory in (one, two)]
    assert fingerprints[0] == fingerprints[1]
