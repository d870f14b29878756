"""The sound of codes that come bit by bit: every frame is decoded once."""

import numpy as np
from jaxtyping import Float, Int

from audiolm_jax.types import AcousticTokens, StreamingTokenizer

_LEAD_SECONDS = 0.5  # decoded before what a codec that looks ahead holds back


class Sound:
    """Codes of one recording in, samples out."""

    def __init__(self, codec: StreamingTokenizer, block_frames: int, levels: int):
        """Of the codec's first `levels`; `block_frames` wait for each other; with a causal codec
        multiples of them leave none."""
        self._codec = codec
        self._stream = codec.open_decoder(block_frames)
        self.codes = np.zeros((0, levels), np.int32)  # all that were pushed
        self._pieces: list[np.ndarray] = []

    def push(self, codes: Int[np.ndarray, "t q"]) -> None:
        """Adds frames."""
        self.codes = np.concatenate([self.codes, codes])
        self._pieces.append(self._stream.push(codes))

    def finish(self) -> None:
        """Ends the recording: samples that still waited come out."""
        self._pieces.append(self._stream.finish())

    @property
    def samples(self) -> Float[np.ndarray, " s"]:
        """All that have come out."""
        return np.concatenate(self._pieces)

    def since(self, count: int) -> Float[np.ndarray, " s"]:
        """What has come out after the first `count` samples."""
        return self._newest(sum(map(len, self._pieces)) - count)

    def recent(self, frames: int) -> Float[np.ndarray, " s"]:
        """Samples of the newest `frames`.

        A codec that looks ahead still holds back the last of them: these are decoded apart, as if
        the recording ended here.
        """
        hop = self._codec.hop_samples
        wanted = frames * hop
        missing = min(wanted, len(self.codes) * hop - sum(map(len, self._pieces)))
        samples = self._newest(wanted - missing)
        if not missing:
            return samples
        lead = round(_LEAD_SECONDS * self._codec.sample_rate_hz / hop)
        codes = self.codes[None, -(missing // hop + lead) :]
        decoded = self._codec.decode(AcousticTokens(codes, np.array([codes.shape[1]], np.int32)))
        return np.concatenate([samples, np.asarray(decoded.samples)[0, -missing:]])

    def _newest(self, count: int) -> Float[np.ndarray, " s"]:
        newest: list[np.ndarray] = []
        for piece in reversed(self._pieces):
            left = count - sum(map(len, newest))
            if left <= 0:
                break
            newest.append(piece[-left:])
        return np.concatenate([np.zeros(0, np.float32), *reversed(newest)])
