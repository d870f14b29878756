"""Training a SoundStream decoder on frozen tokens of any kind."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.artifacts.run_folder import fingerprint_of, model_folder
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.codec import CodecExperiment
from audiolm_jax.experiments.trained import TrainingData

if TYPE_CHECKING:
    from audiolm_jax.data.index import ClipIndex
    from audiolm_jax.tokenizers.vocoder.tokens import FrozenTokens
    from audiolm_jax.training.state import TrainProgram, TrainState
    from audiolm_jax.types import AudioBatch, VectorBatch


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocoderExperiment(CodecExperiment):
    """Train a SoundStream decoder on frozen tokens, to measure how much of the audio they keep.

    Tokens are semantic units (one level, whose vectors are the centroids), residual levels of an
    encoder's features, or the first levels of a codec. Of `model` the decoder alone is built: the
    product of the strides is the tokens' hop, `embedding_width` the width of their vectors,
    `quantizer` says how many of their levels it gets and how many codes each has; nothing else of
    the quantizer counts, nor `train.quantizer_dropout`. Tokens are those of each crop by itself.
    Paper: AudioLM III-B, Table I.
    """

    kind = "vocoder"

    tokens: Place
    """Run directory or model folder of a semantic tokenizer, of residual levels or of a codec."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise is not None:
            raise InputError("noise: expected None; a decoder of frozen tokens removes none")

    def upstream(self) -> dict[str, str]:
        """What makes the tokens."""
        return {"tokens": fingerprint_of(self.tokens)}

    def program(self) -> "TrainProgram":
        """Decoder and discriminators in turn."""
        from audiolm_jax.tokenizers.acoustic.soundstream import decoder_train
        from audiolm_jax.training.optim import make_optimizer

        optimizers = make_optimizer(self.optimizer), make_optimizer(self.discriminator_optimizer)
        return decoder_train.program(self.model, self.train, *optimizers)

    def hear(self) -> "Callable[[TrainState, Any], Any]":
        """(state, batch) -> the batch as the decoder makes it, [b, s]."""
        from audiolm_jax.tokenizers.acoustic.soundstream.decoder_train import decoded

        return decoded(self.model, self.train)

    def abstract_batch(self) -> Any:
        """`VectorBatch` of shapes."""
        import jax
        import numpy as np

        from audiolm_jax.types import VectorBatch

        audio = super().abstract_batch()
        frames = -(-audio.samples.shape[1] // self.model.hop_samples)
        shape = (self.batch_size, frames, self.model.embedding_width)
        vectors: Any = jax.ShapeDtypeStruct(shape, np.float32)
        return VectorBatch(audio, vectors)

    def filled(self, rows: Any) -> tuple[float, float]:
        """By the lengths of the crops."""
        return super().filled(rows.audio)

    def kmeans_flops(self) -> float:
        """There is none."""
        return 0.0

    def open_index(self) -> "ClipIndex":
        """The recordings, of which what makes the tokens has heard none held out either."""
        from audiolm_jax.data.unheard import check_unheard, provenance_at

        index = super().open_index()
        check_unheard(index, {f"--tokens {self.tokens}": provenance_at(self.tokens)})
        return index

    def open_data(self) -> TrainingData:
        """Crops of the recordings with the vectors of their tokens."""
        from audiolm_jax.tokenizers.vocoder.tokens import vectors_of
        from audiolm_jax.types import VectorBatch

        tokens = self._open_tokens()
        crops = self.open_crops(None, self.speed)

        def coded(batches: "Iterable[AudioBatch]") -> "Iterator[VectorBatch]":
            for audio in batches:
                yield VectorBatch(audio, vectors_of(tokens, audio))

        data = dataclasses.replace(
            crops,
            batches=lambda done: coded(crops.batches(done)),
            heldout=lambda: coded(crops.heldout()),
        )
        return self.with_samples(data, next(iter(data.heldout()))) if self.samples else data

    def packed(self, arrays: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
        """The decoder with what makes its tokens."""
        from audiolm_jax.artifacts.model_folder import load_model
        from audiolm_jax.tokenizers.vocoder.codec import TOKENS, VocoderConfig

        origin = load_model(model_folder(self.tokens))
        config = VocoderConfig(origin.kind, origin.config, self.model.levels, self.model)
        return config, {**arrays, **{TOKENS + name: x for name, x in origin.arrays.items()}}

    def _open_tokens(self) -> "FrozenTokens":
        """InputError if the decoder does not fit them."""
        import numpy as np

        from audiolm_jax.artifacts.model_folder import load_model
        from audiolm_jax.tokenizers.vocoder.tokens import open_tokens

        origin = load_model(model_folder(self.tokens))
        tokens = open_tokens(origin, self.model.levels, str(self.tokens))
        width = tokens.latents(np.zeros((1, tokens.levels), np.int32)).shape[-1]
        for flag, has, needs in (
            ("--model.sample-rate-hz", self.model.sample_rate_hz, tokens.sample_rate_hz),
            ("--model.strides: their product", self.model.hop_samples, tokens.hop_samples),
            ("--model.embedding-width", self.model.embedding_width, width),
            ("--model.quantizer.codebook-size", self.model.codebook_size, tokens.codebook_size),
        ):
            if has != needs:
                raise InputError(f"{flag} {has}: {self.tokens} has {needs}; make them equal")
        return tokens
