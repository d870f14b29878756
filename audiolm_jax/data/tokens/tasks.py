"""SeqIO tasks over a token store: a source addressed by position, and a task for each stage.

The task of a stage is named `audiolm:<dataset>:<stage>` (SeqIO allows no "/" in names). Its
features are `tokens`, ids of the stage, and `levels`, for each token the row of
`StageConfig.level_names` it is judged under, -1 where it is no target. No rule anywhere depends on
an id being 0.
"""

import os
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import seqio
import tensorflow as tf

from audiolm_jax.data.shuffle import generator, shuffled_index
from audiolm_jax.data.tokens.store import TokenStore, check_store
from audiolm_jax.errors import InputError
from audiolm_jax.stages import EOS, StageConfig, build_sequence, level_rows

# TensorFlow only feeds here: the accelerators belong to JAX.
tf.config.set_visible_devices([], "GPU")

_CHUNK = 16  # windows fetched by one call into Python
_ENDLESS = 1 << 62


class TokenWindows(seqio.DataSource):
    """Windows of a token store; position p decides epoch, record and crop.

    Shuffled, a split is endless. In every epoch a record of u semantic tokens comes
    ceil(u / crop) times, in an order of that epoch's own; each time with a crop whose start is
    uniform over the semantic tokens where a whole crop fits. Records no longer than the crop are
    taken whole.

    Not shuffled, a split holds every token exactly once, in order: each record is cut into the
    fewest windows that fit, of lengths equal to within a token. Empty windows follow until the
    number is a multiple of the batch.

    Examples: `semantic` (uint16 little endian bytes), `acoustic` (the same, row-major frames of
    `levels`), `ends_here` (bool: the record ends with the window), `position` (int64).
    """

    def __init__(
        self,
        store: TokenStore,
        stage: StageConfig,
        start: int = 0,
        batch_size: int | None = None,
        rows: Sequence[int] | None = None,
    ):
        """Describes the stream.

        Args:
          store: the tokens.
          stage: decides the length of the crops.
          start: position to begin at, a multiple of the batch size.
          batch_size: examples of a step over all hosts. None: shard h of n reads positions h,
            h + n, h + 2n ...
          rows: which of the batch_size examples of each step to read, None for all; shard h of n
            reads every n-th of them.
        """
        self._store, self._stage = store, stage
        self._start, self._batch_size, self._rows = start, batch_size, rows
        self._lengths = {
            split: store.semantic_lengths(split)
            for split in ("train", "heldout")
            if store.num_records(split)
        }
        self._ends = {
            split: np.cumsum(-(-lengths // stage.crop_semantic))
            for split, lengths in self._lengths.items()
        }
        super().__init__(
            splits=tuple(self._lengths),
            # Not stated: SeqIO would keep a small source in memory, and this one is endless.
            num_input_examples=None,
            caching_permitted=False,
            performs_internal_shuffling=True,
        )

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """Any number of shards reads the same stream."""
        return True

    def list_shards(self, split: str) -> list[str]:
        """The split's files."""
        shards = self._store.manifest["splits"][split]["shards"]
        return [str(self._store.directory / shard["name"]) for shard in shards]

    def num_windows(self, split: str) -> int:
        """Positions in an epoch."""
        return int(self._ends[split][-1])

    def at(self, start: int, batch_size: int, rows: Sequence[int]) -> "TokenWindows":
        """The same stream from another position on, or these rows of each of its batches."""
        return TokenWindows(self._store, self._stage, start, batch_size, rows)

    def locate(
        self, split: str, position: int, shuffle: bool, seed: int
    ) -> tuple[int, int, int] | None:
        """(record, first semantic token, end) at a position; None for a filling empty window."""
        total = self.num_windows(split)
        if not shuffle and position >= total:
            return None
        slot = shuffled_index(position, total, seed) if shuffle else position
        record = int(np.searchsorted(self._ends[split], slot, side="right"))
        length, crop = int(self._lengths[split][record]), self._stage.crop_semantic
        if not shuffle:
            parts = -(-length // crop)
            part = slot - (int(self._ends[split][record]) - parts)
            return record, part * length // parts, (part + 1) * length // parts
        if length <= crop:
            return record, 0, length
        start = int(generator(seed, position, purpose=1).integers(length - crop + 1))
        return record, start, start + crop

    def get_dataset(
        self,
        split: str = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """See the class; arguments as SeqIO defines them, seed None being 0."""
        if split not in self._ends:
            raise InputError(f"{self._store.directory}: token store has no {split} clip")
        shard = shard_info or seqio.ShardInfo(0, 1)
        batch, own = shard.num_shards, np.array([shard.index])
        if self._batch_size is not None:
            batch, own = self._batch_size, np.arange(self._batch_size)
            own = own if self._rows is None else np.array(self._rows)
            own = own[shard.index :: shard.num_shards]
        stop = _ENDLESS if shuffle else -(-self.num_windows(split) // batch) * len(own)
        seed = seed or 0

        def fetch(ordinals: np.ndarray) -> tuple[np.ndarray, ...]:
            steps, which = np.divmod(ordinals, len(own))
            positions = steps * batch + own[which]
            windows = [self._window(split, int(p), shuffle, seed) for p in positions]
            semantic, acoustic, ends = zip(*windows, strict=True)
            # Objects, because numpy's own byte strings lose zeros at their end.
            return positions, np.array(semantic, object), np.array(acoustic, object), np.array(ends)

        @tf.autograph.experimental.do_not_convert
        def example(ordinals: tf.Tensor) -> dict[str, tf.Tensor]:
            names = ("position", "semantic", "acoustic", "ends_here")
            types = (tf.int64, tf.string, tf.string, tf.bool)
            values = tf.numpy_function(fetch, [ordinals], types, stateful=False)
            for value in values:
                value.set_shape([None])
            return dict(zip(names, values, strict=True))

        ordinals = tf.data.Dataset.range(self._start // batch * len(own), stop).batch(_CHUNK)
        return ordinals.map(example).unbatch()

    def _window(
        self, split: str, position: int, shuffle: bool, seed: int
    ) -> tuple[bytes, bytes, bool]:
        found = self.locate(split, position, shuffle, seed)
        if found is None:
            return b"", b"", False
        number, start, stop = found
        record = self._store.record(split, number)
        per_token = self._stage.frames_per_semantic
        codes = record.codes[start * per_token : stop * per_token]
        return (
            record.clusters[start:stop].tobytes(),
            codes.tobytes(),
            stop == len(record.clusters),
        )


def stage_task(store: TokenStore, stage: StageConfig) -> seqio.Task:
    """Registers the task of a stage, in place of one of that name, and returns it.

    Raises:
      InputError: the stage and the store do not fit.
    """
    check_store(store, stage)
    name = f"audiolm:{store.provenance.dataset}:{stage.name}"
    seqio.TaskRegistry.remove(name)
    return seqio.TaskRegistry.add(
        name,
        source=TokenWindows(store, stage),
        preprocessors=[_Build(stage)],
        output_features={
            "tokens": seqio.Feature(
                seqio.PassThroughVocabulary(stage.vocab_size), add_eos=False, dtype=tf.int32
            ),
            "levels": seqio.Feature(
                seqio.PassThroughVocabulary(len(stage.level_names)), add_eos=False, dtype=tf.int32
            ),
        },
        shuffle_buffer_size=None,
    )


class _Build:
    """Preprocessor: the stage's sequence from the tokens of a window."""

    def __init__(self, stage: StageConfig):
        self._stage = stage

    def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        @tf.autograph.experimental.do_not_convert
        def build(window: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            arguments = [window["semantic"], window["acoustic"], window["ends_here"]]
            values = tf.numpy_function(
                self._sequence, arguments, (tf.int32, tf.int32), stateful=False
            )
            for value in values:
                value.set_shape([None])
            return dict(zip(("tokens", "levels"), values, strict=True))

        return dataset.map(build)

    def _sequence(
        self, semantic: bytes, acoustic: bytes, ends_here: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        stage = self._stage
        clusters = np.frombuffer(semantic, "<u2").astype(np.int32)
        if not len(clusters):
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        codes = np.frombuffer(acoustic, "<u2").astype(np.int32).reshape(-1, stage.levels)
        sequence = build_sequence(clusters, codes, bool(ends_here), stage)
        targets = len(sequence.tokens) - sequence.target_start
        ends = stage.has_end_token and sequence.tokens[-1] == EOS
        levels = np.full(len(sequence.tokens), -1, np.int32)
        levels[sequence.target_start :] = level_rows(targets, bool(ends), stage)
        return sequence.tokens, levels
