"""Stages 2 and 3: a window's codes from its semantic tokens, at once or chunk by chunk."""

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
from audiolm_jax.stages import condition_tokens, flatten_levels, unflatten_levels


class Acoustics:
    """The coarse and, unless all levels are coarse, the fine stage."""

    def __init__(self, decoders: Mapping[str, StageDecoder]):
        self._coarse, self._fine = decoders["coarse"], decoders.get("fine")

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
        chunks = [
            (job, start, codes[start - piece.start : stop - piece.start])
            for job, piece, codes in zip(jobs, pieces, coarse, strict=True)
            for start, stop in _chunks(job, piece)
            if start - piece.start < len(codes)
        ]
        if self._fine is None:
            full = [codes for _, _, codes in chunks]
            written = 0
        else:
            keys = [jax.random.fold_in(job.key("fine"), start) for job, start, _ in chunks]
            full = []
            filled = self._fine_levels([codes for _, _, codes in chunks], keys, sampling)
            for (job, _, _), (codes, log_probs) in zip(chunks, filled, strict=True):
                full.append(codes)
                job.track.keep_log_probs("fine", log_probs)
            written = sum(codes.size for codes in full) - sum(c.size for _, _, c in chunks)
        for (job, _, _), codes in zip(chunks, full, strict=True):
            job.track.sound.push(codes)
        return written

    def refine(
        self,
        codes: Sequence[Int[np.ndarray, "_ q"]],
        known: int,
        keys: Sequence[jax.Array],
        schedule: Schedule,
        sampling: Sampling,
    ) -> list[Int[np.ndarray, "_ q"]]:
        """Codes of all levels, their fine ones after the first `known` frames written anew: by the
        same chunks, and by the same draws for the key of a seed, as where the schedule goes on from
        `known` frames. InputError without a fine stage."""
        if self._fine is None:
            raise InputError("the bundle has no fine stage: all its levels are coarse")
        levels = self._fine.config.stage.coarse_levels
        full = [item[:known] for item in codes]
        windows = [schedule.windows(known, len(item)) for item in codes]
        for number, row in enumerate(itertools.zip_longest(*windows)):
            chunks = [
                (place, start, codes[place][len(full[place]) + start :][:frames, :levels])
                for place, window in enumerate(row)
                if window is not None
                for start, frames in zip(window.starts, window.chunks, strict=True)
            ]
            drawn = [
                jax.random.fold_in(window_key(keys[place], number, "fine"), start)
                for place, start, _ in chunks
            ]
            filled = self._fine_levels([coarse for _, _, coarse in chunks], drawn, sampling)
            for (place, _, _), (new, _) in zip(chunks, filled, strict=True):
                full[place] = np.concatenate([full[place], new])
        return full

    def _fine_levels(
        self, chunks: list[np.ndarray], keys: list[jax.Array], sampling: Sampling
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """All levels of chunks of coarse ones, and the log-probabilities of what was written."""
        assert self._fine is not None
        stage = self._fine.config.stage
        width = len(stage.target_levels)
        results = self._fine.generate(
            [condition_tokens(np.zeros(0, int), codes, stage) for codes in chunks],
            [0] * len(chunks),
            [len(codes) * width for codes in chunks],
            jnp.stack(keys),
            sampling,
            [False] * len(chunks),
        )
        filled = []
        for codes, result in zip(chunks, results, strict=True):
            fine = unflatten_levels(result.ids, stage.target_levels, stage)
            filled.append((np.concatenate([codes, fine], axis=1), result.log_probs))
        return filled


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
