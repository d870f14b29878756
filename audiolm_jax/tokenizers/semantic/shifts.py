"""Recordings that begin earlier or later."""

import jax.numpy as jnp
from jaxtyping import Array, Int

from audiolm_jax.types import AudioBatch


def begun_later(audio: AudioBatch, shift: Int[Array, " b"]) -> AudioBatch:
    """Each item from so many samples on, or with as much silence before it if negative; lengths
    stay, and silence stands for what lies outside."""
    samples, lengths = jnp.asarray(audio.samples), jnp.asarray(audio.lengths)
    places_BxS = jnp.arange(samples.shape[1])[None, :]
    sources_BxS = places_BxS + shift[:, None]
    inside_BxS = (sources_BxS >= 0) & (sources_BxS < lengths[:, None])
    inside_BxS &= places_BxS < lengths[:, None]
    taken_BxS = jnp.take_along_axis(samples, jnp.where(inside_BxS, sources_BxS, 0), axis=1)
    return AudioBatch(jnp.where(inside_BxS, taken_BxS, 0), lengths)
