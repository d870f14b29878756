"""Token stores for programs on SeqIO, T5X among them: tasks with the usual features, by name.

    from audiolm_jax import seqio_tasks

    seqio_tasks.add("runs/demo/tokens", "coarse", name="speech_coarse")

In T5X this stands in a module of your own that MIXTURE_OR_TASK_MODULE names; the task goes into
MIXTURE_OR_TASK_NAME. What lies at a position of the stream is what `audiolm train` reads there.
Needs the extra `data`. docs/guide/tokens.md says more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from audiolm_jax.errors import InputError
from audiolm_jax.stages import StageConfig, StageName

if TYPE_CHECKING:
    import seqio

_CROP_SECONDS = {"semantic": 30.0, "coarse": 10.0, "fine": 3.0}  # the paper's


def add(
    tokens: str | Path | Sequence[str],
    stage: str | StageConfig,
    name: str | None = None,
    weights: Sequence[int] = (),
    edge_share: float = 0.0,
) -> "seqio.Task":
    """Registers a task over a token store, in place of one of that name, and returns it.

    Its features, int32 [l] each, are `targets`, what the stage writes, and for the coarse and the
    fine stage `inputs`, what it is told, SEP behind it. BOS is in neither: SeqIO's converters begin
    with a token of their own. All ids are below `vocabulary.vocab_size`, 0 is padding and EOS, id
    3, ends the targets where a recording ends. With `shuffle` a task is endless, in an order of its
    seed; without, it gives every token of a split, "train" or "heldout", once, and empty examples
    until all shards have the same number.

    Args:
        tokens: folder of the store, or of several that the same tokenizers wrote.
        stage: "semantic", "coarse" or "fine" with the paper's crops of 30, 10 or 3 s and the rates
            of the store, or one with settings of its own; sizes left open are the store's.
        name: of the task; None: audiolm_<dataset>_<stage>.
        weights: of several stores, so many of every sum(weights) examples in a row.
        edge_share: as in `StageExperiment`.

    Raises:
        InputError: no store there, or one that does not fit the stage; one line.
    """
    from audiolm_jax.data.tokens.mixture import TokenMixture
    from audiolm_jax.data.tokens.tasks import add_usual_task

    if isinstance(stage, str):
        if stage not in _CROP_SECONDS:
            raise InputError(f"stage {stage!r}: expected one of {', '.join(_CROP_SECONDS)}")
        sizes = TokenMixture.open(tokens, weights, verify=False).sizes
        stage = StageConfig(
            cast(StageName, stage),
            semantic_rate_hz=sizes.semantic_rate_hz,
            acoustic_rate_hz=sizes.acoustic_rate_hz,
            coarse_levels=1 if stage == "semantic" else StageConfig.coarse_levels,  # which has none
            crop_seconds=_CROP_SECONDS[stage],
        )
    return add_usual_task(tokens, stage, weights, edge_share, name)


def feature_lengths(name: str) -> dict[str, int]:
    """Most tokens of each feature of a task that `add` registered: TASK_FEATURE_LENGTHS that cut
    nothing."""
    import seqio

    from audiolm_jax.data.tokens.tasks import TokenWindows, usual_lengths

    source = seqio.TaskRegistry.get(name).source
    assert isinstance(source, TokenWindows)
    return usual_lengths(source.stage)
