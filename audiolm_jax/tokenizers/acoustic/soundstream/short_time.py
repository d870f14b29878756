"""Short-time analysis and synthesis of a stream: no sample before its time, none twice.

Time is cut into cells of `hop` samples. Analysis looks at the window that ends with a cell, so that
it never waits. Synthesis gives each cell a window that begins with it, so that a sample is final as
soon as its own cell is. Both transforms are products with a fixed matrix: at these sizes a CPU and
a matrix unit do that faster than an FFT.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def analysis_matrix(window_samples: int) -> Float[np.ndarray, "w f"]:
    """Samples of a window times this, [w, 2 * (w // 2 + 1)], are the real, then the imaginary parts
    of its spectrum, Hann window included; a sine of amplitude 1 has magnitude 1/2 in its band."""
    angles = _angles(window_samples)
    window = _window(window_samples)[:, None] / (window_samples / 2)
    return np.concatenate([window * np.cos(angles), -window * np.sin(angles)], 1).astype(np.float32)


def synthesis_matrix(window_samples: int, hop_samples: int) -> Float[np.ndarray, "f w"]:
    """Real and imaginary parts of a spectrum times this, [2 * (w // 2 + 1), w], are its samples.

    The windows of all cells add up to 1; w is an even multiple of the hop. Magnitude 1 in one band
    is a sine of amplitude 1 (0.5 in the lowest and highest).
    """
    angles = _angles(window_samples).T
    window = _window(window_samples) * (2 * hop_samples / window_samples)
    double = np.full((len(angles), 1), 1.0)
    double[[0, -1]] = 0.5
    parts = [double * np.cos(angles), -double * np.sin(angles)]
    return (np.concatenate(parts) * window).astype(np.float32)


def _window(size: int) -> np.ndarray:
    """Hann window between the zeros of its ends, so that every sample counts."""
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def _angles(window_samples: int) -> np.ndarray:
    turns = np.outer(np.arange(window_samples), np.arange(window_samples // 2 + 1))
    return 2 * np.pi / window_samples * (turns % window_samples)


def windows_ending_with_cells(
    samples: Float[Array, "b s"],
    past: Float[Array, "b p"],
    hop_samples: int,
    window_samples: int,
) -> tuple[Float[Array, "b n w"], Float[Array, "b p"]]:
    """The window of each cell, and the past of the next chunk; s, p and w are multiples of the hop.
    The first window begins with the past: with p = w - hop each ends with a cell of the samples,
    with more so much before."""
    joined = jnp.concatenate([past, samples], axis=1)
    cells = joined.reshape(len(samples), -1, hop_samples)
    count = samples.shape[1] // hop_samples
    shifts = window_samples // hop_samples
    windows = jnp.concatenate([cells[:, i : i + count] for i in range(shifts)], axis=-1)
    return windows, joined[:, samples.shape[1] :]


def overlap_add(
    windows: Float[Array, "b n w"], tail: Float[Array, "b p"]
) -> tuple[Float[Array, "b s"], Float[Array, "b p"]]:
    """Samples, and the tail of the next chunk: what the windows, each of which begins with its
    cell of w - p samples, reach into later cells."""
    batch, count, size = windows.shape
    hop = size - tail.shape[1]
    parts = windows.reshape(batch, count, size // hop, hop)
    total = jnp.pad(tail.reshape(batch, -1, hop), ((0, 0), (0, count), (0, 0)))
    after = total.shape[1] - count
    for i in range(size // hop):
        total += jnp.pad(parts[:, :, i], ((0, 0), (i, after - i), (0, 0)))
    total = total.reshape(batch, -1)
    return total[:, : count * hop], total[:, count * hop :]
