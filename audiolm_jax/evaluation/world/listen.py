"""The road of the evaluation: sounds are made, heard, judged and shown."""

import dataclasses
import importlib.metadata
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audiolm_jax import __version__
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.unheard import check_strange, check_untrained
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.recognition import HeardWord, Recognizer
from audiolm_jax.evaluation.measures.speaker import SpeakerEncoder
from audiolm_jax.evaluation.page.listening import AudioClip, Example
from audiolm_jax.evaluation.world.judge import errors_of, judge
from audiolm_jax.evaluation.world.kept import keep_words, load_sound
from audiolm_jax.evaluation.world.language import read_world
from audiolm_jax.evaluation.world.page import WorldPage, notes_of
from audiolm_jax.evaluation.world.results import (
    Ending,
    Reading,
    summarize_bands,
    summarize_endings,
    summarize_readings,
)
from audiolm_jax.evaluation.world.selection import (
    Stretch,
    choose_clips,
    choose_stretches,
    open_recordings,
)
from audiolm_jax.evaluation.world.systems import (
    REAL,
    Sounds,
    System,
    ending_systems,
    reading_systems,
)
from audiolm_jax.evaluation.world.units import UnitBigrams, bigram_model
from audiolm_jax.evaluation.world.utterances import Utterance, beginnings, whole
from audiolm_jax.evaluation.world.voices import Embed, Voices
from audiolm_jax.generation.bundle import load_bundle, read_record

if TYPE_CHECKING:
    from audiolm_jax.evaluation.world.experiment import WorldExperiment

logger = logging.getLogger(__name__)

HEARD = "heard"  # folder of what was heard, as that of the sounds


