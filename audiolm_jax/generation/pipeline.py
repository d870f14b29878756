"""The road from a prompt to a waveform (AudioLM section III-D): continue, sample, revoice.

Sound is made in windows no longer than the coarse stage was trained on: in one, prompted by all of
the prompt, if both fit; otherwise each is prompted by the last `context_seconds` so far, as
SoundStorm's authors ran AudioLM beyond its crop. The semantic stage keeps its own, longer history.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import Bundle
from audiolm_jax.generation.config import DEFAULT, GenerationConfig, Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.stages import (
    BOS,
    FIRST_ID,
    condition_tokens,
    deduplicate,
    flatten_levels,
    semantic_ids,
    unflatten_levels,
)
from audiolm_jax.types import AcousticTokens, Array, AudioBatch


@dataclasses.dataclass(frozen=True)
class Generated:
    """One result."""

    samples: np.ndarray  # float32 [s], prompt and continuation decoded together
    codes: np.ndarray  # int32 [t, q]
    prompt_samples: int  # how many of the samples are the prompt, 0 without one
    ended: bool  # whether the models ended the recording before the asked duration


@dataclasses.dataclass
class _Track:
    """What has been made so far for one item."""

    codes: np.ndarray  # [t, q]
    samples: np.ndarray  # [t * hop]
    semantic: np.ndarray  # [n] clusters, de-duplicated
    key: jax.Array
    frames: int = 0  # of codes in the end, the prompt's included
    ended: bool = False


class Generator:
    """A bundle made ready to generate: compiled once, used for many prompts."""

    def __init__(self, bundle: Bundle, config: GenerationConfig = DEFAULT):
        """Unstacks the weights; InputError if the context fills the coarse stage's window."""
        self.bundle = bundle
        self.config = config
        self._stages = {name: model.config.stage for name, model in bundle.stages.items()}
        self._decoders = {
            name: StageDecoder(model.config, model.folder.arrays)
            for name, model in bundle.stages.items()
        }
        self.sample_rate_hz = bundle.codec.sample_rate_hz  # of all audio that goes in and out
        coarse = self._stages["coarse"]
        self._ratio = coarse.frames_per_semantic
        if config.context_seconds >= coarse.crop_seconds:
            flag = f"--generation.context-seconds {config.context_seconds}"
            window = f"the coarse stage's window of {coarse.crop_seconds} s"
            raise InputError(f"{flag}: expected less than {window}")
        self._context_frames = self._semantic_frames(config.context_seconds) * self._ratio

    def _semantic_frames(self, seconds: float) -> int:
        return max(1, round(seconds * self._stages["coarse"].semantic_rate_hz))

    def continue_audio(
        self, prompts: list[Float[np.ndarray, " _"]], seconds: float, seeds: list[int]
    ) -> list[Generated]:
        """Goes on for `seconds` from each prompt; its result depends on its own seed alone.

        Prompts, mono at `sample_rate_hz`, are cut to whole semantic frames (40 ms at 25 Hz), at
        least one, and only then tokenized: nothing of what follows leaks into their tokens.
        """
        hop = self.bundle.semantic_tokenizer.hop_samples
        cut = [prompt[: len(prompt) // hop * hop] for prompt in prompts]
        for i, prompt in enumerate(cut):
            if not len(prompt):
                least = f"at least {hop} ({hop / self.sample_rate_hz:.2f} s)"
                raise InputError(f"prompt {i} has {len(prompts[i])} samples, expected {least}")
        codes = _rows(*self.bundle.codec.encode(AudioBatch.from_clips(cut)))
        semantic = [deduplicate(ids) for ids in self._encode_semantic(cut)]
        tracks = [
            _Track(c, p, z, seed_key(s))
            for c, p, z, s in zip(codes, cut, semantic, seeds, strict=True)
        ]
        return self._extend(tracks, seconds)

    def sample(self, seconds: float, seeds: list[int]) -> list[Generated]:
        """Sound from nothing, one result for each seed."""
        nothing = np.zeros(0, np.int32)
        return self._extend([self._empty_track(nothing, seed) for seed in seeds], seconds)

    def _empty_track(self, semantic: Int[np.ndarray, " n"], seed: int) -> _Track:
        codes = np.zeros((0, self.bundle.codec.levels), np.int32)
        return _Track(codes, np.zeros(0, np.float32), semantic, seed_key(seed))

    def revoice(self, speech: Float[np.ndarray, " s"], seed: int) -> Generated:
        """The paper's acoustic generation: the speech's own semantic tokens, sampled acoustics.

        Speech is mono at `sample_rate_hz`, at least one semantic frame, and cut to whole frames.
        """
        hop = self.bundle.semantic_tokenizer.hop_samples
        if len(speech) < hop:
            raise InputError(f"speech has {len(speech)} samples, expected at least {hop}")
        semantic = self._encode_semantic([speech[: len(speech) // hop * hop]])[0]
        track = self._empty_track(semantic, seed)
        window, total = 0, len(semantic) * self._ratio
        while len(track.codes) < total:
            context = min(len(track.codes), self._context_frames)
            frames = min(total - len(track.codes), self._stages["coarse"].crop_frames - context)
            start = (len(track.codes) - context) // self._ratio
            z = semantic[start : start + (context + frames) // self._ratio]
            self._add_acoustics([track], [z], [context], [frames], window, may_end=False)
            window += 1
        samples = self._decode([track.codes])[0]
        return Generated(samples, track.codes, 0, ended=False)

    def _extend(self, tracks: list[_Track], seconds: float) -> list[Generated]:
        if not seconds > 0:
            raise InputError(f"--seconds {seconds}: expected more than 0")
        prompt_samples = [len(track.samples) for track in tracks]
        for track in tracks:
            track.frames = len(track.codes) + self._semantic_frames(seconds) * self._ratio
        may_end = self.config.stop == "end_token"
        for window in itertools.count():
            live = [t for t in tracks if len(t.codes) < t.frames and not t.ended]
            if not live:
                break
            contexts = [self._context(track) for track in live]
            most = self._stages["coarse"].crop_frames
            frames = [
                min(t.frames - len(t.codes), most - c) for t, c in zip(live, contexts, strict=True)
            ]
            conditions = self._window_semantics(live, contexts, frames, window, may_end)
            self._add_acoustics(live, conditions, contexts, frames, window, may_end)
            for track, samples in zip(live, self._decode([t.codes for t in live]), strict=True):
                track.samples = samples
        return [
            Generated(track.samples, track.codes, prompt, len(track.codes) < track.frames)
            for track, prompt in zip(tracks, prompt_samples, strict=True)
        ]

    def _context(self, track: _Track) -> int:
        """Frames that prompt the next window: all, if all to come fit beside them."""
        if track.frames <= self._stages["coarse"].crop_frames:
            return len(track.codes)
        return min(len(track.codes), self._context_frames)

    def _window_semantics(
        self,
        tracks: list[_Track],
        contexts: list[int],
        frames: list[int],
        window: int,
        may_end: bool,
    ) -> list[Int[np.ndarray, " _"]]:
        """Stage 1: extends each track's history; returns clusters of context and new window. A
        track that it ends has no window after this one."""
        stage = self._stages["semantic"]
        rate = self.bundle.semantic_tokens_per_second
        steps = [max(1, round(count / stage.acoustic_rate_hz * rate)) for count in frames]
        histories = [
            track.semantic[-max(1, stage.crop_semantic - count) :]
            for track, count in zip(tracks, steps, strict=True)
        ]
        results = self._decoders["semantic"].generate(
            prompts=[np.append([BOS], semantic_ids(h, stage)) for h in histories],
            target_offset=[len(h) for h in histories],
            steps=steps,
            keys=jnp.stack([_key(track, window, 0) for track in tracks]),
            sampling=Sampling(self.config.semantic_temperature),
            allow_end=[may_end] * len(tracks),
        )
        hop = self.bundle.codec.hop_samples
        recent = [
            track.samples[len(track.samples) - c * hop :]
            for track, c in zip(tracks, contexts, strict=True)
        ]
        conditions = []
        rows = zip(tracks, self._encode_semantic(recent), results, strict=True)
        for track, context, result in rows:
            new = result.ids - FIRST_ID
            track.semantic = np.concatenate([track.semantic, new])
            track.ended = result.ended
            conditions.append(np.concatenate([context, new]))
        return conditions

    def _add_acoustics(
        self,
        tracks: list[_Track],
        conditions: list[Int[np.ndarray, " _"]],
        contexts: list[int],
        frames: list[int],
        window: int,
        may_end: bool,
    ) -> None:
        """Stages 2 and 3: appends up to so many `frames` to each track's codes."""
        stage = self._stages["coarse"]
        levels = stage.coarse_levels
        recent = [
            t.codes[len(t.codes) - c :, :levels] for t, c in zip(tracks, contexts, strict=True)
        ]
        results = self._decoders["coarse"].generate(
            prompts=[
                np.concatenate([condition_tokens(z, codes, stage), flatten_levels(codes, 0, stage)])
                for z, codes in zip(conditions, recent, strict=True)
            ],
            target_offset=[codes.size for codes in recent],
            steps=[count * levels for count in frames],
            keys=jnp.stack([_key(track, window, 1) for track in tracks]),
            sampling=Sampling(self.config.coarse_temperature),
            allow_end=[may_end] * len(tracks),
        )
        coarse = [unflatten_levels(r.ids, stage.target_levels, stage) for r in results]
        full = self._add_fine_levels(tracks, coarse, window) if "fine" in self._stages else coarse
        for track, new, result in zip(tracks, full, results, strict=True):
            track.codes = np.concatenate([track.codes, new])
            track.ended |= result.ended

    def _add_fine_levels(
        self, tracks: list[_Track], coarse: list[Int[np.ndarray, "_ _"]], window: int
    ) -> list[Int[np.ndarray, "_ _"]]:
        """Stage 3 on chunks that do not overlap, all in one batch; the last may be shorter."""
        stage = self._stages["fine"]
        chunks = [
            (row, codes[start : start + stage.crop_frames], start)
            for row, codes in enumerate(coarse)
            for start in range(0, len(codes), stage.crop_frames)
        ]
        width = len(stage.target_levels)
        results = self._decoders["fine"].generate(
            prompts=[condition_tokens(np.zeros(0, int), chunk, stage) for _, chunk, _ in chunks],
            target_offset=[0] * len(chunks),
            steps=[len(chunk) * width for _, chunk, _ in chunks],
            keys=jnp.stack(
                [jax.random.fold_in(_key(tracks[r], window, 2), start) for r, _, start in chunks]
            ),
            sampling=Sampling(self.config.fine_temperature),
            allow_end=[False] * len(chunks),
        )
        rows = [[codes[:0, :0].reshape(0, stage.levels)] for codes in coarse]
        for (row, chunk, _), result in zip(chunks, results, strict=True):
            fine = unflatten_levels(result.ids, stage.target_levels, stage)
            rows[row].append(np.concatenate([chunk, fine], axis=1))
        return [np.concatenate(parts) for parts in rows]

    def _encode_semantic(self, clips: list[np.ndarray]) -> list[Int[np.ndarray, " _"]]:
        if not any(len(clip) for clip in clips):
            return [np.zeros(0, np.int32) for _ in clips]
        return _rows(*self.bundle.semantic_tokenizer.encode(AudioBatch.from_clips(clips)))

    def _decode(self, codes: list[np.ndarray]) -> list[Float[np.ndarray, " _"]]:
        lengths = np.array([len(c) for c in codes], np.int32)
        padded = np.zeros((len(codes), lengths.max(), self.bundle.codec.levels), np.int32)
        for i, c in enumerate(codes):
            padded[i, : len(c)] = c
        return _rows(*self.bundle.codec.decode(AcousticTokens(padded, lengths)))


def _rows(padded: Array, lengths: Array) -> list[np.ndarray]:
    rows = zip(np.asarray(padded), np.asarray(lengths), strict=True)
    return [row[:length] for row, length in rows]


def _key(track: _Track, window: int, stage: int) -> jax.Array:
    return jax.random.fold_in(jax.random.fold_in(track.key, window), stage)
