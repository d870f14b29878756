"""The only place that joins data, models and the loop: one function for each kind of experiment.

A finished run is recognised by its exported model folder and left alone; anything else goes on
from its last checkpoint.
"""

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jax

from audiolm_jax.artifacts.config_json import config_hash, config_to_dict
from audiolm_jax.artifacts.model_folder import MODEL_JSON
from audiolm_jax.data.batch_contents import describe_audio, describe_noisy_audio, describe_tokens
from audiolm_jax.data.crops import AudioCrops
from audiolm_jax.data.index import ClipIndex
from audiolm_jax.data.noise import NoisyCrops
from audiolm_jax.data.sources import NoiseConfig
from audiolm_jax.data.tokens.store import TokenStore, check_store
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.experiment import (
    CodecExperiment,
    EncoderExperiment,
    KmeansExperiment,
    StageExperiment,
    TokenizeExperiment,
)
from audiolm_jax.experiments.inputs import MODEL, model_folder, scan, upstream_of
from audiolm_jax.experiments.programs import model_flops, program_of, units_per_step
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import (
    load_frame_encoder,
    load_semantic_tokenizer,
    save_semantic_tokenizer,
)
from audiolm_jax.training import loop
from audiolm_jax.training.best import best_kept
from audiolm_jax.training.checkpoints import latest_step
from audiolm_jax.training.distributed import from_first_host
from audiolm_jax.training.export import export_model
from audiolm_jax.training.full_disk import name_full_disk
from audiolm_jax.training.manifest import build_manifest, claim_run, read_manifest
from audiolm_jax.training.mesh import host_rows, make_mesh
from audiolm_jax.training.topology import peak_flops
from audiolm_jax.training.warm_start import WarmStart, read_warm_start
from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer

Trained = CodecExperiment | EncoderExperiment | KmeansExperiment | StageExperiment


def train(experiment: Trained) -> Path:
    """Trains what the experiment describes, or goes on training; returns its model folder."""
    directory = Path(experiment.directory)
    if from_first_host(lambda: is_finished(directory, experiment)):
        print(f"{directory}: finished already, nothing to do")
        return directory / MODEL
    match experiment:
        case CodecExperiment():
            _train_codec(experiment, directory)
        case EncoderExperiment():
            _train_encoder(experiment, directory)
        case KmeansExperiment():
            _fit_kmeans(experiment, directory)
        case StageExperiment():
            _train_stage(experiment, directory)
    print(f"{directory / MODEL}: written")
    return directory / MODEL


def is_finished(directory: Path, experiment: Any) -> bool:
    """Whether the run has exported its model under this very config and these upstream models."""
    path = directory / MODEL / MODEL_JSON
    if not path.is_file():
        return False
    provenance = json.loads(path.read_text())["provenance"]
    same_config = provenance.get("config_hash") == config_hash(experiment)
    return same_config and provenance.get("upstream") == upstream_of(experiment)


def _manifest(experiment: Any, seed: int, data: dict[str, Any]) -> dict[str, Any]:
    mesh = getattr(experiment, "mesh", None)
    return build_manifest(
        experiment,
        seeds={"loop": seed},
        data=data,
        upstream=upstream_of(experiment),
        mesh=None if mesh is None else config_to_dict(mesh),
    )