class Judgement:
    """An evaluation at work: everything is read and checked before anything is made."""

    def __init__(
        self,
        experiment: "WorldExperiment",
        recognizer_of: Callable[[Path, str], Recognizer] = Recognizer,
        encoder_of: Callable[[], Embed] = SpeakerEncoder,
    ):
        """InputError for what is missing or does not fit."""
        self._config, self._directory = experiment, Path(experiment.directory)
        asr = experiment.asr
        self._recognizer = recognizer_of(Path(asr.model or ""), asr.language)
        self._world = read_world(Path(experiment.world), self._recognizer.normalize)
        self._index = open_recordings(experiment.data)
        experiment.check_data(self._index)
        seconds = experiment.prompt_seconds + experiment.continuation_seconds
        self._stretches = choose_stretches(self._index, experiment.prompts, seconds)
        self._clips = choose_clips(self._index, experiment.revoiced)
        self._prompt = round(experiment.prompt_seconds * self._index.config.sample_rate_hz)
        self._sounds = self._open_bundle()
        self._paths: dict[tuple[str, str, int], Path] = {}  # of endings by system, prompt and seed
        indices = [self._index]
        if experiment.others is not None:
            indices.append(open_recordings(experiment.others))
        self._voices = None
        if experiment.similarity:
            self._voices = Voices(encoder_of(), indices, experiment.speaker_clips)
            self._voices.check(self._stretches)
        self._data = {
            "fingerprint": self._index.fingerprint,
            "others": None if experiment.others is None else indices[1].fingerprint,
            "recognizer": self._recognizer.fingerprint,
        }

    def _open_bundle(self) -> Sounds | None:
        config = self._config
        if config.bundle is None:
            return None
        origins = read_record(at(config.bundle))["provenance"]
        check_strange(config.data, origins)
        store = None
        if config.tokens is not None:
            store = TokenStore.open(config.tokens)
            check_untrained(
                self._index,
                store,
                {name: of for name, of in origins.items() if name == "semantic_lm"},
            )
        bundle = load_bundle(config.bundle)
        rate, hop = bundle.codec.sample_rate_hz, bundle.semantic_tokenizer.hop_samples
        if rate != config.data.sample_rate_hz:
            expected = f"the bundle's models take {rate}"
            raise InputError(f"--data.sample-rate-hz {config.data.sample_rate_hz}: {expected}")
        if self._prompt % hop:
            raise InputError(
                f"--prompt-seconds {config.prompt_seconds:g}: expected a multiple of the "
                f"{hop / rate:g} s of a semantic token"
            )
        bigrams = {}
        if store is not None:
            model = bigram_model(bundle, store)
            bigrams = {t: UnitBigrams(model, t) for t in config.bigram_temperatures}
        tokens = None if store is None else store.fingerprint
        generation, seeds = config.generation, config.seeds
        return Sounds(self._directory, self._index, bundle, generation, seeds, bigrams, tokens)

    def page(self, facts: dict[str, Any]) -> tuple[WorldPage, dict[str, Any]]:
        """The page, and the `data_facts`."""
        config = self._config
        has_fine = self._sounds is not None and "fine" in self._sounds.bundle.stages
        systems, readers = ending_systems(config, has_fine), reading_systems(config, has_fine)
        endings = [ending for system in systems for ending in self._endings(system)]
        wholes = [whole(clip) for clip in self._clips]
        readings = [reading for system in readers for reading in self._readings(system, wholes)]
        begun = self._beginnings() if config.bands and readers else []
        begun_readings = [r for system in readers for r in self._readings(system, begun)]
        names = [system.label for system in readers]
        in_bands = summarize_bands(names, [*readings, *begun_readings], config.bands, config.seed)
        voices = "Voices were not compared."
        if self._voices is not None:
            voices = (
                f"An ending's own speaker is first if it is nearer to the mean of other recordings "
                f"of that speaker than to those of the {self._voices.speakers - 1} others (cosine "
                f"of GE2E d-vectors, {self._voices.recordings} recordings)."
            )
        labels = [system.label for system in systems]
        page = WorldPage(
            title=config.title,
            summary=(
                f"{len(self._stretches)} prompts and {len(self._clips)} whole recordings of "
                f"{self._index.config.dataset}, {len({s.clip.speaker for s in self._stretches})} "
                f"speakers; a world of {len(self._world.words):,} words and "
                f"{len(self._world.bigrams):,} pairs."
            ),
            sample_rate_hz=self._index.config.sample_rate_hz,
            systems=systems,
            ending_rows=summarize_endings(labels, endings, self._voices is not None, config.seed),
            reading_rows=summarize_readings(names, readings, config.seed),
            band_rows=in_bands,
            endings=tuple(endings),
            readings=tuple(readings),
            begun=tuple(begun_readings),
            notes=notes_of(config.prompt_seconds, config.continuation_seconds, "Whisper", voices),
            asr={
                "model": f"Whisper, model.bin {self._recognizer.fingerprint}",
                "normalizer": _normalizer(facts["normalizer"]),
            },
            examples=tuple(self._example(s, endings) for s in self._shown),
            trainers=(),
            provenance=self._provenance(facts),
            data_licence=config.licence,
        )
        return page, self._data

    # Endings of prompts.

    def _endings(self, system: System) -> list[Ending]:
        config, rate = self._config, self._index.config.sample_rate_hz
        found = []
        for stretch, seed, path in self._ends_of(system):
            samples = stretch.load(self._index) if path is None else load_sound(path)
            if path is not None:
                self._paths[system.label, stretch.name, seed] = path
            heard = keep_words(
                self._recognizer, self._heard_path(system, stretch.name, seed), samples
            )
            begin, seconds = self._prompt / rate, len(samples) / rate
            # Shorter than asked for: the models ended it, and did not break off.
            is_cut = seconds >= begin + config.continuation_seconds - 0.05
            after = [word.text for word in heard if word.middle > begin]
            similar = None
            if self._voices is not None:
                similar = self._voices.judge(samples[self._prompt :], stretch)
            found.append(
                Ending(
                    system=system.label,
                    clip_id=stretch.clip.clip_id,
                    prompt=stretch.name,
                    speaker=stretch.clip.speaker,
                    seed=seed,
                    heard=" ".join(after),
                    said=judge(self._world, heard, begin, seconds, is_cut),
                    similarity=similar,
                )
            )
        logger.info("%s: heard %d endings", system.label, len(found))
        return found

    def _ends_of(self, system: System) -> list[tuple[Stretch, int, Path | None]]:
        """Stretch, seed and file of each ending; the real ones are in no file of ours."""
        if system is REAL or self._sounds is None:
            return [(stretch, 0, None) for stretch in self._stretches]
        seconds = self._config.continuation_seconds
        wanted = self._sounds.end(system, self._stretches, self._prompt, seconds)
        return [(self._stretches[x.place], x.seed, x.path) for x in wanted]

    # Whole clips, and beginnings.

    def _beginnings(self) -> list[Utterance]:
        rate, found = self._index.config.sample_rate_hz, []
        for clip in self._clips:
            samples, utterance = self._index.load(clip), whole(clip)
            heard = self._heard(REAL, utterance, 0, samples)
            bands = self._config.bands
            found += beginnings(clip, samples, rate, self._world, heard, bands)
        logger.info("%d beginnings of %d recordings", len(found), len(self._clips))
        return found

    def _heard(
        self, system: System, utterance: Utterance, seed: int, samples: np.ndarray
    ) -> list[HeardWord]:
        name = utterance.name + ("_whole" if utterance.is_whole else "")
        return keep_words(self._recognizer, self._heard_path(system, name, seed), samples)

    def _readings(self, system: System, utterances: list[Utterance]) -> list[Reading]:
        rate, found = self._index.config.sample_rate_hz, []
        for utterance, seed, path in self._read_by(system, utterances):
            samples = utterance.load(self._index) if path is None else load_sound(path)
            heard = self._heard(system, utterance, seed, samples)
            clip = utterance.clip
            text = " ".join(word.text for word in heard)
            found.append(
                Reading(
                    system=system.label,
                    clip_id=clip.clip_id,
                    speaker=clip.speaker,
                    seed=seed,
                    transcript=utterance.text,
                    heard=text,
                    said=judge(self._world, heard, 0.0, len(samples) / rate, is_cut=False),
                    errors=errors_of(self._world, utterance.text, text),
                    seconds=utterance.stop / rate,
                )
            )
        logger.info("%s: heard %d clips that were read", system.label, len(found))
        return found

    def _read_by(
        self, system: System, utterances: list[Utterance]
    ) -> list[tuple[Utterance, int, Path | None]]:
        if system is REAL or self._sounds is None:
            return [(utterance, 0, None) for utterance in utterances]
        wanted = self._sounds.read(system, utterances)
        return [(utterances[x.place], x.seed, x.path) for x in wanted]

    def _heard_path(self, system: System, name: str, seed: int) -> Path:
        return self._directory / HEARD / system.folder / f"{name}_seed{seed}.json"

    # The page.

    @property
    def _shown(self) -> list[Stretch]:
        return self._stretches[: self._config.examples]

    def _example(self, stretch: Stretch, endings: list[Ending]) -> Example:
        begin = self._prompt / self._index.config.sample_rate_hz
        own = [ending for ending in endings if ending.prompt == stretch.name]
        clips = []
        for ending in own:
            path = self._paths.get((ending.system, ending.prompt, ending.seed))
            samples = stretch.load(self._index) if path is None else load_sound(path)
            title = ending.system + (f", seed {ending.seed}" if ending.seed else "")
            clips.append(AudioClip(title, np.asarray(samples), begin, ending.heard))
        return Example(stretch.name, stretch.clip.text or None, tuple(clips))

    def _provenance(self, facts: dict[str, Any]) -> dict[str, str]:
        config = self._config
        return {
            "bundle": facts.get("bundle", "none"),
            "token store": facts["tokens"] or "none",
            "data": self._index.fingerprint,
            **{f"world, {name}": sha256 for name, sha256 in facts["world"].items()},
            "recogniser": f"model.bin {self._recognizer.fingerprint}",
            "normalizer": _normalizer(facts["normalizer"]),
            "packages": ", ".join(f"{n} {v or 'absent'}" for n, v in facts["packages"].items()),
            "config": facts["config_hash"],
            "sampling": str(dataclasses.asdict(config.generation)),
            "seeds": ", ".join(map(str, config.seeds)),
            "software": f"audiolm_jax {__version__}, jax {importlib.metadata.version('jax')}",
        }


def _normalizer(facts: dict[str, str] | None) -> str:
    if facts is None:
        return "none"
    return f"whisper-normalizer {facts['version']}, files {facts['files']}"
