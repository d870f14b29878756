"""Small encoders as the transformers library writes them, and what it computed with them."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

GOLDEN = Path(__file__).parent / "encoder_golden.npz"
LENGTHS = (7000, 9137, 4001)

HUBERT = {
    "model_type": "hubert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "feat_extract_norm": "group",
    "feat_extract_activation": "gelu",
    "conv_dim": [4, 6, 6],
    "conv_kernel": [10, 3, 8],
    "conv_stride": [5, 8, 8],
    "conv_bias": False,
    "num_conv_pos_embeddings": 6,
    "num_conv_pos_embedding_groups": 2,
    "do_stable_layer_norm": False,
    "mask_time_prob": 0.05,
}
HUBERT_LARGE = HUBERT | {
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
    "num_conv_pos_embeddings": 5,
}
HUBERT_25HZ = HUBERT | {"conv_pos_batch_norm": True, "conv_stride": [5, 8, 16]}
W2V_BERT2 = {
    "model_type": "wav2vec2-bert",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "feature_projection_input_dim": 160,
    "hidden_act": "swish",
    "layer_norm_eps": 1e-5,
    "position_embeddings_type": "relative_key",
    "left_max_position_embeddings": 4,
    "right_max_position_embeddings": 2,
    "conv_depthwise_kernel_size": 5,
    "add_adapter": False,
    "mask_time_prob": 0.05,
}
ENCODERS = {
    "hubert": HUBERT,
    "hubert_large": HUBERT_LARGE,
    "hubert_25hz": HUBERT_25HZ,
    "w2v_bert2": W2V_BERT2,
}
KINDS = {"hubert": "hubert", "wav2vec2-bert": "w2v-bert-2"}
PREPROCESSORS = {
    "hubert": {"do_normalize": True, "sampling_rate": 16000},
    "wav2vec2-bert": {"num_mel_bins": 80, "sampling_rate": 16000, "stride": 2},
}


def shapes_of(fields: dict) -> dict[str, tuple[int, ...]]:
    """Torch shape of every array by transformers' name."""
    shapes: dict[str, tuple[int, ...]] = {}
    d, hidden = fields["hidden_size"], fields["intermediate_size"]

    def linear(name: str, i: int, o: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (o, i), (o,)

    def norm(name: str, width: int = d) -> None:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    shapes["masked_spec_embed"] = (d,)
    blocks = [f"encoder.layers.{i}" for i in range(fields["num_hidden_layers"])]
    if fields["model_type"] == "wav2vec2-bert":
        norm("feature_projection.layer_norm", 160)
        linear("feature_projection.projection", 160, d)
        positions = fields["left_max_position_embeddings"] + 1
        positions += fields["right_max_position_embeddings"]
        for block in blocks:
            for name in ("ffn1_layer_norm", "self_attn_layer_norm", "conv_module.layer_norm"):
                norm(f"{block}.{name}")
            for name in ("conv_module.depthwise_layer_norm", "ffn2_layer_norm", "final_layer_norm"):
                norm(f"{block}.{name}")
            for name in ("ffn1", "ffn2"):
                linear(f"{block}.{name}.intermediate_dense", d, hidden)
                linear(f"{block}.{name}.output_dense", hidden, d)
            for name in ("linear_q", "linear_k", "linear_v", "linear_out"):
                linear(f"{block}.self_attn.{name}", d, d)
            heads = fields["num_attention_heads"]
            shapes[f"{block}.self_attn.distance_embedding.weight"] = (positions, d // heads)
            shapes[f"{block}.conv_module.pointwise_conv1.weight"] = (2 * d, d, 1)
            taps = fields["conv_depthwise_kernel_size"]
            shapes[f"{block}.conv_module.depthwise_conv.weight"] = (d, 1, taps)
            shapes[f"{block}.conv_module.pointwise_conv2.weight"] = (d, d, 1)
        return shapes
    before = 1
    for i, (width, kernel) in enumerate(
        zip(fields["conv_dim"], fields["conv_kernel"], strict=True)
    ):
        name = f"feature_extractor.conv_layers.{i}"
        shapes[f"{name}.conv.weight"] = (width, before, kernel)
        if fields["conv_bias"]:
            shapes[f"{name}.conv.bias"] = (width,)
        if fields["feat_extract_norm"] == "layer" or i == 0:
            norm(f"{name}.layer_norm", width)
        before = width
    norm("feature_projection.layer_norm", before)
    linear("feature_projection.projection", before, d)
    conv, kernel = "encoder.pos_conv_embed.conv", fields["num_conv_pos_embeddings"]
    shape = (d, d // fields["num_conv_pos_embedding_groups"], kernel)
    shapes[f"{conv}.bias"] = (d,)
    if fields.get("conv_pos_batch_norm"):
        shapes[f"{conv}.weight"] = shape
        norm("encoder.pos_conv_embed.batch_norm")
        for name in ("running_mean", "running_var"):
            shapes[f"encoder.pos_conv_embed.batch_norm.{name}"] = (d,)
    else:
        shapes[f"{conv}.parametrizations.weight.original0"] = (1, 1, kernel)
        shapes[f"{conv}.parametrizations.weight.original1"] = shape
    norm("encoder.layer_norm")
    for block in blocks:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{block}.attention.{name}", d, d)
        norm(f"{block}.layer_norm")
        linear(f"{block}.feed_forward.intermediate_dense", d, hidden)
        linear(f"{block}.feed_forward.output_dense", hidden, d)
        norm(f"{block}.final_layer_norm")
    return shapes


def arrays_of(fields: dict) -> dict[str, np.ndarray]:
    """The same arrays every time, each of about unit gain; biases matter too."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, shape in sorted(shapes_of(fields).items()):
        x = 2 * rng.random(shape) - 1
        if name.endswith(("original0", "running_var")):
            x = 1 + 0.5 * x
        elif len(shape) > 1:
            x *= np.sqrt(3 / np.prod(shape[1:]))
        elif "norm" in name and name.endswith("weight"):
            x = 1 + 0.3 * x
        else:
            x *= 0.3
        arrays[name] = x.astype(np.float32)
    return arrays


def write_encoder(folder: Path, fields: dict, arrays=None) -> Path:
    """A folder of the transformers library."""
    folder.mkdir(parents=True)
    save_file(arrays_of(fields) if arrays is None else arrays, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(fields))
    preprocessor = PREPROCESSORS.get(fields["model_type"], {"sampling_rate": 16000})
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def clips(lengths=LENGTHS) -> list[np.ndarray]:
    """Voices with breath, from plain arithmetic."""
    made = []
    for i, length in enumerate(lengths):
        n = np.arange(length)
        noise = (n * n * (7919 + i) % 65_537) / 65_537 - 0.5
        phase = 2 * np.pi * (110 + 40 * i) * n / 16000
        voice = sum(np.sin(k * phase) / k for k in range(1, 12))
        rhythm = 0.6 + 0.4 * np.sin(2 * np.pi * 4 * n / 16000)
        made.append((0.1 * rhythm * voice + 0.05 * noise).astype(np.float32))
    return made
