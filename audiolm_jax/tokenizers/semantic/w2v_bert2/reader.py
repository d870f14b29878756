"""Public weights of w2v-BERT 2.0, as the transformers library saves them, into ours."""

from pathlib import Path

import numpy as np
from flax import nnx

from audiolm_jax.artifacts.model_folder import ModelFolder
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.foreign.arrays import Layer, PublishedArrays
from audiolm_jax.tokenizers.foreign.encoder import (
    check_preprocessor,
    encoder_folder,
    inner_arrays,
    licence_of,
    parameter_shapes,
    token_frames,
)
from audiolm_jax.tokenizers.foreign.fields import PublishedFields
from audiolm_jax.tokenizers.foreign.safetensors_folder import read_safetensors_folder
from audiolm_jax.tokenizers.semantic.w2v_bert2.config import KIND, SAMPLE_RATE_HZ, W2vBert2Config
from audiolm_jax.tokenizers.semantic.w2v_bert2.model import W2vBert2

MODEL = "w2v-BERT 2.0"
UNSTATED_LICENCE = "not stated beside the weights; facebook/w2v-bert-2.0 is published as MIT"
STACKED_FRAMES = 2

_BLOCK = "encoder.layers.{}."
_LAYERS = (
    Layer("input_norm", "feature_projection.layer_norm", "norm"),
    Layer("input", "feature_projection.projection", "linear"),
    Layer("blocks.first_norm", _BLOCK + "ffn1_layer_norm", "norm"),
    Layer("blocks.first.up", _BLOCK + "ffn1.intermediate_dense", "linear"),
    Layer("blocks.first.down", _BLOCK + "ffn1.output_dense", "linear"),
    Layer("blocks.attention_norm", _BLOCK + "self_attn_layer_norm", "norm"),
    Layer("blocks.attention.query", _BLOCK + "self_attn.linear_q", "linear"),
    Layer("blocks.attention.key", _BLOCK + "self_attn.linear_k", "linear"),
    Layer("blocks.attention.value", _BLOCK + "self_attn.linear_v", "linear"),
    Layer("blocks.attention.out", _BLOCK + "self_attn.linear_out", "linear"),
    Layer("blocks.distances", _BLOCK + "self_attn.distance_embedding", "table"),
    Layer("blocks.convolution.norm", _BLOCK + "conv_module.layer_norm", "norm"),
    Layer("blocks.convolution.gate", _BLOCK + "conv_module.pointwise_conv1", "pointwise"),
    Layer("blocks.convolution.depthwise", _BLOCK + "conv_module.depthwise_conv", "depthwise"),
    Layer("blocks.convolution.inner_norm", _BLOCK + "conv_module.depthwise_layer_norm", "norm"),
    Layer("blocks.convolution.out", _BLOCK + "conv_module.pointwise_conv2", "pointwise"),
    Layer("blocks.second_norm", _BLOCK + "ffn2_layer_norm", "norm"),
    Layer("blocks.second.up", _BLOCK + "ffn2.intermediate_dense", "linear"),
    Layer("blocks.second.down", _BLOCK + "ffn2.output_dense", "linear"),
    Layer("blocks.norm", _BLOCK + "final_layer_norm", "norm"),
)


def read_w2v_bert2(weights: Path, token_rate_hz: int, licence: str | None) -> ModelFolder:
    """A model folder's content, of kind "w2v_bert2".

    Args:
      weights: folder of the transformers library, or the safetensors file in it.
      token_rate_hz: tokens a second; frames are pooled down to it.
      licence: of the weights; None takes what the model card beside them says.

    Raises:
      InputError: not such weights, or their arrays do not fit their own config.
    """
    fields, found = read_safetensors_folder(weights)
    folder = weights if weights.is_dir() else weights.parent
    config = config_from(PublishedFields(fields, str(folder / "config.json")), token_rate_hz)
    check_preprocessor(
        folder,
        sampling_rate=(SAMPLE_RATE_HZ,),
        num_mel_bins=(config.mel_bins,),
        stride=(STACKED_FRAMES,),
    )
    arrays = arrays_from(config, found, str(weights))
    return encoder_folder(
        KIND, MODEL, config, arrays, weights, licence or licence_of(folder) or UNSTATED_LICENCE
    )


def config_from(fields: PublishedFields, token_rate_hz: int) -> W2vBert2Config:
    """Sizes from config.json.

    Raises:
      InputError: another model, or a variant that is not computed here.
    """
    fields.expect("model_type", "wav2vec2-bert")
    fields.expect("hidden_act", "swish", "silu")
    fields.expect("position_embeddings_type", "relative_key")
    fields.expect("add_adapter", False, absent=True)
    bins = fields.whole("feature_projection_input_dim")
    if bins % STACKED_FRAMES:
        raise InputError(
            f"{fields.where}: feature_projection_input_dim = {bins}: expected a multiple of "
            f"{STACKED_FRAMES}, the mel frames side by side in one"
        )
    with fields.named():
        return W2vBert2Config(
            mel_bins=bins // STACKED_FRAMES,
            stacked_frames=STACKED_FRAMES,
            width=fields.whole("hidden_size"),
            layers=fields.whole("num_hidden_layers"),
            heads=fields.whole("num_attention_heads"),
            ff_width=fields.whole("intermediate_size"),
            conv_kernel=fields.whole("conv_depthwise_kernel_size"),
            left_positions=fields.whole("left_max_position_embeddings"),
            right_positions=fields.whole("right_max_position_embeddings"),
            norm_epsilon=fields.number("layer_norm_eps"),
            frames_per_token=token_frames(320, SAMPLE_RATE_HZ, token_rate_hz),
        )


def arrays_from(
    config: W2vBert2Config, found: dict[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Parameters by our names and in our layout.

    Raises:
      InputError: an array is missing, unknown, misshapen or not finite.
    """
    source = PublishedArrays(inner_arrays(found, "wav2vec2_bert."), where)
    arrays = source.take_layers(
        _LAYERS, parameter_shapes(lambda: W2vBert2(config, rngs=nnx.Rngs(params=0)))
    )
    source.check_empty()
    return arrays
