"""Measures codecs beside Opus on held-out recordings and writes table, figures, JSON and page."""

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import av
import jax

from audiolm_jax import __version__
from audiolm_jax.artifacts.atomic import write_text
from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.artifacts.model_folder import MODEL_JSON
from audiolm_jax.artifacts.run_folder import model_folder
from audiolm_jax.data.index import ClipIndex, scan
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.codecs import page as codec_page
from audiolm_jax.evaluation.codecs.compare import Listener, Measurer, compare, conditions_of
from audiolm_jax.evaluation.codecs.comparison import (
    ClipRecord,
    Condition,
    Estimate,
    difference,
    summarize,
)
from audiolm_jax.evaluation.codecs.page import CodecPage
from audiolm_jax.evaluation.codecs.selection import Selection, select_clips
from audiolm_jax.evaluation.codecs.systems import OPUS, CodecSystem, OpusSystem, System
from audiolm_jax.evaluation.measures.quality import (
    METRICS,
    TEXT_METRICS,
    WAVEFORM_METRICS,
    Metric,
    missing_packages,
    package_versions,
)
from audiolm_jax.evaluation.measures.recognition import Recognizer, text_normalizer
from audiolm_jax.evaluation.page.figure_files import training_figures, write_figures
from audiolm_jax.evaluation.page.listening import Example
from audiolm_jax.evaluation.page.run_summary import summarize_run
from audiolm_jax.experiments.experiment import CodecEvaluateExperiment
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer


def evaluate_codecs(experiment: CodecEvaluateExperiment, workers: int | None = None) -> Path:
    """Measures what the config names; returns the page.

    Args:
      experiment: codecs, clips and metrics.
      workers: processes that measure waveforms; None for one for each core.

    Raises:
      InputError: a codec or run that is not there, no clip to judge, a required metric whose
        package is missing, a codec that has learnt from the clips it is to be judged on.
    """
    directory = Path(experiment.directory)
    not_measured = _not_measured(experiment)
    codecs = [
        CodecSystem(label, load_acoustic_tokenizer(_folder(experiment, folder)), experiment.levels)
        for label, folder in experiment.codecs
    ]
    facts = {
        "config_hash": config_hash(experiment),
        "codecs": {one.label: one.codec.fingerprint for one in codecs},
        "metrics": _versions(not_measured),
    }
    page, summary = directory / "report.html", directory / "report.json"
    if page.is_file() and summary.is_file() and json.loads(summary.read_text())["of"] == facts:
        print(f"{page}: finished already, nothing to do")
        return page
    trainers = tuple(summarize_run(Path(run)) for run in experiment.runs)
    for name, reason in not_measured.items():
        print(f"{name}: not measured: {reason}", file=sys.stderr)
    recognizer, normalize = _recognizer(experiment)
    selection = _select(experiment, scan(experiment.data), recognizer, normalize)
    opus = [OpusSystem(experiment.opus_kbps)] if experiment.opus_kbps else []
    systems: list[System] = [*codecs, *opus]
    listener = Listener(recognizer, normalize) if recognizer else None
    names = [one.name for one in WAVEFORM_METRICS if one.name not in not_measured]
    conditions = conditions_of(systems, listener is not None)
    players = codec_page.players_of(conditions)
    records: list[ClipRecord] = []
    examples: list[Example] = []
    with Measurer(names, experiment.visqol_mapping, workers or os.cpu_count() or 1) as measurer:
        clips = compare(systems, selection.judged(), measurer, listener)
        for clip, (record, audio) in zip(selection.clips, clips, strict=True):
            records.append(record)
            if len(examples) < min(experiment.examples, len(selection.waveform)):
                heard = [("Original", selection.index.load(clip))]
                heard += [(conditions[place].label, audio[place]) for place in players]
                examples.append(codec_page.example(record.clip_id, clip.text or None, heard))
            print(f"{len(records)} of {len(selection.clips)} clips: {record.clip_id}")
    codebooks = tuple(one.codebook_use() for one in codecs)
    measured = [one.name for one in METRICS if one.name not in not_measured]
    rows = summarize(conditions, records, codebooks, measured, experiment.seed)
    content = CodecPage(
        title=experiment.title,
        summary=_summary(selection),
        rows=rows,
        not_measured=not_measured,
        notes=_notes(experiment, codecs),
        differences=_differences(conditions, records, names, experiment.seed),
        codebooks=codebooks,
        examples=tuple(examples),
        trainers=trainers,
        left_out=selection.left_out,
        provenance=tuple(_provenance(experiment, facts, selection, recognizer).items()),
        data_licence=experiment.licence,
    )
    drawn = codec_page.figures(content)
    alone = {name: svg for name, (_, svg) in drawn.items()}
    write_figures(directory, alone | training_figures(trainers))
    text = codec_page.markdown(content)
    write_text(directory / "table.md", text)
    write_text(page, codec_page.render(content, drawn))
    write_text(summary, json.dumps(_record(facts, content, selection, records), indent=1) + "\n")
    print(text)
    print(f"{page}: written, open it in a browser")
    return page


