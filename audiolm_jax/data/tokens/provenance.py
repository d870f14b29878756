"""What decides the tokens of a store, and the fingerprint over it."""

import dataclasses
from collections.abc import Collection

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.hashing import fingerprint

FORMAT_VERSION = 1
# Of `TokenSizes`, what one tokenizer alone decides.
_OWN_FIELDS = {
    "codec": ("acoustic_rate_hz", "levels", "codebook_size"),
    "semantic": ("semantic_clusters",),
}
PADDING_RULE = "zeros to whole semantic frames for the codec, none for the semantic tokenizer"


@dataclasses.dataclass(frozen=True)
class TokenSizes:
    """What the two tokenizers of a store write."""

    semantic_clusters: int  # K, ids of the semantic stream
    semantic_rate_hz: int  # semantic tokens per second
    acoustic_rate_hz: int  # codec frames per second
    levels: int  # Q, quantizer levels
    codebook_size: int  # N, codes per level

    @property
    def frames_per_semantic(self) -> int:
        """Codec frames in the time of one semantic token."""
        return self.acoustic_rate_hz // self.semantic_rate_hz


@dataclasses.dataclass(frozen=True)
class TokenProvenance:
    """Everything that decides the tokens; its hash is the store's fingerprint."""

    dataset: str  # name of the corpus
    data_fingerprint: str  # of the clip list and how it is read
    sample_rate_hz: int  # of the audio the tokenizers saw
    resampler: str  # named recipe of the conversion
    padding: str  # what follows the end of a clip
    codec_fingerprint: str  # of the codec's weights and config
    semantic_fingerprint: str  # of the encoder's and the k-means' weights and config
    sizes: TokenSizes
    format_version: int  # of the records and the store

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        return self.read_by(_OWN_FIELDS)

    def read_by(self, tokenizers: Collection[str]) -> str:
        """16 hexadecimal digits over what decides the tokens of some tokenizers, "codec" and
        "semantic": those of the other may differ."""
        fields = config_to_dict(self)
        for part, own in _OWN_FIELDS.items():
            if part not in tokenizers:
                del fields[f"{part}_fingerprint"]
                for name in own:
                    del fields["sizes"][name]
        return fingerprint(fields)

    def tokenizers(self) -> dict[str, str]:
        """Fingerprints of the models that wrote the tokens."""
        return {"codec": self.codec_fingerprint, "semantic": self.semantic_fingerprint}
