"""AudioLM in JAX: continuation of speech and music from raw audio, without text.

What most programs need stands here and is imported when it is first used:

    import audiolm_jax

    model = audiolm_jax.load("runs/demo/bundle")
    result = model.continue_audio("voice.wav", seconds=4, seed=0)
    result.save("out.wav")

    codec = audiolm_jax.load_codec("runs/demo/codec")
    tokens = codec.encode(audiolm_jax.AudioBatch.from_clips([result.audio]))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiolm_jax.artifacts.outside import trust
    from audiolm_jax.errors import InputError
    from audiolm_jax.generation.api import Pipeline, Result, Stream, Tokens
    from audiolm_jax.generation.bundle import Bundle
    from audiolm_jax.generation.config import GenerationConfig, Sampling
    from audiolm_jax.generation.load import load, load_codec, load_semantic
    from audiolm_jax.types import AcousticTokens, AudioBatch, SemanticTokens

__version__ = "0.1.0"

_PLACES = {
    "AcousticTokens": "types",
    "AudioBatch": "types",
    "Bundle": "generation.bundle",
    "GenerationConfig": "generation.config",
    "InputError": "errors",
    "Pipeline": "generation.api",
    "Result": "generation.api",
    "Sampling": "generation.config",
    "SemanticTokens": "types",
    "Stream": "generation.api",
    "Tokens": "generation.api",
    "load": "generation.load",
    "load_codec": "generation.load",
    "load_semantic": "generation.load",
    "trust": "artifacts.outside",
}
__all__ = [
    "AcousticTokens",
    "AudioBatch",
    "Bundle",
    "GenerationConfig",
    "InputError",
    "Pipeline",
    "Result",
    "Sampling",
    "SemanticTokens",
    "Stream",
    "Tokens",
    "load",
    "load_codec",
    "load_semantic",
    "trust",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
