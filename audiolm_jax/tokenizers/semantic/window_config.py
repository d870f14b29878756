"""How long recordings are cut for an encoder; loads nothing heavy."""

import dataclasses

from audiolm_jax.errors import InputError


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
        for name, least in (("tokens", 1), ("context", 0)):
            if (value := getattr(self, name)) < least:
                raise InputError(f"--window.{name} = {value}: expected {least} or more")


DEFAULT = WindowConfig()
