"""SeqIO tasks over a token store: a source addressed by position, and a task for each stage.

The task of a stage is named `audiolm:<dataset>:<stage>` (SeqIO allows no "/" in names). Its
features are `tokens`, ids of the stage, and `levels`, for each token the row of
`StageConfig.level_names` it counts under, -1 where it is no target.
"""

import os
from collections.abc import Callable, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import seqio
import tensorflow as tf

from audiolm_jax.data.sources import SPLITS, Split
from audiolm_jax.data.stream import generator, shuffled_index, spread
from audiolm_jax.data.tokens.store import TokenStore, check_store
from audiolm_jax.data.windows import WindowsOfAll
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
    uniform where a whole crop fits. Records no longer than the crop are taken whole. With a chance
    of `edge_share` the crop is moved to the beginning or to the end of the file it is from.

    Not shuffled, each record is cut into even windows, in order; of more than a limit so many are
    spread evenly over all. Empty windows follow until the number is a multiple of the batch.

    Examples: `semantic` (uint16 little endian bytes), `acoustic` (the same, row-major frames of
    `levels`), `ends_here` (bool: the file ends with the window), `position` (int64).
    """

    def __init__(
        self,
        store: TokenStore,
        stage: StageConfig,
        start: int = 0,
        batch_size: int | None = None,
        rows: Sequence[int] = (),
        edge_share: float = 0.0,
        limit: int | None = None,
    ):
        """Of the `batch_size` examples of a step, from the one at position `start` on, `rows` are
        read; shard h of n reads every n-th of them, without batches positions h, h + n, ...; not
        shuffled, no more than `limit` batches."""
        self._most = None if limit is None or batch_size is None else limit * batch_size
        self._store, self._stage = store, stage
        self._start, self._batch_size, self._rows = start, batch_size, rows
        self._edge_share = edge_share
        self._lengths = {
            split: store.semantic_lengths(split) for split in SPLITS if store.num_records(split)
        }
        self._edges = {split: store.file_edges(split) for split in self._lengths}
        self._windows = {
            split: WindowsOfAll(lengths, stage.crop_semantic)
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

    def list_shards(self, split: Split) -> list[str]:
        """The split's files."""
        shards = self._store.manifest["splits"][split]["shards"]
        return [str(self._store.directory / shard["name"]) for shard in shards]

    def num_windows(self, split: Split) -> int:
        """Positions in an epoch."""
        return len(self._windows[split])

    def crop_at(self, split: Split, position: int, seed: int) -> tuple[int, int, int]:
        """(record, first semantic token, end) at a position of the shuffled stream."""
        slot = shuffled_index(position, self.num_windows(split), seed)
        record = self._windows[split].item_of(slot)
        draw = generator(seed, position, purpose=3).random()
        is_end = draw < self._edge_share / 2
        edge = int(self._edges[split][is_end][record])
        if is_edge := draw < self._edge_share and edge >= 0:
            record = edge
        length, crop = int(self._lengths[split][record]), self._stage.crop_semantic
        spare = max(0, length - crop)
        start = int(generator(seed, position, purpose=1).integers(spare + 1))
        if is_edge:
            start = spare if is_end else 0
        return record, start, min(length, start + crop)

    def window_at(self, split: Split, position: int) -> tuple[int, int, int]:
        """(record, first semantic token, end) in order."""
        return self._windows[split][position]

    def get_dataset(
        self,
        split: Split = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """See the class; arguments as SeqIO defines them, seed None being 0."""
        if split not in self._windows:
            raise InputError(f"{self._store.directory}: token store has no {split} clip")
        shard = shard_info or seqio.ShardInfo(0, 1)
        batch, own = shard.num_shards, np.array([shard.index])
        if self._batch_size is not None:
            batch, own = self._batch_size, np.array(self._rows)[shard.index :: shard.num_shards]
        chosen = spread(self.num_windows(split), self._most)
        stop = _ENDLESS if shuffle else -(-len(chosen) // batch) * len(own)
        seed = seed or 0

        def place(position: int) -> tuple[int, int, int] | None:
            if shuffle:
                return self.crop_at(split, position, seed)
            return self.window_at(split, chosen[position]) if position < len(chosen) else None

        def fetch(ordinals: np.ndarray) -> tuple[np.ndarray, ...]:
            steps, which = np.divmod(ordinals, len(own))
            positions = steps * batch + own[which]
            windows = [self._window(split, place(int(p))) for p in positions]
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
        self, split: Split, place: tuple[int, int, int] | None
    ) -> tuple[bytes, bytes, bool]:
        if place is None:
            return b"", b"", False
        number, start, stop = place
        record = self._store.record(split, number)
        clusters, codes = record.cut(start, stop)
        is_last = int(self._edges[split][1][number]) == number
        return clusters.tobytes(), codes.tobytes(), is_last and stop == len(record.clusters)


def stage_task(store: TokenStore, stage: StageConfig) -> seqio.Task:
    """Registers the task of a stage, in place of one of that name; `check_store` holds."""
    check_store(store, stage)
    name = f"audiolm:{store.provenance.dataset}:{stage.name}"
    vocabularies = {"tokens": stage.vocab_size, "levels": len(stage.level_names)}
    seqio.TaskRegistry.remove(name)
    return seqio.TaskRegistry.add(
        name,
        source=TokenWindows(store, stage),
        preprocessors=[_build_sequences(stage)],
        output_features={
            feature: seqio.Feature(seqio.PassThroughVocabulary(size), add_eos=False, dtype=tf.int32)
            for feature, size in vocabularies.items()
        },
        shuffle_buffer_size=None,
    )


def _build_sequences(stage: StageConfig) -> Callable[[tf.data.Dataset], tf.data.Dataset]:
    """Preprocessor: the stage's sequence from the tokens of a window."""

    def sequence(
        semantic: bytes, acoustic: bytes, ends_here: np.bool_
    ) -> tuple[np.ndarray, np.ndarray]:
        clusters = np.frombuffer(semantic, "<u2").astype(np.int32)
        if not len(clusters):
            return np.zeros(0, np.int32), np.zeros(0, np.int32)
        codes = np.frombuffer(acoustic, "<u2").astype(np.int32).reshape(-1, stage.levels)
        example = build_sequence(clusters, codes, bool(ends_here), stage)
        targets = len(example.tokens) - example.target_start
        ends = stage.has_end_token and example.tokens[-1] == EOS
        levels = np.full(len(example.tokens), -1, np.int32)
        levels[example.target_start :] = level_rows(targets, bool(ends), stage)
        return example.tokens, levels

    @tf.autograph.experimental.do_not_convert
    def build(window: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        arguments = [window["semantic"], window["acoustic"], window["ends_here"]]
        values = tf.numpy_function(sequence, arguments, (tf.int32, tf.int32), stateful=False)
        for value in values:
            value.set_shape([None])
        return dict(zip(("tokens", "levels"), values, strict=True))

    return lambda dataset: dataset.map(build)
