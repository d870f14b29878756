"""Measures of a resynthesis against its original, mono at 16 kHz, the rate of wideband PESQ and
ViSQOL's speech mode, by name: what each needs and how it reads."""

import dataclasses
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from audiolm_jax.evaluation.measures.waveform import mel_distance, si_sdr, stoi

RATE_HZ = 16_000
# ViSQOL compares patches of 20 frames and fails on a clip that holds less than two of them.
SHORTEST_SECONDS = 1.0
VisqolMapping = Literal["polynomial", "lattice"]
# The least on the scales of PESQ and ViSQOL: what a clip gets whose resynthesis is silent or holds
# no speech, of which the measures themselves say nothing.
LEAST_OPINION = 1.0


@dataclasses.dataclass(frozen=True)
class Metric:
    """One column of the table."""

    name: str  # key in configs and JSON
    heading: str  # of its column, with the unit
    digits: int  # shown after the point
    higher_is_better: bool
    packages: tuple[tuple[str, str], ...] = ()  # (module, name for pip) beyond the required ones
    failed: float | None = None  # score of a clip that failed, if there is such a score


WAVEFORM_METRICS = (
    Metric("visqol", "ViSQOL", 2, True, (("visqol", "visqol-python"),), LEAST_OPINION),
    Metric("pesq", "PESQ", 2, True, (("pesq", "pesq"),), LEAST_OPINION),
    Metric("stoi", "STOI", 3, True, (("pystoi", "pystoi"),)),
    Metric("si_sdr_db", "SI-SDR, dB", 1, True),
    Metric("mel_distance", "mel distance", 3, False),
)
_ASR_PACKAGES = (
    ("faster_whisper", "faster-whisper"),
    ("jiwer", "jiwer"),
    ("whisper_normalizer", "whisper-normalizer"),
)
TEXT_METRICS = (
    Metric("wer", "WER, %", 1, False, _ASR_PACKAGES),
    Metric("cer", "CER, %", 1, False, _ASR_PACKAGES),
)
METRICS = WAVEFORM_METRICS + TEXT_METRICS
_LATTICE = ("ai_edge_litert", "ai-edge-litert")


def missing_packages(metric: Metric, mapping: VisqolMapping = "polynomial") -> tuple[str, ...]:
    """What pip would have to install before the metric can be measured."""
    needed = metric.packages
    if metric.name == "visqol" and mapping == "lattice":
        needed = (*needed, _LATTICE)
    return tuple(name for module, name in needed if importlib.util.find_spec(module) is None)


def package_versions(metric: Metric) -> dict[str, str]:
    """Versions of the metric's packages that are installed."""
    return {
        name: importlib.metadata.version(name)
        for module, name in metric.packages
        if importlib.util.find_spec(module) is not None
    }


def measure(
    reference: Float[np.ndarray, " s"],
    estimate: Float[np.ndarray, " s"],
    names: Sequence[str],
    mapping: VisqolMapping,
) -> dict[str, float | None]:
    """Measures of a clip at 16 kHz, 1 s or more, by name of `WAVEFORM_METRICS`; their packages must
    be there. None where a measure is not defined, such as PESQ of silence."""
    functions: dict[str, Callable[[], float | None]] = {
        "visqol": lambda: visqol(reference, estimate, mapping),
        "pesq": lambda: pesq(reference, estimate),
        "stoi": lambda: stoi(reference, estimate, RATE_HZ),
        "si_sdr_db": lambda: si_sdr(reference, estimate),
        "mel_distance": lambda: mel_distance(reference, estimate, RATE_HZ),
    }
    return {name: functions[name]() for name in names}


def pesq(reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"]) -> float | None:
    """Wideband PESQ (ITU-T P.862.2), about 1.02 to 4.64; 1 if it hears no speech in the estimate
    alone, None if in the reference."""
    import pesq as package

    def score(estimate: Float[np.ndarray, " s"]) -> float | None:
        if not np.any(reference) or not np.any(estimate):
            return None
        try:
            return float(package.pesq(RATE_HZ, reference, estimate, "wb"))
        except package.NoUtterancesError:
            return None

    found = score(estimate)
    # The package does not say which of both it means.
    return LEAST_OPINION if found is None and score(reference) is not None else found


_VISQOL: dict[VisqolMapping, Any] = {}  # made once in a process


def visqol(
    reference: Float[np.ndarray, " s"], estimate: Float[np.ndarray, " s"], mapping: VisqolMapping
) -> float | None:
    """ViSQOL's speech mode (Chinen et al. 2020, visqol-python), 1 to 5; 1 for a silent estimate,
    None for a silent reference; from similarity to score by "polynomial", the fit of the first
    versions (equal signals get 5), or "lattice", the C++ program's network since 3.3, far more
    severe on low bitrates (4.53)."""
    from visqol import VisqolApi

    if not np.any(reference):
        return None
    if not np.any(estimate):
        return LEAST_OPINION
    if mapping not in _VISQOL:
        api = VisqolApi()
        api.create(mode="speech", use_lattice_model=mapping == "lattice")
        _VISQOL[mapping] = api
    result = _VISQOL[mapping].measure_from_arrays(
        reference.astype(np.float64), estimate.astype(np.float64), RATE_HZ
    )
    return float(result.moslqo)
