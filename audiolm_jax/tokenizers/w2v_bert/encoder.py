"""w2v-BERT, trained and frozen, as an encoder of frames."""

from typing import Any

import numpy as np
from flax import nnx

from audiolm_jax.runtime.config_json import config_from_dict
from audiolm_jax.tokenizers.frame_encoder import ModuleEncoder
from audiolm_jax.tokenizers.w2v_bert.model import W2vBert, W2vBertConfig


def make_encoder(
    fields: dict[str, Any], arrays: dict[str, np.ndarray], fingerprint: str, where: str
) -> ModuleEncoder:
    """From config and weights of a folder of kind "w2v_bert".

    Raises:
      InputError: they do not fit each other.
    """
    config = config_from_dict(W2vBertConfig, fields, where)
    return ModuleEncoder(
        lambda: W2vBert(config, rngs=nnx.Rngs(params=0)), config, arrays, fingerprint, where
    )
