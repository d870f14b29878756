"""`audiolm import`: public weights into a model folder."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from audiolm_jax.cli.options import parse
from audiolm_jax.errors import InputError
from audiolm_jax.tokenizers.foreign.arrays import sha256_of
from audiolm_jax.tokenizers.semantic.windows import WindowConfig

KMEANS_LICENCE = "not stated in the file; fairseq publishes its own as MIT"
USAGE = """usage: audiolm import KIND WEIGHTS --out DIR

  dac         Descript Audio Codec, an acoustic tokenizer: use it wherever a codec is named
  w2v-bert-2  w2v-BERT 2.0, an encoder: fit k-means on it as on one trained here
  hubert      HuBERT or mHuBERT, the same; with --kmeans FILE a semantic tokenizer at once

`audiolm import dac --help` and so on show every field.
"""


@dataclasses.dataclass(frozen=True)
class ImportDacOptions:
    """Weights of the Descript Audio Codec (MIT) into a model folder.

    Attributes:
      weights: torch file of Descript's release (needs torch to read, nothing in it is unpickled),
        or the transformers library's folder of model.safetensors and config.json.
      out: model folder to write.
    """

    weights: tyro.conf.Positional[Path]
    out: Path


@dataclasses.dataclass(frozen=True)
class ImportW2vBert2Options:
    """Weights of w2v-BERT 2.0 into a model folder.

    Attributes:
      weights: the transformers library's folder of model.safetensors and config.json.
      out: model folder to write.
      token_rate_hz: semantic tokens a second, 50 or a whole fraction: the mean of so many of the
        encoder's frames stands for each.
      licence: of the weights; None takes what the model card beside them says.
    """

    weights: tyro.conf.Positional[Path]
    out: Path
    token_rate_hz: int = 25
    licence: str | None = None


@dataclasses.dataclass(frozen=True)
class ImportHubertOptions:
    """Weights of HuBERT or mHuBERT into a model folder.

    Attributes:
      weights: the transformers library's folder of model.safetensors and config.json.
      out: model folder to write.
      kmeans: joblib file of a scikit-learn k-means, such as fairseq publishes for HuBERT; its
        arrays are read, nothing in it is executed. The folder is then a semantic tokenizer.
      layer: the encoder's layer that the k-means divides, such as layer_9.
      token_rate_hz: semantic tokens a second, 50 or a whole fraction: the mean of so many of the
        encoder's frames stands for each.
      licence: of the weights; None takes what the model card beside them says.
      window: of the semantic tokenizer, how long recordings are cut.
    """

    weights: tyro.conf.Positional[Path]
    out: Path
    kmeans: Path | None = None
    layer: str | None = None
    token_rate_hz: int = 25
    licence: str | None = None
    window: WindowConfig = WindowConfig()


_OPTIONS = {
    "dac": ImportDacOptions,
    "w2v-bert-2": ImportW2vBert2Options,
    "hubert": ImportHubertOptions,
}


def import_model(arguments: Sequence[str]) -> None:
    """`audiolm import`."""
    kind, rest = (arguments[0], arguments[1:]) if arguments else ("", ())
    if kind in ("-h", "--help"):
        print(USAGE)
        for name, options in _OPTIONS.items():
            with contextlib.suppress(SystemExit):
                parse(options, ["--help"], f"audiolm import {name}")
        return
    if kind not in _OPTIONS:
        found = ", ".join(_OPTIONS)
        raise InputError(f"expected one of {found}, found {kind!r}; see audiolm import -h")
    match parse(_OPTIONS[kind], rest, f"audiolm import {kind}"):
        case ImportDacOptions() as options:
            _import_dac(options)
        case ImportW2vBert2Options() as options:
            _import_w2v_bert2(options)
        case ImportHubertOptions() as options:
            _import_hubert(options)


def _import_dac(options: ImportDacOptions) -> None:
    from audiolm_jax.tokenizers.acoustic.dac.reader import LICENCE, import_dac

    config, fingerprint = import_dac(options.weights, options.out)
    print(
        f"{options.out}: Descript Audio Codec {fingerprint[:16]}, {config.sample_rate_hz} Hz, "
        f"{config.levels} levels of {config.codebook_size} codes, "
        f"{config.sample_rate_hz / config.hop_samples:.6g} frames a second; {LICENCE}"
    )


def _import_w2v_bert2(options: ImportW2vBert2Options) -> None:
    from audiolm_jax.tokenizers.semantic.w2v_bert2.reader import read_w2v_bert2

    _save_encoder(read_w2v_bert2(options.weights, options.token_rate_hz, options.licence), options)


def _import_hubert(options: ImportHubertOptions) -> None:
    from audiolm_jax.tokenizers.foreign.joblib_file import read_kmeans_file
    from audiolm_jax.tokenizers.semantic.hubert.reader import read_hubert
    from audiolm_jax.tokenizers.semantic.kmeans.config import Clustering
    from audiolm_jax.tokenizers.semantic.tokenizer import save_semantic_tokenizer

    if (options.kmeans is None) != (options.layer is None):
        raise InputError(
            "kmeans and layer: give both or neither; the file does not say which layer it divides"
        )
    folder = read_hubert(options.weights, options.token_rate_hz, options.licence)
    if options.kmeans is None:
        if options.window != WindowConfig():
            raise InputError("window: belongs to a semantic tokenizer; give --kmeans, or leave it")
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


def _save_encoder(folder: Any, options: ImportW2vBert2Options | ImportHubertOptions) -> None:
    from audiolm_jax.artifacts.model_folder import save_model

    config = folder.config
    fingerprint = save_model(options.out, folder.kind, config, folder.arrays, folder.provenance)
    print(
        f"{options.out}: {folder.provenance['model']} {fingerprint[:16]}, {config['layers']} "
        f"layers of width {config['width']}, {options.token_rate_hz} tokens a second; licence: "
        f"{folder.provenance['licence']}"
    )
