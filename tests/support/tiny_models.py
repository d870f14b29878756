"""A complete bundle of tiny untrained models, enough for everything but quality."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from audiolm_jax.artifacts.model_folder import load_model, save_model
from audiolm_jax.audio.files import write_wav
from audiolm_jax.cli.bundle import model_pages
from audiolm_jax.generation.bundle import write_bundle
from audiolm_jax.generation.card import Said
from audiolm_jax.lm import decoder
from audiolm_jax.lm.config import KIND, DecoderConfig, StageModelConfig
from audiolm_jax.nn.state_arrays import flatten_shapes, unflatten_into
from audiolm_jax.stages import StageConfig
from audiolm_jax.tokenizers.acoustic.soundstream import codec
from audiolm_jax.tokenizers.acoustic.soundstream.config import QuantizerConfig, SoundStreamConfig
from audiolm_jax.tokenizers.acoustic.soundstream.model import CODEBOOKS, build_generator
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans
from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder, save_semantic_tokenizer
from audiolm_jax.tokenizers.semantic.w2v_bert import config as w2v_bert
from audiolm_jax.tokenizers.semantic.w2v_bert.config import ConformerConfig, W2vBertConfig
from audiolm_jax.tokenizers.semantic.w2v_bert.model import W2vBert
from audiolm_jax.types import AudioBatch

LEVELS, CODES, CLUSTERS = 4, 16, 8
CODEC = SoundStreamConfig(
    channels=2,
    width_multipliers=(1, 2, 2, 4, 4),
    dilations=(1,),
    embedding_width=8,
    quantizer=QuantizerConfig(levels=LEVELS, codebook_size=CODES, revival_threshold=0.0),
)
ENCODER = W2vBertConfig(
    mel_bins=16,
    subsample_channels=4,
    contrastive_layers=1,
    masked_layers=1,
    codebook_size=8,
    code_width=8,
    conformer=ConformerConfig(width=16, heads=2, ff_width=16, remat="none"),
)
KMEANS = KmeansConfig(clusters=CLUSTERS, layer="masked_1", iterations=3)
DECODER = DecoderConfig(layers=1, heads=2, head_width=8, width=16, ff_width=16, dropout=0.0)
PROVENANCE = {"config_hash": "0" * 16, "data": {"dataset": "noise"}, "steps": 0, "upstream": {}}


def stage(name: str, crop_seconds: float = 4.0, **changes: bool) -> StageConfig:
    return StageConfig(
        name,
        semantic_clusters=CLUSTERS,
        codebook_size=CODES,
        levels=LEVELS,
        coarse_levels=2,
        crop_seconds=crop_seconds,
        **changes,
    )


def voice(seconds: float, pitch_hz: float, seed: int = 0) -> np.ndarray:
    """A harmonic tone with noise: float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 16000)) / 16000
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 6))
    rhythm = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
    return (0.2 * tone * rhythm + 0.01 * rng.standard_normal(len(t))).astype(np.float32)


def write_voices(folder: Path, count: int = 12) -> None:
    """Wav files of 1.5 s, each of another pitch."""
    folder.mkdir()
    for number in range(count):
        sound = voice(1.5, 90 + 10 * number, number)
        write_wav(folder / f"{number}.wav", sound, 16000, None)


def random_arrays(build, seed: int) -> dict[str, np.ndarray]:
    """Weights for the module that `build` makes, drawn without compiling its initialisers."""
    shapes = flatten_shapes(nnx.state(nnx.eval_shape(build), nnx.Param))
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in shapes.items():
        spread = np.sqrt(max(1, np.prod(shape[:-1])))
        values = rng.normal(0, 1 / spread, shape)
        if name.endswith("scale"):
            values = np.ones(shape)
        arrays[name] = values.astype(np.float32)
    return arrays


def write_codec(directory: Path, seed: int = 0) -> str:
    arrays = random_arrays(lambda: build_generator(CODEC, jax.random.key(0)), seed)
    # Codes near the latents of real input, so that different sounds get different codes.
    sounds = np.stack([voice(1.0, 70 + 30 * i, i) for i in range(8)])
    graphdef, state = nnx.split(
        nnx.eval_shape(lambda: build_generator(CODEC, jax.random.key(0))), nnx.Param
    )
    model = nnx.merge(graphdef, unflatten_into(state, arrays, "tiny"))
    latents = np.asarray(jax.jit(model.encoder)(sounds)).reshape(-1, CODEC.embedding_width)
    rng = np.random.default_rng(seed)
    first = latents[rng.choice(len(latents), CODES)]
    rest = rng.normal(0, latents.std(0), (LEVELS - 1, CODES, CODEC.embedding_width))
    arrays[CODEBOOKS] = np.concatenate([first[None], rest]).astype(np.float32)
    return save_model(directory, codec.KIND, CODEC, arrays, PROVENANCE)


def write_w2v_bert(directory: Path, config: W2vBertConfig) -> None:
    arrays = random_arrays(lambda: W2vBert(config, rngs=nnx.Rngs(params=0)), 1)
    save_model(directory, w2v_bert.KIND, config, arrays, PROVENANCE)


def write_semantic(directory: Path, encoder: Path) -> None:
    write_w2v_bert(encoder, ENCODER)
    write_kmeans(directory, encoder, KMEANS.layer)


def write_kmeans(directory: Path, encoder: Path, layer: str) -> None:
    clips = [voice(2, 80 + 40 * i, i) for i in range(4)]
    features, _ = load_frame_encoder(encoder).features(AudioBatch.from_clips(clips), layer)
    result = fit_kmeans(features.reshape(-1, features.shape[-1]), KMEANS)
    save_semantic_tokenizer(directory, encoder, layer, result, PROVENANCE)


def write_stage(directory: Path, config: StageConfig, upstream: dict[str, str]) -> None:
    position = "t5" if config.deduplicate else "time"
    model = StageModelConfig(config, dataclasses.replace(DECODER, position=position))
    arrays = random_arrays(lambda: decoder.make_decoder(model, jax.random.key(0)), 2)
    rate = 12.0 if config.deduplicate else 25.0
    provenance = {**PROVENANCE, "semantic_tokens_per_second": rate, **upstream}
    save_model(directory, KIND, model, arrays, provenance)


def write_tiny_bundle(
    root: Path,
    write_codec: Callable[[Path], str] = write_codec,
    write_semantic: Callable[[Path, Path], None] = write_semantic,
    timed: tuple[str, ...] = (),
    semantic_condition: bool = True,
) -> Path:
    """Parts under root/parts, bundle at root/bundle; the stages `timed` keep repeated tokens."""
    parts = root / "parts"
    write_codec(parts / "codec")
    write_semantic(parts / "semantic", parts / "encoder")
    upstream = {name: fingerprint(parts / name) for name in ("codec", "semantic")}
    sources = {name: parts / name for name in ("codec", "semantic")}
    for name, crop in (("semantic", 6.0), ("coarse", 2.0), ("fine", 1.0)):
        options = {"deduplicate": name not in timed, "semantic_condition": semantic_condition}
        write_stage(parts / f"{name}_lm", stage(name, crop, **options), upstream)
        sources[f"{name}_lm"] = parts / f"{name}_lm"
    write_bundle(root / "bundle", sources, model_pages("bundle", sources, Said("none")))
    return root / "bundle"


def fingerprint(folder: Path) -> str:
    return load_model(folder).fingerprint