def _provenance(manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a model folder says of its origin; nothing in it depends on time or place."""
    kept = ("config", "config_hash", "git", "versions", "seeds", "data", "upstream", "warm_start")
    return {name: manifest[name] for name in kept if name in manifest} | more


def _audio_facts(index: ClipIndex) -> dict[str, Any]:
    return {
        "dataset": index.config.dataset,
        "fingerprint": index.fingerprint,
        "train_seconds": index.seconds("train"),
        "heldout_seconds": index.seconds("heldout"),
    }


def _train(
    experiment: CodecExperiment | EncoderExperiment | StageExperiment,
    directory: Path,
    kind: str,
    batches: Callable[[int], Iterator[Any]],
    heldout: Callable[[], Iterable[Any]],
    data: dict[str, Any],
    surroundings: loop.Surroundings,
    provenance: dict[str, Any],
) -> None:
    """Trains and exports; `data` is for the manifest, `provenance` for the model folder."""
    program = program_of(experiment)
    manifest = _manifest(experiment, experiment.loop.seed, data)
    warm_start, facts = _warm_start(experiment, directory)
    if facts is not None:
        manifest["warm_start"] = facts
    flops = None
    # Counting them in the step of codec or encoder takes long: only where they tell the MFU.
    if isinstance(experiment, StageExperiment) or peak_flops(jax.devices()[0].device_kind):
        flops = model_flops(experiment)
    surroundings = dataclasses.replace(
        surroundings, units=units_per_step(experiment), model_flops=flops, warm_start=warm_start
    )
    state = loop.train(
        program, experiment.loop, directory, batches, heldout, manifest, experiment.mesh,
        surroundings,
    )  # fmt: skip
    exported = {"steps": experiment.loop.steps}
    if experiment.loop.export == "best":
        exported = from_first_host(lambda: best_kept(directory))
        state = loop.load_state(program, directory, experiment.mesh, exported["steps"])
    provenance = _provenance(manifest, **exported, **provenance)
    with name_full_disk(directory):
        export_model(directory / MODEL, kind, experiment.model, program, state, provenance)


def _warm_start(
    experiment: CodecExperiment | EncoderExperiment | StageExperiment, directory: Path
) -> tuple[WarmStart | None, dict[str, Any] | None]:
    """The weights to start from, and what the manifest says of them; the source is read once."""
    if experiment.warm_start is None:
        return None, None
    if from_first_host(lambda: latest_step(directory)) is None:
        source = read_warm_start(experiment.warm_start)
        return source, source.facts
    return None, from_first_host(lambda: read_manifest(directory).get("warm_start"))


def _train_on_audio(
    experiment: CodecExperiment | EncoderExperiment,
    directory: Path,
    kind: str,
    samples: Callable[[AudioCrops], Any] | None,
    noise: NoiseConfig | None,
) -> None:
    index = scan(experiment.data)
    stream = (experiment.crop_seconds, experiment.batch_size, experiment.loop.seed)
    rows = host_rows(make_mesh(experiment.mesh), experiment.batch_size)
    heldout = AudioCrops(index, "heldout", *stream, rows)
    on_evaluate = None if samples is None else samples(heldout)
    facts = _audio_facts(index)
    if noise is None:
        crops = AudioCrops(index, "train", *stream, rows)
        describe = describe_audio(index, *stream)
    else:
        noises = scan(noise.data)
        facts["noise"] = _audio_facts(noises)
        crops = NoisyCrops(index, noises, "train", *stream, rows, noise)
        heldout = NoisyCrops(index, noises, "heldout", *stream, rows, noise)
        describe = describe_noisy_audio(index, noises, *stream, noise)
    _train(
        experiment,
        directory,
        kind,
        crops.batches,
        heldout.heldout_batches,
        facts,
        loop.Surroundings(describe=describe, on_evaluate=on_evaluate),
        {},
    )


def _train_codec(experiment: CodecExperiment, directory: Path) -> None:
    from audiolm_jax.experiments.samples import codec_samples
    from audiolm_jax.tokenizers.acoustic.soundstream import codec

    samples = functools.partial(codec_samples, experiment) if experiment.samples else None
    _train_on_audio(experiment, directory, codec.KIND, samples, experiment.noise)


def _train_encoder(experiment: EncoderExperiment, directory: Path) -> None:
    from audiolm_jax.tokenizers.semantic.w2v_bert import train

    _train_on_audio(experiment, directory, train.KIND, None, None)


def _fit_kmeans(experiment: KmeansExperiment, directory: Path) -> None:
    from audiolm_jax.tokenizers.semantic.kmeans.feature_store import choose_clips, store_features
    from audiolm_jax.tokenizers.semantic.kmeans.fit import STATE, fit_kmeans

    if jax.process_count() > 1:
        raise InputError("k-means runs in one process; start it without --distributed")
    folder, config, window = model_folder(experiment.encoder), experiment.kmeans, experiment.window
    index = scan(experiment.data)
    manifest = _manifest(experiment, config.seed, _audio_facts(index))
    features = directory / "features"
    with name_full_disk(directory), claim_run(directory, manifest):
        encoder = load_frame_encoder(folder, window)
        choice = choose_clips(index, encoder.hop_samples, config.max_frames, config.seed)
        print(f"k-means: {choice}")
        frames = store_features(
            features, index, choice, encoder, config.layer, window, experiment.batch_size
        )
        result = fit_kmeans(frames, config, make_mesh(experiment.mesh), directory)
        print(
            f"k-means: {frames.frames} frames, {len(result.counts)} clusters, inertia "
            f"{result.inertia[0]:.3f} to {result.inertia[-1]:.3f} in {len(result.inertia)} passes"
        )
        provenance = _provenance(
            manifest, used=choice.facts, inertia=[float(x) for x in result.inertia]
        )
        save_semantic_tokenizer(directory / MODEL, folder, config.layer, result, provenance, window)
        # What the model folder was made of; it is written again if the model is deleted.
        shutil.rmtree(features)
        (directory / STATE).unlink()


def tokenize(experiment: TokenizeExperiment) -> Path:
    """Writes the token store, or what is left of it."""
    from audiolm_jax.data.tokens.tokenize import precompute

    index = scan(experiment.data)
    load = LoadTokenizers(
        str(model_folder(experiment.codec)), str(model_folder(experiment.semantic))
    )
    store = precompute(index, load, Path(experiment.directory), experiment.tokenize)
    for split, part in store.manifest["splits"].items():
        facts = part["statistics"]
        print(
            f"{store.directory}: {split}: {facts['clips']} clips, {facts['seconds'] / 60:.1f} min, "
            f"{facts['semantic_deduplicated']} semantic tokens without repeats, "
            f"{facts['acoustic_tokens']} acoustic tokens"
        )
    return store.directory


class LoadTokenizers:
    """Loads both tokenizers where a worker needs them; all it carries is two paths."""

    def __init__(self, codec: str, semantic: str):
        self.codec, self.semantic = codec, semantic

    def __call__(self) -> tuple[AcousticTokenizer, SemanticTokenizer]:
        """Loads and verifies both folders."""
        return (
            load_acoustic_tokenizer(Path(self.codec)),
            load_semantic_tokenizer(Path(self.semantic)),
        )


def _train_stage(experiment: StageExperiment, directory: Path) -> None:
    from audiolm_jax.data.tokens.loader import heldout_batches, token_batches
    from audiolm_jax.experiments.samples import stage_samples
    from audiolm_jax.lm import decoder

    decoder.check_backend(experiment.model.decoder)
    store = TokenStore.open(experiment.tokens)
    check_store(store, experiment.model.stage)
    upstream = upstream_of(experiment)
    found = {
        "codec": store.provenance.codec_fingerprint,
        "semantic": store.provenance.semantic_fingerprint,
    }
    for part, fingerprint in found.items():
        if fingerprint != upstream[part]:
            raise InputError(
                f"tokens = {experiment.tokens}: written by {part} {fingerprint[:16]}, but "
                f"{part} = {getattr(experiment, part)} is {upstream[part][:16]}; tokenize again "
                "with it, or name the one that wrote them"
            )
    statistics = store.manifest["splits"]["train"]["statistics"]
    folder, stage, size = Path(experiment.tokens), experiment.model.stage, experiment.batch_size
    rows = host_rows(make_mesh(experiment.mesh), size)
    samples = None if experiment.sample_bundle is None else stage_samples(experiment, store)
    _train(
        experiment,
        directory,
        decoder.KIND,
        token_batches(folder, stage, size, experiment.loop.seed, rows=rows),
        heldout_batches(folder, stage, size, rows=rows),
        {"dataset": store.provenance.dataset, "tokens": store.fingerprint},
        loop.Surroundings(
            describe=describe_tokens(store, stage, size, experiment.loop.seed),
            on_evaluate=samples,
        ),
        {
            "semantic_tokens_per_second": statistics["semantic_deduplicated_per_second"],
            **found,
        },
    )
