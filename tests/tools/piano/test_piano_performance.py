"""Rules of performance and hands on random scores; nothing here needs music21 or fluidsynth."""

import itertools
import statistics

import pytest

from tools.lots import Lots
from tools.piano.arrange import harmonies, tonic_of, with_left_hand
from tools.piano.hands import KEYS, REACH, melody, two_hands
from tools.piano.midi import midi_bytes
from tools.piano.pedal import DOWN, UP
from tools.piano.performance import STYLES, Performance, perform
from tools.piano.score import Bar, Note, Score, read_score, write_score
from tools.piano.timing import TimeMap, beats_of, phrases_of

BARS = 12


def random_score(seed: int, voices: int = 4) -> Score:
    """Voices that move by steps in quarters and eighths."""
    lots = Lots("test", seed)
    notes = set()
    for voice in range(voices):
        pitch, onset = 76 - 9 * voice, 0.0
        while onset < 4 * BARS:
            length = lots.choice((0.5, 1.0, 2.0))
            pitch = min(100, max(30, pitch + lots.choice((-2, -1, 0, 1, 2))))
            notes.add(Note(onset, length, pitch, voice))
            onset += length
    bars = tuple(Bar(4.0 * number, 1.0) for number in range(BARS))
    return Score("", "", "C major", tuple(sorted(notes)), bars)


def played(score: Score, style: str = "chorales", seed: int = 0) -> Performance:
    return perform(score, STYLES[style], (seed,))


@pytest.mark.parametrize("style", STYLES)
def test_a_performance_plays_every_note_once_and_no_key_twice(style):
    score = two_hands(random_score(1)).score
    performance = played(score, style)
    assert sorted(key.source for key in performance.keys) == list(range(len(score.notes)))
    for key in performance.keys:
        assert key.pitch == score.notes[key.source].pitch
        assert 1 <= key.velocity <= 127
        assert 0 <= key.onset < key.end
    of_pitch = sorted(performance.keys, key=lambda key: (key.pitch, key.onset))
    for before, after in itertools.pairwise(of_pitch):
        assert before.pitch != after.pitch or before.end < after.onset
    assert midi_bytes(performance) == midi_bytes(played(score, style))
    assert midi_bytes(performance) != midi_bytes(played(score, style, seed=1))


def test_melody_is_louder_than_what_is_inside():
    for seed in range(5):
        score = two_hands(random_score(seed)).score
        line = set(melody(score.notes))
        keys = played(score, seed=seed).keys
        top = [key.velocity for key in keys if score.notes[key.source] in line]
        rest = [key.velocity for key in keys if score.notes[key.source] not in line]
        assert statistics.mean(top) > statistics.mean(rest) + 2


def test_the_end_is_slower_than_the_middle():
    notes = tuple(Note(float(place), 1.0, 60 + place % 5, 0) for place in range(4 * BARS))
    score = Score("", "", "C major", notes, random_score(0).bars)
    for seed in range(5):
        gaps = [b.onset - a.onset for a, b in itertools.pairwise(played(score, seed=seed).keys)]
        assert gaps[-1] > 1.2 * statistics.median(gaps)


