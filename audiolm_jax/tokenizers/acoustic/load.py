"""Loads an acoustic tokenizer, whichever kind of codec a model folder holds."""

from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, read_model_json
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.codec import Codec
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec

_CODECS: dict[str, type[Codec]] = {codec.kind: codec for codec in (SoundStreamCodec, DacCodec)}
ACOUSTIC_KINDS = tuple(_CODECS)


def load_acoustic_tokenizer(directory: Path) -> Codec:
    """Reads and verifies a codec's model folder."""
    return _codec_of(read_model_json(directory)["kind"], str(directory)).load(directory)


def make_codec(folder: ModelFolder, where: str) -> Codec:
    """The codec that the content of a model folder, read from `where`, is."""
    kind = _codec_of(folder.kind, where)
    config: Any = config_from_dict(kind.config_type, folder.config, where)
    return kind(config, folder.arrays, folder.fingerprint)


def _codec_of(kind: str, where: str) -> type[Codec]:
    if kind not in _CODECS:
        codecs = " or ".join(_CODECS)
        raise InputError(f"{where}: holds a {kind!r} model, expected a codec: {codecs}")
    return _CODECS[kind]
