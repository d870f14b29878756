"""Spoken cloze of a corpus: a story with its own ending and with that of another.

    python -m tools.stories.cloze data/stories

Nothing is synthesized: held-out stories are cut in the pauses between their sentences, which are
silent, and put together anew. Of each story the last sentences that fit into `--seconds` are the
beginning, but for the very last, which is the right ending. Wrong ones come of the same speaker:
`tSC` takes the ending of another plot (another topic), `sSC` one of the same plot with other facts
(another name, thing or place: it contradicts what was said). Both endings follow the same pause.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from audiolm_jax.artifacts.atomic import atomic_path, write_text
from tools.lots import Lots
from tools.stories.corpus import write_flac
from tools.stories.engines import RATE_HZ
from tools.stories.grammar import Story, story

FOLDER = "cloze"  # of a corpus
PARTS = {"heldout_stories": "heard", "heldout_both": "held_out"}  # and what their voices are
COLUMNS = ("kind", "speaker", "voice", "good", "bad", "good_text", "bad_text")
SETS = {"tSC": "topic_cloze", "sSC": "story_cloze"}
_SHORTEST_PAUSE = 0.34  # seconds; those between sentences are of 0.35 or more, within them shorter


@dataclasses.dataclass(frozen=True)
class Told:
    """A story as it was told, sentence by sentence."""

    story: Story
    speaker: str
    voice: str  # heard or held_out
    sounds: tuple[np.ndarray, ...]  # int16 of each sentence
    pauses: tuple[np.ndarray, ...]  # int16, before each but the first

    def beginning(self, longest: int) -> np.ndarray:
        """The last sentences that are together no longer than so many samples, without the very
        last but with the pause before it."""
        pieces = [self.pauses[-1]]
        for place in range(len(self.sounds) - 2, -1, -1):
            more = [self.sounds[place]]
            if len(pieces) > 1:
                more.append(self.pauses[place])
            if sum(map(len, (*more, *pieces))) > longest:
                break
            pieces = [*more, *pieces]
        return np.concatenate(pieces)


def cut(samples: np.ndarray, sentences: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sentences and the pauses between them; ValueError if there are not as many."""
    loud = np.flatnonzero(samples)
    samples = samples[loud[0] : loud[-1] + 1]
    is_loud = np.concatenate([[True], samples[1:-1] != 0, [True]])
    edges = np.flatnonzero(np.diff(is_loud.astype(np.int8))) + 1
    silences = [
        (begin, end)
        for begin, end in zip(edges[::2], edges[1::2], strict=True)
        if end - begin >= _SHORTEST_PAUSE * RATE_HZ
    ]
    if len(silences) != sentences - 1:
        raise ValueError(f"{len(silences)} pauses, expected {sentences - 1}")
    starts = [0, *(end for _, end in silences)]
    ends = [*(begin for begin, _ in silences), len(samples)]
    sounds = [samples[begin:end] for begin, end in zip(starts, ends, strict=True)]
    return sounds, [samples[begin:end] for begin, end in silences]


def read_told(corpus: Path) -> Iterator[Told]:
    """The held-out stories that can be cut at every pause."""
    import soundfile

    for part, voice in PARTS.items():
        for path in sorted((corpus / part).glob("*/*.flac")):
            own = story(int(path.stem))
            samples, _ = soundfile.read(path, dtype="int16")
            try:
                sounds, pauses = cut(samples, len(own.sentences))
            except ValueError as error:
                print(f"{path}: left out: {error}")
                continue
            yield Told(own, path.parent.name, voice, tuple(sounds), tuple(pauses))


def partners(one: Told, others: Sequence[Told], kind: str) -> list[Told]:
    """Those whose ending is wrong for a story."""
    same_plot = kind == "story_cloze"
    return [
        other
        for other in others
        if other.speaker == one.speaker
        and (other.story.plot == one.story.plot) == same_plot
        and other.story.sentences[-1] != one.story.sentences[-1]
    ]


def write_cloze(corpus: Path, out: Path, seconds: float) -> dict[str, int]:
    """Writes both sets and pairs.tsv to a folder; how many items each has, by kind."""
    told = list(read_told(corpus))
    rows, counts = ["\t".join(COLUMNS)], dict.fromkeys(SETS.values(), 0)
    for folder, kind in SETS.items():
        for one in told:
            if not (wrong := partners(one, told, kind)):
                continue
            bad = Lots("cloze", kind, one.speaker, one.story.seed).choice(wrong)
            longest = round(seconds * RATE_HZ) - max(len(one.sounds[-1]), len(bad.sounds[-1]))
            beginning = one.beginning(longest)
            if len(beginning) == len(one.pauses[-1]):
                continue  # not a sentence fits
            names = [f"{folder}/{counts[kind]}_{side}.flac" for side in ("correct", "incorrect")]
            texts = []
            for name, ending in zip(names, (one, bad), strict=True):
                _write(out / name, np.concatenate([beginning, ending.sounds[-1]]))
                texts.append(ending.story.sentences[-1])
            rows.append("\t".join((kind, one.speaker, one.voice, *names, *texts)))
            counts[kind] += 1
    write_text(out / "pairs.tsv", "".join(f"{row}\n" for row in rows))
    return counts


def _write(path: Path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as scratch:
        write_flac(scratch, samples.astype(np.float32) / 32767)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser("tools.stories.cloze", description=__doc__)
    parser.add_argument("corpus", type=Path, help="of ./launch/stories.sh")
    parser.add_argument("--out", type=Path, help="folder to write (default: cloze in the corpus)")
    parser.add_argument(
        "--seconds", type=float, default=14.9, help="longest item: stage 1 reads 15 s (%(default)s)"
    )
    options = parser.parse_args(arguments)
    out = options.out or options.corpus / FOLDER
    for kind, count in write_cloze(options.corpus, out, options.seconds).items():
        print(f"{kind}: {count} items")


if __name__ == "__main__":
    main()
