"""From MIDI to a recording: fluidsynth with a sampled piano, a room, a level.

fluidsynth runs alone, without its own reverberation and chorus, at 44.1 kHz, so that nothing of the
samples is folded down; soxr then makes the rate of the corpus.
"""

import dataclasses
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tools.lots import Lots
from tools.piano.midi import write_midi
from tools.piano.performance import Performance

_SYNTH_RATE_HZ = 44_100
_PEAK = 0.9  # of full scale; the level gives way to it
_TAIL_SECONDS = 1.0  # of silence at most after the last sound
_AUDIBLE = 10 ** (-60 / 20)


@dataclasses.dataclass(frozen=True)
class Piano:
    """A soundfont whose first preset is played."""

    name: str
    file: str
    licence: str


PIANOS = (
    Piano(
        "splendid",
        "MuseScore_General_Full.sf3",
        "MuseScore General HQ (MIT); its grand piano: Splendid Grand of AKAI, public domain",
    ),
    Piano("fluid", "FluidR3_GM.sf2", "Fluid R3 by Frank Wen (MIT)"),
)


@dataclasses.dataclass(frozen=True)
class Room:
    """Where it is heard."""

    decay_seconds: float  # to -60 dB
    wet_db: float  # energy of the reverberation over that of the direct sound
    tilt_db: float  # an octave
    level_db: float  # root mean square below full scale

    def __str__(self) -> str:
        return f"{self.decay_seconds:.2f} s {self.wet_db:.0f} dB tilt {self.tilt_db:+.1f} dB"


def draw_room(lots: Lots) -> Room:
    """From a dry living room to a small hall."""
    return Room(
        decay_seconds=lots.uniform(0.2, 1.1),
        wet_db=lots.uniform(-22, -9),
        tilt_db=lots.uniform(-1.0, 0.5),
        level_db=lots.uniform(-30, -20),
    )


def play(
    performance: Performance, soundfont: Path, fluidsynth: str, room: Room, seed: int, rate_hz: int
) -> np.ndarray:
    """float32 [samples] at rate_hz, mono; RuntimeError if fluidsynth fails."""
    import soundfile
    import soxr

    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "x.mid", Path(folder) / "x.wav"
        write_midi(midi, performance)
        options = ["-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "0.4", "-O", "float", "-T", "wav"]
        options += ["-o", "synth.dynamic-sample-loading=1", "-r", str(_SYNTH_RATE_HZ)]
        command = [fluidsynth, *options, "-F", str(wav), str(soundfont), str(midi)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not wav.exists():
            raise RuntimeError(f"{fluidsynth}: {done.stderr.strip() or 'wrote nothing'}")
        stereo, _ = soundfile.read(wav, dtype="float32", always_2d=True)
    samples = stereo.mean(axis=1)
    if rate_hz != _SYNTH_RATE_HZ:
        samples = soxr.resample(samples, _SYNTH_RATE_HZ, rate_hz, quality="HQ")
    return at_level(_without_tail(in_room(samples, room, seed, rate_hz), rate_hz), room.level_db)


def in_room(samples: np.ndarray, room: Room, seed: int, rate_hz: int) -> np.ndarray:
    """With reverberation, noise that decays, and a tilt of the spectrum; longer by the decay."""
    rng = np.random.default_rng(seed)
    length = round(room.decay_seconds * rate_hz)
    time = np.arange(length) / rate_hz
    tail = rng.standard_normal(length) * 10 ** (-3 * time / room.decay_seconds)
    tail[: round(rng.uniform(0.004, 0.02) * rate_hz)] = 0  # before the first reflection
    tail *= 10 ** (room.wet_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    total = len(samples) + length
    size = 1 << (total - 1).bit_length()
    frequency_hz = np.maximum(np.fft.rfftfreq(size, 1 / rate_hz), 60)
    tilt = 10 ** (room.tilt_db * np.log2(frequency_hz / 500) / 20)
    spectrum = np.fft.rfft(samples, size) * np.fft.rfft(tail, size) * tilt
    return np.fft.irfft(spectrum, size)[:total].astype(np.float32)


def _without_tail(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """Ends a moment after the last sample within 60 dB of the peak, faded out."""
    audible = np.flatnonzero(np.abs(samples) > _AUDIBLE * np.abs(samples).max())
    end = min(len(samples), audible[-1] + round(_TAIL_SECONDS * rate_hz))
    samples = samples[:end].copy()
    fade = min(len(samples), round(0.05 * rate_hz))
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return samples


def at_level(samples: np.ndarray, level_db: float) -> np.ndarray:
    """At a root mean square of level_db below full scale, less where a peak would exceed 0.9."""
    power = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    peak = float(np.abs(samples).max())
    if peak == 0:
        raise RuntimeError("fluidsynth gave silence")
    return samples * np.float32(min(10 ** (level_db / 20) / power, _PEAK / peak))
