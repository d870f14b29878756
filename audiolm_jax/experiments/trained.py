"""Experiments that end in a model folder, by which a finished run is recognized and left alone;
anything else goes on from its last checkpoint. A new trainable part is a subclass of
`StepExperiment`, in any package."""

import abc
import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.identity import Place, changes, described, is_moved
from audiolm_jax.artifacts.model_folder import MODEL_JSON, read_model_json, save_model
from audiolm_jax.artifacts.run_folder import MODEL
from audiolm_jax.artifacts.storage import at
from audiolm_jax.artifacts.writer import lock_file, only_writer
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment
from audiolm_jax.training.config import (
    LoopConfig,
    MeshConfig,
    OptimizerConfig,
    WarmStartConfig,
    may_change,
)

if TYPE_CHECKING:
    from audiolm_jax.training.branch import Branch
    from audiolm_jax.training.metrics import MetricsWriter
    from audiolm_jax.training.state import TrainProgram, TrainState
    from audiolm_jax.training.warm_start import WarmStart

logger = logging.getLogger(__name__)


class TrainedExperiment(Experiment):
    """An experiment whose result is a model folder, `model` in its run directory."""

    verb = "train"

    def run(self) -> Path:
        """Trains, or goes on training; returns the model folder."""
        from audiolm_jax.training.distributed import from_first_host

        folder = at(self.directory) / MODEL

        def look() -> bool:
            self._must_be_alone()
            return self.is_finished()

        if from_first_host(look):
            logger.info("%s: finished already, nothing to do", self.directory)
        else:
            self.fit()
            logger.info("%s: written", folder)
        return folder

    @abc.abstractmethod
    def fit(self) -> None:
        """Trains, or goes on training, and writes the model folder."""

    def _must_be_alone(self) -> None:
        """InputError if another process trains here: before anything else takes time."""
        if lock_file(at(self.directory)).exists():
            with only_writer(at(self.directory)):
                pass

    def is_finished(self) -> bool:
        """Whether the model folder is there, of this very config, data and upstream models, be they
        where they were or elsewhere."""
        from audiolm_jax.training.manifest import MANIFEST, read_manifest

        directory = at(self.directory)
        if not (directory / MODEL / MODEL_JSON).is_file():
            return False
        there, now = read_model_json(directory / MODEL)["provenance"], described(self)
        if any(self.decides(name) for name, _, _ in changes(there, now)):
            return False
        if there.get("upstream") != self.upstream():
            return False
        manifest = read_manifest(directory) if (directory / MANIFEST).is_file() else {}
        return not is_moved(manifest, now) or self.learnt_from(there)

    def decides(self, field: str) -> bool:
        """Whether a field, by dotted name, decides anything of the model folder."""
        return not may_change(field)

    def learnt_from(self, provenance: Mapping[str, Any]) -> bool:
        """Whether a model comes of these very data, which are read for it."""
        return provenance.get("data") == self.data_facts()

    @abc.abstractmethod
    def data_facts(self) -> dict[str, Any]:
        """Fingerprints and counts of the data, for the manifest; reads them."""

    def manifest(self, seed: int, data: dict[str, Any]) -> dict[str, Any]:
        """What it takes to repeat the run; `data` holds fingerprints and counts of the data."""
        from audiolm_jax.training.manifest import build_manifest

        mesh = getattr(self, "mesh", None)
        axes = None if mesh is None else config_to_dict(mesh)
        return build_manifest(self, {"loop": seed}, data, self.upstream(), axes)


