"""The options of launch/piano.sh; imports nothing that would have to be installed."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

_DESCRIPTION = (
    "Makes a corpus of solo piano: scores in the public domain, played by rules, through two "
    "sampled pianos. Run again after an interruption: what is there is kept. More hours add to it."
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the program with a message if they are wrong."""
    parser = argparse.ArgumentParser("launch/piano.sh", description=_DESCRIPTION)
    parser.add_argument("--hours", type=_hours, default=8.0, help="of music (default: 8)")
    parser.add_argument(
        "--seed",
        type=int,
        choices=range(100),
        default=0,
        metavar="S",
        help="of order, performances and rooms, 0 to 99 (default: 0); what is held out is the same",
    )
    parser.add_argument(
        "--sample-rate-hz",
        type=int,
        choices=(16_000, 24_000, 32_000, 44_100),
        default=16_000,
        help="of the files (default: 16000, that of AudioLM's models)",
    )
    parser.add_argument("--directory", type=Path, default=Path("data/piano"))
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--workers",
        type=int,
        choices=range(1, 257),
        default=cores,
        metavar="N",
        help=f"processes (default: {cores}, one a core); the files do not depend on them",
    )
    parser.add_argument("--fluidsynth", default="fluidsynth", help=argparse.SUPPRESS)
    parser.add_argument("--tools", type=Path, default=Path("data/.piano"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value < 1000:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0 and less than 1000")
    return value


if __name__ == "__main__":  # tells the script about wrong options before it installs anything
    parse(None)
