"""Config files are Python: what they put into a field is checked when they are loaded."""

import dataclasses
from typing import Literal

import pytest

from audiolm_jax.artifacts.identity import Place
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.field_types import check_types


@dataclasses.dataclass(frozen=True)
class Inner:
    choice: Literal["wide", "narrow"] = "wide"
    share: float = 0.5


@dataclasses.dataclass(frozen=True)
class Outer:
    steps: int = 3
    place: Place = "somewhere"
    limit: int | None = None
    names: tuple[str, ...] = ()
    one: Inner = Inner()
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    "config", [Outer(), Outer(limit=4, names=("a", "b"), many=(Inner(), Inner(share=1)))]
)
def test_right_types_pass(config):
    check_types(config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Outer(steps="3"), "steps = '3': expected int"),
        (Outer(steps=2.5), "steps = 2.5: expected int"),
        (Outer(place=3), "place = 3: expected str"),
        (Outer(limit="none"), "limit = 'none': expected int | None"),
        (Outer(names=["a"]), "names = ['a']: expected tuple[str, ...]"),
        (Outer(names=("a", 1)), "names = ('a', 1): expected tuple[str, ...]"),
        (Outer(one=None), "one = None: expected Inner"),
        (Outer(one=Inner("high")), "one.choice = 'high': expected one of 'wide', 'narrow'"),
        (Outer(many=(Inner(), Inner(share="1"))), "many.1.share = '1': expected float"),
    ],
)
def test_the_field_with_a_wrong_type_is_named(config, message):
    with pytest.raises(InputError) as caught:
        check_types(config)
    assert str(caught.value) == message