def provenance_of(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a model folder says of its origin; nothing in it depends on time or place."""
    kept = (
        *("config", "config_hash", "code", "git", "versions", "seeds"),
        *("data", "upstream", "warm_start"),
    )
    return {name: manifest[name] for name in kept if name in manifest} | more


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What a run learns from, opened."""

    batches: Callable[[int], Iterator[Any]]  # completed steps -> this host's rows from there on
    # This host's rows of the held-out batches, no more than `loop.heldout_batches`.
    heldout: Callable[[], Iterable[Any]]
    facts: dict[str, Any]  # fingerprints and counts, for the manifest
    describe: Callable[[int], list[str]]  # completed steps -> one line a row of the next batch
    begin: Callable[[Any, Any], Any] | None = None  # as `loop.LoopContext` has it
    on_evaluate: "Callable[[int, TrainState, MetricsWriter], None] | None" = None
    provenance: dict[str, Any] = dataclasses.field(default_factory=dict)  # for the model folder


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepExperiment(TrainedExperiment):
    """A model that the training loop trains step by step."""

    directory: Place
    """Run directory."""
    model: Any
    """Config of the model."""
    loop: LoopConfig
    """Steps, seed, checkpoints, metrics."""
    batch_size: int = 32
    """Crops in a step, over all devices."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """Of all parameters; for a codec of encoder and decoder."""
    mesh: MeshConfig = MeshConfig()
    """Devices and sharding."""
    warm_start: WarmStartConfig | None = None
    """The weights to start from in place of random ones; None draws them."""
    branch_from: Place | None = None
    """A checkpoint of another run, RUN@STEP, whose weights, optimizer and place in the data this
    one takes over, to go on with a learning rate, batch or data of its own; or None."""

    kind: ClassVar[str]
    """Of the model folder."""
    has_flops_formula: ClassVar[bool] = False
    """Whether `model_flops` costs nothing; else they are counted only where they tell the MFU."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")
        if self.branch_from is not None and self.warm_start is not None:
            raise InputError(
                f"--branch-from {self.branch_from}: it brings the weights; leave --warm-start out"
            )

    @abc.abstractmethod
    def program(self) -> "TrainProgram":
        """The functions that train the model; no data, models or devices are touched."""

    @abc.abstractmethod
    def abstract_batch(self) -> Any:
        """The batch of one step, over all devices, as `jax.ShapeDtypeStruct`s."""

    @abc.abstractmethod
    def units_per_step(self) -> tuple[str, float]:
        """What a step learns from and how much at most: ("tokens", 4096.0) or
        ("audio_seconds", 32.0)."""

    def filled(self, rows: Any) -> tuple[float, float]:
        """The shares of `units_per_step` and of `model_flops` that are no padding, as some rows of
        a batch, numpy arrays, tell; all unless overridden."""
        return 1.0, 1.0

    def model_flops(self) -> float:
        """A step's operations over all devices, every conditional at its most expensive branch."""
        import jax

        from audiolm_jax.training.flops import count_flops

        program = self.program()
        key = jax.eval_shape(lambda: jax.random.key(0))
        state = jax.eval_shape(program.init, key)
        return count_flops(program.step, state, self.abstract_batch(), key)

    @abc.abstractmethod
    def open_data(self) -> TrainingData:
        """Opens what the run learns from; InputError if it does not fit the model."""

    def packed(self, arrays: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        """Config and arrays of the model folder that the arrays of `program` go to; they are asked
        for as `save_model` does, and names that are added come behind all of them."""
        return self.model, arrays

    def data_facts(self) -> dict[str, Any]:
        """As `open_data` gives them."""
        return self.open_data().facts

    def decides(self, field: str) -> bool:
        """What a run may change within itself may still choose another of its states."""
        chooses = ("best_metric", "best_is") if self.loop.export == "best" else ()
        choosing = {f"config.loop.{name}" for name in ("export", *chooses)}
        return super().decides(field) or field in choosing

    def learnt_from(self, provenance: Mapping[str, Any]) -> bool:
        """Whether the weights that it started from are these, too."""
        start = self._known_start(provenance.get("warm_start"))
        return super().learnt_from(provenance) and _is_same_start(provenance, start)

    def fit(self) -> None:
        """Trains with the loop and exports the last state, or the best one."""
        import jax

        from audiolm_jax.training import loop
        from audiolm_jax.training.best import best_kept
        from audiolm_jax.training.branch import Branch
        from audiolm_jax.training.distributed import from_first_host, on_all_hosts
        from audiolm_jax.training.full_disk import name_full_disk
        from audiolm_jax.training.host_arrays import save_on_first_host
        from audiolm_jax.training.topology import peak_flops
        from audiolm_jax.training.warm_start import WarmStart

        directory = at(self.directory)
        # What one host lacks all are told, before a directory is claimed.
        data, program = on_all_hosts(self.open_data), self.program()
        manifest = self.manifest(self.loop.seed, data.facts)
        start, source = self._start()
        if source is not None:
            manifest["warm_start"] = source
        has_flops = self.has_flops_formula or peak_flops(jax.devices()[0].device_kind)
        context = loop.LoopContext(
            units=self.units_per_step(),
            model_flops=self.model_flops() if has_flops else None,
            filled=self.filled,
            describe=data.describe,
            begin=data.begin,
            warm_start=start.take if isinstance(start, WarmStart) else None,
            branch=start if isinstance(start, Branch) else None,
            on_evaluate=data.on_evaluate,
        )
        state = loop.train(
            program, self.loop, directory, data.batches, data.heldout, manifest, self.mesh,
            context,
        )  # fmt: skip
        exported: dict[str, Any] = {"steps": self.loop.steps}
        if self.loop.export == "best":
            exported = from_first_host(lambda: best_kept(directory))
            state = loop.load_state(program, directory, self.mesh, exported["steps"])
        provenance = provenance_of(manifest, **exported, **data.provenance)
        with name_full_disk(directory):
            arrays = program.export(state)
            del state  # what is not exported takes no memory meanwhile
            model = (directory / MODEL, self.kind)
            save_on_first_host(
                arrays, lambda whole: save_model(*model, *self.packed(whole), provenance)
            )

    def _start(self) -> "tuple[WarmStart | Branch | None, dict[str, Any] | None]":
        """Where to start from, read once, and what the manifest says of it."""
        from audiolm_jax.training.branch import read_branch
        from audiolm_jax.training.checkpoints import latest_step
        from audiolm_jax.training.distributed import from_first_host
        from audiolm_jax.training.manifest import read_manifest
        from audiolm_jax.training.mesh import make_mesh
        from audiolm_jax.training.warm_start import read_warm_start

        directory = at(self.directory)
        if self._start_named is None:
            return None, None
        if from_first_host(lambda: latest_step(directory)) is not None:
            there = from_first_host(lambda: read_manifest(directory).get("warm_start"))
            return None, from_first_host(lambda: self._known_start(there))
        if self.warm_start is not None:
            weights = read_warm_start(self.warm_start, make_mesh(self.mesh))
            return weights, weights.facts
        branch = read_branch(str(self.branch_from))
        if branch.step >= self.loop.steps:
            raise InputError(
                f"--branch-from {self.branch_from}: --loop.steps {self.loop.steps} are done there "
                "already; steps are counted on from it, give more"
            )
        return branch, branch.facts

    @property
    def _start_named(self) -> str | None:
        """The weights or the checkpoint to start from, as the config calls it."""
        return self.branch_from if self.warm_start is None else self.warm_start.source

    def _known_start(self, there: dict[str, Any] | None) -> dict[str, Any] | None:
        """What the manifest says of where the run started, if that is called so still: it has no
        more need of it. Otherwise what those files say that are named now."""
        from audiolm_jax.training import branch, warm_start

        if self._start_named is None or (there or {}).get("source") == self._start_named:
            return there
        if self.warm_start is not None:
            return warm_start.read_facts(self.warm_start)
        return branch.read_facts(self._start_named)


def _is_same_start(provenance: Mapping[str, Any], start: Mapping[str, Any] | None) -> bool:
    there = provenance.get("warm_start") or {}
    return dict(there, source=None) == dict(start or {}, source=None)
