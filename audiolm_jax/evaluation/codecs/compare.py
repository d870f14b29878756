"""Sends clips through systems and measures what comes back, on all cores."""

import collections
import dataclasses
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from audiolm_jax.evaluation.codecs.comparison import ORIGINAL, ClipRecord, ClipResult, Condition
from audiolm_jax.evaluation.codecs.opus import Resynthesis
from audiolm_jax.evaluation.codecs.page import players_of
from audiolm_jax.evaluation.codecs.selection import Selection
from audiolm_jax.evaluation.codecs.systems import System
from audiolm_jax.evaluation.measures.quality import RATE_HZ
from audiolm_jax.evaluation.measures.recognition import Recognizer
from audiolm_jax.evaluation.page.listening import AudioClip, Example

logger = logging.getLogger(__name__)

_PENDING = 4  # clips whose waveforms are kept while others are being measured

Scores = dict[str, float | None]  # by metric


def measuring_pool(workers: int) -> Executor:
    """Processes to measure in, spawned as JAX's threads survive no fork; for one a thread."""
    if workers == 1:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread)


def _one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # the processes fill the cores already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the first process ends them


def conditions_of(systems: Sequence[System], is_heard: bool) -> tuple[Condition, ...]:
    """The rows of the table; the original is the first if a recognizer listens."""
    original = (Condition(ORIGINAL, ORIGINAL, None, None),) if is_heard else ()
    return original + tuple(condition for system in systems for condition in system.conditions)


def compare_selection(
    systems: Sequence[System],
    selection: Selection,
    measure: Callable[[np.ndarray, np.ndarray], Scores],
    recognizer: Recognizer | None,
    most_examples: int,
) -> tuple[list[ClipRecord], list[Example]]:
    """Measures every selected clip in every condition; the first ones are kept to be heard."""
    conditions = conditions_of(systems, recognizer is not None)
    heard = players_of(conditions)
    records: list[ClipRecord] = []
    examples: list[Example] = []
    with measuring_pool(os.cpu_count() or 1) as pool:
        compared = _compare(systems, selection, measure, recognizer, pool)
        for clip, (record, audio) in zip(selection.clips, compared, strict=True):
            records.append(record)
            if len(examples) < min(most_examples, len(selection.waveform)):
                players = [AudioClip("Original", selection.index.load(clip))]
                players += [AudioClip(conditions[i].label, audio[i]) for i in heard]
                examples.append(Example(record.clip_id, clip.text or None, tuple(players)))
            logger.info("%d of %d clips: %s", len(records), len(selection.clips), record.clip_id)
    return records, examples


def _compare(
    systems: Sequence[System],
    selection: Selection,
    measure: Callable[[np.ndarray, np.ndarray], Scores],
    recognizer: Recognizer | None,
    pool: Executor,
) -> Iterator[tuple[ClipRecord, list[np.ndarray]]]:
    """The record of each clip, and its audio in every condition; scores come from the pool."""
    waiting: collections.deque[_Measured] = collections.deque()
    conditions = conditions_of(systems, recognizer is not None)
    for clip in selection.clips:
        original = selection.index.load(clip)
        transcript = clip.text if clip in selection.words else None
        answers: list[Resynthesis | None] = [None] if recognizer else []  # None: the original
        for system in systems:
            answers += system(original)
        seconds = len(original) / RATE_HZ
        measured = _Measured(ClipRecord(clip.clip_id, clip.sha256, seconds, transcript, ()))
        for condition, answer in zip(conditions, answers, strict=True):
            samples = original if answer is None else answer.samples
            scores = heard = errors = None
            if answer and clip in selection.waveform:
                scores = pool.submit(measure, original, samples)
            if recognizer and transcript:
                heard = recognizer(samples)
                errors = recognizer.errors(transcript, heard)
            bits, file_bits = (answer.packet_bits, answer.file_bits) if answer else (None, None)
            result = ClipResult(condition.label, bits, file_bits, {}, heard, errors)
            measured.results.append((result, scores))
            measured.audio.append(samples)
        waiting.append(measured)
        while len(waiting) > _PENDING:
            yield waiting.popleft().finished()
    for measured in waiting:
        yield measured.finished()


@dataclasses.dataclass
class _Measured:
    """A clip whose scores may still be in the making."""

    record: ClipRecord  # without results
    results: list[tuple[ClipResult, Future[Scores] | None]] = dataclasses.field(
        default_factory=list
    )
    audio: list[np.ndarray] = dataclasses.field(default_factory=list)

    def finished(self) -> tuple[ClipRecord, list[np.ndarray]]:
        results = tuple(
            dataclasses.replace(result, scores=scores.result() if scores else {})
            for result, scores in self.results
        )
        return dataclasses.replace(self.record, results=results), self.audio
