"""`audiolm listen`: generated files as a page to listen to."""

import dataclasses
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.output_path import check_output_file
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.generated import find_generated, page_of
from audiolm_jax.evaluation.measures.recognition import Recognizer

PAGE_PACKAGES = ("jinja2", "matplotlib", "PIL")
HEARING_PACKAGES = ("faster_whisper", "whisper_normalizer")


@dataclasses.dataclass(frozen=True)
class ListenOptions:
    """A page of files that audiolm has made, with players, spectrograms and, if there is a
    recognizer, the words it hears. It is one file that loads nothing."""

    folder: tyro.conf.Positional[Path]
    """Of wav and flac files."""
    out: Path | None = None
    """Page to write, .html; None for FOLDER/index.html."""
    recognizer: Path | None = None
    """Folder of a Whisper model in CTranslate2's format (docs/guide/world.md); None for none."""
    language: str = "en"
    """Of the speech."""
    title: str = "What audiolm has made"
    """Heading of the page."""
    licence: str = "The prompts are recordings of your own."
    """Where the prompts come from and on what terms, for the page."""


def listen(arguments: Sequence[str]) -> None:
    """`audiolm listen`."""
    options = parse(ListenOptions, arguments, "audiolm listen")
    out = options.out or options.folder / "index.html"
    if out.suffix.lower() != ".html":
        raise InputError(f"--out {out}: expected a name ending in .html")
    needed = PAGE_PACKAGES + (HEARING_PACKAGES if options.recognizer is not None else ())
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise InputError(f"{missing[0]} is missing: pip install 'audiolm_jax[demo]'")
    with only_writer(out, is_replaced=True):
        files = find_generated(options.folder)
        check_output_file(out)
        recognizer = None
        if options.recognizer is not None:
            recognizer = Recognizer(options.recognizer, options.language)
        page = page_of(files, options.title, options.licence, recognizer)
        write_text(out, page.render())
    print(f"{out}: {len(files)} files, open it in a browser")
    if recognizer is not None:
        for example in page.examples:
            print(f"  {example.title}: {example.clips[0].heard or 'nothing was heard'}")
