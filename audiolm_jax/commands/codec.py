"""`audiolm codec encode|decode|roundtrip`: one file through a trained codec."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro

from audiolm_jax import __version__
from audiolm_jax.audio.files import write_wav
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.commands.options import parse
from audiolm_jax.data.code_file import SUFFIX, CodeFile, read_codes, write_codes
from audiolm_jax.errors import InputError
from audiolm_jax.records import AcousticTokenizer, AcousticTokens, AudioBatch
from audiolm_jax.tokenizers.acoustic import load_acoustic_tokenizer


@dataclasses.dataclass(frozen=True)
class EncodeOptions:
    """Audio to codes.

    Attributes:
      source: recording: wav, flac, mp3, ogg, opus, m4a or g722; made mono.
      model: codec folder: the `model` folder of a run or the `codec` folder of a bundle.
      out: code file to write, ending in .codes.
    """

    source: tyro.conf.Positional[Path]
    model: Path
    out: Path


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """Codes to audio.

    Attributes:
      source: code file of the same codec.
      model: codec folder: the `model` folder of a run or the `codec` folder of a bundle.
      out: wav file to write.
      levels: use only the first levels of the quantiser, a lower bitrate; None uses all.
    """

    source: tyro.conf.Positional[Path]
    model: Path
    out: Path
    levels: int | None = None


@dataclasses.dataclass(frozen=True)
class RoundtripOptions:
    """Audio to codes and back.

    Attributes:
      source: recording: wav, flac, mp3, ogg, opus, m4a or g722; made mono.
      model: codec folder: the `model` folder of a run or the `codec` folder of a bundle.
      out: wav file to write.
      levels: use only the first levels of the quantiser, a lower bitrate; None uses all.
    """

    source: tyro.conf.Positional[Path]
    model: Path
    out: Path
    levels: int | None = None


USAGE = """usage: audiolm codec {encode,decode,roundtrip} SOURCE --model DIR --out FILE

  encode     audio to codes
  decode     codes to audio
  roundtrip  audio to codes and back

`audiolm codec encode --help` and so on show every field.
"""


def codec(arguments: Sequence[str]) -> None:
    """`audiolm codec`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        if not arguments:
            raise InputError("expected encode, decode or roundtrip")
        for verb, cls in (
            ("encode", EncodeOptions),
            ("decode", DecodeOptions),
            ("roundtrip", RoundtripOptions),
        ):
            print()
            try:
                parse(cls, ["--help"], f"audiolm codec {verb}")
            except SystemExit:
                continue
        return
    verb, rest = arguments[0], arguments[1:]
    match verb:
        case "encode":
            options = parse(EncodeOptions, rest, "audiolm codec encode")
            _check_suffix(options.out, SUFFIX)
            model = load_acoustic_tokenizer(options.model)
            file = _encode(options.source, model)
            write_codes(options.out, file, model)
            print(f"{options.out}: {len(file.codes)} frames of {model.levels} codes")
        case "decode":
            options = parse(DecodeOptions, rest, "audiolm codec decode")
            _check_suffix(options.out, ".wav")
            model = load_acoustic_tokenizer(options.model)
            _decode(read_codes(options.source, model), model, options.levels, options.out)
        case "roundtrip":
            options = parse(RoundtripOptions, rest, "audiolm codec roundtrip")
            _check_suffix(options.out, ".wav")
            model = load_acoustic_tokenizer(options.model)
            _decode(_encode(options.source, model), model, options.levels, options.out)
        case _:
            raise InputError(f"unknown codec verb {verb!r}; expected encode, decode or roundtrip")


def _check_suffix(path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise InputError(f"out = {path}: expected a name ending in {suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)


def _encode(source: Path, model: AcousticTokenizer) -> CodeFile:
    samples = read_resampled(source, model.sample_rate_hz, "soxr_hq")
    tokens = model.encode(AudioBatch.from_clips([samples]))
    frames = int(np.asarray(tokens.lengths)[0])
    return CodeFile(np.asarray(tokens.codes)[0, :frames], len(samples))


def _decode(file: CodeFile, model: AcousticTokenizer, levels: int | None, out: Path) -> None:
    if levels is not None and not 1 <= levels <= model.levels:
        raise InputError(f"levels = {levels}: expected 1 to {model.levels}")
    codes = file.codes[:, :levels].astype(np.int32)
    audio = model.decode(AcousticTokens(codes[None], np.array([len(codes)], np.int32)))
    samples = np.asarray(audio.samples)[0, : file.samples]
    provenance = {
        "software": f"audiolm_jax {__version__}",
        "codec": model.fingerprint,
        "levels": codes.shape[1],
    }
    clipped = write_wav(out, samples, model.sample_rate_hz, provenance)
    rate = codes.shape[1] * np.log2(model.codebook_size) * model.sample_rate_hz / model.hop_samples
    print(
        f"{out}: {len(samples) / model.sample_rate_hz:.2f} s at {rate / 1000:.2f} kbit/s"
        + (f"; {clipped} samples beyond full scale were cut" if clipped else "")
    )
