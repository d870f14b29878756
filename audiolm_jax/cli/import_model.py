"""`audiolm import`: public weights into a model folder."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from audiolm_jax.artifacts.model_folder import MODEL_JSON
from audiolm_jax.artifacts.output_path import check_replaced_folder
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.cli.dispatch import Verb, dispatch
from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.foreign.arrays import sha256_of
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig

KMEANS_LICENCE = "not stated in the file; fairseq publishes its own as MIT"
PUBLISHED = {
    "dac": Verb("import_model:import_dac", "Descript Audio Codec, used wherever a codec is named"),
    "w2v-bert-2": Verb("import_model:import_w2v_bert2", "w2v-BERT 2.0, encoder to fit k-means on"),
    "hubert": Verb(
        "import_model:import_hubert",
        "HuBERT or mHuBERT, the same; with --kmeans FILE a semantic tokenizer at once",
    ),
}


@dataclasses.dataclass(frozen=True)
class ImportDacOptions:
    """Weights of the Descript Audio Codec (MIT) into a model folder."""

    weights: tyro.conf.Positional[Path]
    """Torch file of Descript's release (needs torch to read, nothing in it is unpickled), or the
    transformers library's folder of model.safetensors and config.json."""
    out: Path
    """Model folder to write."""


@dataclasses.dataclass(frozen=True)
class ImportW2vBert2Options:
    """Weights of w2v-BERT 2.0 into a model folder."""

    weights: tyro.conf.Positional[Path]
    """The transformers library's folder of model.safetensors and config.json."""
    out: Path
    """Model folder to write."""
    token_rate_hz: int = 25
    """Semantic tokens a second, 50 or a whole fraction: each is a mean of the encoder's frames."""
    licence: str | None = None
    """Of the weights; None takes what the model card beside them says."""


@dataclasses.dataclass(frozen=True)
class ImportHubertOptions(ImportW2vBert2Options):
    """Weights of HuBERT or mHuBERT into a model folder."""

    kmeans: Path | None = None
    """Joblib file of a scikit-learn k-means, such as fairseq publishes for HuBERT; its arrays
    are read, nothing in it is executed. The folder is then a semantic tokenizer."""
    layer: str | None = None
    """The encoder's layer that the k-means divides, such as layer_9."""
    window: WindowConfig = WindowConfig()
    """Of the semantic tokenizer, how long recordings are cut."""


def import_model(arguments: Sequence[str]) -> int:
    """`audiolm import`."""
    return dispatch("audiolm import", PUBLISHED, arguments)


def import_dac(arguments: Sequence[str]) -> None:
    """`audiolm import dac`."""
    from audiolm_jax.tokenizers.acoustic.dac import reader

    options = parse(ImportDacOptions, arguments, "audiolm import dac")
    check_replaced_folder(options.out, MODEL_JSON)
    with only_writer(options.out, is_replaced=True):
        config, fingerprint = reader.import_dac(options.weights, options.out)
    print(
        f"{options.out}: Descript Audio Codec {fingerprint[:16]}, {config.sample_rate_hz} Hz, "
        f"{config.levels} levels of {config.codebook_size} codes, "
        f"{config.sample_rate_hz / config.hop_samples:.6g} frames a second; {reader.LICENCE}"
    )


def import_w2v_bert2(arguments: Sequence[str]) -> None:
    """`audiolm import w2v-bert-2`."""
    from audiolm_jax.tokenizers.semantic.w2v_bert2.reader import read_w2v_bert2

    options = parse(ImportW2vBert2Options, arguments, "audiolm import w2v-bert-2")
    read = (options.weights, options.token_rate_hz, options.licence)
    check_replaced_folder(options.out, MODEL_JSON)
    with only_writer(options.out, is_replaced=True):
        _save_encoder(read_w2v_bert2(*read), options)


def import_hubert(arguments: Sequence[str]) -> None:
    """`audiolm import hubert`."""
    options = parse(ImportHubertOptions, arguments, "audiolm import hubert")
    check_replaced_folder(options.out, MODEL_JSON)
    with only_writer(options.out, is_replaced=True):
        _import_hubert(options)


def _import_hubert(options: ImportHubertOptions) -> None:
    from audiolm_jax.tokenizers.foreign.joblib_file import read_kmeans_file
    from audiolm_jax.tokenizers.semantic.hubert.reader import read_hubert
    from audiolm_jax.tokenizers.semantic.kmeans.config import Clustering
    from audiolm_jax.tokenizers.semantic.tokenizer import save_semantic_tokenizer

    if (options.kmeans is None) != (options.layer is None):
        raise InputError("--kmeans and --layer: give both or neither")
    folder = read_hubert(options.weights, options.token_rate_hz, options.licence)
    if options.kmeans is None or options.layer is None:
        if options.window != WindowConfig():
            raise InputError("--window: belongs to a semantic tokenizer; give --kmeans too")
        _save_encoder(folder, options)
        return
    centroids = read_kmeans_file(options.kmeans)
    width = centroids.shape[1]  # these divide the features as they are
    clustering = Clustering(np.zeros(width, np.float32), np.ones(width, np.float32), centroids)
    provenance = {
        "model": "k-means",
        "source": options.kmeans.resolve().name,
        "source_sha256": sha256_of(options.kmeans),
        "licence": KMEANS_LICENCE,
    }
    fingerprint = save_semantic_tokenizer(
        options.out, folder, options.layer, clustering, provenance, options.window
    )
    print(
        f"{options.out}: semantic tokenizer {fingerprint[:16]}, {len(centroids)} "
        f"clusters of {options.layer} of {folder.provenance['model']}, {options.token_rate_hz} "
        f"tokens a second; licence of the encoder: {folder.provenance['licence']}"
    )


def _save_encoder(folder: Any, options: ImportW2vBert2Options) -> None:
    from audiolm_jax.artifacts.model_folder import save_model

    config = folder.config
    fingerprint = save_model(options.out, folder.kind, config, folder.arrays, folder.provenance)
    print(
        f"{options.out}: {folder.provenance['model']} {fingerprint[:16]}, {config['layers']} "
        f"layers of width {config['width']}, {options.token_rate_hz} tokens a second; licence: "
        f"{folder.provenance['licence']}"
    )
