"""Tuning stages of a bundle to other recordings, such as one voice: their tokens, a run of each
stage that begins with the bundle's weights, and a bundle of the same tokenizers."""

import dataclasses
from pathlib import Path

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import read_model_json
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.stage import StageExperiment
from audiolm_jax.experiments.tokens import TokenizeExperiment
from audiolm_jax.lm.config import StageModelConfig, StageTrainConfig
from audiolm_jax.stages import StageName
from audiolm_jax.training.config import LoopConfig, MeshConfig, OptimizerConfig, WarmStartConfig

_FEW_FILES = 10  # of fewer than so many the end of each is held out, not one as a whole
_EVALUATIONS = 5  # in the course of a run, beside that of its start


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How long and how strongly."""

    stages: tuple[StageName, ...] = ("coarse", "fine")
    """Which stages learn, in this order; the others stay as they are. Voice and room are in coarse
    and fine, what is said in semantic."""
    steps: int = 100
    """Updates of each stage. The state with the lowest held-out loss is taken, be it the first."""
    batch_size: int = 8
    """Crops in a step, each as long as the stage's windows in training."""
    learning_rate: float = 5e-4
    """The peak rate; a tenth of the steps lead up to it, and it falls to a tenth at the end."""
    heldout_percent: float = 10.0
    """Share of the recordings, 1 to 50, that is not learnt from; the states are compared by it."""
    seed: int = 0
    """Of the crops' order."""

    def __post_init__(self) -> None:
        is_each_once = len(set(self.stages)) == len(self.stages) > 0
        for name, is_good, expected in (
            ("stages", is_each_once, "one or more of semantic, coarse and fine, each once"),
            ("steps", self.steps >= 1, "1 or more"),
            ("batch_size", self.batch_size >= 1, "1 or more"),
            ("learning_rate", 0 < self.learning_rate < 1, "more than 0 and less than 1"),
            ("heldout_percent", 1 <= self.heldout_percent <= 50, "1 to 50"),
            ("seed", 0 <= self.seed < 2**32, "0 to 2**32 - 1"),
        ):
            if not is_good:
                flag = f"--tune.{name.replace('_', '-')} {getattr(self, name)}"
                raise InputError(f"{flag}: expected {expected}")


def held_out_of(data: AudioDataConfig, percent: float) -> AudioDataConfig:
    """The same recordings with about so many percent of them held out: whole files, or where there
    are few of them the end of each. InputError where neither can be done."""
    from audiolm_jax.data.index import index_folder, usable

    whole = usable(index_folder(dataclasses.replace(data, heldout_percent=0)))
    minutes = whole.seconds("train") / 60
    split_by = "file" if len({clip.path for clip in whole.clips}) >= _FEW_FILES else "time"
    chosen = dataclasses.replace(
        data, heldout_minutes=max(0.01, round(minutes * percent / 100, 2)), split_by=split_by
    )
    index = index_folder(chosen)
    if not min(index.seconds("train"), index.seconds("heldout")):
        raise InputError(
            f"{data.source}: {minutes:.1f} min in {len(whole.clips)} files: too little to hold a "
            "part of it out; add recordings"
        )
    return chosen


def tokenizing(bundle: Path, data: AudioDataConfig, directory: Path) -> TokenizeExperiment:
    """The recordings as tokens of a bundle's tokenizers."""
    return TokenizeExperiment(
        directory=str(directory / "tokens"),
        data=data,
        codec=str(bundle / "codec"),
        semantic=str(bundle / "semantic"),
    )


def tuning(
    bundle: Path, stage: StageName, config: FinetuneConfig, directory: Path, mesh: MeshConfig
) -> StageExperiment:
    """The run of a stage, which begins with the bundle's; InputError if the bundle has none."""
    from audiolm_jax.generation.bundle import STAGE_PARTS

    source = bundle / STAGE_PARTS[stage]
    if not source.is_dir():
        raise InputError(f"--tune.stages: {bundle} has no {stage} stage; leave it out")
    record = read_model_json(source)
    trained = (record["provenance"].get("config") or {}).get("train") or {}
    return StageExperiment(
        directory=str(directory / STAGE_PARTS[stage]),
        tokens=str(directory / "tokens"),
        codec=str(bundle / "codec"),
        semantic=str(bundle / "semantic"),
        model=config_from_dict(StageModelConfig, record["config"], str(source)),
        batch_size=config.batch_size,
        train=StageTrainConfig(softmax=trained.get("softmax", "all")),
        warm_start=WarmStartConfig(str(source)),
        reader="plain",
        optimizer=OptimizerConfig(
            learning_rate=config.learning_rate,
            warmup_steps=config.steps // 10,
            schedule="cosine",
            total_steps=config.steps,
            final_fraction=0.1,
            weight_decay=0.01,
        ),
        loop=LoopConfig(
            steps=config.steps,
            seed=config.seed,
            log_every=max(1, config.steps // 10),
            evaluate_every=max(1, config.steps // _EVALUATIONS),
            evaluate_start=True,
            checkpoint_every=max(1, config.steps // _EVALUATIONS),
            keep_best=1,
            export="best",
        ),
        mesh=mesh,
    )


@dataclasses.dataclass(frozen=True)
class Tuned:
    """What a run of `tuning` came to."""

    step: int  # whose state is in the model folder; 0: no update lowered the held-out loss
    before: float  # held-out loss, nats a token, of the bundle's weights
    after: float  # of that state


def outcome(run: StageExperiment) -> Tuned:
    """Of a finished run."""
    from audiolm_jax.artifacts.storage import at
    from audiolm_jax.training.best import best_kept
    from audiolm_jax.training.metrics import METRICS, read_metrics

    directory = at(run.directory)
    best, name = best_kept(directory), "heldout/loss"
    losses = {x["step"]: x[name] for x in read_metrics(directory / METRICS) if name in x}
    return Tuned(best["steps"], losses[0], best["value"])