def _folder(experiment: CodecEvaluateExperiment, path: str) -> Path:
    """The codec's model folder.

    Raises:
      InputError: none there, or by its own record it learnt from some of the held-out clips.
    """
    folder = model_folder(path)
    provenance = json.loads((folder / MODEL_JSON).read_text())["provenance"]
    trained_on = (provenance.get("config") or {}).get("data") or {}
    ours = experiment.data
    if (
        trained_on.get("dataset") == ours.dataset
        and trained_on.get("heldout_percent", 100) < ours.heldout_percent
    ):
        raise InputError(
            f"data.heldout_percent = {ours.heldout_percent}: {path} was trained on {ours.dataset} "
            f"with {trained_on['heldout_percent']}, so it knows some of these clips; take at most "
            "that"
        )
    return folder


def _not_measured(experiment: CodecEvaluateExperiment) -> dict[str, str]:
    """Reason by metric that cannot be measured.

    Raises:
      InputError: it was asked for.
    """
    reasons = {}
    for metric in METRICS:
        if metric in TEXT_METRICS and experiment.asr.model is None:
            reasons[metric.name] = "name a Whisper folder in asr.model (docs/codec_evaluation.md)"
        elif missing := missing_packages(metric, experiment.visqol_mapping):
            reason = f"pip install {' '.join(missing)}"
            if metric in TEXT_METRICS or metric.name in experiment.required:
                field = "asr.model" if metric in TEXT_METRICS else "required"
                raise InputError(
                    f"{field} asks for {metric.name}, which needs packages that are not "
                    f"installed: {reason}"
                )
            reasons[metric.name] = reason
    return reasons


def _versions(not_measured: dict[str, str]) -> dict[str, dict[str, str]]:
    return {one.name: package_versions(one) for one in METRICS if one.name not in not_measured}


def _recognizer(
    experiment: CodecEvaluateExperiment,
) -> tuple[Recognizer | None, Callable[[str], str]]:
    if experiment.asr.model is None:
        return None, str
    language = experiment.asr.language
    return Recognizer(Path(experiment.asr.model), language), text_normalizer(language)


def _select(
    experiment: CodecEvaluateExperiment,
    index: ClipIndex,
    recognizer: Recognizer | None,
    normalize: Callable[[str], str],
) -> Selection:
    selection = select_clips(
        index,
        experiment.min_clip_seconds,
        experiment.max_clip_seconds,
        experiment.max_clips,
        None if recognizer is None else experiment.asr,
        normalize,
    )
    print(
        f"{len(selection.waveform)} clips to measure, {len(selection.words)} to recognise; left "
        f"out {len(selection.left_out)} times, see report.json"
    )
    return selection


