"""Which parts go together."""

import pytest
from support.tiny_models import fingerprint, stage, write_codec, write_stage

from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle, write_bundle


def test_a_semantic_stage_goes_with_any_codec(tiny_bundle, tmp_path):
    parts = tiny_bundle.parent / "parts"
    old = {name: fingerprint(parts / name) for name in ("codec", "semantic")}
    write_codec(tmp_path / "codec", seed=7)
    codec = fingerprint(tmp_path / "codec")
    seconds = {"semantic": 6.0, "coarse": 2.0, "fine": 1.0}
    heard = {
        "semantic": {"semantic": old["semantic"]},
        "coarse": {"semantic": old["semantic"], "codec": codec},
        "fine": {"codec": codec},
    }
    for name in ("coarse", "fine"):  # trained on less
        heard[name] |= {"semantic_tokens_per_second": 9.0}
    sources = {"codec": tmp_path / "codec", "semantic": parts / "semantic"}
    for name, upstream in heard.items():
        write_stage(tmp_path / f"{name}_lm", stage(name, seconds[name]), upstream)
        sources[f"{name}_lm"] = tmp_path / f"{name}_lm"
    write_bundle(tmp_path / "bundle", sources, {})
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.parts["codec"] == codec
    assert bundle.semantic_tokens_per_second == 12.0  # of stage 1
    for name in ("coarse", "fine"):
        with pytest.raises(InputError, match=f"{name}_lm: trained on tokens of codec"):
            write_bundle(tmp_path / "none", sources | {f"{name}_lm": parts / f"{name}_lm"}, {})
    assert not (tmp_path / "none").exists()
