"""The pages of a bundle: fields that hubs index, the licence in their words."""

import json

import pytest
import yaml
from support.fake_hub import check_card

from audiolm_jax.errors import InputError
from audiolm_jax.generation.card import (
    Measured,
    Said,
    hub_licence,
    pages,
    read_card,
    said_by,
    with_head,
)


def record(kind="stage", **facts):
    return {"kind": kind, "config": {"width": 8}, "fingerprint": "f" * 64, "provenance": facts}


def fields_of(card):
    return yaml.safe_load(card.split("---\n")[1])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Apache-2.0", "apache-2.0"),
        ("Apache 2.0", "apache-2.0"),
        ("MIT (model card)", "mit"),
        ("CC BY-SA 3.0. Trained on Asterisk sounds under CC BY 3.0", "cc-by-sa-3.0"),
        ("CC BY 3.0, A. Nother", "cc-by-3.0"),
        ("CC BY-SA 3.0 for the codec, Apache-2.0 for the rest", None),
        ("Apache-2.0 and MIT", None),
        ("not stated in the file; mit", None),
        ("", None),
    ],
)
def test_the_hubs_word_for_a_licence(words, expected):
    assert hub_licence(words) == expected


@pytest.mark.parametrize(
    ("stated", "whole", "expected"),
    [
        ({}, "not stated", "unknown"),
        ({}, "MIT", "mit"),
        ({"codec": "MIT. Mine"}, "not stated", "mit"),
        ({"codec": "MIT. Mine", "coarse_lm": "MIT"}, "MIT, all of it", "mit"),
        ({"codec": "CC BY-NC 4.0"}, "MIT", "other"),
        ({"codec": "ask me"}, "not stated", "other"),
    ],
)
def test_the_licence_is_the_one_that_all_state(stated, whole, expected):
    parts = ("codec", "coarse_lm")
    records = {x: record(**({"licence": stated[x]} if x in stated else {})) for x in parts}
    made = pages("voices", records, Said(whole))
    fields = fields_of(made["README.md"])
    assert fields["license"] == expected
    assert ("LICENSE" in made) == (expected == "other") == ("license_link" in fields)
    for part, words in stated.items():
        assert f"Licence of {part}, {part}: {words}" in made["README.md"]
        assert f": {words}\n" in made.get("LICENSE", f": {words}\n")
    assert check_card(made["README.md"]) == []


def test_an_encoder_within_a_part_has_a_licence_too():
    encoder = {"provenance": {"model": "mHuBERT", "licence": "CC BY-NC-SA 4.0"}}
    made = pages("voices", {"semantic": record("semantic", encoder=encoder)}, Said("MIT"))
    assert fields_of(made["README.md"])["license"] == "other"
    assert "Licence of semantic, mHuBERT: CC BY-NC-SA 4.0\n" in made["LICENSE"]


def test_fields_results_and_configs():
    records = {
        "codec": record("soundstream", data={"dataset": "choir"}, steps=7),
        "coarse_lm": record(data={"dataset": "choir"}, steps=9),
    }
    measured = {
        "codec": Measured(1.234, "8 x TPU v4", None),
        "coarse_lm": Measured(None, "1 x cpu", 20.08553),
    }
    said = Said("CC BY 4.0", ("en", "es"), ("choir/songs",))
    made = pages("voices", records, said, measured)
    assert made.keys() == {"README.md", "config.json"}
    fields = fields_of(made["README.md"])
    assert list(fields) == [
        *("license", "language", "library_name", "pipeline_tag", "tags", "datasets"),
        *("metrics", "model-index"),
    ]
    assert fields["language"] == ["en", "es"]
    assert fields["datasets"] == ["choir/songs"]
    (index,) = fields["model-index"]
    (result,) = index["results"]
    assert index["name"] == "voices"
    assert result["dataset"] == {"type": "choir", "name": "choir, held out"}
    assert result["metrics"][0]["value"] == 20.086
    assert (
        "| codec | soundstream | 7 | choir | 1.23 h on 8 x TPU v4 | ffffffffffffffff |"
        in (made["README.md"])
    )
    assert "| coarse_lm | stage | 9 | choir |  | ffffffffffffffff |" in made["README.md"]
    assert json.loads(made["config.json"])["parts"]["codec"] == {
        "kind": "soundstream",
        "config": {"width": 8},
    }
    assert check_card(made["README.md"]) == []
    assert said_by(fields) == Said(languages=("en", "es"), datasets=("choir/songs",))


def test_a_head_is_put_on_and_taken_off(tmp_path):
    text = "# Ours\n\n---\nno: field\n---\n"
    card = with_head(text, {"license": "mit", "tags": [], "language": ["en"]})
    assert card == f"---\nlicense: mit\nlanguage:\n- en\n---\n{text}"
    (tmp_path / "README.md").write_text(card)
    assert read_card(tmp_path) == (card, {"license": "mit", "language": ["en"]})
    assert with_head(card, {"license": "isc"}) == f"---\nlicense: isc\n---\n{text}"
    (tmp_path / "README.md").write_text(text)
    assert read_card(tmp_path) == (text, None)
    assert read_card(tmp_path / "nowhere") == ("", None)
    (tmp_path / "README.md").write_text("---\n---\nempty\n")
    assert read_card(tmp_path)[1] == {}


@pytest.mark.parametrize("head", ["a: [", "- a list", "!!python/object:os.system {}"])
def test_a_damaged_head_is_one_line(tmp_path, head):
    (tmp_path / "README.md").write_text(f"---\n{head}\n---\n")
    with pytest.raises(InputError, match=r"README.md: .*mend it$"):
        read_card(tmp_path)
