"""Fitting k-means, which turns an encoder into the semantic tokenizer."""

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.run_folder import MODEL, fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at, is_remote, remove_tree
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.audio import audio_facts
from audiolm_jax.experiments.trained import TrainedExperiment, provenance_of
from audiolm_jax.tokenizers.semantic.kmeans.config import KmeansConfig
from audiolm_jax.tokenizers.semantic.window_config import WindowConfig
from audiolm_jax.training.config import MeshConfig

if TYPE_CHECKING:
    from jax.sharding import Mesh

    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.tokenizers.semantic.kmeans.blocks import Frames
    from audiolm_jax.training.preemption import StopRequest

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KmeansExperiment(TrainedExperiment):
    """Fit k-means on features of an encoder: the result is the semantic tokenizer."""

    shares_directory: ClassVar[bool] = False  # each host finds or makes the features of its share

    directory: Place
    """Run directory."""
    data: AudioDataConfig
    """Recordings; the training clips are used."""
    encoder: Place
    """Run directory of the trained encoder, or model folder of a trained or imported one."""
    batch_size: int = 8
    """Clips loaded together."""
    kmeans: KmeansConfig = KmeansConfig()
    """Layer, clusters, frames, iterations, seed."""
    window: WindowConfig = WindowConfig()
    """How long recordings are cut, here and by the tokenizer."""
    phases: int = 1
    """How often the tokenizer encodes a recording, each time begun a share of a token later, for
    tokens that do not depend on where it begins (docs/guide/semantic_tokens.md); 1 is AudioLM's."""
    mesh: MeshConfig = MeshConfig()
    """Devices that share the frames; the parameters of its presets are never sharded here."""

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise InputError(f"--batch-size {self.batch_size}: expected 1 or more")
        self.kmeans.check_frames()

    def upstream(self) -> dict[str, str]:
        """The encoder."""
        return {"encoder": fingerprint_of(self.encoder)}

    def check_data(self, index: "ClipIndex") -> None:
        """There must be a frame for each cluster."""
        self.kmeans.check_seconds(index.seconds("train"), len(index.of("train")))

    def data_facts(self) -> dict[str, Any]:
        """Of the recordings."""
        from audiolm_jax.data.index import scan

        return audio_facts(scan(self.data))

    def fit(self) -> None:
        """Stores the features, fits the centroids, and writes the semantic tokenizer."""
        import jax

        from audiolm_jax.data.index import scan
        from audiolm_jax.data.unheard import check_unheard, provenance_at
        from audiolm_jax.tokenizers.semantic.kmeans.blocks import divide
        from audiolm_jax.tokenizers.semantic.kmeans.feature_store import (
            choose_clips,
            store_features,
        )
        from audiolm_jax.tokenizers.semantic.kmeans.fit import STATE
        from audiolm_jax.tokenizers.semantic.stretches import check_phases
        from audiolm_jax.tokenizers.semantic.tokenizer import load_frame_encoder
        from audiolm_jax.training.distributed import from_first_host, is_first_host
        from audiolm_jax.training.full_disk import name_full_disk
        from audiolm_jax.training.manifest import claim_run
        from audiolm_jax.training.mesh import make_mesh
        from audiolm_jax.training.preemption import StopRequest

        directory, encoder_folder = at(self.directory), model_folder(self.encoder)
        config = self.kmeans
        index = scan(self.data)
        check_unheard(index, {f"--encoder {self.encoder}": provenance_at(self.encoder)})
        self.check_data(index)
        encoder = load_frame_encoder(encoder_folder, self.window)
        check_phases(self.phases, encoder.hop_samples, "--phases")
        mesh = make_mesh(self.mesh)
        manifest = self.manifest(config.seed, audio_facts(index))
        stop = StopRequest()
        with (
            name_full_disk(directory),
            claim_run(directory, manifest, (STATE, "features/*", MODEL)),
            _place_of_features(directory) as features,
        ):
            encoders = [encoder] if mesh is None else [encoder.on(x) for x in jax.local_devices()]
            choice = choose_clips(index, encoder.hop_samples, config.max_frames, config.seed)
            config.check_available(count := sum(choice.frames))
            logger.info("k-means: %s", choice)
            blocks = divide(count, config.block_frames, mesh)
            frames = store_features(
                features, index, choice, encoders, config.layer, self.window, self.batch_size,
                blocks, stop,
            )  # fmt: skip
            result = self.fit_frames(frames, mesh, stop)
            inertia = [float(x) for x in result.inertia]
            provenance = provenance_of(manifest, used=choice.facts, inertia=inertia)
            from_first_host(
                lambda: self.save(directory / MODEL, encoder_folder, result, provenance)
            )
            # What the model folder was made of; it is written again if the model is deleted.
            if is_first_host():
                (directory / STATE).unlink()
            # Of a folder that hosts share they take what is left from under each other.
            remove_tree(features, may_vanish=jax.process_count() > 1)

    def fit_frames(self, frames: "Frames", mesh: "Mesh | None", stop: "StopRequest") -> Any:
        """What is fitted to the features, with its `inertia`; keeps its state in the directory."""
        from audiolm_jax.tokenizers.semantic.kmeans.fit import fit_kmeans

        result = fit_kmeans(frames, self.kmeans, mesh, at(self.directory), stop)
        logger.info(
            f"k-means: {len(frames)} frames, {len(result.counts)} clusters, inertia "
            f"{result.inertia[0]:.3f} to {result.inertia[-1]:.3f} in {len(result.inertia)} passes"
        )
        return result

    def save(self, folder: Path, encoder: Path, result: Any, provenance: dict[str, Any]) -> None:
        """Writes the tokenizer of an encoder's model folder and what was fitted."""
        from audiolm_jax.tokenizers.semantic.tokenizer import save_semantic_tokenizer

        save_semantic_tokenizer(
            folder, encoder, self.kmeans.layer, result, provenance, self.window, self.phases
        )


def _place_of_features(directory: Path) -> contextlib.AbstractContextManager[Path]:
    """They are appended to and mapped into memory: of a bucket they lie on this machine, and an
    interrupted run makes them anew."""
    return (
        scratch_folder() if is_remote(directory) else contextlib.nullcontext(directory / "features")
    )
