"""How audio is tokenized, as a config; `data.tokens.tokenize` does it. And what reads tokens."""

import dataclasses
from typing import Literal

from audiolm_jax.errors import InputError

Reader = Literal["seqio", "plain"]  # see `data.tokens.loader`


@dataclasses.dataclass(frozen=True)
class TokenizeConfig:
    """How the work is cut. None of it changes the tokens; `shards` decides their files."""

    shards: int = 8
    """Output files of the train split; the held-out split gets its share, at least one."""
    batch_clips: int = 8
    """Clips encoded together, of similar length, on each device."""
    beam_options: tuple[str, ...] = ()
    """Options of Beam such as runner=DataflowRunner, without the dashes, which the command line
    would take for its own; empty: this process does it, on all its devices. Every worker must see
    recordings, models and output under the same path."""

    def __post_init__(self) -> None:
        for name in ("shards", "batch_clips"):
            if getattr(self, name) < 1:
                flag = f"--tokenize.{name.replace('_', '-')}"
                raise InputError(f"{flag} = {getattr(self, name)}: expected at least 1")
