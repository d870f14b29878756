"""SeqIO feature converter: the tokens of a stage become what its decoder learns from."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from audiolm_jax.data.tokens.sequences import Sequences, shifted
from audiolm_jax.stages import PAD
from audiolm_jax.types import Array

_TOGETHER = 16  # examples shifted by one call into Python
_Spec = seqio.FeatureConverter.FeatureSpec


class StageFeatureConverter(seqio.FeatureConverter):
    """`tokens` and `levels` of a stage's task, padded to a fixed length and shifted by one, see
    `sequences.shifted`: padding is known by its place, never by its id."""

    TASK_FEATURES: Mapping[str, Any] = {"tokens": _Spec(tf.int32), "levels": _Spec(tf.int32)}
    MODEL_FEATURES: Mapping[str, Any] = {
        "decoder_input_tokens": _Spec(tf.int32),
        "decoder_target_tokens": _Spec(tf.int32),
        "decoder_loss_weights": _Spec(tf.float32),
        "decoder_levels": _Spec(tf.int32),
    }
    PACKING_FEATURE_DTYPES: Mapping[str, Any] = {}

    def __init__(self) -> None:
        super().__init__(pack=False)

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        """One less than the task's, for each decoder feature."""
        return dict.fromkeys(self.MODEL_FEATURES, task_feature_lengths["tokens"] - 1)

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        length = task_feature_lengths["tokens"]

        @tf.autograph.experimental.do_not_convert
        def measured(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {**example, "lengths": tf.size(example["tokens"], tf.int64)}

        shapes = {"tokens": [length], "levels": [length], "lengths": []}
        padding = {
            "tokens": tf.constant(PAD, tf.int32),
            "levels": tf.constant(-1, tf.int32),
            "lengths": tf.constant(0, tf.int64),
        }
        batches = ds.map(measured).padded_batch(_TOGETHER, shapes, padding)
        return self._shift(batches, length).unbatch()

    def _shift(self, batches: tf.data.Dataset, length: int) -> tf.data.Dataset:
        def shift(*sequences: np.ndarray) -> tuple[Array, ...]:
            batch = shifted(Sequences(*sequences))
            return batch.inputs, batch.targets, batch.loss_weights, batch.levels

        @tf.autograph.experimental.do_not_convert
        def convert(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            sequences = [batch[name] for name in Sequences._fields]
            types = [spec.dtype for spec in self.MODEL_FEATURES.values()]
            values = tf.numpy_function(shift, sequences, types, stateful=False)
            for value in values:
                value.set_shape([None, length - 1])
            return dict(zip(self.MODEL_FEATURES, values, strict=True))

        return batches.map(convert)


class StepConverter(StageFeatureConverter):
    """The same of whole batches, see `tasks.StepBatches`, whose lengths need no check."""

    TASK_FEATURES: Mapping[str, Any] = {
        "tokens": _Spec(tf.int32, rank=2),
        "levels": _Spec(tf.int32, rank=2),
        "lengths": _Spec(tf.int64),
    }
    MODEL_FEATURES: Mapping[str, Any] = {
        name: _Spec(spec.dtype, rank=2)
        for name, spec in StageFeatureConverter.MODEL_FEATURES.items()
    }

    def __init__(self) -> None:
        seqio.FeatureConverter.__init__(self, pack=False, apply_length_check=False)

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        return self._shift(ds, task_feature_lengths["tokens"])
