"""Writing a token store."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.artifacts.storage import at
from audiolm_jax.artifacts.writer import only_writer
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.data.tokens.config import TokenizeConfig
from audiolm_jax.experiments.base import Experiment

if TYPE_CHECKING:
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

    def upstream(self) -> dict[str, str]:
        """Both tokenizers."""
        return {"codec": fingerprint_of(self.codec), "semantic": fingerprint_of(self.semantic)}

    def run(self) -> Path:
        """Writes the token store, or what is left of it."""
        with only_writer(at(self.directory)):
            return self._write()

    def _write(self) -> Path:
        from audiolm_jax.data.index import scan
        from audiolm_jax.data.tokens.tokenize import precompute
        from audiolm_jax.data.unheard import check_unheard, provenance_at

        index = scan(self.data)
        paths = {f"--{part} {getattr(self, part)}": getattr(self, part) for part in self.upstream()}
        check_unheard(index, {name: provenance_at(path) for name, path in paths.items()})
        load = LoadTokenizers(str(model_folder(self.codec)), str(model_folder(self.semantic)))
        store = precompute(index, load, at(self.directory), self.tokenize)
        for split, part in store.manifest["splits"].items():
            facts = part["statistics"]
            logger.info(
                f"{store.directory}: {split}: {facts['clips']} clips, {facts['seconds'] / 60:.1f} "
                f"min, {facts['semantic_deduplicated']} semantic tokens without repeats, "
                f"{facts['acoustic_tokens']} acoustic tokens"
            )
        return store.directory


@dataclasses.dataclass(frozen=True)
class LoadTokenizers:
    """Loads and verifies both tokenizers where a worker needs them; it carries two paths."""

    codec: str
    semantic: str

    def __call__(self) -> "tuple[AcousticTokenizer, SemanticTokenizer]":
        """(of the codec's folder, of the semantic tokenizer's)."""
        from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
        from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer

        semantic = at(self.semantic)
        return load_acoustic_tokenizer(at(self.codec)), load_semantic_tokenizer(semantic)
