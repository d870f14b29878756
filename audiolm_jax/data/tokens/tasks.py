"""SeqIO tasks over token stores: a source addressed by position, and a task for each stage.

The task of a stage is named `audiolm:<dataset>:<stage>` (SeqIO allows no "/" in names). Its
features are `tokens`, ids of the stage, and `levels`, for each token the row of
`StageConfig.level_names` it counts under, -1 where it is no target. `add_usual_task` has the
features that SeqIO's own converters take.
"""

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import seqio
import tensorflow as tf

from audiolm_jax.data.sources import SPLITS, Split
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.data.tokens.sequences import Sequences
from audiolm_jax.errors import InputError
from audiolm_jax.stages import EOS, StageConfig

# TensorFlow only feeds here: the accelerators belong to JAX.
tf.config.set_visible_devices([], "GPU")

_TOGETHER = 64  # examples fetched by one call into Python
_ENDLESS = 1 << 62


class TokenWindows(seqio.DataSource):
    """The examples of `StageStream`, in an order of the seed, None being 0, or without shuffling in
    order; shard h of n reads those at positions h, h + n, ... In order, padding of no tokens
    follows until all shards have the same number."""

    def __init__(self, mixture: TokenMixture, stage: StageConfig, edge_share: float = 0.0):
        self._mixture, self.stage, self._edge_share = mixture, stage, edge_share
        splits = [s for s in SPLITS if all(store.num_records(s) for store in mixture.stores)]
        super().__init__(
            splits=tuple(splits),
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
        return [
            str(store.directory / shard["name"])
            for store in self._mixture.stores
            for shard in store.manifest["splits"][split]["shards"]
        ]

    def get_dataset(
        self,
        split: Split = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """See the class; arguments as SeqIO defines them."""
        shard = shard_info or seqio.ShardInfo(0, 1)
        stream = self._stream(split, (seed or 0) if shuffle else None)
        stop = _ENDLESS if shuffle else -(-stream.windows // shard.num_shards) * shard.num_shards

        @tf.autograph.experimental.do_not_convert
        def cut(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {name: example[name][: example["lengths"]] for name in ("tokens", "levels")}

        positions = tf.data.Dataset.range(shard.index, stop, shard.num_shards).batch(_TOGETHER)
        return positions.map(_fetch(stream)).unbatch().map(cut)

    def _stream(self, split: Split, seed: int | None, most: int | None = None) -> StageStream:
        return StageStream(self._mixture, self.stage, split, seed, self._edge_share, most)


class StepBatches(TokenWindows):
    """The same as whole batches from a step on: `rows` of the `batch_size` examples of each, and
    in order of no more than `limit` batches; padded, with `lengths`. Nothing is done an example."""

    def __init__(
        self,
        mixture: TokenMixture,
        stage: StageConfig,
        batch_size: int,
        rows: Sequence[int],
        step: int = 0,
        edge_share: float = 0.0,
        limit: int | None = None,
    ):
        super().__init__(mixture, stage, edge_share)
        self._batch_size, self._rows, self._step, self._limit = batch_size, rows, step, limit

    def get_dataset(
        self,
        split: Split = "train",
        shuffle: bool = True,
        seed: int | None = None,
        shard_info: seqio.ShardInfo | None = None,
        **unused: object,
    ) -> tf.data.Dataset:
        """See the class; there are no shards, for `rows` are those of the host."""
        most = None if self._limit is None else self._limit * self._batch_size
        stream = self._stream(split, (seed or 0) if shuffle else None, most)
        stop = _ENDLESS if shuffle else -(-stream.windows // self._batch_size)
        rows = tf.constant(self._rows, tf.int64)
        steps = tf.data.Dataset.range(self._step, stop)
        return steps.map(lambda step: step * self._batch_size + rows).map(_fetch(stream))


def _fetch(stream: StageStream) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """`StageStream.sequences` of positions, by one call into Python."""

    @tf.autograph.experimental.do_not_convert
    def fetch(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        types, width = (tf.int32, tf.int32, tf.int64), stream.stage.max_tokens
        values = tf.numpy_function(stream.sequences, [positions], types, stateful=False)
        for value, shape in zip(values, ([None, width], [None, width], [None]), strict=True):
            value.set_shape(shape)
        return dict(zip(Sequences._fields, values, strict=True))

    return fetch


def stage_task(name: str, stage: StageConfig, source: TokenWindows) -> seqio.Task:
    """A task that nobody knows by its name yet."""
    sizes, rank = {"tokens": stage.vocab_size, "levels": len(stage.level_names)}, 1
    if isinstance(source, StepBatches):
        sizes, rank = sizes | {"lengths": stage.max_tokens + 1}, 2
    return seqio.Task(
        name,
        source=source,
        preprocessors=[],
        output_features={
            feature: seqio.Feature(
                seqio.PassThroughVocabulary(size),
                add_eos=False,
                dtype=tf.int64 if feature == "lengths" else tf.int32,
                rank=1 if feature == "lengths" else rank,
            )
            for feature, size in sizes.items()
        },
        shuffle_buffer_size=None,
    )


def usual_task(name: str, stage: StageConfig, source: TokenWindows) -> seqio.Task:
    """The same with `targets` and, but for the semantic stage, `inputs`: the sequence in two parts,
    without the token that begins it, whose place SeqIO's converters fill."""

    @tf.autograph.experimental.do_not_convert
    def part(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        tokens, start = example["tokens"], tf.math.count_nonzero(example["levels"] < 0)
        return {"inputs": tokens[1:start], "targets": tokens[start:]}

    vocabulary = seqio.PassThroughVocabulary(stage.vocab_size, EOS if stage.has_end_token else None)
    feature = seqio.Feature(vocabulary, add_eos=False, dtype=tf.int32)
    return seqio.Task(
        name,
        source=source,
        preprocessors=[lambda dataset: dataset.map(part)],
        output_features=dict.fromkeys(usual_lengths(stage), feature),
        shuffle_buffer_size=None,
    )


def usual_lengths(stage: StageConfig) -> dict[str, int]:
    """Most tokens of each feature of a stage's `usual_task`, by which nothing is cut."""
    targets = stage.crop_targets + stage.has_end_token
    if stage.name == "semantic":
        return {"targets": targets}
    return {"inputs": stage.max_tokens - 1 - targets, "targets": targets}


def add_task(
    tokens: str | Path | Sequence[str],
    stage: StageConfig,
    weights: Sequence[int] = (),
    edge_share: float = 0.0,
    name: str | None = None,
) -> seqio.Task:
    """Registers the task of a stage over a token store, or over several with their `weights` (see
    `TokenMixture`), in place of one of that name: `audiolm:<dataset>:<stage>` unless given.

    Sizes that `stage` leaves at 0 are the store's. InputError if they do not fit.
    """
    return _added(stage_task, tokens, stage, weights, edge_share, name, "audiolm:{}:{}")


def add_usual_task(
    tokens: str | Path | Sequence[str],
    stage: StageConfig,
    weights: Sequence[int] = (),
    edge_share: float = 0.0,
    name: str | None = None,
) -> seqio.Task:
    """`add_task` of a `usual_task`, named `audiolm_<dataset>_<stage>` unless a name is given."""
    return _added(usual_task, tokens, stage, weights, edge_share, name, "audiolm_{}_{}")


def _added(
    make: Callable[[str, StageConfig, TokenWindows], seqio.Task],
    tokens: str | Path | Sequence[str],
    stage: StageConfig,
    weights: Sequence[int],
    edge_share: float,
    name: str | None,
    pattern: str,
) -> seqio.Task:
    mixture = TokenMixture.open(tokens, weights)
    sizes = mixture.sizes
    stage = stage.sized(sizes.semantic_clusters, sizes.codebook_size, sizes.levels)
    mixture.check_stage(stage)
    name = name or pattern.format(mixture.dataset.replace("+", "_and_"), stage.name)
    if not re.fullmatch(r"[\w.:#]+", name):
        raise InputError(f"{name}: SeqIO takes letters, digits and _.:# in a task's name; give one")
    source = TokenWindows(mixture, stage, edge_share=edge_share)
    seqio.TaskRegistry.remove(name)
    seqio.TaskRegistry.add_provider(name, make(name, stage, source))
    return seqio.TaskRegistry.get(name)
