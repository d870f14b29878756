"""Writing a token store."""

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.outside import trust, trusted
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.data.workers import ALONE, Worker, read_worker
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment

if TYPE_CHECKING:
    from audiolm_jax.data.tokens.store import TokenStore
    from audiolm_jax.types import AcousticTokenizer, SemanticTokenizer

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizeExperiment(Experiment):
    """Turn recordings into a store of acoustic and semantic tokens."""

    verb = "tokenize"

    directory: Place
    """Folder of the token store."""
    data: AudioDataConfig
    """Recordings."""
    codec: Place
    """Run directory or model folder of the acoustic tokenizer."""
    semantic: Place
    """Run directory or model folder of the semantic tokenizer."""
    tokenize: TokenizeConfig = TokenizeConfig()
    """Shards and batches."""
    codes: Place | None = None
    """Token store of the same recordings and codec, with another semantic tokenizer: its codes are
    taken, which saves most of the time. None: the codec makes them."""
    worker: str = "0/1"
    """Number of this process and how many share the work, such as 3/16, on machines that all see
    the recordings and the directory; with --distributed it is known. The last to end completes the
    store; where some were stopped, any of these commands goes on with what they left."""

    def __post_init__(self) -> None:
        read_worker(self.worker)

    @property
    def needs(self) -> tuple[str, ...]:
        """The format of the store, and Beam if it is to do it."""
        return ("array_record", "apache_beam") if self.tokenize.beam_options else ("array_record",)

    def upstream(self) -> dict[str, str]:
        """Both tokenizers."""
        return {"codec": fingerprint_of(self.codec), "semantic": fingerprint_of(self.semantic)}

    def run(self) -> Path:
        """Writes the token store, or this process' part of what is left of it."""
        import jax

        from audiolm_jax.data.tokens.store import TokenStore
        from audiolm_jax.training.distributed import wait_for_all

        worker, directory = read_worker(self.worker), at(self.directory)
        if (processes := jax.process_count()) > 1:
            if worker != ALONE:
                raise InputError(f"--worker {self.worker}: with --distributed leave it out")
            worker = Worker(jax.process_index(), processes)
        is_alone = worker == ALONE
        with only_writer(directory) if is_alone else contextlib.nullcontext():
            store = self._write(worker)
        if processes > 1:
            wait_for_all("tokenize")
            store = TokenStore.open(directory, verify=False)
        if store is None:
            where = f"{directory}: not complete yet: other processes write the rest"
            if is_alone:
                raise InputError(f"{where}; give the same command once they have ended")
            logger.info(f"{where}, the last of which completes the store")
            return directory
        for split, part in store.manifest["splits"].items():
            facts = part["statistics"]
            logger.info(
                f"{store.directory}: {split}: {facts['clips']} clips, {facts['seconds'] / 60:.1f} "
                f"min, {facts['semantic_deduplicated']} semantic tokens without repeats, "
                f"{facts['acoustic_tokens']} acoustic tokens"
            )
        return directory

    def _write(self, worker: Worker) -> "TokenStore | None":
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.tokens.tokenize import precompute
        from audiolm_jax.data.unheard import check_unheard, provenance_at

        index = scan(self.data)
        paths = {f"--{part} {getattr(self, part)}": getattr(self, part) for part in self.upstream()}
        check_unheard(index, {name: provenance_at(path) for name, path in paths.items()})
        codec, semantic = str(model_folder(self.codec)), str(model_folder(self.semantic))
        load = LoadTokenizers(codec, semantic, trusted())
        codes = None if self.codes is None else at(self.codes)
        return precompute(index, load, at(self.directory), self.tokenize, worker, codes)


@dataclasses.dataclass(frozen=True)
class LoadTokenizers:
    """Loads and verifies both tokenizers where a worker needs them; it carries two paths,
    and the modules that these may run."""

    codec: str
    semantic: str
    trusted: tuple[str, ...] = ()

    def __call__(self) -> "tuple[AcousticTokenizer, SemanticTokenizer]":
        """(of the codec's folder, of the semantic tokenizer's)."""
        from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
        from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer

        trust(*self.trusted)
        semantic = at(self.semantic)
        return load_acoustic_tokenizer(at(self.codec)), load_semantic_tokenizer(semantic)
