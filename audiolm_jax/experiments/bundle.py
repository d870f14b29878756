"""Putting trained parts together, where a list of tasks needs a bundle that nobody shares."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, PARTS, fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment


@dataclasses.dataclass(frozen=True)
class BundleExperiment(Experiment):
    """Write a bundle of trained parts: what the tasks of an ablation go on with.

    `audiolm bundle` writes those that are shared, with a model card. One of the same parts is left
    alone.
    """

    verb: ClassVar[str] = "train"

    directory: Place
    """Bundle folder to write."""
    parts: tuple[tuple[str, Place], ...]
    """(part, run directory or model folder): codec, semantic, semantic_lm, coarse_lm, fine_lm."""
    purpose: str
    """What it is for, the text of README.md."""

    def __post_init__(self) -> None:
        names = [name for name, _ in self.parts]
        if unknown := [name for name in names if name not in PARTS]:
            raise InputError(f"--parts {unknown[0]}: expected {', '.join(PARTS)}")
        if len({*names}) < len(names):
            raise InputError(f"--parts {names}: expected each once")

    def upstream(self) -> dict[str, str]:
        """Fingerprints of the parts."""
        return {name: fingerprint_of(place) for name, place in self.parts}

    def run(self) -> Path:
        """Checks the parts against each other and copies them."""
        from audiolm_jax.generation.bundle import write_bundle
        from audiolm_jax.generation.card import README

        sources = {name: model_folder(place) for name, place in self.parts}
        out = at(self.directory)
        check_replaced_folder(out, BUNDLE_JSON, "--directory")
        with only_writer(out, is_replaced=True):
            write_bundle(out, sources, {README: f"{self.purpose}\n"})
        return out
