"""What a program uses: paths or arrays in, results out that can be saved, one seed for each."""

import copy
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Integer

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import Bundle
from audiolm_jax.generation.config import DEFAULT, GenerationConfig, Sampling
from audiolm_jax.generation.files import provenance_of, save_sound
from audiolm_jax.generation.pipeline import Generator, Progress
from audiolm_jax.generation.prompts import Hearing, Prompt, take_prompt
from audiolm_jax.generation.track import Generated
from audiolm_jax.types import Array

SEEDS = 2**64
_ALL_SECONDS = 1e7
_FILE_BYTES = 2**32 - 2**16  # of samples in a wav file, which no result may exceed

Audio = str | Path | Array
Seconds = float | int


class Tokens(NamedTuple):
    """Sound as the models see it."""

    codes: np.ndarray  # int32 [t, q]
    semantic: np.ndarray  # int32 [u] clusters, not de-duplicated


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Sound that was made, and how."""

    audio: np.ndarray
    """float32 [s], nominally in [-1, 1]: the prompt, as the codec gives it back, and what
    follows."""
    sample_rate_hz: int
    prompt_samples: int
    """How many of the samples are the prompt, 0 without one."""
    codes: np.ndarray
    """int32 [t, q], of prompt and continuation."""
    tokens: dict[str, np.ndarray]
    """By stage what there is of its tokens, the prompt's first: "semantic" int32 [n] clusters,
    de-duplicated, "coarse" and "fine" int32 [t, levels] codes."""
    log_probs: dict[str, np.ndarray]
    """By stage float32 [n], in nats: of each token that it wrote, under the model."""
    ended: bool
    """Whether the models ended the recording before the duration asked for."""
    notes: tuple[str, ...]
    """What was not taken as it was, such as a long prompt, a line each."""
    provenance: dict[str, Any]
    """What made it, as JSON values; every file that is saved holds it."""

    @property
    def continuation(self) -> Float[np.ndarray, " n"]:
        """The samples after the prompt."""
        return self.audio[self.prompt_samples :]

    @property
    def seconds(self) -> float:
        """Duration, the prompt included."""
        return len(self.audio) / self.sample_rate_hz

    def save(self, path: str | Path) -> None:
        """Writes 16-bit wav, or FLAC where the name ends in .flac, whole or not at all, with the
        provenance inside; a file that is there is replaced. InputError if it cannot be written."""
        save_sound(path, self.audio, self.sample_rate_hz, self.provenance, self.ended)


class Stream(Iterator[Float[np.ndarray, " _"]]):
    """Pieces of samples, float32, that together are the audio of the result, the prompt's first."""

    def __init__(self, pieces: Any, finish: Callable[[Generated], Result], provenance: Any):
        self._pieces, self._finish = pieces, finish
        self.provenance: dict[str, Any] = provenance  # what the result's will be

    def __next__(self) -> Float[np.ndarray, " _"]:
        """The next piece, once it is made."""
        return next(self._pieces)

    @property
    def result(self) -> Result:
        """All of it, once the last piece is out; ValueError before."""
        return self._finish(self._pieces.result)


def check_seconds(seconds: Seconds) -> None:
    """InputError unless it is a duration."""
    if not 0 < seconds < math.inf:
        raise InputError(f"--seconds {seconds}: expected more than 0, and an end")


