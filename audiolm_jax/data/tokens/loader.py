"""Token batches for the stages, read through SeqIO; the first one imports TensorFlow."""

import atexit
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from audiolm_jax.data.sources import Split
from audiolm_jax.data.stream import own_rows
from audiolm_jax.data.tokens.store import TokenStore, check_store
from audiolm_jax.errors import InputError
from audiolm_jax.stages import StageConfig
from audiolm_jax.types import TokenBatch

_TENSORFLOW_THREADS = 2
_PREFETCH_BATCHES = 4


def token_batches(
    store_dir: Path,
    stage: StageConfig,
    batch_size: int,
    seed: int,
    rows: Sequence[int] | None = None,
    edge_share: float = 0.0,
) -> Callable[[int], Iterator[TokenBatch]]:
    """Endless shuffled batches of "train", a pure function of seed and step: step -> iterator.
    Arrays are numpy's [rows, stage.max_tokens - 1]. `batch_size` counts examples over all hosts;
    `rows` of each batch are read, the share of this host (`training.mesh.host_rows`), None all.
    `edge_share` of the crops, 0 to 1, begin or end a file, half of it each."""
    store = _open(store_dir, stage, "train")
    own = own_rows(batch_size, rows)
    return lambda step: _read(
        store, stage, "train", batch_size, own, step * batch_size, seed, edge_share
    )


def heldout_batches(
    store_dir: Path,
    stage: StageConfig,
    batch_size: int,
    split: Split = "heldout",
    rows: Sequence[int] | None = None,
    limit: int | None = None,
) -> Callable[[], Iterator[TokenBatch]]:
    """`token_batches` of every token of a split exactly once, in order, the same each time, in even
    windows of at most the stage's crop; if that makes more than `limit` batches, so many of windows
    spread evenly over all. Rows missing in the last batch are padding with weight 0; every host
    gets the same number of batches."""
    store = _open(store_dir, stage, split)
    own = own_rows(batch_size, rows)
    return lambda: _read(store, stage, split, batch_size, own, 0, None, limit=limit)


def _open(store_dir: Path, stage: StageConfig, split: Split) -> TokenStore:
    store = TokenStore.open(store_dir)
    check_store(store, stage)
    if not store.num_records(split):
        raise InputError(f"{store_dir}: token store has no {split} clip; tokenize more audio")
    return store


def _read(
    store: TokenStore,
    stage: StageConfig,
    split: Split,
    batch_size: int,
    rows: Sequence[int],
    start: int,
    seed: int | None,
    edge_share: float = 0.0,
    limit: int | None = None,
) -> Iterator[TokenBatch]:
    """Shuffled and endless with a seed, in order and once without."""
    with _quiet_standard_error():
        import seqio
        import tensorflow as tf

        from audiolm_jax.data.tokens.converter import StageFeatureConverter
        from audiolm_jax.data.tokens.tasks import TokenWindows, stage_task

    task = stage_task(store, stage)
    dataset = seqio.get_dataset(
        task.replace(source=TokenWindows(store, stage, start, batch_size, rows, edge_share, limit)),
        dict.fromkeys(task.output_features, stage.max_tokens),
        StageFeatureConverter(),
        dataset_split=split,
        shuffle=seed is not None,
        seed=seed,
        batch_size=len(rows),
        verbose=False,
    )
    options = tf.data.Options()
    options.threading.private_threadpool_size = _TENSORFLOW_THREADS
    options.deterministic = True
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
