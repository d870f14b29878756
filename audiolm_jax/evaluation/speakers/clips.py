"""The clips that an evaluation of words has made, and the recordings that they stand beside."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.audio.files import read_audio
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.world.experiment import WorldExperiment
from audiolm_jax.evaluation.world.selection import choose_clips, choose_stretches, open_recordings
from audiolm_jax.evaluation.world.systems import (
    FINE,
    REAL,
    System,
    ending_systems,
    reading_systems,
    seeds_of,
    sound_path,
)
from audiolm_jax.evaluation.world.utterances import whole


@dataclasses.dataclass(frozen=True)
class Heard:
    """A clip that a system made, or a recording."""

    system: str  # label
    name: str  # of the recording or prompt: intervals are over these
    speaker: str
    seed: int
    prompt: Float[np.ndarray, " p"]  # float32, empty for a whole recording
    samples: Float[np.ndarray, " s"]  # float32, what follows the prompt


def read_report(folder: Path) -> tuple[WorldExperiment, dict[str, Any]]:
    """The evaluation that a folder is of, and its record; InputError if it is not finished."""
    path = folder / WorldExperiment.record
    if not path.is_file():
        raise InputError(f"--world {folder}: no {path.name} there; run that evaluation first")
    try:
        record = json.loads(path.read_text())
        fields = record["of"]["config"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: damaged ({error}); delete it to measure again") from error
    world = config_from_dict(WorldExperiment, fields, str(path))
    return dataclasses.replace(world, directory=str(folder)), record


class WorldClips:
    """What was made for an evaluation of words, read one by one; nothing is made again."""

    def __init__(self, world: WorldExperiment, record: dict[str, Any]):
        """InputError if the recordings are not those of the record."""
        self._world, self._folder = world, Path(world.directory)
        self._index = open_recordings(world.data)
        if record["data"]["fingerprint"] != self._index.fingerprint:
            raise InputError(
                f"{world.data.source}: other recordings than {self._folder / world.record} was "
                "measured on; run that evaluation again"
            )
        seconds = world.prompt_seconds + world.continuation_seconds
        self._stretches = choose_stretches(self._index, world.prompts, seconds)
        self._clips = choose_clips(self._index, world.revoiced)
        has_fine = world.by_stage and FINE.label in (row["system"] for row in record["endings"])
        self.endings = ending_systems(world, has_fine)
        self.wholes = reading_systems(world, has_fine)

    @property
    def speakers(self) -> set[str]:
        """Of all recordings that are judged."""
        return {clip.speaker for clip in (*self._clips, *(x.clip for x in self._stretches))}

    def end(self, system: System) -> Iterator[Heard]:
        """Every ending of a prompt by a system, the prompt apart."""
        rate = self._index.config.sample_rate_hz
        size = round(self._world.prompt_seconds * rate)
        for stretch in self._stretches:
            for seed in seeds_of(system, self._world.seeds):
                if system is REAL:
                    samples = stretch.load(self._index)
                else:
                    samples = self._read(system, stretch.name, seed)
                heard = samples[:size], samples[size:]
                yield Heard(system.label, stretch.name, stretch.clip.speaker, seed, *heard)

    def read(self, system: System) -> Iterator[Heard]:
        """Every whole recording by a system."""
        for clip in self._clips:
            for seed in seeds_of(system, self._world.seeds):
                name = whole(clip).name
                samples = self._index.load(clip)
                if system is not REAL:
                    samples = self._read(system, name, seed)
                yield Heard(system.label, name, clip.speaker, seed, samples[:0], samples)

    def _read(self, system: System, name: str, seed: int) -> Float[np.ndarray, " s"]:
        path = sound_path(self._folder, system, name, seed)
        if not path.is_file():
            raise InputError(f"{path}: is missing; run the evaluation that makes it again")
        return read_audio(path)[0]
