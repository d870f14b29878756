"""`audiolm continue`, `sample` and `revoice`: a bundle and a seed to sound files."""

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from audiolm_jax.artifacts.output_path import check_output_file, check_output_folder
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON
from audiolm_jax.artifacts.storage import is_remote
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.audio.files import probe
from audiolm_jax.audio.output import SUFFIXES
from audiolm_jax.cli.console import keep_stdout_free
from audiolm_jax.cli.continuations import (
    Item,
    Wishes,
    continue_items,
    plan_folder,
    stream_item,
)
from audiolm_jax.cli.options import parse
from audiolm_jax.cli.progress import ProgressLine
from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import SEEDS, Pipeline, check_seconds
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.files import check_replaced
from audiolm_jax.generation.load import default_bundle, load

_MOST_COUNT = 100_000
_HEADER_BYTES = 1 << 13  # what a file holds beside samples, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleOptions:
    """Which models, and how they are sampled."""

    models: Path | None = None
    """Bundle folder, as `audiolm bundle` writes it, or its archive, as `audiolm release` does;
    where nothing is of that name, OWNER/NAME or OWNER/NAME@REVISION of the Hugging Face hub. None
    takes models/stories.zip of the repository, small voices of synthetic English, and says so."""
    seed: int = 0
    """Of the (first) sampling, from 0 to 2^64 - 1; the same seed gives the same bytes."""
    generation: GenerationConfig = GenerationConfig()
    """How the stages are sampled; revoice does not use stop."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEEDS:
            raise InputError(f"--seed {self.seed}: expected a whole number from 0 to 2^64 - 1")

    def load(self) -> Pipeline:
        """The models that are asked for."""
        place = self.models
        if place is None:
            place = default_bundle()
            print(f"--models was not given: {place}, synthetic English", file=sys.stderr)
        return load(place, self.generation)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _CountedOptions(BundleOptions):
    batch: int = 8
    """How many are made at once; the results do not depend on it."""

    def check_count(self, count: int) -> None:
        """InputError unless there are seeds for so many."""
        if not 1 <= count <= _MOST_COUNT:
            raise InputError(f"--count {count}: expected 1 to {_MOST_COUNT}")
        if self.seed + count > SEEDS:
            raise InputError(f"--seed {self.seed}: leaves no {count} seeds below 2^64")
        if self.batch < 1:
            raise InputError(f"--batch {self.batch}: expected 1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContinueOptions(_CountedOptions):
    """Go on from a recording in its own voice. Prompt and continuation come out as one file."""

    prompt: tyro.conf.Positional[Path]
    """Recording to go on from (wav, w64, flac, mp3, ogg, opus, m4a or g722), or a folder of them: a
    bad one is named, the others are done, and the exit status is 2."""
    out: Path | None = None
    """File to write, .wav or .flac; of a folder or several variants a folder for wav files, named
    as the prompts, with _SEED behind the names of variants."""
    seconds: float = 7.0
    """Duration of the continuation."""
    prompt_seconds: float | None = None
    """Use only the beginning of the recording; None uses all of it, or its end where the models
    cannot hear so much."""
    count: int = 1
    """Variants of each prompt; they take the seeds seed, seed + 1, ..."""
    stream: bool = False
    """Play while it is made: to standard output, and to --out as far as it came if it is stopped,
    by Ctrl-C or the reader."""
    format: Literal["wav", "pcm"] = "wav"
    """Of standard output: wav of unknown length, or its samples alone, 16-bit little-endian mono at
    the rate of the models."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_count(self.count)
        check_seconds(self.seconds)
        if self.out is None and not self.stream:
            raise InputError("--out: expected a name; only --stream goes without")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions(_CountedOptions):
    """Sound from nothing: all three stages sampled without a prompt."""

    out: Path
    """Folder for the wav files, sample_SEED.wav each."""
    seconds: float = 10.0
    """Duration of each sample."""
    count: int = 4
    """How many; they take the seeds seed, seed + 1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_count(self.count)
        check_seconds(self.seconds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevoiceOptions(BundleOptions):
    """The paper's acoustic generation: the same words in a sampled voice."""

    speech: tyro.conf.Positional[Path]
    """Recording whose semantic tokens are kept."""
    out: Path
    """File to write, .wav or .flac."""


def continue_(arguments: Sequence[str]) -> None:
    """`audiolm continue`."""
    options = parse(ContinueOptions, arguments, "audiolm continue")
    if options.stream:
        _continue_stream(options)
    elif options.prompt.is_dir() or options.count > 1:
        _continue_many(options)
    else:
        assert options.out is not None
        _check_file(options.out, options.prompt)
        with only_writer(options.out, is_replaced=True):
            _check_prompt(options.prompt)
            pipeline = options.load()
            pipeline.check(options.seconds)
            prompt = pipeline.take(options.prompt, first_seconds=options.prompt_seconds)
            prompt_seconds = len(prompt.samples) / pipeline.sample_rate_hz
            size = _bytes(prompt_seconds + options.seconds, pipeline.sample_rate_hz)
            _check_file(options.out, options.prompt, size)
            with ProgressLine(prompt_seconds, options.seconds) as line:
                (result,) = pipeline.continue_many(
                    [prompt], options.seconds, [options.seed], progress=line
                )
            result.save(options.out)


