"""Every sequence of a split once, in order: what held-out losses and count models are taken on."""

from collections.abc import Iterator

from audiolm_jax.data.sources import Split
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.data.windows import even_windows
from audiolm_jax.stages import Sequence, StageConfig, build_sequence


def stage_sequences(store: TokenStore, stage: StageConfig, split: Split) -> Iterator[Sequence]:
    """The sequences of `loader.heldout_batches`, unpadded."""
    for record in store.records(split):
        for start, stop in even_windows(len(record.clusters), stage.crop_semantic):
            clusters, codes = record.cut(start, stop)
            is_end = stop == len(record.clusters)
            yield build_sequence(clusters.astype("int32"), codes.astype("int32"), is_end, stage)
