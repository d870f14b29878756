"""Makes a listening test: a page to be answered by ear, and the key to it."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_json, write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.generation.config import GenerationConfig

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.evaluation.listening.trials import Kind, Trial
    from audiolm_jax.evaluation.world.selection import Stretch

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ListeningExperiment(Evaluation):
    """Write a test for raters: recording or model, or which of two models goes on better.

    As the paper's (section IV-G): half of the trials are recordings through the bundle's codec, the
    other half continuations of as long a prompt of other recordings, in random order. With `other`
    each trial has two continuations of one prompt, in random order, as its comparison of piano.
    """

    page: ClassVar[str] = "test.html"
    record: ClassVar[str] = "test.json"

    directory: Place
    """Where test.html goes, which is for raters, and key.json and sounds/, which are not."""
    title: str
    """Heading of the page; it must not tell which models are judged."""
    data: AudioDataConfig
    """Recordings that no model was trained on; all of them count as held out."""
    bundle: Place
    """The models asked about."""
    other: Place | None = None
    """Models to compare with, at the same sample rate; None asks whether it is a model at all."""
    prompts: int = 50
    """Continued ones; without `other` there are as many recordings."""
    prompt_seconds: float = 3.0
    """Beginning of each, which is a recording and known to be one."""
    continuation_seconds: float = 7.0
    """What is judged."""
    generation: GenerationConfig = GenerationConfig()
    """Temperatures and windows, of both."""
    seed: int = 0
    """Of continuations and order."""

    def __post_init__(self) -> None:
        if self.prompts < 1:
            raise InputError(f"--prompts {self.prompts}: expected 1 or more")
        for flag in ("prompt_seconds", "continuation_seconds"):
            if not getattr(self, flag) > 0:
                given = f"--{flag.replace('_', '-')} {getattr(self, flag)}"
                raise InputError(f"{given}: expected more than 0")

    def upstream(self) -> dict[str, str]:
        """Fingerprints of the bundles."""
        from audiolm_jax.generation.bundle import read_record

        places = {"bundle": self.bundle, "other": self.other}
        return {
            name: read_record(at(place))["fingerprint"] for name, place in places.items() if place
        }

    def facts(self) -> dict[str, Any]:
        """Fingerprints of the bundles."""
        return self.upstream()

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.evaluation.world.selection import open_recordings

        return {"fingerprint": open_recordings(self.data).fingerprint}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be enough recordings."""
        self._stretches(index)

    def _stretches(self, index: "ClipIndex") -> list["Stretch"]:
        from audiolm_jax.evaluation.world.selection import choose_stretches

        count = self.prompts if self.other else 2 * self.prompts
        return choose_stretches(index, count, self.prompt_seconds + self.continuation_seconds)

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Makes the sounds that are missing, then page and key."""
        from audiolm_jax.evaluation.listening.page import render
        from audiolm_jax.evaluation.listening.trials import KEY, Key
        from audiolm_jax.evaluation.world.selection import open_recordings

        index, directory = open_recordings(self.data), Path(self.directory)
        stretches = self._stretches(index)
        trials = self._compare(index, stretches) if self.other else self._ask(index, stretches)
        kind: Kind = "pairs" if self.other else "real_or_continued"
        key = Key(kind, facts["bundle"], facts.get("other"), tuple(trials))
        write_json(directory / KEY, key.json())
        write_text(directory / self.page, render(key, directory, self.title, self.prompt_seconds))
        return {"data": {"fingerprint": index.fingerprint}, "test": key.test}

    def _ask(self, index: "ClipIndex", stretches: list["Stretch"]) -> list["Trial"]:
        """Continuations of the first half of the stretches, and the second half as recorded."""
        from audiolm_jax.evaluation.listening.trials import MODEL, RECORDING
        from audiolm_jax.evaluation.world.systems import CODEC

        continued, recorded = stretches[: self.prompts], stretches[self.prompts :]
        sounds = self._sounds(index, self.bundle, "bundle")
        made = self._continued(sounds, continued, index)
        through = sounds.end(CODEC, recorded, self._prompt(index), self.continuation_seconds)
        found = [(MODEL, stretch, wanted) for stretch, wanted in zip(continued, made, strict=True)]
        found += [(RECORDING, s, wanted) for s, wanted in zip(recorded, through, strict=True)]
        order = self._order(len(found))
        return [
            self._trial(number, truth, stretch, (wanted.path,), wanted.seed)
            for number, (truth, stretch, wanted) in enumerate((found[n] for n in order), 1)
        ]

    def _compare(self, index: "ClipIndex", stretches: list["Stretch"]) -> list["Trial"]:
        """Both continuations of every stretch."""
        import numpy as np

        from audiolm_jax.evaluation.listening.trials import FIRST, SECOND

        assert self.other is not None
        ours, theirs = (
            self._continued(self._sounds(index, place, name), stretches, index)
            for place, name in ((self.bundle, "bundle"), (self.other, "other"))
        )
        is_first = np.random.default_rng([self.seed, 1]).permutation(len(stretches)) % 2 == 0
        trials = []
        for number, place in enumerate(self._order(len(stretches)), 1):
            files = ours[place].path, theirs[place].path
            truth = FIRST if is_first[place] else SECOND
            files = files if is_first[place] else files[::-1]
            trials.append(self._trial(number, truth, stretches[place], files, ours[place].seed))
        return trials

    def _order(self, count: int) -> list[int]:
        import numpy as np

        return np.random.default_rng([self.seed, 0]).permutation(count).tolist()

    def _trial(
        self, number: int, truth: str, stretch: "Stretch", files: tuple[Path, ...], seed: int
    ) -> "Trial":
        from audiolm_jax.evaluation.listening.trials import Trial

        below = tuple(str(path.relative_to(self.directory)) for path in files)
        hashes = tuple(map(file_sha256, files))
        return Trial(number, truth, stretch.name, below, hashes, seed)

    def _prompt(self, index: "ClipIndex") -> int:
        return round(self.prompt_seconds * index.config.sample_rate_hz)

    def _sounds(self, index: "ClipIndex", place: Place, name: str) -> Any:
        from audiolm_jax.data.unheard import check_strange
        from audiolm_jax.evaluation.world.systems import Sounds
        from audiolm_jax.generation.bundle import load_bundle, read_record

        check_strange(self.data, read_record(at(place))["provenance"])
        bundle = load_bundle(place)
        rate, takes = self.data.sample_rate_hz, bundle.codec.sample_rate_hz
        if rate != takes:
            expected = f"expected {takes}, which --{name} takes"
            raise InputError(f"--data.sample-rate-hz {rate}: {expected}")
        folder = Path(self.directory) / name
        return Sounds(folder, index, bundle, self.generation, (self.seed,), {}, None)

    def _continued(self, sounds: Any, stretches: list["Stretch"], index: "ClipIndex") -> list[Any]:
        from audiolm_jax.evaluation.world.systems import System

        system = System("continued", "continued")
        return sounds.end(system, stretches, self._prompt(index), self.continuation_seconds)
