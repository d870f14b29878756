"""Measures codecs beside Opus on held-out recordings and writes table, figures and page."""

import dataclasses
import functools
import importlib.metadata
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax import __version__
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.hashing import file_sha256
from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of
from audiolm_jax.artifacts.storage import at
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.codecs.comparison import OPUS, ORIGINAL, opus_differences, summarize
from audiolm_jax.evaluation.codecs.opus import HIGHEST_KBPS, LOWEST_KBPS
from audiolm_jax.evaluation.lifecycle import Evaluation, tell
from audiolm_jax.evaluation.measures.quality import (
    METRICS,
    RATE_HZ,
    SHORTEST_SECONDS,
    TEXT_METRICS,
    WAVEFORM_METRICS,
    VisqolMapping,
    measure,
    missing_packages,
    package_versions,
)
from audiolm_jax.evaluation.measures.recognition import MODEL_FILE, AsrConfig, Recognizer
from audiolm_jax.evaluation.page.palette import MAX_CURVES

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CodecEvaluateExperiment(Evaluation):
    """Measure codecs beside Opus on held-out audio and write a table, figures and a page."""

    page: ClassVar[str] = "report.html"
    record: ClassVar[str] = "report.json"

    directory: Place
    """Where report.json, table.md, report.html and the figures go."""
    title: str
    """Heading of the page."""
    data: AudioDataConfig
    """Recordings at 16 kHz; only held-out clips are used."""
    codecs: tuple[tuple[str, Place], ...]
    """(label, run directory or model folder) of each codec."""
    levels: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12)
    """Numbers of levels to decode, as far as a codec has them; all of its levels always are."""
    opus_kbps: tuple[float, ...] = (6.0, 8.0, 12.0, 24.0)
    """Nominal bitrates of Opus, 6 to 510; empty for no Opus."""
    min_clip_seconds: float = 3.0
    """Shorter clips are left out, at least 1."""
    max_clip_seconds: float = 10.0
    """Longer clips are left out."""
    max_clips: int = 60
    """No more than so many, chosen by hash."""
    visqol_mapping: VisqolMapping = "polynomial"
    """From similarity to score, "polynomial" or "lattice"; see `quality.visqol`."""
    required: tuple[str, ...] = ()
    """Metrics that must be measured; others are left out where their package is missing."""
    asr: AsrConfig = AsrConfig()
    """Recognizer for WER and CER."""
    examples: int = 4
    """Clips to listen to on the page."""
    runs: tuple[Place, ...] = ()
    """Run directories whose loss curves are shown."""
    seed: int = 0
    """Of the bootstrap."""
    licence: str = ""
    """License and attribution of the recordings, shown on the page."""

    def __post_init__(self) -> None:
        if self.data.sample_rate_hz != RATE_HZ:
            given = f"--data.sample-rate-hz {self.data.sample_rate_hz}"
            raise InputError(f"{given}: expected {RATE_HZ}, the rate of wideband PESQ and ViSQOL")
        labels = [label for label, _ in self.codecs]
        if len(labels) > MAX_CURVES - 2:
            raise InputError(f"--codecs {labels}: expected at most {MAX_CURVES - 2}")
        if not labels or len({*labels, OPUS, ORIGINAL}) < len(labels) + 2:
            raise InputError(
                f"--codecs {labels}: expected at least one, each under a label of its own other "
                f"than {OPUS!r} and {ORIGINAL!r}"
            )
        if not self.levels or min(self.levels) < 1:
            raise InputError(f"--levels {self.levels}: expected numbers from 1 on")
        for kbps in self.opus_kbps:
            if not LOWEST_KBPS <= kbps <= HIGHEST_KBPS:
                limits = f"{LOWEST_KBPS:g} to {HIGHEST_KBPS:g}"
                raise InputError(f"--opus-kbps {kbps:g}: expected {limits}")
        if not SHORTEST_SECONDS <= self.min_clip_seconds < self.max_clip_seconds:
            raise InputError(
                f"--min-clip-seconds {self.min_clip_seconds}, --max-clip-seconds "
                f"{self.max_clip_seconds}: expected {SHORTEST_SECONDS:g} or more, and more"
            )
        if self.max_clips < 1 or self.examples < 0:
            given = f"--max-clips {self.max_clips}, --examples {self.examples}"
            raise InputError(f"{given}: expected at least 1 and 0")
        known = [metric.name for metric in METRICS]
        if unknown := [name for name in self.required if name not in known]:
            raise InputError(f"--required {unknown[0]}: expected {', '.join(known)}")
        if self.asr.model is None and {"wer", "cer"} & set(self.required):
            raise InputError("--required has wer or cer: name a Whisper folder in --asr.model")

    def upstream(self) -> dict[str, str]:
        """Fingerprint of each codec by its label."""
        return {label: fingerprint_of(path) for label, path in self.codecs}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be held-out clips of the length asked for, and texts for the recognizer."""
        from audiolm_jax.evaluation.codecs.selection import select_clips

        limits = self.min_clip_seconds, self.max_clip_seconds, self.max_clips
        select_clips(index, *limits, self.asr if self.asr.model else None, str)

    def facts(self) -> dict[str, Any]:
        """Fingerprints of the codecs, versions of the packages that measure."""
        from audiolm_jax.evaluation.page.training import run_facts

        not_measured = self._not_measured()
        measured = [metric for metric in METRICS if metric.name not in not_measured]
        return {
            "codecs": self.upstream(),
            "metrics": {metric.name: package_versions(metric) for metric in measured},
            "curves": run_facts(self.runs),
        }

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings and of the recognizer."""
        from audiolm_jax.data.index import scan

        weights = Path(self.asr.model or "") / MODEL_FILE
        recognizer = file_sha256(weights) if self.asr.model and weights.is_file() else None
        return {"fingerprint": scan(self.data).fingerprint, "recognizer": recognizer}

    def measure(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Measures what the config names; writes table.md, figures/ and the page."""
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.unheard import check_unheard, provenance_at
        from audiolm_jax.evaluation.codecs.compare import compare_selection, conditions_of
        from audiolm_jax.evaluation.codecs.page import CodecPage, notes_of
        from audiolm_jax.evaluation.codecs.selection import select_clips
        from audiolm_jax.evaluation.codecs.systems import OpusSystem, System, load_codecs
        from audiolm_jax.evaluation.page.charts import write_charts
        from audiolm_jax.evaluation.page.training import summarize_run, training_charts

        not_measured = self._not_measured()
        index = scan(self.data)
        check_unheard(index, {path: provenance_at(path) for _, path in self.codecs})
        trainers = tuple(summarize_run(at(run)) for run in self.runs)
        self.check_data(index)
        codecs = load_codecs(self.codecs, self.levels)
        for name, reason in not_measured.items():
            logger.warning("%s: not measured: %s", name, reason)
        asr = self.asr
        recognizer = None if asr.model is None else Recognizer(Path(asr.model), asr.language)
        limits = self.min_clip_seconds, self.max_clip_seconds, self.max_clips
        heard = (asr, recognizer.normalize) if recognizer else (None, str)
        selection = select_clips(index, *limits, *heard)
        logger.info(
            "%d clips to measure, %d to recognize; left out %d times, see report.json",
            *(len(selection.waveform), len(selection.words), len(selection.left_out)),
        )
        systems: list[System] = [*codecs]
        if self.opus_kbps:
            systems.append(OpusSystem(self.opus_kbps))
        waveform = [metric.name for metric in WAVEFORM_METRICS if metric.name not in not_measured]
        conditions = conditions_of(systems, recognizer is not None)
        measure_clip = functools.partial(measure, names=waveform, mapping=self.visqol_mapping)
        records, examples = compare_selection(
            systems, selection, measure_clip, recognizer, self.examples
        )
        rates_hz = {codec.label: codec.codec.sample_rate_hz for codec in codecs}
        codebooks = tuple(codec.codebook_use() for codec in codecs)
        content = CodecPage(
            title=self.title,
            summary=selection.summary,
            sample_rate_hz=RATE_HZ,
            rows=summarize(conditions, records, codebooks, list(facts["metrics"]), self.seed),
            not_measured=not_measured,
            notes=notes_of(rates_hz, self.visqol_mapping, asr.language if recognizer else None),
            differences=opus_differences(conditions, records, waveform, self.seed),
            codebooks=codebooks,
            examples=tuple(examples),
            trainers=trainers,
            left_out=selection.left_out,
            provenance=self._provenance(facts, selection.index.fingerprint, recognizer),
            data_licence=self.licence,
        )
        directory = Path(self.directory)
        write_charts(directory, (*content.charts, *training_charts(trainers)))
        write_text(directory / "table.md", content.markdown())
        write_text(directory / self.page, content.render())
        tell(content.markdown())
        speakers = {"heldout_speakers": dataclasses.asdict(selection.speakers)}
        heard_by = recognizer.fingerprint if recognizer else None
        data = {"fingerprint": index.fingerprint, "recognizer": heard_by}
        return {"data": data} | speakers | content.record(records)

    def _provenance(
        self, facts: dict[str, Any], data_fingerprint: str, recognizer: Recognizer | None
    ) -> dict[str, str]:
        versions = {name: v for own in facts["metrics"].values() for name, v in own.items()}
        return {
            **{f"codec {label}": value for label, value in facts["codecs"].items()},
            "data": data_fingerprint,
            "config": facts["config_hash"],
            "seed of the bootstrap": str(self.seed),
            "metric packages": ", ".join(f"{name} {v}" for name, v in sorted(versions.items())),
            "recogniser": f"model.bin {recognizer.fingerprint}" if recognizer else "none",
            "Opus": f"libopus of av {importlib.metadata.version('av')}",
            "software": f"audiolm_jax {__version__}, jax {importlib.metadata.version('jax')}",
        }

    def _not_measured(self) -> dict[str, str]:
        """Reason by metric that cannot be measured; InputError if it was asked for."""
        reasons = {}
        for metric in METRICS:
            is_text = metric in TEXT_METRICS
            if is_text and self.asr.model is None:
                reason = "name a Whisper folder in --asr.model (docs/guide/codec_evaluation.md)"
                reasons[metric.name] = reason
            elif missing := missing_packages(metric, self.visqol_mapping):
                reason = f"pip install {' '.join(missing)}"
                if is_text or metric.name in self.required:
                    flag = "--asr.model" if is_text else "--required"
                    raise InputError(f"{flag} asks for {metric.name}, which is missing: {reason}")
                reasons[metric.name] = reason
        return reasons
