"""Runs of equal programs that share what is traced and compiled, as the steps of one run do."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import jax
import pytest

from audiolm_jax.lm import train
from audiolm_jax.training import loop, optim


def _once_by(key_of: Any, make: Any) -> Any:
    """`make`, called once for each key of its arguments."""
    made: dict[Any, Any] = {}

    def once(*arguments: Any) -> Any:
        key = key_of(*arguments)
        if key not in made:
            made[key] = make(*arguments)
        return made[key]

    return once


@contextlib.contextmanager
def kept_programs() -> Iterator[None]:
    """Within it a run compiles what no run before it has: each made its functions anew."""

    def parts(program: Any, mesh: Any, shardings: Any) -> Any:
        leaves, structure = jax.tree.flatten(shardings)
        return program.step, mesh, tuple(leaves), structure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "jit_step", _once_by(parts, loop.jit_step))
        patch.setattr(loop, "make_init", _once_by(lambda program: program.init, loop.make_init))
        patch.setattr(train, "program", functools.cache(train.program))
        patch.setattr(optim, "make_optimizer", functools.cache(optim.make_optimizer))
        yield
