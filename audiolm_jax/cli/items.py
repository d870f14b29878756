"""`audiolm items`: item files for ABX, from alignments or from a synthesiser's voices."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.cli.options import parse
from audiolm_jax.data.alignments import AlignedPhone, read_alignments, write_alignments
from audiolm_jax.data.flite import VOICES, find_flite, read_sentences, speak
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.abx.items import triphones, write_items

USAGE = """usage: audiolm items triphones ALIGNMENTS --out FILE.item
       audiolm items flite SENTENCES --out DIR

  triphones  the item file of a corpus whose phones are aligned
  flite      speaks sentences in several voices: recordings, alignments and item file

`audiolm items flite --help` and so on show every field.
"""


@dataclasses.dataclass(frozen=True)
class TriphoneOptions:
    """Every triphone of aligned recordings as an item.

    Attributes:
      alignments: tab-separated file with the header `file phone onset offset speaker`, seconds.
      out: item file to write.
    """

    alignments: tyro.conf.Positional[Path]
    out: Path


@dataclasses.dataclass(frozen=True)
class FliteOptions:
    """Speech with phone times from the synthesiser flite.

    Attributes:
      sentences: text file, one sentence a line.
      out: folder to write: <voice>/<number>.wav, alignments.tsv and triphones.item.
      voices: of flite; each is a speaker.
      flite: the program.
    """

    sentences: tyro.conf.Positional[Path]
    out: Path
    voices: tuple[str, ...] = VOICES
    flite: str = "flite"


def items(arguments: Sequence[str]) -> None:
    """`audiolm items`."""
    kind, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    match kind:
        case "triphones":
            options = parse(TriphoneOptions, rest, "audiolm items triphones")
            _write(options.out, read_alignments(options.alignments))
        case "flite":
            options = parse(FliteOptions, rest, "audiolm items flite")
            sentences = read_sentences(options.sentences)
            phones = speak(find_flite(options.flite), sentences, options.voices, options.out)
            write_alignments(options.out / "alignments.tsv", phones)
            _write(options.out / "triphones.item", phones)
        case "-h" | "--help":
            print(USAGE)
            for name, options in (("triphones", TriphoneOptions), ("flite", FliteOptions)):
                with contextlib.suppress(SystemExit):
                    parse(options, ["--help"], f"audiolm items {name}")
        case _:
            raise InputError(f"expected triphones or flite, found {kind!r}; see audiolm items -h")


def _write(out: Path, phones: Sequence[AlignedPhone]) -> None:
    made = triphones(phones)
    write_items(out, made)
    speakers, files = ({getattr(item, name) for item in made} for name in ("speaker", "file"))
    print(f"{out}: {len(made)} items of {len(speakers)} speakers in {len(files)} recordings")
