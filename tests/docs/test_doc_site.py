"""The site: what is made of the code for it, and that what is wrong in it is found."""

import contextlib
import dataclasses
import importlib.util
import re
import subprocess
import sys

import pytest
from support.doc_pages import ROOT

import audiolm_jax
from audiolm_jax.cli.main import VERBS, main
from audiolm_jax.experiments.load import KINDS, kinds_of
from tools.site import reference
from tools.site.build import broken


@pytest.fixture(scope="module")
def pages():
    return {
        "python.rst": reference.python_page(),
        "verbs.md": reference.verbs_page(),
        **reference.config_pages(),
    }


def test_every_public_name_has_its_place_and_a_text(pages):
    for name in audiolm_jax.__all__:
        assert re.search(
            rf"\.\. auto(class|function):: audiolm_jax\.{name}$", pages["python.rst"], re.M
        )
        assert (getattr(audiolm_jax, name).__doc__ or "").strip()


def test_every_field_of_every_config_has_its_text(pages):
    places = {}
    for verb in KINDS:
        for kind in kinds_of(verb):
            places |= dict.fromkeys(reference.parts_of(kind), "config_parts.md")
            places[kind] = f"config_{verb}.md"
    assert len(places) > 50
    for config, name in places.items():
        section = pages[name].split(f"\n## {config.__name__}\n")[1].split("\n## ")[0]
        for field in dataclasses.fields(config):
            text = reference.field_texts(config)[field.name]
            assert f"- **`{field.name}`**: " in section
            assert len(text) > 5
            assert text in section


def test_the_texts_are_those_of_the_help(capsys):
    with contextlib.suppress(SystemExit):
        main(["train", str(ROOT / "configs/demo/codec.py"), "--help"])
    printed = re.sub(r"[│╭╮╰╯─\s]+", "", capsys.readouterr().out)
    (kind,) = [kind for kind in kinds_of("train") if kind.__name__ == "CodecExperiment"]
    texts = [*reference.field_texts(kind).values()]
    for part in reference.parts_of(kind):
        texts += reference.field_texts(part).values()
    shown = [re.sub(r"\s+", "", text) in printed for text in texts]
    assert sum(shown) > 0.8 * len(texts) > 50


def test_the_help_of_every_verb_is_there(pages):
    for verb in VERBS:
        section = pages["verbs.md"].split(f"\n## audiolm {verb}\n")[1].split("\n## ")[0]
        assert f"usage: audiolm {verb}" in section
    assert "--prompt-seconds" in pages["verbs.md"]
    assert "\x1b" not in pages["verbs.md"]


def test_what_is_wrong_in_a_site_is_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.html").write_text("<p id='here'>")
    (tmp_path / "sub/a.html").write_text(
        "<a href='../b.html#here'></a><a href='https://example.org/x'></a><img src='data:,x'>"
        "<a href='../b.html#there'></a><a href='c.html'></a><script src='https://cdn.org/x.js'></script>"
    )
    assert broken(tmp_path) == [
        "sub/a.html: ../b.html#there: no such place in it",
        "sub/a.html: c.html: no such file",
        "sub/a.html: https://cdn.org/x.js: is loaded from elsewhere",
    ]


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("sphinx"), reason="needs the extra docs")
def test_the_site_is_built_without_a_warning(tmp_path):
    build = [sys.executable, "-m", "tools.site.build", str(tmp_path / "site")]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    assert (site / "docs/guide/getting_started.html").is_file()
    for name in audiolm_jax.__all__:
        assert f'id="audiolm_jax.{name}"' in (site / "docs/reference/python.html").read_text()
    assert broken(site) == []
