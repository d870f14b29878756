"""Who speaks: a table of all speakers, and which of them training never hears."""

import dataclasses
from collections.abc import Iterator
from typing import Literal

from tools.lots import Lots

EngineName = Literal["hibari", "pico", "flite", "kokoro"]


@dataclasses.dataclass(frozen=True)
class Timbre:
    """How a virtual speaker differs from hibari's own voice.

    Beyond formants of 0.79 to 1.05, 90 to 210 Hz and tilts of at most 0 the speech gets unclear.
    """

    formants: float  # factor on all resonances; more than 1 is a shorter vocal tract
    pitch_hz: float  # median
    pitch_range: float  # factor on the logarithm of pitch over its median
    tempo: float
    tilt_db: float  # an octave, around 1 kHz
    breath_db: float  # on the noise

    def is_near(self, other: "Timbre") -> bool:
        """Whether the two could be taken for one speaker."""
        is_as_long = abs(self.formants - other.formants) < 0.02
        return is_as_long and abs(self.pitch_hz - other.pitch_hz) < 12


@dataclasses.dataclass(frozen=True)
class Warp:
    """How a virtual speaker differs from the voice of Pico or flite that it is made of.

    Beyond factors of 0.82 to 1.2 on the frequencies the speech gets unclear.
    """

    frequencies: float  # factor on all of them; more than 1 is a shorter vocal tract
    pitch: float  # factor
    tempo: float  # factor


@dataclasses.dataclass(frozen=True)
class Speaker:
    """A voice of an engine."""

    name: str  # also the name of its folder
    engine: EngineName
    voice: str  # as the engine calls it
    accent: str
    sex: Literal["female", "male"]  # as it sounds; nobody spoke
    held_out: bool = False
    timbre: Timbre | None = None  # of hibari only
    share: float = 1.0  # of what the others speak
    warp: Warp | None = None  # of virtual speakers of Pico and flite

    @property
    def tempo(self) -> float:
        """Factor on the engine's own tempo."""
        return (self.timbre or self.warp or _UNCHANGED).tempo

    @property
    def is_slow(self) -> bool:
        """Whether the engine takes about as long as its speech lasts."""
        return self.engine == "kokoro"


def _virtual(
    number: int, sex: Literal["female", "male"], *timbre: float, held_out: bool = False
) -> Speaker:
    return Speaker(
        f"hibari_{number:02d}", "hibari", "heart", "en-US", sex, held_out, Timbre(*timbre)
    )


def _more_virtual(first: int, count: int) -> Iterator[Speaker]:
    """Speakers that say less each, women and men by turns, of timbres drawn anywhere but beside
    those that are held out: of few voices a model makes one of those few from any that it hears."""
    unheard = [speaker.timbre for speaker in _NAMED if speaker.held_out and speaker.timbre]
    for number in range(first, first + count):
        lots = Lots("virtual speaker", number)
        sex: Literal["female", "male"] = "male" if number % 2 else "female"
        while True:
            formants = lots.uniform(*_FORMANTS[sex])
            pitch_hz = lots.uniform(*_PITCH_HZ[sex])
            manner = lots.uniform(0.7, 1.3), lots.uniform(0.92, 1.1)
            timbre = Timbre(formants, pitch_hz, *manner, lots.uniform(-2, 0), lots.uniform(-2, 3))
            if not any(timbre.is_near(other) for other in unheard):
                break
        name = f"hibari_{number:02d}"
        yield Speaker(name, "hibari", "heart", "en-US", sex, False, timbre, _LITTLE)


def _warped(source: Speaker, pitch_hz: float, count: int) -> Iterator[Speaker]:
    """Speakers that say less each, made of a voice with this median pitch; it tells their sex."""
    for number in range(1, count + 1):
        name = f"{source.name}_{number}"
        lots = Lots("warped speaker", name)
        # By turns shorter and longer vocal tracts, none as long as the voice's own.
        frequencies = lots.uniform(1.05, 1.2) if number % 2 else lots.uniform(0.82, 0.95)
        pitch = frequencies**2 * lots.uniform(0.85, 1.15)
        sex: Literal["female", "male"] = "female" if pitch * pitch_hz > _FEMALE_HZ else "male"
        warp = Warp(frequencies, pitch, lots.uniform(0.92, 1.1))
        yield dataclasses.replace(source, name=name, sex=sex, share=_LITTLE, warp=warp)


