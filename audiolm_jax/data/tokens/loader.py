"""Token batches for the stages, by one of two readers that give the same bits: SeqIO, whose first
batch imports TensorFlow, or plain Python."""

import atexit
import contextlib
import importlib.util
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from audiolm_jax.data.prefetch import prefetch
from audiolm_jax.data.sources import Split
from audiolm_jax.data.stream import own_rows
from audiolm_jax.data.tokens.batches import StageStream
from audiolm_jax.data.tokens.config import Reader
from audiolm_jax.data.tokens.mixture import TokenMixture
from audiolm_jax.errors import InputError
from audiolm_jax.stages import StageConfig
from audiolm_jax.types import TokenBatch

_TENSORFLOW_THREADS = 2
_PREFETCH_BATCHES = 2


def token_batches(
    tokens: TokenMixture,
    stage: StageConfig,
    batch_size: int,
    seed: int,
    rows: Sequence[int] | None = None,
    edge_share: float = 0.0,
    reader: Reader = "plain",
) -> Callable[[int], Iterator[TokenBatch]]:
    """Endless shuffled batches of "train", a pure function of seed and step: step -> iterator.
    Arrays are numpy's [rows, stage.max_tokens - 1]. `batch_size` counts examples over all hosts;
    `rows` of each batch are read, the share of this host (`training.mesh.host_rows`), None all.
    `edge_share` of the crops, 0 to 1, begin or end a file, half of it each. The reader changes
    nothing but the cost."""
    tokens.check_stage(stage)
    tokens.check_split("train")
    own = own_rows(batch_size, rows)
    if reader == "seqio":
        _check_seqio()
        return lambda step: _through_seqio(
            tokens, stage, "train", batch_size, own, step, seed, edge_share
        )
    stream = StageStream(tokens, stage, "train", seed, edge_share)
    return lambda step: _plain(stream, batch_size, own, itertools.count(step))


def heldout_batches(
    tokens: TokenMixture,
    stage: StageConfig,
    batch_size: int,
    split: Split = "heldout",
    rows: Sequence[int] | None = None,
    limit: int | None = None,
    reader: Reader = "plain",
) -> Callable[[], Iterator[TokenBatch]]:
    """`token_batches` of every token of a split exactly once, in order, the same each time, in even
    windows of at most the stage's crop; if that makes more than `limit` batches, so many of windows
    spread evenly over all. Rows missing in the last batch are padding with weight 0; every host
    gets the same number of batches."""
    tokens.check_stage(stage)
    tokens.check_split(split)
    own = own_rows(batch_size, rows)
    if reader == "seqio":
        _check_seqio()
        return lambda: _through_seqio(tokens, stage, split, batch_size, own, 0, None, limit=limit)
    most = None if limit is None else limit * batch_size
    stream = StageStream(tokens, stage, split, None, most=most)
    steps = range(-(-stream.windows // batch_size))
    return lambda: _plain(stream, batch_size, own, steps)


def _plain(
    stream: StageStream, batch_size: int, rows: Sequence[int], steps: Iterator[int] | range
) -> Iterator[TokenBatch]:
    own = np.array(rows)
    return prefetch(
        lambda: (stream.batch(step * batch_size + own) for step in steps), _PREFETCH_BATCHES
    )


def _check_seqio() -> None:
    for package in ("tensorflow", "seqio"):
        if importlib.util.find_spec(package) is None:
            raise InputError(
                f"--reader seqio: {package} is not installed (pip install 'audiolm_jax[data]'); "
                "--reader plain reads the same batches without it"
            )


def _through_seqio(
    tokens: TokenMixture,
    stage: StageConfig,
    split: Split,
    batch_size: int,
    rows: Sequence[int],
    step: int,
    seed: int | None,
    edge_share: float = 0.0,
    limit: int | None = None,
) -> Iterator[TokenBatch]:
    """Shuffled and endless with a seed, in order and once without."""
    with _quiet_standard_error():
        import seqio
        import tensorflow as tf

        from audiolm_jax.data.tokens.converter import StepConverter
        from audiolm_jax.data.tokens.tasks import StepBatches, stage_task

    source = StepBatches(tokens, stage, batch_size, rows, step, edge_share, limit)
    task = stage_task(f"audiolm:{stage.name}", stage, source)
    dataset = seqio.get_dataset(
        task,
        dict.fromkeys(task.output_features, stage.max_tokens),
        StepConverter(),
        dataset_split=split,
        shuffle=seed is not None,
        seed=seed,
        verbose=False,
        trim_output_features=False,  # no sequence is longer
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = _TENSORFLOW_THREADS
    options.deterministic = True
    options.autotune.enabled = False  # it would hold more and more batches ready
    dataset = dataset.prefetch(_PREFETCH_BATCHES).with_options(options)
    # TensorFlow's reading threads call into Python. An iterator still alive when the interpreter
    # shuts down would wait for them for ever, so it is dropped before, at exit.
    live, failure = [dataset.as_numpy_iterator()], None
    atexit.register(live.clear)
    op_error = tf.errors.OpError  # at exit the module may be gone
    try:
        while live and (batch := next(live[0], None)) is not None:
            yield TokenBatch(
                inputs=batch["decoder_input_tokens"],
                targets=batch["decoder_target_tokens"],
                loss_weights=batch["decoder_loss_weights"],
                levels=batch["decoder_levels"],
            )
    except op_error as error:
        # Our own exception comes back as text inside TensorFlow's.
        failure = re.search(r"InputError: (.+)", error.message)
        if not failure:
            raise
    finally:
        if live:
            live.clear()
            atexit.unregister(live.clear)
    # Raised here, because TensorFlow's exception would keep its reading threads alive.
    if failure:
        raise InputError(failure[1])


@contextlib.contextmanager
def _quiet_standard_error() -> Iterator[None]:
    """Holds back what TensorFlow writes to the descriptor while it loads, unless that fails."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)
