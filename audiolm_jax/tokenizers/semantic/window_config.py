"""How long recordings are cut for an encoder; loads nothing heavy."""

import dataclasses

from audiolm_jax.errors import check_fields


@dataclasses.dataclass(frozen=True)
class WindowConfig:
    """How long recordings are cut; in tokens of the encoder, 40 ms each at 25 Hz.

    A part of the tokenizer: features depend on it where an encoder hears farther than the context.
    The default sizes make pieces of at most 1024 tokens (41 s), which need no padding.
    """

    tokens: int = 768
    """Tokens of a window."""
    context: int = 128
    """Tokens heard on either side of a window."""

    def __post_init__(self) -> None:
        check_fields(self, "--window", "tokens", lambda x: x >= 1, "1 or more")
        check_fields(self, "--window", "context", lambda x: x >= 0, "0 or more")


DEFAULT = WindowConfig()
