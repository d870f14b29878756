"""AudioLM in JAX: continuation of speech and music from raw audio, without text.

What most programs need stands here and is imported when it is first used:

    import audiolm_jax

    generator = audiolm_jax.Generator(audiolm_jax.load("runs/demo/bundle"))
    prompt = audiolm_jax.read_prompt("voice.wav", generator.sample_rate_hz, seconds=3)
    (result,) = generator.continue_audio([prompt], seconds=4, seeds=[0])

    codec = audiolm_jax.load_codec("runs/demo/codec")
    tokens = codec.encode(audiolm_jax.AudioBatch.from_clips([prompt]))
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audiolm_jax.errors import InputError
    from audiolm_jax.generation.bundle import Bundle
    from audiolm_jax.generation.bundle import load_bundle as load
    from audiolm_jax.generation.config import GenerationConfig
    from audiolm_jax.generation.files import read_prompt, save_generated
    from audiolm_jax.generation.pipeline import Generated, Generator
    from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer as load_codec
    from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer as load_semantic
    from audiolm_jax.types import AcousticTokens, AudioBatch, SemanticTokens

__version__ = "0.1.0"

_PLACES = {
    "AcousticTokens": "types:AcousticTokens",
    "AudioBatch": "types:AudioBatch",
    "Bundle": "generation.bundle:Bundle",
    "Generated": "generation.pipeline:Generated",
    "GenerationConfig": "generation.config:GenerationConfig",
    "Generator": "generation.pipeline:Generator",
    "InputError": "errors:InputError",
    "SemanticTokens": "types:SemanticTokens",
    "load": "generation.bundle:load_bundle",
    "load_codec": "tokenizers.acoustic.load:load_acoustic_tokenizer",
    "load_semantic": "tokenizers.semantic.tokenizer:load_semantic_tokenizer",
    "read_prompt": "generation.files:read_prompt",
    "save_generated": "generation.files:save_generated",
}
__all__ = [
    "AcousticTokens",
    "AudioBatch",
    "Bundle",
    "Generated",
    "GenerationConfig",
    "Generator",
    "InputError",
    "SemanticTokens",
    "load",
    "load_codec",
    "load_semantic",
    "read_prompt",
    "save_generated",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return [*globals(), *_PLACES]
