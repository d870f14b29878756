"""`audiolm codec encode|decode|roundtrip`: a file or a folder through a trained codec."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from audiolm_jax import __version__
from audiolm_jax.artifacts.output_path import check_output_file, check_output_folder
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.audio.names import shown
from audiolm_jax.cli.options import parse
from audiolm_jax.data.walk import BadFile, walk
from audiolm_jax.errors import InputError
from audiolm_jax.generation.load import load_codec
from audiolm_jax.tokenizers.acoustic.code_file import SUFFIX, CodeFile, read_codes, write_codes
from audiolm_jax.tokenizers.acoustic.recordings import RESAMPLER, decode_recording, encode_recording
from audiolm_jax.tokenizers.acoustic.soundstream.codec import SoundStreamCodec
from audiolm_jax.types import StreamingTokenizer

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CodecOptions:
    """Audio to codes, codes to audio, or both ways; files are worked through piece by piece.

    Audio of any rate (4 to 768 kHz) and number of channels is read: the channels are averaged and
    the rate is converted to the codec's by soxr_hq. Decoded audio is 16-bit mono at the codec's
    rate, as long as the recording was.
    """

    verb: tyro.conf.Positional[Literal["encode", "decode", "roundtrip"]]
    """Encode (audio to codes), decode (codes to audio) or roundtrip (audio to audio)."""
    source: tyro.conf.Positional[Path]
    """Recording (wav, flac, mp3, ogg, opus, m4a or g722), for decode a .codes file; or a folder
    of them. Other files of a folder are named and skipped; one that fails is named, the rest
    is done, and the exit status is 2."""
    model: Path
    """Codec: a run directory or model folder, a bundle, or the archive of either."""
    out: Path
    """File to write, .codes for encode, else .wav; for a folder a folder of the same structure."""
    levels: int | None = None
    """Use only the first levels of the quantiser, a lower bitrate; None uses all."""
    denoise: bool = False
    """Remove the background, at roundtrip or on the side of the codec's switch, if it has one."""


def codec(arguments: Sequence[str]) -> None:
    """`audiolm codec`."""
    options = parse(CodecOptions, arguments, "audiolm codec")
    is_folder = options.source.is_dir()
    jobs = _plan_folder(options) if is_folder else _plan_file(options)
    with only_writer(options.out, is_replaced=not is_folder):
        _code(options, jobs, is_folder)


def _code(options: CodecOptions, jobs: list[tuple[Path, Path]], is_folder: bool) -> None:
    model = load_codec(options.model)
    if options.denoise:
        model = _with_denoising(options, model)
    if options.levels is not None and not 1 <= options.levels <= model.levels:
        raise InputError(f"--levels {options.levels}: expected 1 to {model.levels}")
    if options.verb != "decode":
        print(f"audio: mean of the channels, converted to {model.sample_rate_hz} Hz by {RESAMPLER}")
    failed = 0
    written: dict[Path, Path] = {}
    for source, out in jobs:
        try:
            if out in written:
                raise InputError(f"{source}: {written[out]} already became {out}; rename one")
            _run(options, source, out, model)
            written[out] = source
        except InputError as error:
            if not is_folder:
                raise
            failed += 1
            logger.warning("failed: %s", error)
    if failed:
        raise InputError(f"{options.source}: {failed} of {len(jobs)} files failed, see above")


def _with_denoising(options: CodecOptions, model: StreamingTokenizer) -> SoundStreamCodec:
    """The codec with its switch on, if what is asked for comes past that switch."""
    if not isinstance(model, SoundStreamCodec) or model.config.denoising is None:
        raise InputError(f"--denoise: {options.model} was not trained to remove noise")
    place = model.config.denoising.place
    verb = {"encoder": "encode", "decoder": "decode"}[place]
    if options.verb not in (verb, "roundtrip"):
        raise InputError(
            f"{options.verb} --denoise: the switch of {options.model} is in its {place}; "
            f"give --denoise to {verb} or roundtrip"
        )
    return model.with_denoising()


def _suffixes(options: CodecOptions) -> tuple[set[str], str]:
    """(of what is read, of what is written)."""
    read = {SUFFIX} if options.verb == "decode" else set(FORMATS)
    return read, SUFFIX if options.verb == "encode" else ".wav"


def _plan_file(options: CodecOptions) -> list[tuple[Path, Path]]:
    _, suffix = _suffixes(options)
    if options.out.suffix.lower() != suffix:
        raise InputError(f"--out {options.out}: expected a name ending in {suffix}")
    if options.out.resolve() == options.source.resolve():
        raise InputError(f"--out {options.out}: is the source itself; choose another name")
    check_output_file(options.out)
    return [(options.source, options.out)]


def _plan_folder(options: CodecOptions) -> list[tuple[Path, Path]]:
    wanted, suffix = _suffixes(options)
    if options.out.resolve().is_relative_to(options.source.resolve()):
        raise InputError(f"--out {options.out}: lies in the source folder; choose another folder")
    check_output_folder(options.out)
    found, kinds = walk(options.source, wanted), " ".join(sorted(wanted))
    if not found.wanted:
        raise InputError(f"{options.source}: holds no file ending in {kinds}")
    others = [BadFile(shown(name), f"not {kinds}") for name in found.others]
    for bad in sorted(found.left_out + others, key=lambda file: file.path):
        logger.warning("skipped %s/%s: %s", shown(options.source), bad.path, bad.reason)
    return [
        (options.source / name, (options.out / name).with_suffix(suffix)) for name in found.wanted
    ]


def _run(options: CodecOptions, source: Path, out: Path, model: StreamingTokenizer) -> None:
    levels = options.levels or model.levels
    if options.verb == "decode":
        file = read_codes(source, model)
        file = CodeFile(file.codes[:, :levels], file.samples)
    else:
        file = encode_recording(source, model, levels)
    out.parent.mkdir(parents=True, exist_ok=True)
    check_output_file(out)
    cut = 0
    if options.verb == "encode":
        write_codes(out, file, model)
    else:
        provenance = {
            "software": f"audiolm_jax {__version__}",
            "codec": model.fingerprint,
            "levels": file.codes.shape[1],
        }
        cut = decode_recording(file, model, out, provenance)
    frames_per_second = model.sample_rate_hz / model.hop_samples
    bits_per_second = file.codes.shape[1] * math.log2(model.codebook_size) * frames_per_second
    print(
        f"{shown(out)}: {file.samples / model.sample_rate_hz:.2f} s, {len(file.codes)} frames of "
        f"{file.codes.shape[1]} codes, {bits_per_second / 1000:.2f} kbit/s"
        + (f"; {cut} samples beyond full scale were cut" if cut else "")
    )
