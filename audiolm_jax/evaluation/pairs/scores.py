"""What models make of utterances: their semantic tokens and the log-probabilities of these."""

import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float64, Int

from audiolm_jax.audio.files import probe
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import StageModel
from audiolm_jax.generation.sampling import legal_next, legal_table, log_probabilities
from audiolm_jax.lm.decoder import load_decoder
from audiolm_jax.stages import Sequence as Tokens
from audiolm_jax.stages import StageConfig, build_sequence
from audiolm_jax.types import AudioBatch, SemanticTokenizer

logger = logging.getLogger(__name__)

_BUCKET = 64  # lengths are rounded up to multiples: few programs
_NO_CODES = np.zeros((0, 0), np.int32)


def tokenize(
    paths: Iterable[Path], tokenizer: SemanticTokenizer, stage: StageConfig, batch_size: int
) -> dict[Path, Tokens]:
    """Each file as a sequence of the stage, without an end token; `batch_size` are held at once.

    InputError for a file longer than the stage's crop: in windows it would be another sequence.
    """
    seconds = {path: probe(path).seconds or 0.0 for path in paths}
    longest_first = sorted(seconds, key=lambda path: (-seconds[path], path))
    sequences: dict[Path, Tokens] = {}
    for begin in range(0, len(longest_first), batch_size):
        batch = longest_first[begin : begin + batch_size]
        clips = [read_resampled(path, tokenizer.sample_rate_hz, "soxr_hq") for path in batch]
        for path, clip in zip(batch, clips, strict=True):
            if -(-len(clip) // tokenizer.hop_samples) > stage.crop_semantic:
                lasts = f"lasts {len(clip) / tokenizer.sample_rate_hz:.2f} s"
                reads = f"the stage reads {stage.crop_seconds:g} s"
                raise InputError(f"{path}: {lasts}, {reads}; leave the pair out of the table")
        tokens = tokenizer.encode(AudioBatch.from_clips(clips))
        for path, ids, length in zip(batch, tokens.ids, tokens.lengths, strict=True):
            sequences[path] = build_sequence(np.asarray(ids[:length]), _NO_CODES, False, stage)
        if begin // batch_size % 100 == 0:
            logger.info("tokenized %d of %d files", begin + len(batch), len(longest_first))
    return sequences


class StageScorer:
    """A semantic stage that reads whole sequences, many at once."""

    def __init__(self, stage: StageModel, batch_size: int):
        self._batch_size = batch_size
        config = stage.config.stage
        graphdef, self._params = load_decoder(stage.config, stage.folder.arrays)
        table = jnp.asarray(legal_table(config))

        def score(params: nnx.State, ids: Int[Array, "b n"]) -> Float[Array, "b l"]:
            previous, following = ids[:, :-1], ids[:, 1:].reshape(-1)
            logits = nnx.merge(graphdef, params)(previous)
            positions = jnp.broadcast_to(jnp.arange(previous.shape[1]), previous.shape)
            legal = legal_next(table, positions.reshape(-1), previous.reshape(-1), config)
            flat = log_probabilities(logits.reshape(len(following), -1), legal, following)
            return flat.reshape(previous.shape)

        self._score = functools.partial(jax.jit(score), self._params)

    def __call__(self, sequences: Sequence[Tokens]) -> list[Float[np.ndarray, " _"]]:
        """Log-probability of each target token in nats, as `StageDecoder.score` gives them.

        Equal sequences are read once, so that their scores are equal bit for bit.
        """
        unique = {sequence.tokens.tobytes(): sequence.tokens for sequence in sequences}
        keys = sorted(unique, key=lambda key: (len(key), key))
        found: dict[bytes, np.ndarray] = {}
        for begin in range(0, len(keys), self._batch_size):
            batch = keys[begin : begin + self._batch_size]
            longest = len(unique[batch[-1]])
            rows = np.zeros(
                (self._batch_size, -(-(longest - 1) // _BUCKET) * _BUCKET + 1), np.int32
            )
            for row, key in zip(rows, batch, strict=False):
                row[: len(unique[key])] = unique[key]
            for key, own in zip(batch, np.asarray(self._score(rows)), strict=False):
                found[key] = own[: len(unique[key]) - 1]
        return [found[sequence.tokens.tobytes()] for sequence in sequences]


def totals(
    log_probabilities: Mapping[str, Sequence[Float[np.ndarray, " _"]]],
) -> dict[str, Float64[np.ndarray, " n"]]:
    """For each scorer the sum over each sequence, and the mean over its tokens."""
    table: dict[str, Float64[np.ndarray, " n"]] = {}
    for name, found in log_probabilities.items():
        sums = np.array([np.sum(own, dtype=np.float64) for own in found])
        table[f"{name}, sum"] = sums
        table[f"{name}, per token"] = sums / [len(own) for own in found]
    return table
