"""`audiolm bundle`: five trained parts into one folder."""

import dataclasses
import itertools
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from audiolm_jax.artifacts.model_folder import load_model, part_of, read_model_json
from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, MODEL, model_folder
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import STAGE_PARTS, write_bundle
from audiolm_jax.generation.card import UNSTATED, Measured, Said, pages
from audiolm_jax.lm.config import KIND as STAGE_KIND
from audiolm_jax.tokenizers.acoustic.load import ACOUSTIC_KINDS
from audiolm_jax.tokenizers.semantic.tokenizer import KIND as SEMANTIC_KIND
from audiolm_jax.training.manifest import MANIFEST
from audiolm_jax.training.metrics import HELDOUT, METRICS, TIMING, read_metrics
from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer


@dataclasses.dataclass(frozen=True)
class BundleOptions:
    """Copy trained parts into one folder that can be shared, checked against each other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories or model folders: codec (trained or imported), semantic tokenizer
    (k-means), and the language models of the stages; which is which is read from them."""
    out: Path
    """Bundle folder to write."""
    licence: str = UNSTATED
    """Licence and attribution of the weights, for the model card: `Apache-2.0`, or more words."""
    language: tuple[str, ...] = ()
    """Languages spoken, by their ISO 639 codes (`en`), for the model card."""
    dataset: tuple[str, ...] = ()
    """Data sets learnt from, by the names that a model hub knows them by, for the model card."""

    def __post_init__(self) -> None:
        for word in self.language:
            if not re.fullmatch(r"[a-z]{2,3}", word):
                raise InputError(f"--language {word}: expected an ISO 639 code, as en")
        for word in self.dataset:
            if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", word, re.ASCII):
                raise InputError(f"--dataset {word}: expected the name a hub has, as OWNER/NAME")


def bundle(arguments: Sequence[str]) -> None:
    """`audiolm bundle`."""
    options = parse(BundleOptions, arguments, "audiolm bundle")
    check_replaced_folder(options.out, BUNDLE_JSON)
    with only_writer(options.out, is_replaced=True):
        _bundle(options)


def _bundle(options: BundleOptions) -> None:
    sources: dict[str, Path] = {}
    for path in options.runs:
        folder = model_folder(path)
        part = part_name(folder)
        if part in sources:
            raise InputError(f"{path}: a second {part}; {sources[part]} is one already")
        sources[part] = folder
    said = Said(options.licence, options.language, options.dataset)
    fingerprint = write_bundle(options.out, sources, model_pages(options.out.name, sources, said))
    print(f"{options.out}: bundle {fingerprint[:16]} of {', '.join(sources)}")


def part_name(folder: Path) -> str:
    """What part of a bundle a model folder is."""
    record = read_model_json(folder)
    if (kind := record["kind"]) == STAGE_KIND:
        return STAGE_PARTS[record["config"]["stage"]["name"]]
    if is_outside(kind):
        part = part_of(load_model(folder), object, str(folder))
        if isinstance(part, SemanticTokenizer):
            return "semantic"
        if isinstance(part, AcousticTokenizer):
            return "codec"
    if kind != SEMANTIC_KIND and kind not in ACOUSTIC_KINDS:
        raise InputError(f"{folder}: a {kind!r} model is no part of a bundle")
    return "semantic" if kind == SEMANTIC_KIND else "codec"


def model_pages(name: str, sources: dict[str, Path], said: Said) -> dict[str, str]:
    """The pages of a bundle of these parts: what they are, were made from, took and reached."""
    records = {part: read_model_json(folder) for part, folder in sources.items()}
    runs = {part: folder.parent for part, folder in sources.items() if folder.name == MODEL}
    measured = {
        part: _measured(run, records[part])
        for part, run in runs.items()
        if (run / MANIFEST).is_file()
    }
    return pages(name, records, said, measured)


def _measured(run: Path, record: dict[str, Any]) -> Measured:
    """Of the run that trained a part; hours are those of the steps that it kept."""
    manifest = json.loads((run / MANIFEST).read_text())
    devices = manifest["devices"]
    start = manifest.get("warm_start") or {}
    before = start["step"] if start.get("is_branch") else 0
    timing = read_metrics(run / TIMING) if (run / TIMING).is_file() else []
    took = {x["step"]: x["seconds_per_step"] for x in timing if x.get("seconds_per_step")}
    steps = [before, *sorted(took)]
    seconds = sum((step - last) * took[step] for last, step in itertools.pairwise(steps))
    steps_taken = record["provenance"].get("steps")
    metrics = read_metrics(run / METRICS) if (run / METRICS).is_file() else []
    losses = [x.get(f"{HELDOUT}loss") for x in metrics if x["step"] == steps_taken]
    loss = next((x for x in losses if x is not None), None)
    return Measured(
        hours=seconds / 3600 if took else None,
        devices=f"{devices['count']} x {devices['kind']}",
        perplexity=math.exp(loss) if loss is not None and record["kind"] == STAGE_KIND else None,
    )
