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

if TYPE_CHECKING:
    from audiolm_jax.evaluation.world.experiment import WorldExperiment

logger = logging.getLogger(__name__)

Kind = Literal["real", "codec", "coarse", "fine", "told", "continued", "bigram", "revoiced"]
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
# Of the recording's tokens each is given fewer: which stage loses words and voice.
COARSE = System("coarse levels alone", "coarse")
FINE = System("fine stage on the recording's coarse codes", "fine")
TOLD = System("told the recording's units", "told")


def systems_of(
    temperatures: Sequence[float], bigram_temperatures: Sequence[float]
) -> tuple[System, ...]:
    """Those that end a prompt, beside the real ending and its round trip."""
    continued = (System(f"continued, T = {t:g}", "continued", t) for t in temperatures)
    bigrams = (System(f"bigram of units, T = {t:g}", "bigram", t) for t in bigram_temperatures)
    return (*continued, *bigrams)


def ending_systems(config: "WorldExperiment", has_fine: bool) -> tuple[System, ...]:
    """All whose endings of prompts are compared; `has_fine`: whether the bundle has that stage."""
    if config.bundle is None:
        return (REAL,)
    drawn = config.bigram_temperatures if config.tokens is not None else ()
    told = (TOLD,) if config.by_stage else ()
    generated = systems_of(config.temperatures, drawn)
    return (REAL, CODEC, *_of_levels(config, has_fine), *told, *generated)


def reading_systems(config: "WorldExperiment", has_fine: bool) -> tuple[System, ...]:
    """All whose whole recordings it compares."""
    if not config.revoiced:
        return ()
    if config.bundle is None:
        return (REAL,)
    return (REAL, CODEC, *_of_levels(config, has_fine), REVOICED)


def _of_levels(config: "WorldExperiment", has_fine: bool) -> tuple[System, ...]:
    """Without a fine stage all levels are coarse: both would be the round trip."""
    return (COARSE, FINE) if config.by_stage and has_fine else ()


def seeds_of(system: System, seeds: Sequence[int]) -> Sequence[int]:
    """One for a system that draws nothing."""
    return (0,) if system in (REAL, CODEC, COARSE) else seeds


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
            heard = samples if system in (CODEC, COARSE) else samples[:prompt]
            for seed in seeds_of(system, self.seeds):
                path = sound_path(self.directory, system, stretch.name, seed)
                item = self._wanted(path, system, config, heard, place, seed, seconds)
                if system in (FINE, TOLD):
                    item.provenance["recording_sha256"] = _sha256(samples)
                wanted.append(item)
        if system in (CODEC, COARSE):
            keep_sounds(
                wanted,
                lambda some: [
                    self._decoded(system, stretches[x.place].load(self.index)) for x in some
                ],
                self._rate_hz,
            )
        else:
            generator = Generator(self.bundle, config)

            def make(some: Sequence[Wanted]) -> list[np.ndarray]:
                sounds = [stretches[x.place].load(self.index) for x in some]
                seeds = [x.seed for x in some]
                return self._end(system, generator, sounds, prompt, seconds, seeds)

            keep_sounds(wanted, make, self._rate_hz)
        return wanted

    def _end(
        self,
        system: System,
        generator: Generator,
        sounds: Sequence[np.ndarray],
        prompt: int,
        seconds: float,
        seeds: Sequence[int],
    ) -> list[np.ndarray]:
        if system == FINE:
            return self._refined(generator, sounds, prompt, seeds)
        prompts = [samples[:prompt] for samples in sounds]
        if system.kind == "continued":
            made = generator.continue_audio(prompts, seconds, seeds)
        else:
            if system == TOLD:
                first = prompt // self.bundle.semantic_tokenizer.hop_samples
                scripts = [generator.encode(samples)[1][first:] for samples in sounds]
            else:
                scripts = self._draw_units(system, generator, prompts, seconds, seeds)
            made = generator.speak(prompts, scripts, seconds, seeds)
        return [result.samples for result in made]

    def _draw_units(
        self,
        system: System,
        generator: Generator,
        prompts: Sequence[np.ndarray],
        seconds: float,
        seeds: Sequence[int],
    ) -> list[np.ndarray]:
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
        return scripts

    def read(self, system: System, utterances: Sequence[Utterance]) -> list[Wanted]:
        """Whole clips or their beginnings, as a system has them."""
        wanted = []
        for place, utterance in enumerate(utterances):
            samples = utterance.load(self.index)
            for seed in seeds_of(system, self.seeds):
                path = sound_path(self.directory, system, utterance.name, seed)
                wanted.append(self._wanted(path, system, self.generation, samples, place, seed))
        generator = Generator(self.bundle, self.generation)

        def make(some: Sequence[Wanted]) -> list[np.ndarray]:
            sounds = [utterances[x.place].load(self.index) for x in some]
            seeds = [x.seed for x in some]
            if system in (CODEC, COARSE):
                return [self._decoded(system, samples) for samples in sounds]
            if system == FINE:
                return self._refined(generator, sounds, 0, seeds)
            return [result.samples for result in generator.revoice(sounds, seeds)]

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
        prompt_seconds = 0.0 if seconds is None else len(heard) / self._rate_hz
        provenance: dict[str, Any] = provenance_of(
            self.bundle, config, seed, seconds, prompt_seconds, _sha256(heard)
        )
        provenance |= {"system": system.label}
        if system.kind == "bigram":
            provenance |= {"counted_on": self.tokens}
        return Wanted(path, provenance, place, seed)

    def _decoded(self, system: System, samples: Float[np.ndarray, " s"]) -> np.ndarray:
        """Of the recording's own codes, all levels or the coarse ones."""
        levels = self.bundle.codec.levels
        if system == COARSE:
            levels = self.bundle.stages["coarse"].config.stage.coarse_levels
        return round_trip(self.bundle.codec, samples, (levels,))[1][levels]

    def _refined(
        self, generator: Generator, sounds: Sequence[np.ndarray], prompt: int, seeds: Sequence[int]
    ) -> list[np.ndarray]:
        """Of the recording's own codes, but for the fine levels after `prompt` samples."""
        codec = self.bundle.codec
        codes = [round_trip(codec, samples, ())[0] for samples in sounds]
        refined = generator.refine(codes, prompt // codec.hop_samples, seeds)
        pairs = zip(refined, sounds, strict=True)
        return [generator.decode(codes)[: len(samples)] for codes, samples in pairs]


def _sha256(samples: Float[np.ndarray, " s"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()
