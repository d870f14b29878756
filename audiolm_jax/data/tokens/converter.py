"""SeqIO feature converter: the tokens of a stage become what its decoder learns from."""

from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

from audiolm_jax.stages import PAD

_Spec = seqio.FeatureConverter.FeatureSpec


class StageFeatureConverter(seqio.FeatureConverter):
    """`tokens` and `levels` of a stage's task, shifted by one and padded to a fixed length: inputs
    are all tokens but the last, targets all but the first, with their levels, and weight 1 where
    the task says that they count: padding is known by its place, never by its id."""

    TASK_FEATURES: Mapping[str, Any] = {"tokens": _Spec(tf.int32), "levels": _Spec(tf.int32)}
    MODEL_FEATURES: Mapping[str, Any] = {
        "decoder_input_tokens": _Spec(tf.int32),
        "decoder_target_tokens": _Spec(tf.int32),
        "decoder_loss_weights": _Spec(tf.float32),
        "decoder_levels": _Spec(tf.int32),
    }
    PACKING_FEATURE_DTYPES: Mapping[str, Any] = {}

    def __init__(self):
        super().__init__(pack=False)

    def get_model_feature_lengths(self, task_feature_lengths: Mapping[str, int]) -> dict[str, int]:
        """One less than the task's, for each decoder feature."""
        return dict.fromkeys(self.MODEL_FEATURES, task_feature_lengths["tokens"] - 1)

    def _convert_features(
        self, ds: tf.data.Dataset, task_feature_lengths: Mapping[str, int]
    ) -> tf.data.Dataset:
        length = task_feature_lengths["tokens"] - 1

        def pad(values: tf.Tensor) -> tf.Tensor:
            padded = tf.pad(values, [[0, length - tf.shape(values)[0]]], constant_values=PAD)
            padded.set_shape([length])
            return padded

        @tf.autograph.experimental.do_not_convert
        def convert(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            tokens, levels = example["tokens"], example["levels"][1:]
            return {
                "decoder_input_tokens": pad(tokens[:-1]),
                "decoder_target_tokens": pad(tokens[1:]),
                "decoder_loss_weights": pad(tf.cast(levels >= 0, tf.float32)),
                "decoder_levels": pad(tf.maximum(levels, 0)),
            }

        return ds.map(convert)
