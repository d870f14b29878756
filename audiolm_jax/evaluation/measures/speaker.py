"""Whose voice it is: cosines between speaker embeddings of recordings."""

import dataclasses
import importlib.util
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from audiolm_jax.errors import InputError

RATE_HZ = 16_000
PACKAGES = ("resemblyzer", "torch")


class SpeakerEncoder:
    """d-vectors of GE2E (Wan et al. 2018) through resemblyzer, whose package holds the weights:
    256 numbers of norm 1, the mean over windows of 1.6 s. On one thread of the CPU; pauses stay in,
    and the level is raised to -30 dBFS, as in training, where it is lower."""

    def __init__(self) -> None:
        """InputError if a package is missing."""
        if missing := [name for name in PACKAGES if importlib.util.find_spec(name) is None]:
            raise InputError(
                f"--similarity: {missing[0]} is missing: pip install 'audiolm_jax[world-eval]', or "
                "leave it out with --no-similarity"
            )
        from resemblyzer import VoiceEncoder

        # torch.load from 2.6 on takes arrays alone and runs nothing of the file.
        self._encoder = VoiceEncoder("cpu", verbose=False)

    def __call__(self, samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " d"] | None:
        """Of a clip at 16 kHz; None if it is all zeros or empty."""
        if not samples.any():
            return None
        import torch
        from resemblyzer.audio import normalize_volume
        from resemblyzer.hparams import audio_norm_target_dBFS

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # several are slower for a network so small
        try:
            loud = normalize_volume(samples, audio_norm_target_dBFS, increase_only=True)
            return np.asarray(self._encoder.embed_utterance(loud), np.float64)
        finally:
            torch.set_num_threads(threads)


def cosine(one: Float[np.ndarray, " d"], other: Float[np.ndarray, " d"]) -> float:
    """Of two embeddings of any norm."""
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


@dataclasses.dataclass(frozen=True)
class Similarity:
    """A clip against the speakers of a reference set."""

    own: float  # cosine to the mean of its speaker's recordings
    best_other: float  # the highest cosine to another speaker's mean
    nearest: str  # the speaker who is nearest

    @property
    def is_own_first(self) -> bool:
        """Whether no other speaker is as near as its own."""
        return self.own > self.best_other


def similarity(
    embedding: Float[np.ndarray, " d"],
    speaker: str,
    references: Mapping[str, Float[np.ndarray, "n d"]],
) -> Similarity:
    """Of an embedding to the means of each speaker's, the own one's and at least one other's."""
    cosines = {}
    for name, vectors in references.items():
        mean = vectors.mean(axis=0)
        cosines[name] = cosine(embedding, mean)
    others = [value for name, value in cosines.items() if name != speaker]
    return Similarity(cosines[speaker], max(others), max(cosines, key=cosines.__getitem__))
