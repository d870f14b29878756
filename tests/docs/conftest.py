"""Command lines that are read as the program reads them, and not carried out."""

import importlib

import pytest
from support.doc_pages import ROOT

from audiolm_jax.cli.dispatch import dispatch
from audiolm_jax.cli.main import VERBS


class UnderstoodError(Exception):
    """A command line was read; its work is left out."""


@pytest.fixture
def understand(monkeypatch):
    """A function that takes the words after `audiolm`; InputError if the program refuses them."""
    monkeypatch.chdir(ROOT)

    def reads(parse):
        def read(*arguments):
            parse(*arguments)
            raise UnderstoodError

        return read

    for verb in VERBS.values():
        module = importlib.import_module(f"audiolm_jax.cli.{verb.place.partition(':')[0]}")
        if hasattr(module, "parse"):
            monkeypatch.setattr(module, "parse", reads(module.parse))

    def understand(arguments):
        with pytest.raises(UnderstoodError):
            dispatch("audiolm", VERBS, arguments)

    return understand
