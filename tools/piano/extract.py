"""Reads a score with music21, which is imported here alone."""

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.piano.score import Bar, Note, Score

# music21's own loudness of marks, in MIDI velocities.
_VELOCITY = {"ppp": 24, "pp": 34, "p": 46, "mp": 56, "mf": 66, "f": 80, "ff": 94, "fff": 106}
_MAX_QUARTERS = 3000


def music21_corpus() -> Path:
    """The folder of the scores."""
    found = importlib.util.find_spec("music21")
    if found is None or not found.origin:
        raise SystemExit("error: the package music21 is not installed; ./launch/piano.sh does so")
    return Path(found.origin).parent / "corpus"


def extract(path: Path, title: str, composer: str) -> Score | str:
    """The score of a file, or why it cannot be played, in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _extract(path, title, composer)
    except Exception as error:  # of a parser of a hundred dialects: anything
        return (
            f"music21 cannot read it: {type(error).__name__}: {' '.join(str(error).split())[:120]}"
        )


def _extract(path: Path, title: str, composer: str) -> Score | str:
    from music21 import converter, repeat

    reader = converter.Converter()
    reader.parseFileNoPickle(str(path))  # no pickles, neither read nor written
    score: Any = reader.stream
    if not score.parts:
        return "no score of parts"
    if (facts := score.metadata) is not None:
        named = facts.title or facts.movementName or ""
        if named and not named.endswith((".mxl", ".xml", ".musicxml")):  # music21 fills in the file
            title = named
        composer = facts.composer or composer
    has_repeats = bool(score.recurse().getElementsByClass(("RepeatMark",)))
    repeats = "none"
    if has_repeats:
        try:
            score, repeats = score.expandRepeats(), "taken"
        except repeat.ExpanderException:
            repeats = "not taken"
    score = score.toSoundingPitch()
    key = score.analyze("key")
    flat = [part.stripTies().flatten() for part in score.parts]
    notes = sorted({note for number, part in enumerate(flat) for note in _notes(part, number)})
    if not notes:
        return "no notes"
    fermatas = {  # of the upper part: the others have them at the same place or a little after
        _time(element.offset)
        for element in flat[0].notes
        if any("Fermata" in sign.classes for sign in element.expressions)
    }
    marks = {
        (_time(element.offset), _VELOCITY[element.value])
        for part in flat
        for element in part.getElementsByClass("Dynamic")
        if element.value in _VELOCITY
    }
    tempi = [mark.getQuarterBPM() for mark in flat[0].getElementsByClass("MetronomeMark")]
    found = Score(
        title=" ".join(title.split()),
        composer=" ".join(composer.split()),
        key=f"{key.tonic.name.replace('-', 'b')} {key.mode}",
        notes=tuple(notes),
        bars=tuple(_bars(score.parts[0])),
        fermatas=tuple(sorted(fermatas)),
        marks=tuple(sorted(dict(sorted(marks)).items())),
        qpm=float(tempi[0]) if tempi and tempi[0] else None,
        repeats=repeats,
    )
    if found.end > _MAX_QUARTERS:
        return f"too long: {found.end:.0f} quarters"
    return found if found.bars else "no bars"


def _notes(part: Any, number: int) -> Iterator[Note]:
    for element in part.notes:
        if "ChordSymbol" in element.classes or element.duration.isGrace:
            continue
        duration = _time(element.quarterLength)
        is_short = any(sign.name == "staccato" for sign in element.articulations)
        for pitch in getattr(element, "pitches", ()):
            if duration > 0 and 21 <= pitch.midi <= 108:
                yield Note(_time(element.offset), duration, pitch.midi, number, is_short)


def _bars(part: Any) -> Iterator[Bar]:
    beat, length = 1.0, 4.0
    for measure in part.getElementsByClass("Measure"):
        if (signature := measure.timeSignature) is not None:
            beat = float(signature.beatDuration.quarterLength)
            length = float(signature.barDuration.quarterLength)
        is_upbeat = measure.offset == 0 and 0 < measure.highestTime < length
        missing = length - float(measure.highestTime) if is_upbeat else 0.0
        yield Bar(_time(measure.offset), beat, round(missing, 6))


def _time(quarters: Any) -> float:
    return round(float(quarters), 6)