def _kokoro(voice: str) -> Speaker:
    accent = "en-US" if voice[0] == "a" else "en-GB"
    sex: Literal["female", "male"] = "female" if voice[1] == "f" else "male"
    return Speaker(f"kokoro_{voice}", "kokoro", voice, accent, sex, voice in _KOKORO_HELD_OUT)


_KOKORO_HELD_OUT = ("af_bella", "af_sarah", "am_fenrir", "am_michael", "bf_emma", "bm_george")
_AMERICANS = (
    "af_alloy af_aoede af_bella af_heart af_jessica af_kore af_nicole af_nova af_river af_sarah "
    "af_sky am_adam am_echo am_eric am_fenrir am_liam am_michael am_onyx am_puck am_santa"
)
_BRITISH = "bf_alice bf_emma bf_isabella bf_lily bm_daniel bm_fable bm_george bm_lewis"
KOKORO_VOICES = tuple(f"{_AMERICANS} {_BRITISH}".split())

_FORMANTS = {"female": (0.92, 1.05), "male": (0.79, 0.93)}
_PITCH_HZ = {"female": (155.0, 210.0), "male": (90.0, 142.0)}
_FEMALE_HZ = 150.0
_LITTLE = 0.25
_UNCHANGED = Warp(1.0, 1.0, 1.0)

_PICO_US = Speaker("pico_us", "pico", "en-US", "en-US", "female")
_PICO_GB = Speaker("pico_gb", "pico", "en-GB", "en-GB", "female")
_FLITE_SLT = Speaker("flite_slt", "flite", "slt", "en-US", "female")
_FLITE_AWB = Speaker("flite_awb", "flite", "awb", "en-GB-scotland", "male")
_NAMED = (
    _virtual(1, "female", 1.00, 185, 1.0, 1.00, 0, 0),
    _virtual(2, "female", 0.94, 165, 0.9, 0.95, -1, 0),
    _virtual(3, "male", 0.86, 118, 0.9, 1.00, 0, 0),
    _virtual(4, "male", 0.82, 95, 0.8, 0.94, -1, -2),
    _virtual(5, "male", 0.89, 135, 1.2, 1.08, 0, 0),
    _virtual(6, "female", 1.05, 210, 1.1, 1.03, 0, 0),
    _virtual(7, "female", 1.02, 195, 1.2, 0.95, 0, 0),
    _virtual(8, "female", 1.04, 205, 0.8, 1.10, -2, 2),
    _virtual(9, "male", 0.79, 108, 1.1, 1.05, 0, -2),
    _virtual(10, "female", 0.97, 190, 1.3, 0.92, 0, 0, held_out=True),
    _virtual(11, "male", 0.92, 105, 0.7, 0.92, 0, 3),
    _virtual(12, "male", 0.84, 128, 1.0, 1.03, -1, 0, held_out=True),
    _virtual(13, "female", 0.98, 172, 0.8, 1.06, -1, 1),
    _virtual(14, "male", 0.88, 98, 1.0, 0.98, 0, 0),
    _PICO_US,
    _PICO_GB,
    _FLITE_SLT,
    Speaker("flite_rms", "flite", "rms", "en-US", "male", held_out=True),
    _FLITE_AWB,
)
FAST_SPEAKERS = (
    *_NAMED,
    *_more_virtual(15, 48),
    *_warped(_PICO_US, 169, 4),
    *_warped(_PICO_GB, 168, 4),
    *_warped(_FLITE_SLT, 167, 8),
    *_warped(_FLITE_AWB, 128, 8),
)
SLOW_SPEAKERS = tuple(_kokoro(voice) for voice in KOKORO_VOICES)
