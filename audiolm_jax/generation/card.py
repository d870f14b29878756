"""What a bundle says of itself to people and to model hubs: README.md, which begins with fields in
YAML that hubs index, LICENSE, config.json.

Source: hub-docs of the Hugging Face hub, modelcard.md and repositories-licenses.md.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from audiolm_jax.errors import InputError

README, LICENSE, CONFIG = "README.md", "LICENSE", "config.json"
UNSTATED = "not stated"
LIBRARY, TASK = "audiolm_jax", "audio-to-audio"
TAGS = ("audiolm", "audio-continuation", "jax")
# As the hub writes them, of those that recordings and weights are found under.
LICENCES = {
    *("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "zlib", "unlicense"),
    *("cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0"),
    *("cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0"),
    *("cc-by-nc-sa-4.0", "openrail", "gpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0"),
    *("odbl", "odc-by", "pddl"),
}
_HEAD = re.compile(r"\A---[ \t]*\n(.*?\n)??---[ \t]*\n", re.DOTALL)
_CARD = """# AudioLM bundle

A codec, a semantic tokenizer and the language models of the stages, trained with
audiolm_jax. They continue recordings in their own voice; they know no text.

| part | kind | steps | data | trained for | fingerprint |
|---|---|---|---|---|---|
{rows}

{licences}

Use: `audiolm continue PROMPT.wav --models THIS_FOLDER --seconds 4 --out OUT.wav`

Do not continue a voice without its owner's consent. Output is marked as synthetic in
the wav file's comment.
"""


@dataclasses.dataclass(frozen=True)
class Said:
    """What the makers of a bundle say of it."""

    licence: str = UNSTATED  # of the weights, with attribution, in words
    languages: tuple[str, ...] = ()  # spoken, by their ISO 639 codes
    datasets: tuple[str, ...] = ()  # learnt from, by the names that the hub knows them by


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the run of a part took and reached; None: not known."""

    hours: float | None  # of its steps
    devices: str  # such as "8 x TPU v4"
    perplexity: float | None  # a held-out token's


def pages(
    name: str,
    records: Mapping[str, dict[str, Any]],
    said: Said,
    measured: Mapping[str, Measured] = MappingProxyType({}),
) -> dict[str, str]:
    """README.md, config.json and, where the hub has no word for the licence, LICENSE.

    Args:
        name: what the bundle is called.
        records: `model.json` of each part.
        said: what its makers say of it.
        measured: of the parts whose runs are at hand.
    """
    head = fields(name, records, said, measured)
    statements = list(licence_lines(records, said.licence))
    rows = [_row(part, records[part], measured.get(part)) for part in sorted(records)]
    body = _CARD.format(rows="\n".join(rows), licences="  \n".join(statements))
    written = {README: with_head(body, head), CONFIG: config_json(records)}
    if head["license"] == "other":
        written[LICENSE] = "\n".join(statements) + "\n"
    return written


def fields(
    name: str,
    records: Mapping[str, dict[str, Any]],
    said: Said,
    measured: Mapping[str, Measured] = MappingProxyType({}),
) -> dict[str, Any]:
    """The fields that a card begins with; as `pages`."""
    return {
        **licence_fields(records, said.licence),
        "language": list(said.languages),
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "tags": list(TAGS),
        "datasets": list(said.datasets),
        **_results(name, records, measured),
    }


def read_card(folder: Path) -> tuple[str, dict[str, Any] | None]:
    """The card of a bundle, empty if it has none, and the fields that it begins with, None if it
    begins with none; InputError if they are damaged."""
    path = folder / README
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if (match := _HEAD.match(text)) is None:
        return text, None
    try:
        fields = yaml.safe_load(match[1] or "") or {}
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: what it begins with is no YAML ({reason}); mend it") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: begins with YAML that has no fields; mend it")
    return text, fields


def with_head(card: str, fields: Mapping[str, Any]) -> str:
    """A card with these fields in place of those it begins with; empty ones are left out."""
    kept = {name: value for name, value in fields.items() if value not in ([], "", None)}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n{_HEAD.sub('', card, count=1)}"


def said_by(fields: Mapping[str, Any]) -> Said:
    """What the fields of a card say of languages and data sets."""
    lists = {name: fields.get(name) or () for name in ("language", "datasets")}
    words = {name: (x,) if isinstance(x, str) else tuple(x) for name, x in lists.items()}
    return Said(languages=words["language"], datasets=words["datasets"])


def config_json(records: Mapping[str, dict[str, Any]]) -> str:
    """Kind and config of each part in one file, which hubs look for and count; nothing here reads
    it."""
    parts = {x: {"kind": r["kind"], "config": r["config"]} for x, r in sorted(records.items())}
    fields = {"model_type": "audiolm", "library_name": LIBRARY, "parts": parts}
    return json.dumps(fields, indent=1) + "\n"


def licence_lines(records: Mapping[str, dict[str, Any]], licence: str) -> Iterator[str]:
    """A line for the licence of the whole, and for each that a part states."""
    yield f"Licence of the weights: {licence}"
    for part, record in sorted(records.items()):
        for origin in _origins(record):
            # A trained part of before has a licence and no name.
            yield f"Licence of {part}, {origin.get('model', part)}: {origin['licence']}"


def hub_licence(words: str) -> str | None:
    """The hub's word for the licence that a statement begins with; None if it has none."""
    first = re.split(r"[.,;(](?:\s|$)|\s\(", words.strip(), maxsplit=1)[0]
    word = re.sub(r"\s+", "-", first.strip().lower())
    return word if word in LICENCES else None


def licence_fields(records: Mapping[str, dict[str, Any]], licence: str) -> dict[str, str]:
    """The licence of the whole and its parts as the hub's fields; `other` wants a LICENSE."""
    stated = [x["licence"] for part in sorted(records) for x in _origins(records[part])]
    stated += [licence] if licence != UNSTATED else []
    if not stated:
        return {"license": "unknown"}
    words = {hub_licence(statement) for statement in stated}
    if len(words) == 1 and (word := words.pop()) is not None:
        return {"license": word}
    return {"license": "other", "license_name": "see-license", "license_link": LICENSE}


def _origins(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of a part, and of the encoder within, what states a licence."""
    facts = record["provenance"]
    for origin in (facts, facts.get("encoder", {}).get("provenance", {})):
        if "licence" in origin:
            yield origin


def _dataset(record: dict[str, Any]) -> str:
    return record["provenance"].get("data", {}).get("dataset", "")


def _row(part: str, record: dict[str, Any], measured: Measured | None) -> str:
    spent = ""
    if measured is not None and measured.hours is not None:
        spent = f"{measured.hours:.3g} h on {measured.devices}"
    steps = record["provenance"].get("steps", "")
    facts = (part, record["kind"], steps, _dataset(record), spent, record["fingerprint"][:16])
    return f"| {' | '.join(map(str, facts))} |"


def _results(
    name: str, records: Mapping[str, dict[str, Any]], measured: Mapping[str, Measured]
) -> dict[str, Any]:
    """Perplexities of the parts as the hub's list of results."""
    results = []
    for part, run in sorted(measured.items()):
        data = _dataset(records[part])
        if run.perplexity is None or not data:
            continue
        metric = {"type": "perplexity", "value": round(run.perplexity, 3)}
        results.append(
            {
                "task": {"type": TASK, "name": f"tokens of {part}"},
                "dataset": {"type": data, "name": f"{data}, held out"},
                "metrics": [{**metric, "name": "perplexity of a token"}],
            }
        )
    if not results:
        return {}
    return {"metrics": ["perplexity"], "model-index": [{"name": name, "results": results}]}