def test_pedal_goes_down_after_the_harmony_and_alternates():
    performance = played(two_hands(random_score(2)).score)
    values = [pedal.value for pedal in performance.pedals]
    assert values == [DOWN, UP] * (len(values) // 2)
    times = [pedal.seconds for pedal in performance.pedals]
    assert times == sorted(times)
    assert len(values) > 8


def test_time_grows_and_a_fermata_is_held():
    steps = [(0.0, 0.5), (4.0, 0.6)]
    plain, held = TimeMap(steps, {}, 0.25), TimeMap(steps, {3.0: 1.0}, 0.25)
    assert plain.at(0) == 0.25
    assert plain.at(4) == pytest.approx(2.25)
    assert plain.at(6) == pytest.approx(3.45)
    assert held.at(3) == plain.at(3)
    assert held.at(4) == pytest.approx(plain.at(4) + 0.5 + 0.12)
    places = [held.at(place / 7) for place in range(70)]
    assert places == sorted(places)


def test_beats_cover_a_score_with_an_upbeat_and_phrases_end_at_fermatas():
    notes = tuple(Note(float(place), 1.0, 60, 0) for place in range(9))
    bars = (Bar(0.0, 1.0, 3.0), Bar(1.0, 1.0), Bar(5.0, 1.0))
    score = Score("", "", "C major", notes, bars, fermatas=(4.0, 8.0))
    beats = beats_of(score)
    assert [beat.onset for beat in beats] == [float(place) for place in range(9)]
    assert [beat.is_first for beat in beats[:3]] == [False, True, False]
    assert [phrase.start for phrase in phrases_of(score)] == [0.0, 5.0]


def test_two_hands_keep_the_outer_voices_and_reach_the_rest():
    score = random_score(3, voices=7)
    reduced = two_hands(score)
    for onset, chord in itertools.groupby(reduced.score.notes, lambda note: note.onset):
        pitches = sorted(note.pitch for note in chord)
        whole = {note.pitch for note in score.notes if note.onset == onset}
        assert (pitches[0], pitches[-1]) == (min(whole), max(whole))
        assert len(pitches) == len(set(pitches)) <= 2 * KEYS
        inner = pitches[1:-1]
        assert all(p - pitches[0] <= REACH or pitches[-1] - p <= REACH for p in inner)
    assert two_hands(reduced.score) == (reduced.score, 0)


def test_a_left_hand_keeps_the_tune_and_ends_at_home():
    tune = tuple(
        Note(place / 2, 0.5, pitch, 0)
        for place, pitch in enumerate((67, 71, 74, 71, 69, 72, 74, 66) * 6 + (67, 71, 67, 67) * 4)
    )
    bars = tuple(Bar(4.0 * number, 1.0) for number in range(8))
    score = Score("", "", "G major", tune, bars)
    arranged = with_left_hand(score, Lots("left hand", 0))
    assert tuple(note for note in arranged.notes if note.part == 0) == tune
    assert all(note.pitch < 72 for note in arranged.notes if note.part == 1)
    assert {note.part for note in arranged.notes} == {0, 1}
    chords = harmonies(score, [(2.0 * place, 2.0) for place in range(16)])
    assert chords[0][0] == chords[-1][0] == tonic_of("G major") == 7


def test_a_score_survives_its_file(tmp_path):
    score = random_score(4)
    write_score(tmp_path / "a.json", score)
    assert read_score(tmp_path / "a.json") == score
    write_score(tmp_path / "b.json", "no notes")
    assert read_score(tmp_path / "b.json") == "no notes"


def test_midi_holds_what_was_played():
    performance = played(two_hands(random_score(5, voices=2)).score)
    data = midi_bytes(performance)
    place, tick, down, notes = 22, 0, {}, []
    assert (data[:4], data[14:18]) == (b"MThd", b"MTrk")
    assert len(data) == 22 + int.from_bytes(data[18:22])
    while place < len(data):
        delta = 0
        while True:
            byte = data[place]
            place, delta = place + 1, delta << 7 | byte & 127
            if byte < 128:
                break
        tick, status = tick + delta, data[place]
        if status == 0xFF:
            place += 3 + data[place + 2]
        elif status == 0xC0:
            place += 2
        else:
            if status == 0x90:
                assert data[place + 1] not in down
                down[data[place + 1]] = (tick, data[place + 2])
            elif status == 0x80:
                onset, velocity = down.pop(data[place + 1])
                notes.append((onset, data[place + 1], velocity))
            place += 3
    assert not down
    expected = [(round(key.onset * 1000), key.pitch, key.velocity) for key in performance.keys]
    assert sorted(notes) == sorted(expected)
