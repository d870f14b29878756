"""`audiolm items`: item files for ABX, from alignments or from a synthesiser's voices."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.dispatch import Verb, dispatch
from audiolm_jax.cli.options import parse
from audiolm_jax.data.alignments import AlignedPhone, read_alignments, write_alignments
from audiolm_jax.data.flite import VOICES, find_flite, read_sentences, speak
from audiolm_jax.evaluation.abx.items import triphones, write_items

SOURCES = {
    "triphones": Verb("items:from_alignments", "the item file of a corpus with aligned phones"),
    "flite": Verb("items:flite", "spoken sentences: recordings, alignments and item file"),
}


@dataclasses.dataclass(frozen=True)
class TriphoneOptions:
    """Every triphone of aligned recordings as an item."""

    alignments: tyro.conf.Positional[Path]
    """Tab-separated file with the header `file phone onset offset speaker`, seconds."""
    out: Path
    """Item file to write."""


@dataclasses.dataclass(frozen=True)
class FliteOptions:
    """Speech with phone times from the synthesiser flite."""

    sentences: tyro.conf.Positional[Path]
    """Text file, one sentence a line."""
    out: Path
    """Folder to write: <voice>/<number>.wav, alignments.tsv and triphones.item."""
    voices: tuple[str, ...] = VOICES
    """Of flite; each is a speaker."""
    flite: str = "flite"
    """The program."""


def items(arguments: Sequence[str]) -> int:
    """`audiolm items`."""
    return dispatch("audiolm items", SOURCES, arguments)


def from_alignments(arguments: Sequence[str]) -> None:
    """`audiolm items triphones`."""
    options = parse(TriphoneOptions, arguments, "audiolm items triphones")
    with only_writer(options.out, is_replaced=True):
        _write(options.out, read_alignments(options.alignments))


def flite(arguments: Sequence[str]) -> None:
    """`audiolm items flite`."""
    options = parse(FliteOptions, arguments, "audiolm items flite")
    with only_writer(options.out):
        sentences = read_sentences(options.sentences)
        phones = speak(find_flite(options.flite), sentences, options.voices, options.out)
        write_alignments(options.out / "alignments.tsv", phones)
        _write(options.out / "triphones.item", phones)


def _write(out: Path, phones: Sequence[AlignedPhone]) -> None:
    rows = triphones(phones)
    write_items(out, rows)
    speakers, files = ({getattr(item, name) for item in rows} for name in ("speaker", "file"))
    print(f"{out}: {len(rows)} items of {len(speakers)} speakers in {len(files)} recordings")