def _continue_stream(options: ContinueOptions) -> None:
    if options.prompt.is_dir() or options.count > 1:
        raise InputError("--stream: plays one continuation, not a folder or --count of them")
    keep_stdout_free()
    to = None if sys.stdout.isatty() else options.format
    if to is None and options.out is None:
        raise InputError("--stream: standard output is a terminal; pipe it into a player: | aplay")
    out = options.out or options.prompt
    with contextlib.ExitStack() as stack:
        if options.out is not None:
            _check_file(out, options.prompt)
            stack.enter_context(only_writer(out, is_replaced=True))
        _check_prompt(options.prompt)
        pipeline = options.load()
        pipeline.check(options.seconds)
        item = Item(options.prompt, out, options.seed)
        wishes = Wishes(options.seconds, options.prompt_seconds)
        stream_item(pipeline, item, wishes, to, is_kept=options.out is not None)


def _continue_many(options: ContinueOptions) -> None:
    out = options.out
    assert out is not None
    check_output_folder(out)
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise InputError(f"--out {out}: expected a folder for several files, without {out.suffix}")
    _check_no_bundle(out)
    sources = {options.prompt: out / options.prompt.name}
    if options.prompt.is_dir():
        sources = plan_folder(options.prompt, out)
    items = [
        Item(source, base.with_name(f"{base.stem}{_variant(options, seed)}.wav"), seed)
        for source, base in sources.items()
        for seed in range(options.seed, options.seed + options.count)
    ]
    with only_writer(out):
        pipeline = options.load()
        pipeline.check(options.seconds)
        size = len(items) * _bytes(options.seconds, pipeline.sample_rate_hz)
        check_output_folder(out, size)
        wishes = Wishes(options.seconds, options.prompt_seconds)
        failed = continue_items(pipeline, items, wishes, options.batch)
    if failed:
        raise InputError(f"{options.prompt}: {failed} of {len(items)} files failed, see above")


def _variant(options: ContinueOptions, seed: int) -> str:
    return f"_{seed}" if options.count > 1 else ""


def sample(arguments: Sequence[str]) -> None:
    """`audiolm sample`."""
    options = parse(SampleOptions, arguments, "audiolm sample")
    check_output_folder(options.out)
    _check_no_bundle(options.out)
    with only_writer(options.out):
        pipeline = options.load()
        pipeline.check(options.seconds)
        size = options.count * _bytes(options.seconds, pipeline.sample_rate_hz)
        check_output_folder(options.out, size)
        seeds = [options.seed + i for i in range(options.count)]
        outs = {seed: options.out / f"sample_{seed}.wav" for seed in seeds}
        for out in outs.values():
            check_output_file(out)
            check_replaced(out)
        for start in range(0, len(seeds), options.batch):
            batch = seeds[start : start + options.batch]
            with ProgressLine(0.0, len(batch) * options.seconds) as line:
                results = pipeline.sample_many(options.seconds, batch, line)
            for seed, result in zip(batch, results, strict=True):
                result.save(outs[seed])


def revoice(arguments: Sequence[str]) -> None:
    """`audiolm revoice`."""
    options = parse(RevoiceOptions, arguments, "audiolm revoice")
    _check_file(options.out, options.speech)
    with only_writer(options.out, is_replaced=True):
        _check_prompt(options.speech)
        pipeline = options.load()
        speech = pipeline.take(options.speech, is_whole=True)
        seconds = len(speech.samples) / pipeline.sample_rate_hz
        _check_file(options.out, options.speech, _bytes(seconds, pipeline.sample_rate_hz))
        with ProgressLine(0.0, seconds) as line:
            result = pipeline.revoice(speech, options.seed, progress=line)
        result.save(options.out)


def _check_prompt(path: Path) -> None:
    """Before models are loaded; what lies in a bucket is fetched once, later."""
    if not is_remote(path):
        probe(path)


def _check_file(out: Path, source: Path, size: int = 0) -> None:
    if out.suffix.lower() not in SUFFIXES:
        raise InputError(f"--out {out}: expected a name ending in {' or '.join(SUFFIXES)}")
    check_output_file(out, [source], size)
    check_replaced(out)
    _check_no_bundle(out.parent)


def _check_no_bundle(folder: Path) -> None:
    if (folder / BUNDLE_JSON).is_file():
        raise InputError(f"--out: {folder} is a bundle; choose another folder")


def _bytes(seconds: float, rate_hz: int) -> int:
    return round(seconds * rate_hz) * 2 + _HEADER_BYTES
