"""What has been made so far for one item, and its share of the window that is being made."""

import dataclasses
from collections.abc import Iterator
from typing import get_args

import jax
import numpy as np
from jaxtyping import Int

from audiolm_jax.generation.schedule import Window, spoken_tokens
from audiolm_jax.generation.sound import Sound
from audiolm_jax.stages import StageName

_STAGES = get_args(StageName)


def _no_tokens() -> np.ndarray:
    return np.zeros(0, np.int32)


def window_key(key: jax.Array, number: int, stage: StageName) -> jax.Array:
    """Decides, by the key of an item's seed, all that a stage draws in a window."""
    return jax.random.fold_in(jax.random.fold_in(key, number), _STAGES.index(stage))


@dataclasses.dataclass(frozen=True)
class Generated:
    """One result."""

    samples: np.ndarray  # float32 [s], prompt and continuation, decoded in one stream
    prompt_samples: int  # how many of the samples are the prompt, 0 without one
    codes: np.ndarray  # int32 [t, q]
    semantic: np.ndarray  # int32 [n] clusters as stage 1 counts them: the prompt's, then its own
    log_probs: dict[str, np.ndarray]  # of the tokens that each stage wrote, float32 [n], in nats
    ended: bool  # whether the models ended the recording before the asked duration


@dataclasses.dataclass(eq=False)
class Track:
    """What has been made so far for one item."""

    key: jax.Array
    prompt: np.ndarray  # float32 [s], as it was given
    sound: Sound  # of all codes
    frames: int  # of codes in the end
    windows: Iterator[Window]
    semantic: (
        np.ndarray
    )  # int32 [n] clusters, without repeats or all, that stage 1 has read or written
    # Clusters heard in the context of the newest window, those that the window was told to speak,
    # and those of stage 1 that no window has been told yet.
    context: np.ndarray = dataclasses.field(default_factory=_no_tokens)
    told: np.ndarray = dataclasses.field(default_factory=_no_tokens)
    waiting: np.ndarray = dataclasses.field(default_factory=_no_tokens)
    script: np.ndarray | None = None  # clusters to come in place of stage 1's; None: stage 1 writes
    is_written: bool = False  # whether stage 1 has ended
    has_ended: bool = False
    log_probs: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict)

    @property
    def codes(self) -> Int[np.ndarray, "t q"]:
        """All of them, the prompt's first."""
        return self.sound.codes

    def window_key(self, number: int, stage: StageName) -> jax.Array:
        """`window_key` of its own."""
        return window_key(self.key, number, stage)

    def keep_log_probs(self, stage: str, values: np.ndarray) -> None:
        """Of the next tokens that the stage wrote."""
        self.log_probs.setdefault(stage, []).append(values)

    def write(self, new: Int[np.ndarray, " n"], is_last: bool) -> None:
        """Adds clusters that stage 1 has written; `is_last`: it has ended."""
        self.semantic = np.concatenate([self.semantic, new])
        self.waiting = np.concatenate([self.waiting, new])
        self.is_written = is_last

    def hear(self, heard: Int[np.ndarray, " m"], is_timed: bool) -> None:
        """Begins a window after the last one's sound, of whose end `heard` are the clusters.

        What the last window was told and has not spoken waits again; where clusters are timed, one
        a semantic frame, nothing does.
        """
        said = np.concatenate([self.context, self.told])
        spoken = len(said) if is_timed else spoken_tokens(said, heard)
        unspoken = self.told[max(0, spoken - len(self.context)) :]
        self.waiting = np.concatenate([unspoken, self.waiting])
        self.context, self.told = heard, _no_tokens()

    def tell(self, most: int) -> np.ndarray:
        """Takes up to `most` of the clusters that wait into the window; returns its condition."""
        self.told, self.waiting = self.waiting[:most], self.waiting[most:]
        return np.concatenate([self.context, self.told])


@dataclasses.dataclass(frozen=True)
class Job:
    """A track's share of a window; the jobs of a window are done together."""

    track: Track
    window: Window
    number: int  # of the window
    condition: np.ndarray  # clusters of context and window, for stage 2
    may_end: bool  # whether stage 2 may end the recording

    def key(self, stage: StageName) -> jax.Array:
        """Decides all that a stage draws in this window."""
        return self.track.window_key(self.number, stage)
