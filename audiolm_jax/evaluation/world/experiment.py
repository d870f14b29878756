"""Judges what a bundle says in a closed world of words, and writes tables and page."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation, tell
from audiolm_jax.evaluation.measures.recognition import MODEL_FILE, AsrConfig
from audiolm_jax.evaluation.measures.speaker import RATE_HZ
from audiolm_jax.generation.config import GenerationConfig

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class WorldExperiment(Evaluation):
    """Judge the words a bundle says by a world in which all words and pairs are known."""

    page: ClassVar[str] = "report.html"
    record: ClassVar[str] = "report.json"

    directory: Place
    """Where report.json, table.md, report.html, the sounds and what was heard in them go."""
    title: str
    """Heading of the page."""
    data: AudioDataConfig
    """Recordings at 16 kHz that no part of the bundle was trained on, with transcripts; all of
    them count as held out."""
    world: Place
    """Folder of words.txt, bigrams.txt and, if there is one, homophones.tsv."""
    asr: AsrConfig
    """The recognizer; of its fields model counts alone, and language must be en."""
    bundle: Place | None = None
    """The models; None for the recordings alone, whose figures bound what can be reached."""
    tokens: Place | None = None
    """Token store of stage 1, to draw from a bigram model over its units; None for none."""
    others: AudioDataConfig | None = None
    """More recordings, of other speakers, to compare voices with."""
    prompts: int = 100
    """Stretches that are continued: the first of each recording, then all second ones ..."""
    prompt_seconds: float = 3.0
    """Beginning of each stretch that the models hear; its end is judged."""
    continuation_seconds: float = 7.0
    """What they go on for."""
    temperatures: tuple[float, ...] = (0.6, 0.8, 1.0)
    """Of stage 1, each a system of its own in place of generation.semantic.temperature."""
    bigram_temperatures: tuple[float, ...] = (1.0,)
    """Of the draws from the bigram model over the units."""
    seeds: tuple[int, ...] = (0,)
    """One ending of each prompt, and one revoiced clip, for each seed."""
    revoiced: int = 30
    """Whole recordings that are revoiced and held against their transcripts; 0 for none."""
    by_stage: bool = False
    """Also which stage loses what: the recording's coarse levels alone, the fine stage on them, and
    endings told the recording's units (docs/guide/world.md)."""
    bands: tuple[tuple[float, float], ...] = ()
    """Lengths in seconds, from and to below, to report the errors of what is read by: SoundStorm's
    are (4, 10), (10, 20), (20, 30). Of recordings too long for one their beginnings are read."""
    generation: GenerationConfig = GenerationConfig()
    """Everything else about sampling."""
    similarity: bool = True
    """Compare voices, by the package resemblyzer."""
    speaker_clips: int = 8
    """Recordings of each speaker that stand for the voice."""
    examples: int = 8
    """Prompts to listen to on the page."""
    seed: int = 0
    """Of the bootstrap."""
    licence: str = ""
    """License and attribution of the recordings, shown on the page."""

    def __post_init__(self) -> None:
        for name, data in (("data", self.data), ("others", self.others)):
            if data is not None and data.sample_rate_hz != RATE_HZ:
                given = f"--{name}.sample-rate-hz {data.sample_rate_hz}"
                raise InputError(f"{given}: expected {RATE_HZ}, the rate of recognizer and voices")
        for flag, least in (("prompts", 1), ("revoiced", 0), ("speaker_clips", 2), ("examples", 0)):
            if getattr(self, flag) < least:
                given = f"--{flag.replace('_', '-')} {getattr(self, flag)}"
                raise InputError(f"{given}: expected {least} or more")
        for flag in ("prompt_seconds", "continuation_seconds"):
            if not getattr(self, flag) > 0:
                given = f"--{flag.replace('_', '-')} {getattr(self, flag)}"
                raise InputError(f"{given}: expected more than 0")
        if self.prompt_seconds + self.continuation_seconds > 30:
            raise InputError(
                f"--prompt-seconds {self.prompt_seconds:g}, --continuation-seconds "
                f"{self.continuation_seconds:g}: expected 30 together at most, what Whisper hears"
            )
        for flag in ("temperatures", "bigram_temperatures", "seeds"):
            values = getattr(self, flag)
            is_empty = not values and flag != "bigram_temperatures"
            if is_empty or len({*values}) < len(values) or any(not value >= 0 for value in values):
                given = f"--{flag.replace('_', '-')} {values}"
                raise InputError(f"{given}: expected numbers of 0 or more, none of them twice")
        if any(not 0 <= low < high for low, high in self.bands):
            raise InputError(f"--bands {self.bands}: expected from and to of each, in seconds")
        if self.asr.model is None or self.asr.language != "en":
            given = f"--asr.model {self.asr.model}, --asr.language {self.asr.language}"
            raise InputError(f"{given}: expected the folder of a Whisper model, and en")
        if self.tokens is not None and self.bundle is None:
            raise InputError(f"--tokens {self.tokens}: is of no use without --bundle")
        if self.by_stage and self.bundle is None:
            raise InputError("--by-stage: is of no use without --bundle")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the bundle."""
        from audiolm_jax.generation.bundle import read_record

        return (
            {} if self.bundle is None else {"bundle": read_record(at(self.bundle))["fingerprint"]}
        )

    def check_data(self, index: "ClipIndex") -> None:
        """There must be enough stretches and transcripts."""
        from audiolm_jax.evaluation.world.selection import choose_clips, choose_stretches

        choose_stretches(index, self.prompts, self.prompt_seconds + self.continuation_seconds)
        choose_clips(index, self.revoiced)

    def facts(self) -> dict[str, Any]:
        """Fingerprints of bundle, world and token store, versions of what listens."""
        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.evaluation.measures.recognition import normalizer_facts
        from audiolm_jax.evaluation.world.kept import version_of
        from audiolm_jax.evaluation.world.language import world_facts

        tokens = None if self.tokens is None else TokenStore.open(self.tokens).fingerprint
        packages = ("faster-whisper", "whisper-normalizer", "resemblyzer")
        versions = {name: version_of(name) for name in packages}
        return self.upstream() | {
            "tokens": tokens,
            "world": world_facts(Path(self.world)),
            "packages": versions,
            "normalizer": normalizer_facts(),
        }

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings and of the recognizer."""
        from audiolm_jax.evaluation.world.selection import open_recordings

        weights = Path(self.asr.model or "") / MODEL_FILE
        return {
            "fingerprint": open_recordings(self.data).fingerprint,
            "others": None if self.others is None else open_recordings(self.others).fingerprint,
            "recognizer": file_sha256(weights) if weights.is_file() else None,
        }

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Makes what is to be heard, listens and writes table.md, figures/ and the page."""
        from audiolm_jax.evaluation.page.charts import write_charts
        from audiolm_jax.evaluation.world.listen import Judgement

        content, data = Judgement(self).page(facts)
        directory = Path(self.directory)
        write_charts(directory, content.charts)
        write_text(directory / "table.md", content.markdown())
        write_text(directory / self.page, content.render())
        tell(content.markdown())
        return {"data": data, **content.record()}