class Pipeline:
    """A bundle ready to speak: `audiolm_jax.load` makes one.

    Audio is a path of any format that is read, rate and number of channels, or an array [s] or
    [s, channels] with its `rate_hz`. Of a prompt that is longer than `prompt_limit_seconds` the end
    is heard, and the notes of the result say so. What is silent, shorter than a frame or not finite
    is an InputError of one line. A result depends on its own prompt, seconds and seed alone: the
    same seed, any integer from 0 to 2^64 - 1, gives the same samples, whatever else is made beside
    it. `progress`, where given, is told (stage, tokens that it has just written, seconds of sound
    there are of all results).
    """

    def __init__(self, bundle: Bundle, config: GenerationConfig = DEFAULT):
        """InputError if the config does not fit the bundle."""
        self.generator = Generator(bundle, config)
        self.bundle = bundle
        self.config = config
        self._is_rehearsed = False
        self.sample_rate_hz: int = bundle.codec.sample_rate_hz  # of all audio that comes out
        self.prompt_limit_seconds = bundle.stages["semantic"].config.stage.crop_seconds

    def sampled(self, sampling: Mapping[str, Sampling]) -> "Pipeline":
        """The same models, of which the stages named are sampled otherwise; nothing is loaded or
        compiled again."""
        other = copy.copy(self)
        other.generator = self.generator.sampled(sampling)
        other.config = other.generator.config
        return other

    def continue_audio(
        self,
        prompt: Audio,
        seconds: Seconds,
        seed: int = 0,
        rate_hz: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """Goes on from a prompt for so many seconds."""
        return self.continue_many([prompt], seconds, [seed], rate_hz, progress)[0]

    def continue_many(
        self,
        prompts: Sequence[Audio | Prompt],
        seconds: Seconds,
        seeds: Sequence[int],
        rate_hz: int | None = None,
        progress: Progress | None = None,
    ) -> list[Result]:
        """Goes on from each prompt with its own seed, all in one batch; the same prompt may stand
        there with several seeds. Arrays share one rate."""
        self.check(seconds, seeds)
        if len(prompts) != len(seeds):
            raise InputError(f"{len(prompts)} prompts, {len(seeds)} seeds: expected one for each")
        if not prompts:
            return []
        taken = [
            prompt
            if isinstance(prompt, Prompt)
            else self.take(prompt, rate_hz, name=f"prompt {i}" if len(prompts) > 1 else "prompt")
            for i, prompt in enumerate(prompts)
        ]
        self._rehearse(taken, seconds, is_streamed=False)
        made = self.generator.continue_audio(
            [p.samples for p in taken], float(seconds), list(seeds), progress
        )
        return [
            self._result(generated, self._provenance(seed, seconds, prompt), prompt.notes)
            for generated, seed, prompt in zip(made, seeds, taken, strict=True)
        ]

    def sample(self, seconds: Seconds, seed: int = 0, progress: Progress | None = None) -> Result:
        """Sound from nothing."""
        return self.sample_many(seconds, [seed], progress)[0]

    def sample_many(
        self, seconds: Seconds, seeds: Sequence[int], progress: Progress | None = None
    ) -> list[Result]:
        """Sound from nothing, one result for each seed, all in one batch."""
        self.check(seconds, seeds)
        if not seeds:
            return []
        made = self.generator.sample(float(seconds), list(seeds), progress)
        return [
            self._result(generated, self._provenance(seed, seconds))
            for generated, seed in zip(made, seeds, strict=True)
        ]

    def revoice(
        self,
        speech: Audio | Prompt,
        seed: int = 0,
        rate_hz: int | None = None,
        progress: Progress | None = None,
    ) -> Result:
        """The paper's acoustic generation: the speech's own semantic tokens, sampled acoustics."""
        self.check(None, [seed])
        taken = speech
        if not isinstance(taken, Prompt):
            taken = self.take(taken, rate_hz, name="speech", is_whole=True)
        generated = self.generator.revoice([taken.samples], [seed], progress)[0]
        provenance = self._provenance(seed, None, taken) | {"prompt_seconds": 0.0}
        return self._result(generated, provenance, taken.notes)

    def stream(
        self,
        prompt: Audio | Prompt,
        seconds: Seconds,
        seed: int = 0,
        rate_hz: int | None = None,
        progress: Progress | None = None,
    ) -> Stream:
        """The samples of `continue_audio` piece by piece, each as soon as it can be heard."""
        self.check(seconds, [seed])
        taken = prompt if isinstance(prompt, Prompt) else self.take(prompt, rate_hz)
        self._rehearse([taken], seconds, is_streamed=True)
        pieces = self.generator.stream(taken.samples, float(seconds), seed, progress)
        provenance = self._provenance(seed, seconds, taken)
        return Stream(pieces, lambda g: self._result(g, provenance, taken.notes), provenance)

    def encode(self, audio: Audio, rate_hz: int | None = None) -> Tokens:
        """Sound, all of it, to the tokens of both tokenizers; cut to whole semantic frames."""
        return Tokens(*self.generator.encode(self.take(audio, rate_hz, "audio", True).samples))

    def decode(self, codes: Integer[np.ndarray, "t q"]) -> Float[np.ndarray, " s"]:
        """Codes of the first levels, or of all, to samples; InputError for those of another
        codec."""
        return self.generator.decode(np.asarray(codes))

    def score(self, audio: Audio, rate_hz: int | None = None) -> dict[str, np.ndarray]:
        """Log-probability of each token of the sound by stage, float32 [n] in nats."""
        return self.generator.score(self.take(audio, rate_hz, "audio", True).samples)

    def take(
        self,
        audio: Audio,
        rate_hz: int | None = None,
        name: str = "prompt",
        is_whole: bool = False,
        first_seconds: float | None = None,
    ) -> Prompt:
        """What is heard of audio, None but its first seconds if so asked; else its last that fit,
        unless all `is_whole`."""
        limit = _ALL_SECONDS if is_whole else self.prompt_limit_seconds
        least = self.bundle.semantic_tokenizer.hop_samples
        hearing = Hearing(self.sample_rate_hz, least, limit)
        return take_prompt(audio, rate_hz, hearing, first_seconds, name)

    def check(self, seconds: Seconds | None, seeds: Sequence[int] = ()) -> None:
        """InputError for seconds, None where none are asked for, or seeds that are not taken."""
        for seed in seeds:
            if not isinstance(seed, int | np.integer) or not 0 <= seed < SEEDS:
                raise InputError(f"--seed {seed}: expected a whole number from 0 to 2^64 - 1")
        if seconds is None:
            return
        check_seconds(seconds)
        if seconds > (most := _FILE_BYTES / 2 / self.sample_rate_hz - self.prompt_limit_seconds):
            words = f"a wav file of this rate holds {most / 3600:.1f} h"
            raise InputError(f"--seconds {seconds:g}: {words}; go on from its end in a second run")

    def _rehearse(self, prompts: list[Prompt], seconds: Seconds, is_streamed: bool) -> None:
        """Before the first of them: later ones find the programs there."""
        if not self._is_rehearsed:
            self._is_rehearsed = True
            sizes = [len(prompt.samples) for prompt in prompts]
            self.generator.rehearse(sizes, float(seconds), is_streamed)

    def _provenance(
        self, seed: int, seconds: Seconds | None, prompt: Prompt | None = None
    ) -> dict[str, Any]:
        heard, sha256 = 0.0, None
        if prompt is not None:
            frame = self.bundle.semantic_tokenizer.hop_samples
            heard = len(prompt.samples) // frame * frame / self.sample_rate_hz
            sha256 = prompt.sha256
        asked = None if seconds is None else float(seconds)
        return provenance_of(self.bundle, self.config, int(seed), asked, heard, sha256)

    def _result(
        self, made: Generated, provenance: dict[str, Any], notes: tuple[str, ...] = ()
    ) -> Result:
        levels = self.bundle.stages["coarse"].config.stage.coarse_levels
        tokens = {"semantic": made.semantic, "coarse": made.codes[:, :levels]}
        if made.codes.shape[1] > levels:
            tokens["fine"] = made.codes[:, levels:]
        return Result(
            made.samples,
            self.sample_rate_hz,
            made.prompt_samples,
            made.codes,
            tokens,
            made.log_probs,
            made.ended,
            notes,
            provenance,
        )
