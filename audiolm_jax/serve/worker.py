"""One continuation at a time, on a thread; others wait in a line of limited length."""

import base64
import contextlib
import dataclasses
import logging
import queue
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from audiolm_jax.artifacts.refusals import refusal
from audiolm_jax.audio.files import pcm16
from audiolm_jax.audio.output import SUFFIXES
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.measures.spectra import BANDS, HOP_SECONDS, shades
from audiolm_jax.generation.api import Pipeline, Result
from audiolm_jax.generation.prompts import Prompt
from audiolm_jax.serve.wishes import Wish

KEPT_RESULTS = 64
_WARM_UP_SECONDS = 3.0
_END = None

logger = logging.getLogger(__name__)
Event = dict[str, Any]


class BusyError(Exception):
    """So many wait already that one more is sent away."""


@dataclasses.dataclass(eq=False)
class Job:
    """A continuation that is asked for."""

    prompt: Prompt
    wish: Wish
    tell: Callable[[Event], None]  # called on the worker's thread; the last event is done or error
    is_left: threading.Event = dataclasses.field(default_factory=threading.Event)
    # Set by who asked and has gone away: nothing more is made for nobody.


class Worker:
    """Makes continuations one after the other and keeps the newest results as files."""

    def __init__(
        self, pipeline: Pipeline, folder: Path, most_waiting: int, is_warmed_up: bool = False
    ) -> None:
        """`folder`: an empty one for results. `is_warmed_up`: compile what continuations need at
        once, not for the first visitor."""
        self._pipeline, self._folder, self._is_warmed_up = pipeline, folder, is_warmed_up
        self._results: OrderedDict[str, None] = OrderedDict()  # their names, the oldest first
        self._lock = threading.Lock()
        # One that is being made leaves the queue, so `waiting` others fit.
        self._jobs: queue.Queue[Job | None] = queue.Queue(most_waiting)
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> int:
        """Puts a job into the line; returns how many are before it. BusyError if it is full."""
        before = self._jobs.qsize()
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            raise BusyError(f"{before} wait already; try again in a minute") from None
        return before

    def result(self, name: str, suffix: str) -> Path | None:
        """The .wav or .flac file of a result, if it is still kept."""
        with self._lock:
            is_kept = name in self._results and suffix in SUFFIXES
        return self._folder / f"{name}{suffix}" if is_kept else None

    def close(self) -> None:
        """Ends after the job that is being made."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._jobs.get_nowait()
        self._jobs.put(_END)
        self._thread.join()

    def _warm_up(self) -> None:
        rate_hz = self._pipeline.sample_rate_hz
        seconds = min(_WARM_UP_SECONDS, self._pipeline.prompt_limit_seconds)
        noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate_hz))
        for _ in self._pipeline.stream(noise.astype(np.float32), seconds, rate_hz=rate_hz):
            pass

    def _run(self) -> None:
        if self._is_warmed_up:
            self._warm_up()
            logger.info("ready: what continuations need is compiled")
        while (job := self._jobs.get()) is not _END:
            if job.is_left.is_set():
                continue
            try:
                self._make(job)
            except InputError as error:
                job.tell({"event": "error", "line": str(error)})
            except Exception as error:  # the next visitor is served all the same
                if (line := refusal(error)) is None:
                    logger.exception("a continuation failed")
                    line = f"failed: {type(error).__name__}"
                job.tell({"event": "error", "line": line})

    def _make(self, job: Job) -> None:
        rate_hz = self._pipeline.sample_rate_hz

        def progress(stage: str, tokens: int, seconds: float) -> None:
            if job.is_left.is_set():
                raise _LeftError
            if not tokens:
                return
            job.tell({"event": "progress", "stage": stage, "seconds": round(seconds, 2)})

        pipeline = self._pipeline.sampled(job.wish.sampling)
        try:
            job.tell({"event": "started", "rate_hz": rate_hz})
            stream = pipeline.stream(job.prompt, job.wish.seconds, job.wish.seed, progress=progress)
            for piece in stream:
                if job.is_left.is_set():
                    return
                job.tell({"event": "sound", "pcm": _pcm(piece)})
        except _LeftError:
            return
        result = stream.result
        name = uuid.uuid4().hex
        for suffix in SUFFIXES:
            result.save(self._folder / f"{name}{suffix}")
        self._keep(name)
        job.tell({"event": "done", "id": name, **facts_of(result)})

    def _keep(self, name: str) -> None:
        with self._lock:
            self._results[name] = None
            if len(self._results) > KEPT_RESULTS:
                oldest, _ = self._results.popitem(last=False)
                for suffix in SUFFIXES:
                    (self._folder / f"{oldest}{suffix}").unlink(missing_ok=True)


class _LeftError(Exception):
    """Who asked has gone away."""


def facts_of(result: Result) -> Event:
    """What a page shows of a result, as JSON values."""
    return {
        "prompt_samples": result.prompt_samples,
        "ended": result.ended,
        "notes": list(result.notes),
        "tokens": {name: tokens.tolist() for name, tokens in result.tokens.items()},
        "log_probs": {
            name: [round(float(x), 3) for x in values] for name, values in result.log_probs.items()
        },
        "provenance": result.provenance,
        "spectrogram": spectrogram(result.audio, result.sample_rate_hz),
    }


def spectrogram(samples: Float[np.ndarray, " s"], rate_hz: int) -> Event:
    """80 mel bands, the lowest first, a byte each: 255 is the loudest, 0 is 75 dB below."""
    shade = shades(samples, rate_hz)
    data = base64.b64encode(np.round(shade * 255).astype(np.uint8).tobytes()).decode()
    return {"bands": BANDS, "frames": len(shade), "hop_seconds": HOP_SECONDS, "data": data}


def _pcm(samples: Float[np.ndarray, " s"]) -> str:
    """16-bit little-endian samples in base64."""
    pcm, _ = pcm16(samples)
    return base64.b64encode(pcm.astype("<i2").tobytes()).decode()
