"""HuBERT, frozen, as an encoder of frames."""

from typing import Any

import numpy as np
from flax import nnx

from audiolm_jax.runtime.config_json import config_from_dict
from audiolm_jax.tokenizers.frame_encoder import ModuleEncoder
from audiolm_jax.tokenizers.pretrained.hubert.config import HubertConfig
from audiolm_jax.tokenizers.pretrained.hubert.model import Hubert

KIND = "hubert"


def abstract_state(config: HubertConfig) -> nnx.State:
    """Shapes of the parameters; nothing is computed."""
    return nnx.state(nnx.eval_shape(lambda: Hubert(config, rngs=nnx.Rngs(params=0))))


def make_encoder(
    fields: dict[str, Any], arrays: dict[str, np.ndarray], fingerprint: str, where: str
) -> ModuleEncoder:
    """From config and weights of a folder of this kind.

    Raises:
      InputError: they do not fit each other.
    """
    config = config_from_dict(HubertConfig, fields, where)
    return ModuleEncoder(
        lambda: Hubert(config, rngs=nnx.Rngs(params=0)), config, arrays, fingerprint, where
    )
