"""`audiolm detect`: whether a file, or the files of a folder, were generated."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.audio.files import FORMATS
from audiolm_jax.audio.names import one_line, shown
from audiolm_jax.audio.output import SUFFIXES, read_provenance
from audiolm_jax.audio.resample import read_resampled
from audiolm_jax.classifiers.calibration import Calibration, probability
from audiolm_jax.classifiers.listen import Detector
from audiolm_jax.cli.console import keep_stdout_free
from audiolm_jax.cli.options import parse
from audiolm_jax.data.walk import walk
from audiolm_jax.errors import InputError

logger = logging.getLogger(__name__)


_SHOWN_SECONDS = 12  # of a row of the table; --json has all


@dataclasses.dataclass(frozen=True)
class DetectOptions:
    """Tell how likely recordings are generated, each as a whole and second by second.

    Windows of 1 s every 250 ms are heard. The probability is that of held-out recordings of the
    kind the detector was trained on, half of them generated; the detector knows the speech of one
    bundle's models and is not to be trusted with that of others (docs/guide/detector.md). What the
    files themselves say of their origin is shown beside it.
    """

    source: tyro.conf.Positional[Path]
    """Recording (wav, flac, mp3, ogg, opus, m4a or g722) of any rate, or a folder of them. One that
    cannot be read is named, the rest is done, and the exit status is 2."""
    model: Path
    """Detector: its run directory or model folder."""
    json: bool = False
    """Print JSON in place of a table."""


def detect(arguments: Sequence[str]) -> None:
    """`audiolm detect`."""
    options = parse(DetectOptions, arguments, "audiolm detect")
    if options.json:
        keep_stdout_free()
    files = _files(options.source)
    detector = Detector.load(model_folder(options.model))
    if not options.json:
        for line in _about(detector):
            print(line)
    rows, failed = [], []
    for path in files:
        try:
            rows.append(row := _hear(detector, path))
        except InputError as error:
            failed.append({"path": shown(path), "reason": one_line(str(error))})
            logger.warning("failed: %s", error)
        else:
            if not options.json:
                print(_line(row), flush=True)
    if options.json:
        about = {
            "fingerprint": detector.fingerprint,
            "sample_rate_hz": detector.sample_rate_hz,
            "threshold": float(probability(detector.calibration.threshold)),
            "calibration": dataclasses.asdict(detector.calibration),
        }
        print(json.dumps({"detector": about, "files": rows, "failed": failed}, indent=1))
    if failed:
        raise InputError(f"{options.source}: {len(failed)} of {len(files)} files failed, see above")


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    found = walk(source, set(FORMATS))
    for bad in found.left_out:
        logger.warning("skipped %s/%s: %s", shown(source), bad.path, bad.reason)
    if not found.wanted:
        kinds = " ".join(sorted(FORMATS))
        raise InputError(f"{source}: holds no file ending in {kinds}")
    return [source / name for name in sorted(found.wanted)]


def _hear(detector: Detector, path: Path) -> dict[str, Any]:
    samples = read_resampled(path, detector.sample_rate_hz, "soxr_hq")
    heard, seconds = detector.hear(samples), len(samples) / detector.sample_rate_hz
    crop = detector.classifier.config.crop_seconds
    is_short = seconds < crop
    return {
        "path": shown(path),
        "seconds": round(seconds, 3),
        "probability": heard.probability,
        "log_odds": heard.log_odds,
        "generated": heard.is_generated,
        "by_second": list(heard.by_second),
        "note": f"shorter than the {crop:g} s that it learnt from" if is_short else "",
        "provenance": _provenance(path),
    }


def _provenance(path: Path) -> dict[str, Any] | None:
    """What a file says of its origin; only wav and FLAC files can."""
    return read_provenance(path) if path.suffix.lower() in SUFFIXES else None


def _about(detector: Detector) -> list[str]:
    facts: Calibration = detector.calibration
    reach = f"{facts.false_positives} of {facts.real} held-out real recordings reach it"
    return [
        f"detector {detector.fingerprint[:16]}, {detector.sample_rate_hz} Hz; generated from "
        f"{100 * float(probability(facts.threshold)):.1f} % on: {reach}, "
        f"{facts.misses} of {facts.generated} generated ones do not",
        "generated  verdict    length  path; by second; what the file says of itself",
    ]


def _line(row: dict[str, Any]) -> str:
    verdict = "generated" if row["generated"] else "real"
    by_second = [f"{100 * p:.0f}" for p in row["by_second"][:_SHOWN_SECONDS]]
    if len(row["by_second"]) > _SHOWN_SECONDS:
        by_second.append("...")
    note = f"; {row['note']}" if row["note"] else ""
    origin = _origin(row["provenance"])
    return one_line(
        f"{100 * row['probability']:7.1f} %  {verdict:9}  {row['seconds']:6.2f} s  {row['path']}; "
        f"{' '.join(by_second)}; {origin}{note}"
    )


def _origin(provenance: dict[str, Any] | None) -> str:
    if provenance is None:
        return "no provenance"
    what = "synthetic" if provenance.get("synthetic") is True else "not marked as synthetic"
    software = provenance.get("software")
    return f"{what}, {software}" if isinstance(software, str) else what
