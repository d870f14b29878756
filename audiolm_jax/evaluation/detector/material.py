"""Real and generated speech for a detector, alike in all but who spoke: of each recording the part
behind the prompt through the bundle's codec, and what the models say in its place."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax import __version__
from audiolm_jax.artifacts.atomic import write_json, write_text
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.storage import at
from audiolm_jax.classifiers.config import GENERATED, REAL
from audiolm_jax.data.sources import SPLITS, AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.lifecycle import Evaluation
from audiolm_jax.generation.config import GenerationConfig

if TYPE_CHECKING:
    from audiolm_jax.data.clips import ClipInfo
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.generation.pipeline import Generator

logger = logging.getLogger(__name__)

ORIGINAL = "original"
PARTS = {"train": "train", "heldout": "test"}  # folders of the splits
_PLAN = "plan.json"


@dataclasses.dataclass(frozen=True)
class DetectorMaterialExperiment(Evaluation):
    """Write real and generated speech for a detector: train/ and test/ with other speakers.

    Of each recording, beyond its prompt: `real` is the recording through the bundle's codec,
    `generated` the continuation of the prompt without it, and `original`, in test/ alone, the
    recording itself. metadata.tsv has the columns path, kind, speaker and prompt. What is there
    already is kept, so an interrupted run goes on.
    """

    page: ClassVar[str] = "README.md"
    record: ClassVar[str] = "material.json"

    directory: Place
    """Folder to write."""
    data: AudioDataConfig
    """Recordings that the bundle's models have not heard, split by speaker: the held-out speakers
    are those of test/."""
    bundle: Place
    """The models."""
    prompt_seconds: float = 3.0
    """Beginning of each recording that the models hear."""
    continuation_seconds: float = 4.0
    """What they go on for; shorter recordings than both together are left out."""
    max_prompts: int | None = None
    """At most so many recordings of each part, spread evenly; None takes all."""
    batch_size: int = 8
    """Recordings continued together."""
    seed: int = 0
    """Of the continuations; each recording has one of its own, counted from it."""
    generation: GenerationConfig = GenerationConfig()
    """Temperatures and windows."""

    def __post_init__(self) -> None:
        if self.data.split_by != "speaker":
            given = f"--data.split-by = {self.data.split_by}"
            raise InputError(f"{given}: expected speaker, so that test/ has speakers of its own")
        for name in ("prompt_seconds", "continuation_seconds", "batch_size"):
            if not (value := getattr(self, name)) > 0:
                raise InputError(f"--{name.replace('_', '-')} {value}: expected more than 0")
        if self.max_prompts is not None and self.max_prompts < 1:
            raise InputError(f"--max-prompts {self.max_prompts}: expected 1 or more, or None")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of the bundle."""
        from audiolm_jax.generation.bundle import read_record

        return {"bundle": read_record(at(self.bundle))["fingerprint"]}

    def facts(self) -> dict[str, Any]:
        """Fingerprint of the bundle."""
        return self.upstream()

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.data.index import scan

        return {"fingerprint": scan(self.data).fingerprint}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be recordings for both parts, long enough."""
        for split in SPLITS:
            self._chosen(index, split)

    def _chosen(self, index: "ClipIndex", split: Any) -> list["ClipInfo"]:
        from audiolm_jax.data.stream import spread

        least = (self.prompt_seconds + self.continuation_seconds) * self.data.sample_rate_hz
        clips = index.of(split)
        long = clips.where(clips.num_samples >= least)
        if not long:
            raise InputError(
                f"{self.data.source}: no {split} recording is as long as --prompt-seconds "
                f"{self.prompt_seconds:g} and --continuation-seconds {self.continuation_seconds:g}"
            )
        return [long[n] for n in spread(len(long), self.max_prompts)]

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Writes what is missing of the recordings, then the lists."""
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.unheard import check_strange
        from audiolm_jax.generation.bundle import load_bundle, read_record
        from audiolm_jax.generation.pipeline import Generator

        index, directory = scan(self.data), at(self.directory)
        self.check_data(index)
        check_strange(self.data, read_record(at(self.bundle))["provenance"])
        plan = facts | {"data": index.fingerprint}
        self._enter(directory / _PLAN, plan)
        generator = Generator(load_bundle(self.bundle), self.generation)
        if (rate_hz := self.data.sample_rate_hz) != generator.sample_rate_hz:
            expected = f"the bundle's models take {generator.sample_rate_hz}"
            raise InputError(f"--data.sample-rate-hz = {rate_hz}: {expected}")
        counts: dict[str, dict[str, Any]] = {}
        for split in SPLITS:
            chosen = self._chosen(index, split)
            self._write(generator, index, split, chosen)
            counts[PARTS[split]] = {
                "prompts": len(chosen),
                "speakers": sorted({clip.speaker for clip in chosen}),
            }
        lines = [
            f"- {part}: {of['prompts']} prompts of {', '.join(of['speakers'])}"
            for part, of in counts.items()
        ]
        title = "# Real and generated speech for a detector"
        write_text(directory / self.page, "\n".join([title, "", *lines, ""]))
        return {"data": {"fingerprint": index.fingerprint}, "parts": counts}

    def _enter(self, path: Path, plan: dict[str, Any]) -> None:
        if path.is_file() and json.loads(path.read_text()) != plan:
            raise InputError(
                f"{path}: holds the plan of another bundle, config or corpus, whose recordings lie "
                "beside it; choose another --directory"
            )
        write_json(path, plan)

    def _write(
        self, generator: "Generator", index: "ClipIndex", split: Any, clips: list["ClipInfo"]
    ) -> None:
        """The files of a part, then its list."""
        from audiolm_jax.audio.names import file_name

        kinds = (REAL, GENERATED, *((ORIGINAL,) if split == "heldout" else ()))
        folder = at(self.directory) / PARTS[split]
        rows = ["path\tkind\tspeaker\tprompt"]
        paths = []
        for clip in clips:
            name = file_name(clip.clip_id)
            paths.append({kind: folder / kind / f"{name}.wav" for kind in kinds})
            rows += [f"{k}/{name}.wav\t{k}\t{clip.speaker}\t{clip.clip_id}" for k in kinds]
        missing = [
            (number, clip, own)
            for number, (clip, own) in enumerate(zip(clips, paths, strict=True))
            if not all(path.is_file() for path in own.values())
        ]
        for first in range(0, len(missing), self.batch_size):
            self._write_some(generator, index, missing[first : first + self.batch_size])
            done = len(clips) - len(missing) + min(first + self.batch_size, len(missing))
            logger.info("%s: %d of %d prompts", folder, done, len(clips))
        write_text(folder / "metadata.tsv", "\n".join([*rows, ""]))

    def _write_some(
        self,
        generator: "Generator",
        index: "ClipIndex",
        some: list[tuple[int, "ClipInfo", dict[str, Path]]],
    ) -> None:
        import hashlib

        from audiolm_jax.audio.files import write_wav
        from audiolm_jax.evaluation.measures.codec import round_trip
        from audiolm_jax.generation.files import provenance_of, save_sound

        rate, codec = generator.sample_rate_hz, generator.bundle.codec
        prompt = round(self.prompt_seconds * rate)
        total = prompt + round(self.continuation_seconds * rate)
        recordings = [index.load(clip)[:total] for _, clip, _ in some]
        seeds = [self.seed + number for number, _, _ in some]
        prompts = [samples[:prompt] for samples in recordings]
        made = generator.continue_audio(prompts, self.continuation_seconds, seeds)
        of_codec = {"software": f"audiolm_jax {__version__}", "codec": codec.fingerprint}
        for (_, clip, own), seed, samples, one in zip(some, seeds, recordings, made, strict=True):
            if one.prompt_samples >= len(one.samples):
                words = "the models ended at once; lengthen --prompt-seconds or leave it out"
                raise InputError(f"{self.data.source}/{clip.path}: {words}")
            _, decoded = round_trip(codec, samples, (codec.levels,))
            for path in own.values():
                path.parent.mkdir(parents=True, exist_ok=True)
            if ORIGINAL in own:
                write_wav(own[ORIGINAL], samples[prompt:], rate, None)
            write_wav(own[REAL], decoded[codec.levels][prompt:total], rate, of_codec)
            sha256 = hashlib.sha256(samples[:prompt].tobytes()).hexdigest()
            provenance = provenance_of(
                generator.bundle, generator.config, seed, self.continuation_seconds, 0.0, sha256
            )
            save_sound(own[GENERATED], one.samples[one.prompt_samples :], rate, provenance)
