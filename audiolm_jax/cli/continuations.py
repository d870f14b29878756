"""Many continuations, of which some may fail, and one that is heard while it is made."""

import contextlib
import dataclasses
import functools
import itertools
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

from audiolm_jax.artifacts.output_path import check_output_file
from audiolm_jax.audio.files import FORMATS, pcm16
from audiolm_jax.audio.names import shown
from audiolm_jax.audio.output import SoundWriter, open_writer, wav_header
from audiolm_jax.cli.progress import ProgressLine
from audiolm_jax.data.walk import BadFile, walk
from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import Pipeline
from audiolm_jax.generation.files import check_replaced, tell
from audiolm_jax.generation.prompts import Prompt

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Item:
    """One continuation to make."""

    source: Path
    out: Path
    seed: int


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is asked of every item."""

    seconds: float
    prompt_seconds: float | None


def plan_folder(folder: Path, out: Path) -> dict[Path, Path]:
    """For every file of sound below a folder its place below `out`; others are named."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"--out {out}: lies in the folder of prompts; choose another folder")
    found, kinds = walk(folder, set(FORMATS)), " ".join(sorted(FORMATS))
    if not found.wanted:
        raise InputError(f"{folder}: holds no file ending in {kinds}")
    others = [BadFile(shown(name), f"not {kinds}") for name in found.others]
    for bad in sorted(found.left_out + others, key=lambda file: file.path):
        logger.warning("skipped %s/%s: %s", shown(folder), bad.path, bad.reason)
    return {folder / name: out / name for name in found.wanted}


def continue_items(pipeline: Pipeline, items: Sequence[Item], wishes: Wishes, batch: int) -> int:
    """Writes all that can be made, in batches; names the others and returns their number. What an
    item becomes depends on its prompt and seed alone."""
    failures = 0
    owners: dict[Path, Path] = {}
    sources = list(dict.fromkeys(item.source for item in items))

    @functools.lru_cache(1)  # the variants of a prompt stand together
    def heard(source: Path) -> Prompt | InputError:
        try:
            return pipeline.take(source, first_seconds=wishes.prompt_seconds)
        except InputError as error:
            return error

    def failed(error: InputError) -> None:
        nonlocal failures
        failures += 1
        logger.warning("failed: %s", error)

    def good() -> Iterable[tuple[Item, Prompt]]:
        for item in items:
            try:
                if (owner := owners.setdefault(item.out, item.source)) != item.source:
                    raise InputError(f"{item.source}: {owner} becomes {item.out}; rename one")
                check_output_file(item.out, sources, where=f"{item.source}:")
                check_replaced(item.out, where=f"{item.source}:")
                if isinstance(prompt := heard(item.source), InputError):
                    raise prompt
            except InputError as error:
                failed(error)
            else:
                yield item, prompt

    prompted = iter(good())
    while together := list(itertools.islice(prompted, batch)):
        _continue_batch(pipeline, together, wishes, failed)
    return failures


def _continue_batch(
    pipeline: Pipeline,
    batch: Sequence[tuple[Item, Prompt]],
    wishes: Wishes,
    failed: Callable[[InputError], None],
) -> None:
    items, prompts = zip(*batch, strict=True)
    heard = sum(len(prompt.samples) for prompt in prompts) / pipeline.sample_rate_hz
    seeds = [item.seed for item in items]
    try:
        with ProgressLine(heard, len(items) * wishes.seconds) as line:
            results = pipeline.continue_many(prompts, wishes.seconds, seeds, progress=line)
    except InputError as error:
        if len(batch) == 1:
            failed(InputError(f"{items[0].source}: {error}"))
            return
        for one in batch:  # the others need not suffer
            _continue_batch(pipeline, [one], wishes, failed)
        return
    for item, result in zip(items, results, strict=True):
        try:
            result.save(item.out)
        except InputError as error:
            failed(error)


def stream_item(
    pipeline: Pipeline, item: Item, wishes: Wishes, to: Literal["wav", "pcm"] | None, is_kept: bool
) -> None:
    """To standard output, `to` in a format, and where it `is_kept` to a file, which holds what was
    made however it ends."""
    rate = pipeline.sample_rate_hz
    prompt = pipeline.take(item.source, first_seconds=wishes.prompt_seconds)
    stopped: BaseException | None = None
    with contextlib.ExitStack() as stack:
        prompt_seconds = len(prompt.samples) / rate
        line = stack.enter_context(ProgressLine(prompt_seconds, wishes.seconds))
        pieces = pipeline.stream(prompt, wishes.seconds, item.seed, progress=line)
        file: SoundWriter | None = None
        if is_kept:
            size = round((prompt_seconds + wishes.seconds) * rate) * 2
            check_output_file(item.out, [item.source], size)
            file = open_writer(item.out, rate, pieces.provenance)
            stack.enter_context(file)
        try:
            if to == "wav":
                sys.stdout.buffer.write(wav_header(rate))
            for piece in pieces:
                if file is not None:
                    file.write(piece)
                if to is not None:
                    sys.stdout.buffer.write(pcm16(piece)[0].tobytes())
                    sys.stdout.buffer.flush()
        except BaseException as error:
            if file is None or not file.samples:
                raise
            stopped = error  # the file keeps what is there
    if file is not None:
        tell(item.out, file, rate, pieces.provenance, ", stopped" if stopped else "")
    if stopped is not None:
        raise stopped
