"""`audiolm bundle`: five trained parts into one folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from audiolm_jax.artifacts.model_folder import load_model, part_of, read_model_json
from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.outside import is_outside
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, model_folder
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import STAGE_PARTS, write_bundle
from audiolm_jax.tokenizers.acoustic.load import ACOUSTIC_KINDS
from audiolm_jax.tokenizers.semantic.tokenizer import KIND as SEMANTIC_KIND
from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer


@dataclasses.dataclass(frozen=True)
class BundleOptions:
    """Copy trained parts into one folder that can be shared, checked against each other."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories or model folders: codec (trained or imported), semantic tokenizer
    (k-means), and the language models of the stages; which is which is read from them."""
    out: Path
    """Bundle folder to write."""
    licence: str = "not stated"
    """Licence and attribution of the weights, for the model card."""


_MODEL_CARD = """# AudioLM bundle

A codec, a semantic tokenizer and the language models of the stages, trained with
audiolm_jax. They continue recordings in their own voice; they know no text.

| part | kind | steps | data | fingerprint |
|---|---|---|---|---|
{rows}

{licences}

Use: `audiolm continue PROMPT.wav --models THIS_FOLDER --seconds 4 --out OUT.wav`

Do not continue a voice without its owner's consent. Output is marked as synthetic in
the wav file's comment.
"""


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
    fingerprint = write_bundle(options.out, sources, model_card(sources, options.licence))
    print(f"{options.out}: bundle {fingerprint[:16]} of {', '.join(sources)}")


def part_name(folder: Path) -> str:
    """What part of a bundle a model folder is."""
    record = read_model_json(folder)
    if (kind := record["kind"]) == "stage":
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


def model_card(sources: dict[str, Path], licence: str) -> str:
    """README.md of a bundle: what it is, what it was made from, how to use it, what not to do."""
    rows, licences = [], [f"Licence of the weights: {licence}"]
    for part, folder in sorted(sources.items()):
        record = read_model_json(folder)
        facts = record["provenance"]
        rows.append(
            f"| {part} | {record['kind']} | {facts.get('steps', '')} "
            f"| {facts.get('data', {}).get('dataset', '')} | {record['fingerprint'][:16]} |"
        )
        # Imported from another publisher: the part itself, or the encoder within.
        for origin in (facts, facts.get("encoder", {}).get("provenance", {})):
            if "licence" in origin:
                licences.append(f"Licence of {part}, {origin['model']}: {origin['licence']}")
    return _MODEL_CARD.format(rows="\n".join(rows), licences="  \n".join(licences))
