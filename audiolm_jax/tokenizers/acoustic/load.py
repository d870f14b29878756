"""Loads an acoustic tokenizer, whichever kind of codec a model folder holds."""

from pathlib import Path

from audiolm_jax.artifacts.model_folder import read_model_json
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.codec import Codec
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec

_CODECS: dict[str, type[Codec]] = {codec.kind: codec for codec in (SoundStreamCodec, DacCodec)}
ACOUSTIC_KINDS = tuple(_CODECS)


def load_acoustic_tokenizer(directory: Path) -> Codec:
    """Reads and verifies a codec's model folder."""
    kind = read_model_json(directory)["kind"]
    if kind not in _CODECS:
        codecs = " or ".join(_CODECS)
        raise InputError(f"{directory}: holds a {kind!r} model, expected a codec: {codecs}")
    return _CODECS[kind].load(directory)
