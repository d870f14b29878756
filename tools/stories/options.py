"""The options of launch/stories.sh; imports nothing that would have to be installed."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tools.stories.speakers import KOKORO_VOICES

_DESCRIPTION = (
    "Makes a corpus of clean synthetic English speech over a closed world of small stories. Run "
    "again after an interruption: what is there is kept. More hours add to what is there."
)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options; ends the program with a message if they are wrong."""
    parser = argparse.ArgumentParser("launch/stories.sh", description=_DESCRIPTION)
    parser.add_argument(
        "--hours", type=_positive, default=24.0, help="of the fast engines (default: 24)"
    )
    slow = parser.add_mutually_exclusive_group()
    slow.add_argument(
        "--slow-minutes",
        type=_positive,
        default=5.0,
        help="of each Kokoro voice (default: 5); takes about as long as it lasts",
    )
    slow.add_argument("--no-slow", action="store_true", help="leave Kokoro out")
    parser.add_argument("--no-pairs", action="store_true", help="leave the minimal pairs unspoken")
    parser.add_argument(
        "--slow-voices", nargs="+", choices=KOKORO_VOICES, metavar="VOICE", help="not all 28"
    )
    parser.add_argument(
        "--seed",
        type=int,
        choices=range(100),
        default=0,
        metavar="S",
        help="of the stories, 0 to 99 (default: 0)",
    )
    parser.add_argument("--directory", type=Path, default=Path("data/stories"))
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--workers",
        type=int,
        choices=range(1, 257),
        default=cores,
        metavar="N",
        help=f"processes (default: {cores}, one a core)",
    )
    parser.add_argument("--flite", default="flite", help=argparse.SUPPRESS)
    parser.add_argument("--kokoro", type=Path, default=Path("kokoro"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 10_000:
        raise argparse.ArgumentTypeError(f"{text}: expected more than 0")
    return value


if __name__ == "__main__":  # tells the script about wrong options before it installs anything
    parse(None)
