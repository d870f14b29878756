"""Public weights of HuBERT, as the transformers library saves them, into ours."""

import math
from pathlib import Path

import numpy as np
from flax import nnx

from audiolm_jax.artifacts.model_folder import ModelFolder
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
from audiolm_jax.tokenizers.semantic.hubert.config import KIND, HubertConfig
from audiolm_jax.tokenizers.semantic.hubert.model import Hubert

MODEL = "HuBERT"
UNSTATED_LICENCE = (
    "not stated beside the weights; facebook/hubert-* are published as Apache-2.0, "
    "utter-project/mHuBERT-147 as CC-BY-NC-SA-4.0"
)
SAMPLE_RATE_HZ = 16000
BATCH_NORM_EPSILON = 1e-5

_BLOCK = "encoder.layers.{}."
_LAYERS = (
    Layer("input", "feature_projection.projection", "linear"),
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
)


def read_hubert(weights: Path, token_rate_hz: int, licence: str | None) -> ModelFolder:
    """A model folder's content, of kind "hubert".

    Args:
      weights: folder of the transformers library, or the safetensors file in it.
      token_rate_hz: tokens a second; frames are pooled down to it.
      licence: of the weights; None takes what the model card beside them says.

    Raises:
      InputError: not such weights, or their arrays do not fit their own config.
    """
    content, found = read_safetensors_folder(weights)
    folder = weights if weights.is_dir() else weights.parent
    fields = PublishedFields(content, str(folder / "config.json"))
    fields.expect("model_type", "hubert")
    preprocessor = check_preprocessor(folder, sampling_rate=(SAMPLE_RATE_HZ,))
    # Without the file the transformers library normalises, too.
    normalize = preprocessor is None or preprocessor.flag("do_normalize")
    config = config_from(fields, normalize, token_rate_hz)
    arrays = arrays_from(config, found, str(weights))
    licence = licence or licence_of(folder) or UNSTATED_LICENCE
    return encoder_folder(KIND, MODEL, config, arrays, weights, licence)


def config_from(fields: PublishedFields, normalize_input: bool, token_rate_hz: int) -> HubertConfig:
    """Sizes from config.json.

    Args:
      fields: of it.
      normalize_input: whether recordings are brought to zero mean and unit variance.
      token_rate_hz: tokens a second.

    Raises:
      InputError: another model, or a variant that is not computed here.
    """
    fields.expect("hidden_act", "gelu")
    fields.expect("feat_extract_activation", "gelu")
    strides = fields.wholes("conv_stride")
    with fields.named():
        return HubertConfig(
            sample_rate_hz=SAMPLE_RATE_HZ,
            normalize_input=normalize_input,
            conv_widths=fields.wholes("conv_dim"),
            conv_kernels=fields.wholes("conv_kernel"),
            conv_strides=strides,
            conv_bias=fields.flag("conv_bias"),
            conv_norm=fields.expect("feat_extract_norm", "group", "layer"),
            project_norm=fields.flag("feat_proj_layer_norm", absent=True),
            width=fields.whole("hidden_size"),
            layers=fields.whole("num_hidden_layers"),
            heads=fields.whole("num_attention_heads"),
            ff_width=fields.whole("intermediate_size"),
            position_kernel=fields.whole("num_conv_pos_embeddings"),
            position_groups=fields.whole("num_conv_pos_embedding_groups"),
            position_norm=fields.flag("conv_pos_batch_norm", absent=False),
            norm_first=fields.flag("do_stable_layer_norm"),
            norm_epsilon=fields.number("layer_norm_eps"),
            frames_per_token=token_frames(math.prod(strides), SAMPLE_RATE_HZ, token_rate_hz),
        )


def arrays_from(
    config: HubertConfig, found: dict[str, np.ndarray], where: str
) -> dict[str, np.ndarray]:
    """Parameters by our names and in our layout; weight and batch norms are folded.

    Raises:
      InputError: an array is missing, unknown, misshapen or not finite.
    """
    source = PublishedArrays(inner_arrays(found, "hubert."), where)
    shapes = parameter_shapes(lambda: Hubert(config, rngs=nnx.Rngs(params=0)))
    layers, arrays = list(_LAYERS), {}
    for i in range(len(config.conv_widths)):
        theirs = f"feature_extractor.conv_layers.{i}"
        layers.append(Layer(f"samples.convolutions.{i}", f"{theirs}.conv", "convolution"))
        if config.conv_norm == "layer":
            layers.append(Layer(f"samples.norms.{i}", f"{theirs}.layer_norm", "norm"))
    if config.conv_norm == "group":
        for ours, theirs in (("scale", "weight"), ("shift", "bias")):
            name = f"feature_extractor.conv_layers.0.layer_norm.{theirs}"
            arrays[f"samples.{ours}"] = source.take(name, shapes[f"samples.{ours}"])
    if config.project_norm:
        layers.append(Layer("input_norm", "feature_projection.layer_norm", "norm"))
    if config.position_norm:
        arrays |= _fold_batch_norm(source, config.width)
    arrays |= source.take_layers(layers, shapes)
    source.check_empty()
    return arrays


def _fold_batch_norm(source: PublishedArrays, width: int) -> dict[str, np.ndarray]:
    theirs = "encoder.pos_conv_embed.batch_norm"
    source.left.pop(f"{theirs}.num_batches_tracked", None)  # counts training steps
    weight, bias, mean, variance = (
        source.take(f"{theirs}.{name}", (width,)).astype(np.float64)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = weight / np.sqrt(variance + BATCH_NORM_EPSILON)
    return {
        "positions.scale": scale.astype(np.float32),
        "positions.shift": (bias - mean * scale).astype(np.float32),
    }
