"""Loads an acoustic tokenizer, whichever kind of codec a model folder holds."""

from pathlib import Path
from typing import Any

from audiolm_jax.artifacts.config_json import config_from_dict
from audiolm_jax.artifacts.model_folder import ModelFolder, load_model, part_of, read_model_json
from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.acoustic.codec import Codec
from audiolm_jax.tokenizers.acoustic.dac.codec import DacCodec
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.tokenizers.acoustic.whole import WholeCodec
from audiolm_jax.types import AcousticTokenizer, StreamingTokenizer

_CODECS: dict[str, type[Codec]] = {codec.kind: codec for codec in (SoundStreamCodec, DacCodec)}
ACOUSTIC_KINDS = tuple(_CODECS)


def load_acoustic_tokenizer(directory: Path) -> StreamingTokenizer:
    """Reads and verifies a codec's model folder. Its kind may be `module:attribute`, a function of
    a trusted module: a `ModelFolder` to an `AcousticTokenizer`; without streams of its own it gets
    such as give everything at the end."""
    kind = read_model_json(directory)["kind"]
    if is_outside(kind):
        codec = part_of(load_model(directory), AcousticTokenizer, str(directory))
        return codec if isinstance(codec, StreamingTokenizer) else WholeCodec(codec)
    return _codec_of(kind, str(directory)).load(directory)


def make_codec(folder: ModelFolder, where: str) -> Codec:
    """The codec, not one from outside, that the content of a model folder read from `where` is."""
    kind = _codec_of(folder.kind, where)
    config: Any = config_from_dict(kind.config_type, folder.config, where)
    return kind(config, folder.arrays, folder.fingerprint)


def _codec_of(kind: str, where: str) -> type[Codec]:
    if kind not in _CODECS:
        codecs = " or ".join(_CODECS)
        raise InputError(f"{where}: holds a {kind!r} model, expected a codec: {codecs}")
    return _CODECS[kind]
