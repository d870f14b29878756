"""Measures a bundle on held-out audio and writes the report."""

import dataclasses
import json
from pathlib import Path

import jax

from audiolm_jax import __version__
from audiolm_jax.artifacts.config_json import config_hash
from audiolm_jax.data.index import ClipInfo, scan
from audiolm_jax.data.tokens.store import TokenStore
from audiolm_jax.experiments.experiment import EvaluateExperiment
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.output import save_generated
from audiolm_jax.generation.pipeline import Generated, Generator


def evaluate(experiment: EvaluateExperiment) -> Path:
    """Continues held-out prompts, measures every part, writes wav files, report.json and page."""
    from audiolm_jax.evaluation.bundle import heldout
    from audiolm_jax.evaluation.bundle.report import ReportContent, write_report
    from audiolm_jax.evaluation.page.run_summary import summarize_run

    directory = Path(experiment.directory)
    bundle = load_bundle(Path(experiment.bundle))
    facts = {
        "config_hash": config_hash(experiment),
        "bundle": bundle.fingerprint,
        "tokens": TokenStore.open(experiment.tokens).fingerprint,
    }
    page, summary = directory / "report.html", directory / "report.json"
    if page.is_file() and summary.is_file() and json.loads(summary.read_text())["of"] == facts:
        print(f"{page}: finished already, nothing to do")
        return page
    trainers = tuple(summarize_run(Path(run)) for run in experiment.runs)
    index = scan(experiment.data)
    store = TokenStore.open(experiment.tokens)
    generator = Generator(bundle, experiment.generation)
    prompts = heldout.choose_prompts(index, experiment.prompts, experiment.prompt_seconds)
    examples, results = heldout.continue_clips(
        generator,
        index,
        prompts,
        experiment.prompt_seconds,
        experiment.continuation_seconds,
        experiment.seeds,
    )
    _write_continuations(directory / "continuations", generator, experiment, prompts, results)
    print(f"continued {len(prompts)} prompts with {len(experiment.seeds)} seeds each")
    codec = heldout.measure_codec(bundle, index)
    semantic = heldout.measure_semantic(bundle, store)
    stages = []
    for name, stage in bundle.stages.items():
        likelihood = heldout.measure_likelihood(stage, store)
        stages.append(likelihood)
        row = likelihood.total
        print(
            f"{name}: {row.model_nats:.3f} nats per held-out token; unigram entropy "
            f"{row.unigram_nats:.3f}, bigram {row.bigram_nats:.3f}, log vocabulary "
            f"{row.log_vocabulary:.3f}"
        )
    content = ReportContent(
        title=experiment.title,
        summary=(
            f"{len(index.of('train'))} recordings to learn from, {len(index.of('heldout'))} held "
            f"out. Every figure is measured on the held-out ones."
        ),
        sample_rate_hz=generator.sample_rate_hz,
        train_seconds=index.seconds("train"),
        examples=tuple(examples),
        trainers=trainers,
        likelihoods=tuple(stages),
        codec=codec,
        semantic=semantic,
        provenance=tuple(
            {
                "bundle": bundle.fingerprint,
                **{f"part {part}": value for part, value in bundle.parts.items()},
                "token store": store.fingerprint,
                "data": index.fingerprint,
                "config": facts["config_hash"],
                "seeds of the continuations": ", ".join(map(str, experiment.seeds)),
                "software": f"audiolm_jax {__version__}, jax {jax.__version__}",
            }.items()
        ),
        data_licence=experiment.licence,
    )
    write_report(page, content)
    record = {
        "of": facts,
        "codec": dataclasses.asdict(codec),
        "semantic": dataclasses.asdict(semantic),
        "likelihood": [dataclasses.asdict(stage) for stage in stages],
    }
    summary.write_text(json.dumps(record, indent=1) + "\n")
    print(f"{page}: written, open it in a browser")
    return page


def _write_continuations(
    directory: Path,
    generator: Generator,
    experiment: EvaluateExperiment,
    prompts: list[ClipInfo],
    results: list[list[Generated]],
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for clip, made in zip(prompts, results, strict=True):
        for seed, one in zip(experiment.seeds, made, strict=True):
            name = clip.clip_id.replace("/", "_").replace("#", "_")
            path = directory / f"{name}_seed{seed}.wav"
            save_generated(path, one, generator, seed, experiment.continuation_seconds)