def _summary(selection: Selection) -> str:
    rate = selection.index.config.sample_rate_hz
    seconds = sum(clip.num_samples for clip in selection.waveform) / rate
    words = f", words on {len(selection.words)}" if selection.words else ""
    return (
        f"Measured on {len(selection.waveform)} held-out clips of "
        f"{selection.index.config.dataset}, {seconds:.0f} s{words}."
    )


def _notes(experiment: CodecEvaluateExperiment, codecs: Sequence[CodecSystem]) -> tuple[str, ...]:
    notes = [
        codec_page.BOOTSTRAP_NOTE,
        f"ViSQOL is its speech mode with the {experiment.visqol_mapping} mapping; PESQ is wideband "
        "(P.862.2); all measures are taken at 16 kHz.",
        "kbit/s is nominal. For Opus the measured bitrate is that of its packets; its Ogg file "
        "weighs more on short clips. The entropy-coded bitrate is what a codec's codes would take "
        "if each level were coded by its own frequencies on these clips; with few frames it comes "
        "out too low.",
    ]
    if other := [one for one in codecs if one.codec.sample_rate_hz != 16_000]:
        rates = ", ".join(f"{one.label} ({one.codec.sample_rate_hz} Hz)" for one in other)
        notes.append(f"Converted from 16 kHz to the codec's rate and back by soxr_hq: {rates}.")
    if experiment.asr.model is not None:
        notes.append(
            "WER and CER compare what the recogniser hears with the transcript after Whisper's "
            f"own normalisation for {experiment.asr.language!r}; the row 'original' is its own "
            "share of the errors."
        )
    return tuple(notes)


def _differences(
    conditions: Sequence[Condition], records: Sequence[ClipRecord], names: Sequence[str], seed: int
) -> tuple[tuple[str, Metric, Estimate], ...]:
    """Each codec against each Opus bitrate within its range, at the nearest number of levels."""
    found = []
    opus = [one for one in conditions if one.system == OPUS]
    for system in dict.fromkeys(one.system for one in conditions if one.levels):
        own = [one for one in conditions if one.system == system]
        for yardstick in opus:
            fits = [one for one in own if one.kbps <= yardstick.kbps]
            if not fits or yardstick.kbps > 1.25 * own[-1].kbps:
                continue
            best = fits[-1]
            for metric in WAVEFORM_METRICS:
                if metric.name not in names:
                    continue
                one = difference(records, best.label, yardstick.label, metric.name, seed)
                if one is not None:
                    found.append((f"{best.label} - {yardstick.label}", metric, one))
    return tuple(found)


def _provenance(
    experiment: CodecEvaluateExperiment,
    facts: dict[str, Any],
    selection: Selection,
    recognizer: Recognizer | None,
) -> dict[str, str]:
    versions = {name: v for one in facts["metrics"].values() for name, v in one.items()}
    return {
        **{f"codec {label}": value for label, value in facts["codecs"].items()},
        "data": selection.index.fingerprint,
        "config": facts["config_hash"],
        "seed of the bootstrap": str(experiment.seed),
        "metric packages": ", ".join(f"{name} {v}" for name, v in sorted(versions.items())),
        "recogniser": f"model.bin {recognizer.fingerprint}" if recognizer else "none",
        "Opus": f"libopus of av {av.__version__}",
        "software": f"audiolm_jax {__version__}, jax {jax.__version__}",
    }


def _record(
    facts: dict[str, Any],
    content: CodecPage,
    selection: Selection,
    records: Sequence[ClipRecord],
) -> dict[str, Any]:
    """What report.json holds."""
    return {
        "of": facts,
        "provenance": dict(content.provenance),
        "not_measured": content.not_measured,
        "rows": [dataclasses.asdict(row) for row in content.rows],
        "differences": [
            {"what": what, "metric": metric.name, **dataclasses.asdict(one)}
            for what, metric, one in content.differences
        ],
        "codebooks": [dataclasses.asdict(use) for use in content.codebooks],
        "clips": [dataclasses.asdict(record) for record in records],
        "left_out": [dataclasses.asdict(one) for one in selection.left_out],
    }
