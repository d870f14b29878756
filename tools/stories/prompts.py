"""Prompts for launch/demo.sh: stories that training never hears, by voices that it never hears.

They are the recordings of `heldout_both` by the engine that needs no program beside Python.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from audiolm_jax.artifacts.atomic import atomic_path, write_text
from tools.stories.corpus import Telling, plan_fast, tell, write_flac
from tools.stories.engines import Voices

ENGINE = "hibari"
_HOURS = 24.0  # of the corpus


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("python -m tools.stories.prompts", description=__doc__)
    parser.add_argument("directory", type=Path, help="folder to write")
    parser.add_argument("--each", type=int, default=3, help="of each of two voices (default: 3)")
    options = parser.parse_args(arguments)
    options.directory.mkdir(parents=True, exist_ok=True)
    say = Voices(flite="", kokoro=Path()).say
    tellings = held_out(options.each)
    for telling in tellings:
        path = options.directory / f"{name_of(telling)}.flac"
        if not path.exists():
            samples = tell(telling, say)
            with atomic_path(path) as scratch:
                write_flac(scratch, samples)
    lines = [f"{name_of(telling)}: {' '.join(telling.pieces)}" for telling in tellings]
    write_text(options.directory / "transcripts.txt", "\n".join(lines) + "\n")


def held_out(each: int) -> list[Telling]:
    """The first stories of every voice of the engine that training never hears."""
    chosen: dict[str, list[Telling]] = {}
    for telling in plan_fast(_HOURS, seed=0):
        if telling.part == "heldout_both" and telling.speaker.engine == ENGINE:
            chosen.setdefault(telling.speaker.name, []).append(telling)
    return [telling for own in chosen.values() for telling in own[:each]]


def name_of(telling: Telling) -> str:
    """Of its file."""
    return f"{telling.speaker.name}_{telling.seed:09d}"


if __name__ == "__main__":
    main()
