"""A bundle that a config describes: for the tasks of an ablation."""

import json

import pytest
from support.tiny_models import fingerprint, stage, write_stage, write_tiny_bundle

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.bundle import BundleExperiment
from audiolm_jax.generation.bundle import load_bundle


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Tiny parts, and a stage 2 without semantic tokens beside them."""
    root = tmp_path_factory.mktemp("parts")
    write_tiny_bundle(root)
    upstream = {name: fingerprint(root / "parts" / name) for name in ("codec", "semantic")}
    write_stage(root / "alone" / "model", stage("coarse", 2.0, semantic_condition=False), upstream)
    return root


def experiment(root, **changes):
    names = ("codec", "semantic", "semantic_lm", "fine_lm")
    fields = {
        "directory": str(root / "out"),
        "parts": (
            *((name, str(root / "parts" / name)) for name in names),
            ("coarse_lm", str(root / "alone")),
        ),
        "purpose": "For a test.",
    }
    return BundleExperiment(**(fields | changes))


def test_parts_become_a_bundle_once(root):
    own = experiment(root)
    folder = own.run()
    bundle = load_bundle(folder)
    assert not bundle.stages["coarse"].config.stage.semantic_condition
    assert bundle.parts["coarse_lm"] == fingerprint(root / "alone" / "model")
    assert own.upstream() == bundle.parts
    assert (folder / "README.md").read_text() == "For a test.\n"
    before = (folder / "bundle.json").stat().st_mtime_ns
    own.run()
    assert (folder / "bundle.json").stat().st_mtime_ns == before
    whole = json.loads((root / "bundle" / "bundle.json").read_text())
    assert whole["fingerprint"] != bundle.fingerprint


def test_bad_parts_get_one_line(root):
    with pytest.raises(InputError, match=r"--parts vocoder: expected codec, semantic,"):
        experiment(root, parts=(("vocoder", "x"),))
    with pytest.raises(InputError, match=r"--parts .*: expected each once"):
        experiment(root, parts=(("codec", "x"), ("codec", "y")))
    with pytest.raises(InputError, match="no trained model here"):
        experiment(root, parts=(("codec", str(root)),)).run()
    with pytest.raises(InputError, match="bundle: no run given for semantic"):
        experiment(root, parts=(("codec", str(root / "parts/codec")),)).run()


def test_a_folder_of_something_else_stays(root, tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(InputError, match=r"--directory .*: would be replaced, but holds other"):
        experiment(root, directory=str(tmp_path)).run()
    assert (tmp_path / "notes").read_text() == "mine"
