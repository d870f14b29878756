"""Every sequence of a split once, in order: what held-out losses and count models are taken on."""

from collections.abc import Iterator

from audiolm_jax.data.sources import Split
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.stages import Sequence, StageConfig, build_sequence


def stage_sequences(store: TokenStore, stage: StageConfig, split: Split) -> Iterator[Sequence]:
    """The sequences of `loader.heldout_batches`, unpadded.

    A recording longer than the stage's crop is cut into the fewest windows that fit, of lengths
    equal to within a semantic token.
    """
    for record in store.records(split):
        total = len(record.clusters)
        parts = -(-total // stage.crop_semantic)
        for part in range(parts):
            start, stop = part * total // parts, (part + 1) * total // parts
            codes = record.codes[
                start * stage.frames_per_semantic : stop * stage.frames_per_semantic
            ]
            yield build_sequence(
                record.clusters[start:stop].astype("int32"),
                codes.astype("int32"),
                stop == total,
                stage,
            )
