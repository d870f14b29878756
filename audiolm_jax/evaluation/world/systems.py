"""What is compared on the same prompts, and the sounds of it."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from audiolm_jax.data.index import ClipIndex
from audiolm_jax.evaluation.measures.codec import round_trip
from audiolm_jax.evaluation.world.kept import Wanted, keep_sounds
from audiolm_jax.evaluation.world.selection import Stretch
from audiolm_jax.evaluation.world.units import UnitBigrams
from audiolm_jax.evaluation.world.utterances import Utterance
from audiolm_jax.generation.bundle import Bundle
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.files import provenance_of
from audiolm_jax.generation.pipeline import Generator
from audiolm_jax.generation.track import Generated

if TYPE_CHECKING:
    from audiolm_jax.evaluation.world.experiment import WorldExperiment

logger = logging.getLogger(__name__)

Kind = Literal["real", "codec", "continued", "bigram", "revoiced"]
SOUNDS = "sounds"  # folder of the wav files, below it a folder a system


@dataclasses.dataclass(frozen=True)
class System:
    """A row of the tables."""

    label: str  # unique
    kind: Kind
    temperature: float | None = None  # of the semantic tokens

    @property
    def folder(self) -> str:
        """Of its sounds."""
        return self.kind + ("" if self.temperature is None else f"_{self.temperature:g}")


REAL = System("real recording", "real")
CODEC = System("codec round trip", "codec")
REVOICED = System("revoiced", "revoiced")


def systems_of(
    temperatures: Sequence[float], bigram_temperatures: Sequence[float]
) -> tuple[System, ...]:
    """Those that end a prompt, beside the real ending and its round trip."""
    continued = (System(f"continued, T = {t:g}", "continued", t) for t in temperatures)
    bigrams = (System(f"bigram of units, T = {t:g}", "bigram", t) for t in bigram_temperatures)
    return (*continued, *bigrams)


def ending_systems(config: "WorldExperiment") -> tuple[System, ...]:
    """All whose endings of prompts an evaluation compares."""
    if config.bundle is None:
        return (REAL,)
    drawn = config.bigram_temperatures if config.tokens is not None else ()
    return (REAL, CODEC, *systems_of(config.temperatures, drawn))


def reading_systems(config: "WorldExperiment") -> tuple[System, ...]:
    """All whose whole recordings it compares."""
    if not config.revoiced:
        return ()
    return (REAL,) if config.bundle is None else (REAL, CODEC, REVOICED)


def seeds_of(system: System, seeds: Sequence[int]) -> Sequence[int]:
    """One for a system that draws nothing."""
    return (0,) if system in (REAL, CODEC) else seeds


def sound_path(directory: Path, system: System, name: str, seed: int) -> Path:
    """Of a sound of a system, by the name of its stretch or utterance."""
    return directory / SOUNDS / system.folder / f"{name}_seed{seed}.wav"


@dataclasses.dataclass(frozen=True)
class Sounds:
    """Makes the sounds of every system below a directory, each once."""

    directory: Path
    index: ClipIndex
    bundle: Bundle
    generation: GenerationConfig
    seeds: Sequence[int]
    bigrams: Mapping[float, UnitBigrams]  # by temperature
    tokens: str | None  # fingerprint of the store that they were counted on

    def end(
        self, system: System, stretches: Sequence[Stretch], prompt: int, seconds: float
    ) -> list[Wanted]:
        """Prompt and ending of each stretch, of which the first `prompt` samples are heard, by a
        system; for each seed one, if it draws at all."""
        config = self._config(system)
        wanted = []
        for place, stretch in enumerate(stretches):
            samples = stretch.load(self.index)
            heard = samples if system.kind == "codec" else samples[:prompt]
            for seed in seeds_of(system, self.seeds):
                path = sound_path(self.directory, system, stretch.name, seed)
                wanted.append(self._wanted(path, system, config, heard, place, seed, seconds))
        if system.kind == "codec":
            keep_sounds(
                wanted,
                lambda some: [self._decoded(stretches[x.place].load(self.index)) for x in some],
                self._rate_hz,
            )
        else:
            generator = Generator(self.bundle, config)

            def make(some: Sequence[Wanted]) -> list[np.ndarray]:
                prompts = [stretches[x.place].load(self.index)[:prompt] for x in some]
                made = self._end(system, generator, prompts, seconds, some)
                return [result.samples for result in made]

            keep_sounds(wanted, make, self._rate_hz)
        return wanted

    def _end(
        self,
        system: System,
        generator: Generator,
        prompts: Sequence[np.ndarray],
        seconds: float,
        some: Sequence[Wanted],
    ) -> list[Generated]:
        seeds = [x.seed for x in some]
        if system.kind == "continued":
            return generator.continue_audio(prompts, seconds, seeds)
        assert system.temperature is not None
        bigrams = self.bigrams[system.temperature]
        tokenizer = self.bundle.semantic_tokenizer
        # One for each frame, which is more than is told.
        count = round(seconds * tokenizer.sample_rate_hz / tokenizer.hop_samples)
        scripts = []
        for prompt, seed in zip(prompts, seeds, strict=True):
            heard = generator.encode(prompt)[1]
            digest = hashlib.sha256(prompt.tobytes()).digest()
            scripts.append(bigrams.draw(int(heard[-1]), count, [seed, *digest]))
        return generator.speak(prompts, scripts, seconds, seeds)

    def read(self, system: System, utterances: Sequence[Utterance]) -> list[Wanted]:
        """Whole clips or their beginnings, through the codec or revoiced."""
        wanted = []
        for place, utterance in enumerate(utterances):
            samples = utterance.load(self.index)
            for seed in seeds_of(system, self.seeds):
                path = sound_path(self.directory, system, utterance.name, seed)
                wanted.append(self._wanted(path, system, self.generation, samples, place, seed))
        generator = Generator(self.bundle, self.generation)

        def make(some: Sequence[Wanted]) -> list[np.ndarray]:
            sounds = [utterances[x.place].load(self.index) for x in some]
            if system.kind == "codec":
                return [self._decoded(samples) for samples in sounds]
            made = generator.revoice(sounds, [x.seed for x in some])
            return [result.samples for result in made]

        keep_sounds(wanted, make, self._rate_hz)
        return wanted

    @property
    def _rate_hz(self) -> int:
        return self.bundle.codec.sample_rate_hz

    def _config(self, system: System) -> GenerationConfig:
        if system.kind != "continued" or system.temperature is None:
            return self.generation
        semantic: Sampling = dataclasses.replace(
            self.generation.semantic, temperature=system.temperature
        )
        return dataclasses.replace(self.generation, semantic=semantic)

    def _wanted(
        self,
        path: Path,
        system: System,
        config: GenerationConfig,
        heard: Float[np.ndarray, " s"],
        place: int,
        seed: int,
        seconds: float | None = None,
    ) -> Wanted:
        digest = hashlib.sha256(np.ascontiguousarray(heard).tobytes()).hexdigest()
        prompt_seconds = 0.0 if seconds is None else len(heard) / self._rate_hz
        provenance: dict[str, Any] = provenance_of(
            self.bundle, config, seed, seconds, prompt_seconds, digest
        )
        provenance |= {"system": system.label}
        if system.kind == "bigram":
            provenance |= {"counted_on": self.tokens}
        return Wanted(path, provenance, place, seed)

    def _decoded(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " s"]:
        levels = self.bundle.codec.levels
        return round_trip(self.bundle.codec, samples, (levels,))[1][levels]
