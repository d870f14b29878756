"""Public weights of w2v-BERT 2.0: the transformers library's names, and ours."""

import functools
from typing import Any

from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.foreign.arrays import Layer
from audiolm_jax.tokenizers.foreign.encoder import PublishedEncoder, read_encoder
from audiolm_jax.tokenizers.foreign.transformers_files import PublishedFields
from audiolm_jax.tokenizers.semantic.w2v_bert2.config import KIND, SAMPLE_RATE_HZ, W2vBert2Config
from audiolm_jax.tokenizers.semantic.w2v_bert2.model import W2vBert2

STACKED_FRAMES = 2

_BLOCK = "encoder.layers.{}."


def _derive(fields: PublishedFields, preprocessor: PublishedFields | None) -> dict[str, Any]:
    stacked_bins = fields.read("feature_projection_input_dim", int)
    if stacked_bins % STACKED_FRAMES:
        words = f"feature_projection_input_dim = {stacked_bins}: expected a multiple of"
        raise InputError(f"{fields.where}: {words} {STACKED_FRAMES}, the mel frames side by side")
    bins = stacked_bins // STACKED_FRAMES
    if preprocessor is not None:
        preprocessor.expect("sampling_rate", SAMPLE_RATE_HZ)
        preprocessor.expect("num_mel_bins", bins)
        preprocessor.expect("stride", STACKED_FRAMES)
    return {"mel_bins": bins, "stacked_frames": STACKED_FRAMES}


W2V_BERT2 = PublishedEncoder(
    kind=KIND,
    model="w2v-BERT 2.0",
    unstated_licence="not stated beside the weights; facebook/w2v-bert-2.0 is published as MIT",
    config_class=W2vBert2Config,
    module=W2vBert2,
    prefix="wav2vec2_bert.",
    expected={
        "model_type": ("wav2vec2-bert",),
        "hidden_act": ("swish", "silu"),
        "position_embeddings_type": ("relative_key",),
        "add_adapter": (False,),
    },
    fields={
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ff_width": "intermediate_size",
        "conv_kernel": "conv_depthwise_kernel_size",
        "left_positions": "left_max_position_embeddings",
        "right_positions": "right_max_position_embeddings",
        "norm_epsilon": "layer_norm_eps",
    },
    absent={"add_adapter": False},
    derive=_derive,
    layers=(
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
    ),
)

read_w2v_bert2 = functools.partial(read_encoder, W2V_BERT2)
