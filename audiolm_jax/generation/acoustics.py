"""Stages 2 and 3: a window's codes from its semantic tokens, at once or chunk by chunk."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from audiolm_jax.errors import InputError
from audiolm_jax.generation.config import GenerationConfig, Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.schedule import Schedule
from audiolm_jax.generation.track import Job, window_key
from audiolm_jax.stages import (
    condition_tokens,
    flatten_levels,
    target_tokens,
    unflatten_levels,
)


class Acoustics:
    """The coarse and, unless all levels are coarse, the fine stage."""

    def __init__(self, decoders: Mapping[str, StageDecoder], schedule: Schedule):
        self._coarse, self._fine = decoders["coarse"], decoders.get("fine")
        self._schedule = schedule

    def write(self, jobs: list[Job], config: GenerationConfig, is_streamed: bool) -> Iterator[int]:
        """Adds the window's codes to each track, and hands them to its sound.

        Stops after each chunk if streamed, which takes one job; yields the tokens written.
        """
        stage = self._coarse.config.stage
        levels = stage.coarse_levels
        recent = [
            job.track.codes[len(job.track.codes) - job.window.context :, :levels] for job in jobs
        ]
        prompts = [
            np.concatenate([condition_tokens(job.condition, codes, stage), target])
            for job, codes in zip(jobs, recent, strict=True)
            for target in [flatten_levels(codes, 0, stage)]
        ]
        decoding = self._coarse.open(
            prompts,
            [codes.size for codes in recent],
            [job.window.frames * levels for job in jobs],
            jnp.stack([job.key("coarse") for job in jobs]),
            config.coarse,
            [job.may_end for job in jobs],
        )
        steps = range(len(jobs[0].window.chunks)) if is_streamed else [None]
        for step in steps:
            pieces = [_frames(job, step) for job in jobs]
            decoding.advance([piece.stop * levels for piece in pieces])
            results = decoding.results()
            coarse = [
                unflatten_levels(result.ids, stage.target_levels, stage)[piece.start : piece.stop]
                for result, piece in zip(results, pieces, strict=True)
            ]
            for job, result, piece, codes in zip(jobs, results, pieces, coarse, strict=True):
                first = piece.start * levels
                job.track.keep_log_probs("coarse", result.log_probs[first : first + codes.size])
                job.track.has_ended |= result.ended
            written = sum(codes.size for codes in coarse)
            yield written + self._finish(jobs, pieces, coarse, config.fine)
            if is_streamed and jobs[0].track.has_ended:
                break

    def _finish(
        self, jobs: list[Job], pieces: list[range], coarse: list[np.ndarray], sampling: Sampling
    ) -> int:
        """Fine levels of the chunks within each piece; returns how many tokens they took."""
        queues = [
            [
                _Chunk(
                    codes[start - piece.start : stop - piece.start],
                    jax.random.fold_in(job.key("fine"), start),
                )
                for start, stop in _chunks(job, piece)
                if start - piece.start < len(codes)
            ]
            for job, piece, codes in zip(jobs, pieces, coarse, strict=True)
        ]
        written = 0
        filled = self._fill(queues, [job.track.codes for job in jobs], sampling)
        for job, queue, chunks in zip(jobs, queues, filled, strict=True):
            for chunk, (codes, log_probs) in zip(queue, chunks, strict=True):
                job.track.sound.push(codes)
                if self._fine is not None:
                    job.track.keep_log_probs("fine", log_probs)
                written += codes.size - chunk.coarse.size
        return written

    def refine(
        self,
        codes: Sequence[Int[np.ndarray, "_ q"]],
        known: int,
        keys: Sequence[jax.Array],
        sampling: Sampling,
    ) -> list[Int[np.ndarray, "_ q"]]:
        """Codes of all levels, their fine ones after the first `known` frames written anew: by the
        same chunks, and by the same draws for the key of a seed, as where the schedule goes on from
        `known` frames. InputError without a fine stage."""
        if self._fine is None:
            raise InputError("no fine stage: all levels are coarse, or --generation.coarse-only")
        levels = self._fine.config.stage.coarse_levels
        full = [item[:known] for item in codes]
        windows = [self._schedule.windows(known, len(item)) for item in codes]
        for number, row in enumerate(itertools.zip_longest(*windows)):
            drawn = [window_key(key, number, "fine") for key in keys]
            queues = [
                [
                    _Chunk(
                        codes[place][len(full[place]) + start :][:frames, :levels],
                        jax.random.fold_in(drawn[place], start),
                    )
                    for start, frames in zip(window.starts, window.chunks, strict=True)
                ]
                if window is not None
                else []
                for place, window in enumerate(row)
            ]
            for place, chunks in enumerate(self._fill(queues, full, sampling)):
                full[place] = np.concatenate([full[place], *(new for new, _ in chunks)])
        return full

    def _fill(
        self,
        queues: Sequence[Sequence["_Chunk"]],
        before: Sequence[Int[np.ndarray, "_ q"]],
        sampling: Sampling,
    ) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """For the chunks of each queue, which follow `before` and each other, codes of all levels
        and the log-probabilities of the fine ones."""
        if self._fine is None:
            nothing = np.zeros(0, np.float32)
            return [[(chunk.coarse, nothing) for chunk in queue] for queue in queues]
        context = self._schedule.fine_context
        known = [codes[max(0, len(codes) - context) :] for codes in before]
        filled: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in queues]
        numbered = [[(place, chunk) for chunk in queue] for place, queue in enumerate(queues)]
        # Chunks that are told nothing of those before them wait for none.
        waves = itertools.zip_longest(*numbered) if context else [itertools.chain(*numbered)]
        for wave in waves:
            chunks = [item for item in wave if item is not None]
            told = [known[place] for place, _ in chunks]
            results = self._fine_levels(told, [chunk for _, chunk in chunks], sampling)
            for (place, _), result in zip(chunks, results, strict=True):
                filled[place].append(result)
                codes = np.concatenate([known[place], result[0]])
                known[place] = codes[max(0, len(codes) - context) :]
        return filled

    def _fine_levels(
        self, known: list[np.ndarray], chunks: list["_Chunk"], sampling: Sampling
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """All levels of chunks that follow known codes, and the log-probabilities of what was
        written."""
        assert self._fine is not None
        stage = self._fine.config.stage
        nothing, levels = np.zeros(0, int), stage.coarse_levels
        prompts = [
            np.concatenate([condition_tokens(nothing, coarse, stage), target])
            for codes, chunk in zip(known, chunks, strict=True)
            for coarse in [np.concatenate([codes[:, :levels], chunk.coarse])]
            for target in [target_tokens(nothing, codes, stage)]
        ]
        width = len(stage.target_levels)
        results = self._fine.generate(
            prompts,
            [len(codes) * width for codes in known],
            [len(chunk.coarse) * width for chunk in chunks],
            jnp.stack([chunk.key for chunk in chunks]),
            sampling,
            [False] * len(chunks),
        )
        filled = []
        for chunk, result in zip(chunks, results, strict=True):
            fine = unflatten_levels(result.ids, stage.target_levels, stage)
            filled.append((np.concatenate([chunk.coarse, fine], axis=1), result.log_probs))
        return filled


@dataclasses.dataclass(frozen=True, eq=False)
class _Chunk:
    """Frames that the fine stage writes to one prompt."""

    coarse: np.ndarray  # int32 [n, q']
    key: jax.Array  # decides all that is drawn


def _frames(job: Job, step: int | None) -> range:
    """New frames of chunk `step` of the window, or of all its chunks."""
    if step is None:
        return range(job.window.frames)
    start = job.window.starts[step]
    return range(start, start + job.window.chunks[step])


def _chunks(job: Job, piece: range) -> list[tuple[int, int]]:
    """First frame, and the one behind the last, of the chunks within the piece."""
    pairs = zip(job.window.starts, job.window.chunks, strict=True)
    return [(start, start + frames) for start, frames in pairs if start in piece]
