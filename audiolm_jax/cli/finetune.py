"""`audiolm finetune`: a bundle that sounds like some recordings."""

import dataclasses
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from audiolm_jax.artifacts.archive import unpacked
from audiolm_jax.artifacts.atomic import atomic_path
from audiolm_jax.artifacts.compilation_cache import use_compilation_cache
from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON
from audiolm_jax.artifacts.storage import at, download, is_remote
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.bundle import model_pages
from audiolm_jax.cli.options import parse
from audiolm_jax.cli.start import introduce
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.finetune import (
    FinetuneConfig,
    Tuned,
    held_out_of,
    outcome,
    tokenizing,
    tuning,
)
from audiolm_jax.generation.bundle import (
    STAGE_PARTS,
    is_archive,
    load_bundle,
    read_record,
    write_bundle,
)
from audiolm_jax.generation.card import README, UNSTATED, read_card, said_by
from audiolm_jax.training.config import MeshConfig

_TUNED = """
## Tuned

From bundle {origin}, by the {minutes:.1f} minutes of `{name}`. Held-out loss, nats a token:

| part | before | after | steps |
|---|---|---|---|
{rows}

What the tuned parts began as has these licences: {licences}.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneOptions:
    """Tune the stages of a bundle to recordings, such as ten minutes of one voice, into a bundle
    that speaks more like them. Tokenizers stay as they are. Run again after a stop to go on.

    Do not tune to a voice without its owner's consent.
    """

    bundle: tyro.conf.Positional[Path]
    """Bundle folder, as `audiolm bundle` writes it, or its archive, as `audiolm release` does."""
    audio_dir: tyro.conf.Positional[Path]
    """Folder of recordings."""
    out: Path
    """Bundle folder to write."""
    directory: Path | None = None
    """Folder of tokens and runs, for going on and for their curves; None: OUT_runs. It is not
    needed later."""
    tune: FinetuneConfig = FinetuneConfig()
    """How long and how strongly."""
    mesh: MeshConfig = MeshConfig()
    """Devices and sharding."""
    licence: str = UNSTATED
    """Licence and attribution of what is learnt, for the model card."""

    @property
    def runs(self) -> Path:
        """Folder of tokens and runs."""
        return self.directory or self.out.with_name(f"{self.out.name}_runs")


def finetune(arguments: Sequence[str]) -> None:
    """`audiolm finetune`."""
    options = parse(FinetuneOptions, arguments, "audiolm finetune")
    out, runs = options.out, options.runs
    for name, place in (("--out", out), ("--directory", runs)):
        if is_remote(place):
            raise InputError(f"{name} {place}: expected a folder of this machine")
    check_replaced_folder(out, BUNDLE_JSON)
    if not is_remote(options.audio_dir) and not options.audio_dir.is_dir():
        raise InputError(f"{options.audio_dir}: no such folder; name a folder of recordings")
    with only_writer(out, is_replaced=True):
        _finetune(options)


def _finetune(options: FinetuneOptions) -> None:
    began = time.monotonic()
    bundle = load_bundle(options.bundle)
    rate_hz, folder = bundle.codec.sample_rate_hz, folder_of(options, bundle.fingerprint)
    del bundle  # whose weights no run needs
    record = read_record(folder)
    # A name of its own: other parts of a corpus may have taught the bundle.
    name = "tuned_" + re.sub(r"\W", "_", options.audio_dir.resolve().name, flags=re.ASCII)
    data = AudioDataConfig(
        source=str(options.audio_dir),
        dataset=name,
        sample_rate_hz=rate_hz,
    )
    data = held_out_of(data, options.tune.heldout_percent)
    runs = [
        tuning(folder, s, options.tune, options.runs, options.mesh) for s in options.tune.stages
    ]
    use_compilation_cache()
    introduce(runs[0])
    tokenizing(folder, data, options.runs).run()
    results: dict[str, Tuned] = {}
    sources = {part: folder / part for part in record["parts"]}
    for stage, run in zip(options.tune.stages, runs, strict=True):
        model = run.run()
        result = results[STAGE_PARTS[stage]] = outcome(run)
        if result.step:
            sources[STAGE_PARTS[stage]] = model
        print(f"{STAGE_PARTS[stage]}: {_in_words(result, options.tune.steps)}", flush=True)
    _, fields = read_card(folder)  # languages and data sets stay what they are
    said = dataclasses.replace(said_by(fields or {}), licence=options.licence)
    pages = model_pages(options.out.name, sources, said)
    pages[README] += _tuned_card(options, record, results)
    fingerprint = write_bundle(options.out, sources, pages)
    minutes = (time.monotonic() - began) / 60
    print(f"{options.out}: bundle {fingerprint[:16]}, after {minutes:.1f} min")
    print(f"audiolm continue PROMPT.wav --models {options.out} --out out.wav")


def _in_words(result: Tuned, steps: int) -> str:
    if not result.step:
        return f"held-out loss {result.before:.3f} nats a token, no step lowered it; left as it was"
    after = f"{result.after:.3f} after {result.step} of {steps} steps"
    return f"held-out loss {result.before:.3f} nats a token, {after}"


def folder_of(options: FinetuneOptions, fingerprint: str) -> Path:
    """The bundle as a folder that is there when the command is given again."""
    place = at(options.bundle)
    if not is_archive(place) and not is_remote(place):
        return place
    copy = options.runs / "bundle"
    if (copy / BUNDLE_JSON).is_file() and read_record(copy)["fingerprint"] == fingerprint:
        return copy
    with atomic_path(copy) as scratch:
        if is_archive(place):
            with unpacked(place, BUNDLE_JSON) as folder:
                download(folder, scratch)
        else:
            download(place, scratch)
    return copy


def _tuned_card(options: FinetuneOptions, record: dict[str, Any], results: dict[str, Tuned]) -> str:
    from audiolm_jax.data.tokens.store import TokenStore

    store = TokenStore.open(options.runs / "tokens", verify=False)
    seconds = sum(part["statistics"]["seconds"] for part in store.manifest["splits"].values())
    rows = [
        f"| {part} | {result.before:.3f} | {result.after:.3f} | {result.step} |"
        for part, result in results.items()
    ]
    origins = {part: record["provenance"][part] for part in results}
    licences = {part: origin.get("licence", UNSTATED) for part, origin in origins.items()}
    return _TUNED.format(
        origin=record["fingerprint"][:16],
        minutes=seconds / 60,
        name=options.audio_dir.name,
        rows="\n".join(rows),
        licences="; ".join(f"{part}: {words}" for part, words in licences.items()),
    )
