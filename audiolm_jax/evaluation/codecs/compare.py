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


@dataclasses.dataclass(frozen=True)
class Judged:
    """A held-out clip and what is to be measured on it.

    Attributes:
      clip_id: its name.
      sha256: of the file.
      samples: float32 [s] at 16 kHz.
      waveform: whether the measures of the waveform are taken.
      transcript: as given, to count words against; None if the recogniser need not listen.
    """

    clip_id: str
    sha256: str
    samples: Float[np.ndarray, " s"]
    waveform: bool
    transcript: str | None


class Listener:
    """Counts the errors of a recogniser."""

    def __init__(self, recognizer: Recognizer, normalize: Callable[[str], str]):
        """Args: recognizer; normalize: applied to both texts before they are compared."""
        self._recognizer, self._normalize = recognizer, normalize

    def __call__(self, samples: np.ndarray, transcript: str) -> tuple[str, TextErrors]:
        """What was heard, and its distance from the transcript."""
        heard = self._recognizer(samples)
        return heard, count_errors(self._normalize(transcript), self._normalize(heard))


class Measurer:
    """`quality.measure` in so many processes; in this one if there is only one.

    Processes are spawned, because JAX's threads do not survive a fork.
    """

    def __init__(self, metrics: Sequence[str], mapping: VisqolMapping, workers: int):
        """Args: metrics: names of waveform metrics; mapping: ViSQOL's; workers: processes."""
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


def conditions_of(systems: Sequence[System], listened: bool) -> tuple[Condition, ...]:
    """The rows of the table; the original is one if a recogniser listens."""
    original = (Condition(ORIGINAL, ORIGINAL, None, None),) if listened else ()
    return original + tuple(one for system in systems for one in system.conditions)


def compare(
    systems: Sequence[System],
    clips: Iterable[Judged],
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
    waiting: collections.deque[tuple[Callable[[], ClipRecord], list[np.ndarray]]] = (
        collections.deque()
    )
    labels = [one.label for one in conditions_of(systems, listener is not None)]
    for clip in clips:
        made = [answer for system in systems for answer in system(clip.samples)]
        everything: list[Resynthesis | None] = [*([None] if listener else []), *made]
        audio = [clip.samples if answer is None else answer.samples for answer in everything]
        scores = [
            measurer.submit(clip.samples, answer.samples)
            if clip.waveform and answer is not None
            else dict[str, float | None]
            for answer in everything
        ]
        words = [
            listener(one, clip.transcript) if listener and clip.transcript else (None, None)
            for one in audio
        ]
        waiting.append((functools.partial(_record, clip, labels, everything, scores, words), audio))
        while len(waiting) > pending:
            finish, audio = waiting.popleft()
            yield finish(), audio
    for finish, audio in waiting:
        yield finish(), audio


def _record(
    clip: Judged,
    labels: list[str],
    answers: list[Resynthesis | None],
    scores: list[Callable[[], Scores]],
    words: list[tuple[str | None, TextErrors | None]],
) -> ClipRecord:
    results = tuple(
        ClipResult(
            condition=label,
            packet_bits=answer.packet_bits if answer else None,
            file_bits=answer.file_bits if answer else None,
            scores=score(),
            heard=heard,
            errors=errors,
        )
        for label, answer, score, (heard, errors) in zip(
            labels, answers, scores, words, strict=True
        )
    )
    return ClipRecord(
        clip.clip_id, clip.sha256, len(clip.samples) / RATE_HZ, clip.transcript, results
    )
