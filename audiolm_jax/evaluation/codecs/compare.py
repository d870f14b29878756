"""Sends clips through systems and measures what comes back, on all cores."""

import collections
import dataclasses
import functools
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
from jaxtyping import Float

from audiolm_jax.evaluation.codecs.comparison import ORIGINAL, ClipRecord, ClipResult, Condition
from audiolm_jax.evaluation.codecs.systems import Resynthesis, System
from audiolm_jax.evaluation.measures.quality import RATE_HZ, VisqolMapping, measure
from audiolm_jax.evaluation.measures.recognition import Recognizer, TextErrors, count_errors

Scores = dict[str, float | None]
Heard = tuple[str | None, TextErrors | None]


@dataclasses.dataclass(frozen=True)
class HeldoutClip:
    """A clip and what is to be measured on it."""

    clip_id: str
    sha256: str  # of the file
    samples: Float[np.ndarray, " s"]  # at 16 kHz
    has_waveform: bool  # whether the measures of the waveform are taken
    transcript: str | None  # to count words against; None if the recognizer need not listen


class Listener:
    """Counts the errors of a recognizer."""

    def __init__(self, recognizer: Recognizer, normalize: Callable[[str], str]):
        """`normalize` is applied to both texts before they are compared."""
        self._recognizer, self.normalize = recognizer, normalize
        self.fingerprint = recognizer.fingerprint

    def __call__(self, samples: Float[np.ndarray, " s"], transcript: str) -> Heard:
        """What was heard, and its distance from the transcript."""
        heard = self._recognizer(samples)
        return heard, count_errors(self.normalize(transcript), self.normalize(heard))


class Measurer:
    """`quality.measure` in so many processes; in this one if there is only one.

    Processes are spawned, because JAX's threads do not survive a fork.
    """

    def __init__(self, metrics: Sequence[str], mapping: VisqolMapping, workers: int):
        self._measure = functools.partial(measure, names=tuple(metrics), mapping=mapping)
        self._pool = None
        if workers > 1:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(workers, context, _one_thread)

    def __enter__(self) -> "Measurer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, reference: np.ndarray, estimate: np.ndarray) -> Callable[[], Scores]:
        """Begins to measure one pair; the call that comes back waits for the result."""
        if self._pool is None:
            scores = self._measure(reference, estimate)
            return lambda: scores
        future: Future[Scores] = self._pool.submit(self._measure, reference, estimate)
        return future.result


def _one_thread() -> None:
    os.environ["NUMBA_NUM_THREADS"] = "1"  # the processes fill the cores already


def conditions_of(systems: Sequence[System], is_heard: bool) -> tuple[Condition, ...]:
    """The rows of the table; the original is the first if a recognizer listens."""
    original = (Condition(ORIGINAL, ORIGINAL, None, None),) if is_heard else ()
    return original + tuple(condition for system in systems for condition in system.conditions)


def compare(
    systems: Sequence[System],
    clips: Iterable[HeldoutClip],
    measurer: Measurer,
    listener: Listener | None,
    pending: int = 4,
) -> Iterator[tuple[ClipRecord, list[np.ndarray]]]:
    """Every clip in every condition, in order.

    Args:
      systems: what the clips go through.
      clips: what is measured on which clip.
      measurer: for the waveforms.
      listener: for the words; None listens to nothing.
      pending: clips whose waveforms are kept while others are being measured.

    Yields:
      The record of a clip, and its audio in each condition of `conditions_of`.
    """
    waiting: collections.deque[tuple[functools.partial[ClipRecord], list[np.ndarray]]]
    waiting = collections.deque()
    labels = [condition.label for condition in conditions_of(systems, listener is not None)]
    for clip in clips:
        # None is the original.
        answers: list[Resynthesis | None] = [None] if listener else []
        for system in systems:
            answers += system(clip.samples)
        audio = [clip.samples if answer is None else answer.samples for answer in answers]
        scores: list[Callable[[], Scores]] = [
            measurer.submit(clip.samples, answer.samples)
            if clip.has_waveform and answer is not None
            else dict
            for answer in answers
        ]
        heard: list[Heard] = [
            listener(samples, clip.transcript) if listener and clip.transcript else (None, None)
            for samples in audio
        ]
        finish = functools.partial(_record, clip, labels, answers, scores, heard)
        waiting.append((finish, audio))
        while len(waiting) > pending:
            finish, audio = waiting.popleft()
            yield finish(), audio
    for finish, audio in waiting:
        yield finish(), audio


def _record(
    clip: HeldoutClip,
    labels: Sequence[str],
    answers: Sequence[Resynthesis | None],
    scores: Sequence[Callable[[], Scores]],
    heard: Sequence[Heard],
) -> ClipRecord:
    results = tuple(
        ClipResult(
            condition=label,
            packet_bits=answer.packet_bits if answer else None,
            file_bits=answer.file_bits if answer else None,
            scores=score(),
            heard=text,
            errors=errors,
        )
        for label, answer, score, (text, errors) in zip(labels, answers, scores, heard, strict=True)
    )
    seconds = len(clip.samples) / RATE_HZ
    return ClipRecord(clip.clip_id, clip.sha256, seconds, clip.transcript, results)
