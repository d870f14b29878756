"""What decides the tokens of a store, and the fingerprint over it."""

import dataclasses

from audiolm_jax.artifacts.config_json import config_to_dict
from audiolm_jax.artifacts.hashing import fingerprint

FORMAT_VERSION = 1
PADDING_RULE = "zeros to whole semantic frames for the codec, none for the semantic tokenizer"


@dataclasses.dataclass(frozen=True)
class TokenSizes:
    """What the two tokenizers of a store write.

    Attributes:
      semantic_clusters: K, ids of the semantic stream.
      semantic_rate_hz: semantic tokens per second.
      acoustic_rate_hz: codec frames per second.
      levels: Q, quantiser levels.
      codebook_size: N, codes per level.
    """

    semantic_clusters: int
    semantic_rate_hz: int
    acoustic_rate_hz: int
    levels: int
    codebook_size: int


@dataclasses.dataclass(frozen=True)
class TokenProvenance:
    """Everything that decides the tokens; its hash is the store's fingerprint.

    Attributes:
      dataset: name of the corpus.
      data_fingerprint: of the clip list and how it is read.
      sample_rate_hz: rate of the audio the tokenizers saw.
      resampler: named recipe of the conversion.
      padding: what follows the end of a clip.
      codec_fingerprint: of the codec's weights and config.
      semantic_fingerprint: of the encoder's and the k-means' weights and config.
      sizes: what the tokenizers write.
      format_version: of this module's records.
    """

    dataset: str
    data_fingerprint: str
    sample_rate_hz: int
    resampler: str
    padding: str
    codec_fingerprint: str
    semantic_fingerprint: str
    sizes: TokenSizes
    format_version: int

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits."""
        return fingerprint(config_to_dict(self))
