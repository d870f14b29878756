"""Public weights of HuBERT: the transformers library's names, and ours."""

import functools
from typing import Any

from audiolm_jax.tokenizers.foreign.arrays import Layer
from audiolm_jax.tokenizers.foreign.encoder import PublishedEncoder, read_encoder
from audiolm_jax.tokenizers.foreign.transformers_files import PublishedFields
from audiolm_jax.tokenizers.semantic.hubert.config import KIND, HubertConfig
from audiolm_jax.tokenizers.semantic.hubert.model import Hubert

SAMPLE_RATE_HZ = 16000

_CONVOLUTION = "feature_extractor.conv_layers.{}."
_BLOCK = "encoder.layers.{}."


def _derive(fields: PublishedFields, preprocessor: PublishedFields | None) -> dict[str, Any]:
    normalize = True  # as the transformers library does without a preprocessor's file
    if preprocessor is not None:
        preprocessor.expect("sampling_rate", SAMPLE_RATE_HZ)
        normalize = preprocessor.read("do_normalize", bool)
    return {"sample_rate_hz": SAMPLE_RATE_HZ, "normalize_input": normalize}


HUBERT = PublishedEncoder(
    kind=KIND,
    model="HuBERT",
    unstated_licence=(
        "not stated beside the weights; facebook/hubert-* are published as Apache-2.0, "
        "utter-project/mHuBERT-147 as CC-BY-NC-SA-4.0"
    ),
    config_class=HubertConfig,
    module=Hubert,
    prefix="hubert.",
    expected={
        "model_type": ("hubert",),
        "hidden_act": ("gelu",),
        "feat_extract_activation": ("gelu",),
    },
    fields={
        "conv_widths": "conv_dim",
        "conv_kernels": "conv_kernel",
        "conv_strides": "conv_stride",
        "conv_bias": "conv_bias",
        "conv_norm": "feat_extract_norm",
        "project_norm": "feat_proj_layer_norm",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "ff_width": "intermediate_size",
        "position_kernel": "num_conv_pos_embeddings",
        "position_groups": "num_conv_pos_embedding_groups",
        "position_norm": "conv_pos_batch_norm",
        "norm_first": "do_stable_layer_norm",
        "norm_epsilon": "layer_norm_eps",
    },
    absent={"feat_proj_layer_norm": True, "conv_pos_batch_norm": False},
    derive=_derive,
    layers=(
        Layer("samples.convolutions.{}", _CONVOLUTION + "conv", "convolution"),
        Layer("samples.norms.{}", _CONVOLUTION + "layer_norm", "norm"),
        Layer("samples", _CONVOLUTION.format(0) + "layer_norm", "affine"),
        Layer("input_norm", "feature_projection.layer_norm", "norm"),
        Layer("input", "feature_projection.projection", "linear"),
        Layer("positions", "encoder.pos_conv_embed.batch_norm", "batch_norm"),
        Layer("positions.convolution", "encoder.pos_conv_embed.conv", "convolution"),
        Layer("norm", "encoder.layer_norm", "norm"),
        Layer("blocks.attention.query", _BLOCK + "attention.q_proj", "linear"),
        Layer("blocks.attention.key", _BLOCK + "attention.k_proj", "linear"),
        Layer("blocks.attention.value", _BLOCK + "attention.v_proj", "linear"),
        Layer("blocks.attention.out", _BLOCK + "attention.out_proj", "linear"),
        Layer("blocks.attention_norm", _BLOCK + "layer_norm", "norm"),
        Layer("blocks.feed_forward.up", _BLOCK + "feed_forward.intermediate_dense", "linear"),
        Layer("blocks.feed_forward.down", _BLOCK + "feed_forward.output_dense", "linear"),
        Layer("blocks.norm", _BLOCK + "final_layer_norm", "norm"),
    ),
)

read_hubert = functools.partial(read_encoder, HUBERT)
