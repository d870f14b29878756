"""`audiolm import dac`: public weights into a model folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.commands.options import parse
from audiolm_jax.errors import InputError

USAGE = """usage: audiolm import dac WEIGHTS --out DIR

  dac        Descript Audio Codec, an acoustic tokenizer: use it wherever a codec is named

`audiolm import dac --help` and so on show every field.
"""


@dataclasses.dataclass(frozen=True)
class ImportDacOptions:
    """Weights of the Descript Audio Codec (MIT) into a model folder.

    Attributes:
      weights: torch file of Descript's release (needs torch to read, nothing in it is unpickled),
        or the transformers library's folder of model.safetensors and config.json.
      out: model folder to write.
    """

    weights: tyro.conf.Positional[Path]
    out: Path


def import_model(arguments: Sequence[str]) -> None:
    """`audiolm import`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        if not arguments:
            raise InputError("expected dac")
        parse(ImportDacOptions, ["--help"], "audiolm import dac")
    kind, rest = arguments[0], arguments[1:]
    match kind:
        case "dac":
            options = parse(ImportDacOptions, rest, "audiolm import dac")
            _import_dac(options.weights, options.out)
        case _:
            raise InputError(f"unknown kind {kind!r}; expected dac")


def _import_dac(weights: Path, out: Path) -> None:
    from audiolm_jax.tokenizers.pretrained.dac.reader import LICENCE, import_dac

    config, fingerprint = import_dac(weights, out)
    print(
        f"{out}: Descript Audio Codec {fingerprint[:16]}, {config.sample_rate_hz} Hz, "
        f"{config.levels} levels of {config.codebook_size} codes, "
        f"{config.sample_rate_hz / config.hop_samples:.6g} frames a second; {LICENCE}"
    )
