"""From a path, an archive or an address to models that are ready."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from audiolm_jax.artifacts.archive import unpacked
from audiolm_jax.artifacts.compilation_cache import use_compilation_cache
from audiolm_jax.artifacts.model_folder import MODEL_JSON
from audiolm_jax.artifacts.run_folder import BUNDLE_JSON, model_folder
from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import Pipeline
from audiolm_jax.generation.bundle import is_archive, load_bundle, said_of
from audiolm_jax.generation.config import DEFAULT, GenerationConfig
from audiolm_jax.generation.hub import at_hand
from audiolm_jax.tokenizers.acoustic.load import load_acoustic_tokenizer
from audiolm_jax.tokenizers.semantic.tokenizer import load_semantic_tokenizer
from audiolm_jax.types import SemanticTokenizer, StreamingTokenizer

# What a clone of the repository brings: synthetic English speech (docs/results/stories.md).
DEFAULT_BUNDLE = Path(__file__).resolve().parents[2] / "models" / "stories.zip"


def load(place: str | Path | None = None, config: GenerationConfig = DEFAULT) -> Pipeline:
    """A bundle ready to speak.

    Args:
        place: folder of a bundle, zip archive of one (`audiolm release`), or the address of either
            (gs://, s3://); where nothing is of that name, OWNER/NAME or OWNER/NAME@REVISION of the
            Hugging Face hub (docs/guide/hub.md); None for `DEFAULT_BUNDLE`, which a clone of the
            repository brings.
        config: how the stages are sampled.

    Compiled programs are kept from one start to the next (docs/guide/generation.md).

    Raises:
        InputError: nothing there, damaged, of parts that do not belong together; one line.
    """
    if place is None:
        place = default_bundle()
    use_compilation_cache()
    with at_hand(place) as path:
        bundle = load_bundle(path)
    return Pipeline(bundle, config)


def default_bundle() -> Path:
    """`DEFAULT_BUNDLE`; InputError where it is not, as in an installed package."""
    if not DEFAULT_BUNDLE.is_file():
        raise InputError(
            f"no bundle was named, and {DEFAULT_BUNDLE}, which a clone of the repository brings, "
            "is not here; name one (--models)"
        )
    return DEFAULT_BUNDLE


def load_codec(place: str | Path) -> StreamingTokenizer:
    """The codec of a bundle, a run, a model folder, or the archive of one; as `load` finds it."""
    with _part(place, "codec") as folder:
        return load_acoustic_tokenizer(folder)


def load_semantic(place: str | Path) -> SemanticTokenizer:
    """The semantic tokenizer of a bundle, a run, a model folder, or the archive of one; as `load`
    finds it."""
    with _part(place, "semantic") as folder:
        return load_semantic_tokenizer(folder)


@contextlib.contextmanager
def _part(place: str | Path, part: str) -> Iterator[Path]:
    with contextlib.ExitStack() as stack:
        folder = path = stack.enter_context(at_hand(place))
        if is_archive(path):
            folder = stack.enter_context(unpacked(path, BUNDLE_JSON, MODEL_JSON))
            stack.enter_context(said_of(path, folder))
        is_bundle = (folder / BUNDLE_JSON).is_file()
        yield folder / part if is_bundle else model_folder(folder)
