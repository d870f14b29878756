"""What a fingerprint depends on, and what not."""

import dataclasses

import numpy as np
import pytest

from audiolm_jax.artifacts.config_json import config_from_dict, config_hash, config_to_dict
from audiolm_jax.artifacts.hashing import file_sha256, fingerprint
from audiolm_jax.artifacts.model_folder import compute_fingerprint
from audiolm_jax.errors import InputError


def test_the_order_of_keys_does_not_matter_and_all_else_does():
    value = {"b": [1, 2], "a": {"d": None, "c": "x"}}
    same = {"a": {"c": "x", "d": None}, "b": [1, 2]}
    assert fingerprint(value) == fingerprint(same)
    others = [{**value, "b": [2, 1]}, {**value, "e": 0}, {"b": [1, 2]}, {**value, "b": ["1", 2]}]
    assert len({fingerprint(x) for x in (value, *others)}) == 5
    assert len(fingerprint(value)) == 16


def test_a_file_is_its_bytes(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (file_sha256(tmp_path / name) for name in "abc")
    assert a == b != c


def test_a_model_is_its_kind_its_config_and_every_array():
    weights = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, np.float32)}
    changed = {
        "value": {**weights, "a": weights["a"] + 1},
        "shape": {**weights, "a": weights["a"].reshape(3, 2)},
        "dtype": {**weights, "b": np.zeros(2, np.int32)},
        "name": {"a": weights["a"], "c": weights["b"]},
        "fewer": {"a": weights["a"]},
    }
    base = compute_fingerprint("kind", {"width": 1}, weights)
    turned = {"b": weights["b"], "a": np.asfortranarray(weights["a"])}
    assert compute_fingerprint("kind", {"width": 1}, turned) == base
    others = [compute_fingerprint("kind", {"width": 1}, arrays) for arrays in changed.values()]
    others += [compute_fingerprint("other", {"width": 1}, weights)]
    others += [compute_fingerprint("kind", {"width": 2}, weights)]
    assert len({base, *others}) == 8


@dataclasses.dataclass(frozen=True)
class _Config:
    width: int = 3
    sizes: tuple[int, ...] = (1, 2)


def test_a_config_comes_back_whole_or_not_at_all():
    fields = config_to_dict(_Config())
    assert config_from_dict(_Config, fields, "here") == _Config()
    assert config_hash(_Config()) != config_hash(_Config(4))
    for wrong, words in (
        ({"width": 3}, "here: field 'sizes' of _Config is missing"),
        ({**fields, "height": 1}, "here: _Config: .*height"),
        ({**fields, "width": "wide"}, "here: _Config: .*width"),
    ):
        with pytest.raises(InputError, match=words):
            config_from_dict(_Config, wrong, "here")
