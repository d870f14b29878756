"""The road from a prompt to a waveform (AudioLM section III-D): continue, sample, revoice, stream.

Every road makes the windows and chunks of one `schedule`. Stage 1 writes the tokens of a window,
then stages 2 and 3 its codes, at once or chunk by chunk, and the codec goes on decoding. The next
window is told the tokens heard in the sound of its context, and after them those that stage 1 has
written and the sound has not spoken yet. De-duplicated tokens stage 2 speaks as fast as it likes;
of others each lasts a semantic frame.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.errors import InputError
from audiolm_jax.generation.acoustics import Acoustics
from audiolm_jax.generation.bundle import Bundle
from audiolm_jax.generation.config import DEFAULT, GenerationConfig, Sampling
from audiolm_jax.generation.decode import StageDecoder
from audiolm_jax.generation.rehearsal import rehearse
from audiolm_jax.generation.sampling import seed_key
from audiolm_jax.generation.schedule import Window, frames_in, schedule_of
from audiolm_jax.generation.score import score_tokens
from audiolm_jax.generation.sound import Sound
from audiolm_jax.generation.track import Generated, Job, Track
from audiolm_jax.stages import BOS, FIRST_ID, kept_clusters, semantic_ids
from audiolm_jax.types import AcousticTokens, AudioBatch

# Told (stage, tokens that it has just written, seconds of sound that are there, of all results).
Progress = Callable[[str, int, float], None]


class Generator:
    """A bundle made ready to generate: compiled once, used for many prompts.

    A result depends on its own prompt, seconds and seed alone, bit for bit, whatever it is made
    together with. Samples are mono at `sample_rate_hz`; seeds are integers from 0 to 2 ** 64 - 1.
    """

    def __init__(self, bundle: Bundle, config: GenerationConfig = DEFAULT):
        """InputError if the context fills the coarse stage's window."""
        self.bundle = bundle
        self.config = config
        self.sample_rate_hz = bundle.codec.sample_rate_hz  # of all audio that goes in and out
        stages = dict(bundle.stages)
        if config.coarse_only:
            stages.pop("fine", None)
        self._stages = {name: model.config.stage for name, model in stages.items()}
        coarse = self._stages["coarse"]
        # Of all codes that go in and come out of the codec's decoder.
        self.levels = coarse.levels if "fine" in stages else coarse.coarse_levels
        self._ratio = coarse.frames_per_semantic
        self._is_timed = not self._stages["semantic"].deduplicate  # a semantic token is a frame
        self.schedule = schedule_of(self._stages, config)  # of all sound that it makes
        decoders = {
            name: StageDecoder(model.config, model.folder.arrays, f"{name} stage", config.weights)
            for name, model in stages.items()
        }
        self._decoders = decoders
        self._acoustics = Acoustics(decoders, self.schedule)

    def sampled(self, sampling: Mapping[str, Sampling]) -> "Generator":
        """The same models, of which the stages named are sampled otherwise; nothing is loaded or
        compiled again."""
        other = copy.copy(self)
        other.config = self.config.sampled(sampling)
        return other

    def continue_audio(
        self,
        prompts: Sequence[Float[np.ndarray, " _"]],
        seconds: float,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Generated]:
        """Goes on for `seconds` from each prompt.

        Prompts are cut to whole semantic frames (40 ms at 25 Hz), at least one, and only then
        tokenized: nothing of what follows leaks into their tokens.
        """
        return self._run(self._prompted(prompts, seeds, self._frames_of(seconds)), progress)

    def sample(
        self, seconds: float, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[Generated]:
        """Sound from nothing, one result for each seed."""
        frames = self._frames_of(seconds)
        return self._run([self._empty_track(seed, frames) for seed in seeds], progress)

    def revoice(
        self,
        speeches: Sequence[Float[np.ndarray, " _"]],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Generated]:
        """The paper's acoustic generation: the speech's own semantic tokens, sampled acoustics.

        Speech is at least one semantic frame, and cut to whole frames.
        """
        heard: list[tuple[Track, np.ndarray]] = []
        for number, (speech, seed) in enumerate(zip(speeches, seeds, strict=True)):
            name = "speech" if len(speeches) == 1 else f"speech {number}"
            semantic = self._hear(self._whole_frames(speech, name))
            heard.append((self._empty_track(seed, len(semantic) * self._ratio), semantic))
        number = 0
        while jobs := self._revoicing(heard, number):
            self._write_acoustics(jobs, progress)
            number += 1
        return [self._result(track) for track, _ in heard]

    def _revoicing(self, heard: list[tuple[Track, np.ndarray]], number: int) -> list[Job]:
        """The next window of every track that has one."""
        jobs = []
        for track, semantic in heard:
            if (window := next(track.windows, None)) is not None:
                first = (len(track.codes) - window.context) // self._ratio
                last = (len(track.codes) + window.frames) // self._ratio
                jobs.append(Job(track, window, number, semantic[first:last], may_end=False))
        return jobs

    def speak(
        self,
        prompts: Sequence[Float[np.ndarray, " _"]],
        semantic: Sequence[Int[np.ndarray, " _"]],
        seconds: float,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Generated]:
        """`continue_audio` with clusters that are given, one array for each prompt, in place of
        those that stage 1 would write: each window is told as many of them as it would be of those.
        Equal neighbors count once if they do for the stages. It ends early where all of them are
        spoken before `seconds`."""
        tracks = self._prompted(prompts, seeds, self._frames_of(seconds))
        for track, clusters in zip(tracks, semantic, strict=True):
            self._check_clusters(clusters)
            heard = len(track.semantic)
            track.script = self._kept(np.concatenate([track.semantic, clusters]))[heard:]
        return self._run(tracks, progress)

    def _check_clusters(self, clusters: Int[np.ndarray, " n"]) -> None:
        size = self._stages["semantic"].semantic_clusters
        if not len(clusters) or clusters.min() < 0 or clusters.max() >= size:
            found = f"{clusters.min()} to {clusters.max()}" if len(clusters) else "none"
            raise InputError(f"semantic clusters: {found}, expected at least one, 0 to {size - 1}")

    def refine(
        self, codes: Sequence[Int[np.ndarray, "_ q"]], known: int, seeds: Sequence[int]
    ) -> list[Int[np.ndarray, "_ q"]]:
        """Codes of all levels, their fine ones after the first `known` frames written anew by stage
        3, in chunks as of a continuation from there (of `revoice`: from 0). InputError without a
        fine stage."""
        keys = [seed_key(seed) for seed in seeds]
        return self._acoustics.refine(codes, known, keys, self.config.fine)

    def stream(
        self,
        prompt: Float[np.ndarray, " s"],
        seconds: float,
        seed: int,
        progress: Progress | None = None,
    ) -> "Streaming":
        """The samples of `continue_audio` piece by piece as they are made, the prompt's first."""
        (track,) = self._prompted([prompt], [seed], self._frames_of(seconds))
        return Streaming(self, track, progress)

    def rehearse(self, prompts: Sequence[int], seconds: float, is_streamed: bool) -> None:
        """Compiles, beside what follows, the first window's programs of prompts of so many samples
        that are continued together; see rehearsal.py."""
        rehearse(self, prompts, seconds, is_streamed)

    def score(self, samples: Float[np.ndarray, " s"]) -> dict[str, Float[np.ndarray, " _"]]:
        """Log-probability of each token that a stage would have written to say these samples, at
        least a semantic frame and cut to whole ones; see `score_tokens`."""
        return score_tokens(self._decoders, *self.encode(samples))

    def encode(
        self, samples: Float[np.ndarray, " s"]
    ) -> tuple[Int[np.ndarray, "t q"], Int[np.ndarray, " u"]]:
        """Codes and semantic clusters, not de-duplicated, of sound cut to whole frames."""
        cut = self._whole_frames(samples, "audio")
        codes, lengths = self.bundle.codec.encode(AudioBatch.from_clips([cut]))
        return np.asarray(codes)[0, : lengths[0]], self._hear(cut)

    def decode(self, codes: Int[np.ndarray, "t q"]) -> Float[np.ndarray, " s"]:
        """Samples of the first levels of codes, or of all."""
        lengths = np.array([len(codes)], np.int32)
        return np.asarray(self.bundle.codec.decode(AcousticTokens(codes[None], lengths)).samples)[0]

    # Tracks.

    def _frames_of(self, seconds: float) -> int:
        if not 0 < seconds < float("inf"):
            raise InputError(f"--seconds {seconds}: expected a number above 0")
        return frames_in(seconds, self._stages["coarse"])

    def _whole_frames(self, samples: Float[np.ndarray, " s"], what: str) -> np.ndarray:
        hop = self.bundle.semantic_tokenizer.hop_samples
        if len(samples) < hop:
            least = f"at least {hop} ({hop / self.sample_rate_hz:.2f} s)"
            raise InputError(f"{what} has {len(samples)} samples, expected {least}")
        return samples[: len(samples) // hop * hop]

    def _hear(self, samples: Float[np.ndarray, " s"]) -> Int[np.ndarray, " u"]:
        if not len(samples):
            return np.zeros(0, np.int32)
        ids, lengths = self.bundle.semantic_tokenizer.encode(AudioBatch.from_clips([samples]))
        return np.asarray(ids)[0, : lengths[0]]

    def _kept(self, clusters: Int[np.ndarray, " u"]) -> Int[np.ndarray, " n"]:
        return kept_clusters(clusters, self._stages["semantic"])

    def _prompted(
        self, prompts: Sequence[np.ndarray], seeds: Sequence[int], frames: int
    ) -> list[Track]:
        tracks = []
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            name = "prompt" if len(prompts) == 1 else f"prompt {number}"
            cut = self._whole_frames(prompt, name)
            codes, semantic = self.encode(cut)
            tracks.append(self._track(seed, frames, cut, codes, semantic))
        return tracks

    def _track(
        self,
        seed: int,
        frames: int,
        prompt: Float[np.ndarray, " s"],
        codes: Int[np.ndarray, "t q"],
        semantic: Int[np.ndarray, " u"],
    ) -> Track:
        """A track that `frames` shall be added to."""
        sound = Sound(self.bundle.codec, self._ratio, self.levels)
        sound.push(codes[:, : self.levels])
        total = len(codes) + frames
        windows = self.schedule.windows(len(codes), total)
        return Track(seed_key(seed), prompt, sound, total, windows, self._kept(semantic))

    def _empty_track(self, seed: int, frames: int) -> Track:
        codes, semantic = np.zeros((0, self.levels), np.int32), np.zeros(0, np.int32)
        return self._track(seed, frames, np.zeros(0, np.float32), codes, semantic)

    def _run(self, tracks: list[Track], progress: Progress | None) -> list[Generated]:
        number = 0
        while jobs := self._next_jobs(tracks, number, progress):
            self._write_acoustics(jobs, progress)
            number += 1
        return [self._result(track) for track in tracks]

    def _result(self, track: Track) -> Generated:
        track.sound.finish()
        return Generated(
            track.sound.samples,
            len(track.prompt),
            track.codes,
            track.semantic,
            {name: np.concatenate(parts) for name, parts in track.log_probs.items()},
            len(track.codes) < track.frames,
        )

    # Windows.

    def _next_jobs(self, tracks: list[Track], number: int, progress: Progress | None) -> list[Job]:
        """Stage 1 for the next window of every track that has one."""
        live = []
        for track in tracks:
            if track.has_ended or (window := next(track.windows, None)) is None:
                continue
            track.hear(self._heard(track, window.context), self._is_timed)
            # Where stage 1 has ended, and all that it wrote is spoken, the recording ends.
            track.has_ended = track.is_written and not len(track.waiting)
            if not track.has_ended:
                live.append((track, window))
        written = self._write_semantics(live, number)
        self._report(progress, "semantic", written, [track for track, _ in live])
        jobs = [self._job(track, window, number) for track, window in live]
        for job in jobs:
            job.track.has_ended |= not job.window.frames
        return [job for job in jobs if job.window.frames]

    def _job(self, track: Track, window: Window, number: int) -> Job:
        condition = track.tell(window.frames // self._ratio)
        if self._is_timed:
            # Where stage 1 has ended, so does the sound.
            window = window.cut(len(track.told) * self._ratio)
            return Job(track, window, number, condition, may_end=False)
        is_all = track.is_written and not len(track.waiting)
        may_end = is_all and self.config.stop == "end_token"
        return Job(track, window, number, condition, may_end)

    def _heard(self, track: Track, context: int) -> Int[np.ndarray, " n"]:
        """Clusters of the last `context` frames that count: of the prompt as it was given, of the
        rest as the codec decodes it."""
        hop = self.bundle.codec.hop_samples
        made = len(track.codes) - len(track.prompt) // hop
        if not made and context == len(track.codes):
            return track.semantic  # of the whole prompt, heard already
        sound = track.sound.recent(min(context, made))
        if context > made:
            sound = np.concatenate([track.prompt[-(context - made) * hop :], sound])
        return self._kept(self._hear(sound))

    def _write_semantics(self, live: list[tuple[Track, Window]], number: int) -> int:
        """Stage 1 for as many tokens as the windows speak at the mean rate, beside those that wait;
        returns how many it wrote."""
        stage = self._stages["semantic"]
        rate = self.bundle.semantic_tokens_per_second / stage.acoustic_rate_hz
        rows = [
            (track, steps)
            for track, window in live
            if not track.is_written
            if (steps := max(1, round(window.frames * rate)) - len(track.waiting)) > 0
        ]
        spoken = sum(self._take_script(*row) for row in rows)
        rows = [row for row in rows if row[0].script is None]
        if not rows:
            return spoken
        histories = [
            track.semantic[-max(1, stage.crop_semantic - steps) :] for track, steps in rows
        ]
        results = self._decoders["semantic"].generate(
            [np.append([BOS], semantic_ids(history, stage)) for history in histories],
            [len(history) for history in histories],
            [steps for _, steps in rows],
            jnp.stack([track.window_key(number, "semantic") for track, _ in rows]),
            self.config.semantic,
            [self.config.stop == "end_token"] * len(rows),
        )
        for (track, _), result in zip(rows, results, strict=True):
            track.write(result.ids - FIRST_ID, result.ended)
            track.keep_log_probs("semantic", result.log_probs)
        return spoken + sum(len(result.ids) for result in results)

    def _take_script(self, track: Track, steps: int) -> int:
        if track.script is None:
            return 0
        new, track.script = track.script[:steps], track.script[steps:]
        track.write(new, is_last=not len(track.script))
        return len(new)

    def _write_acoustics(self, jobs: list[Job], progress: Progress | None) -> None:
        for _ in self._stream_acoustics(jobs, progress, is_streamed=False):
            pass

    def _stream_acoustics(
        self, jobs: list[Job], progress: Progress | None, is_streamed: bool
    ) -> Iterator[None]:
        for written in self._acoustics.write(jobs, self.config, is_streamed):
            self._report(progress, "acoustic", written, [job.track for job in jobs])
            yield

    def _report(
        self, progress: Progress | None, stage: str, tokens: int, tracks: list[Track]
    ) -> None:
        if progress is not None:
            frames = sum(len(track.codes) for track in tracks)
            hop = self.bundle.codec.hop_samples
            progress(stage, tokens, frames * hop / self.sample_rate_hz)


class Streaming(Iterator[Float[np.ndarray, " _"]]):
    """Pieces of samples, float32, that are together those of the result."""

    def __init__(self, generator: Generator, track: Track, progress: Progress | None):
        self._pieces = self._make(generator, track, progress)
        self._result: Generated | None = None

    def __next__(self) -> Float[np.ndarray, " _"]:
        """The next piece, once it is made: of the prompt, then of each chunk, not empty."""
        return next(self._pieces)

    @property
    def result(self) -> Generated:
        """All of it, once the last piece is out."""
        if self._result is None:
            raise ValueError("the stream has not come to its end")
        return self._result

    def _make(
        self, generator: Generator, track: Track, progress: Progress | None
    ) -> Iterator[np.ndarray]:
        out, number = 0, 0

        def ready() -> Iterator[np.ndarray]:
            nonlocal out
            samples = track.sound.since(out)
            out += len(samples)
            if len(samples):
                yield samples

        yield from ready()
        while jobs := generator._next_jobs([track], number, progress):
            for _ in generator._stream_acoustics(jobs, progress, is_streamed=True):
                yield from ready()
            number += 1
        self._result = generator._result(track)
        yield from ready()
