"""The notebooks: small, of code that compiles and of public names; and, slowly, they run."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tempfile

import pytest
from support.doc_pages import ROOT

import audiolm_jax
from audiolm_jax.cli.main import VERBS

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))
MOST_BYTES = 300_000
WITHOUT_OUTPUT = {"train_small"}  # says so itself
RUNNERS = ("nbclient", "nbformat", "ipykernel")


def code_cells(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def strange_names(source):
    """Names of this package that a program uses and that are not public."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "audiolm_jax":
            found.add(node.module)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            found |= {name for name in names if name.startswith("audiolm_jax.")}
        elif isinstance(node, ast.Attribute):
            if getattr(node.value, "id", "") == "audiolm_jax":
                found |= {node.attr} - {*audiolm_jax.__all__, "__file__"}
            elif getattr(node.value, "id", "") in ("model", "calm"):
                found |= {node.attr} - set(public_of_pipeline())
    return found


def public_of_pipeline():
    instance = re.findall(r"self\.([a-z]\w*)(?:: \w+)? =", pipeline_source())
    return [*instance, *(name for name in dir(audiolm_jax.Pipeline) if not name.startswith("_"))]


def pipeline_source():
    return (ROOT / "audiolm_jax/generation/api.py").read_text(encoding="utf-8")


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["hear_and_continue", "tokens", "train_small"]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_a_small_notebook_that_was_run(notebook):
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["nbformat_minor"] >= 5) == (4, True)
    assert notebook.stat().st_size <= MOST_BYTES
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    counts = [c["execution_count"] for c in content["cells"] if c["cell_type"] == "code"]
    outputs = [out for cell in content["cells"] for out in cell.get("outputs", ())]
    if notebook.stem in WITHOUT_OUTPUT:
        assert (set(counts), outputs) == ({None}, [])
        assert "**Not run as a whole" in "".join(content["cells"][0]["source"])
        return
    assert counts == list(range(1, len(counts) + 1))
    assert outputs
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert not re.search(r"/(root|home|tmp)/", json.dumps(content))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_code_compiles_and_uses_public_names(notebook):
    source = "\n".join(code_cells(notebook))
    compile(source, notebook.name, "exec")
    assert strange_names(source) == set()
    assert set(re.findall(r'audiolm\(\s*"(\w+)"', source)) <= set(VERBS)
    for file in re.findall(r"configs/[\w/]+\.py", source):
        assert (ROOT / file).is_file()


def test_a_strange_name_is_seen():
    assert strange_names("import audiolm_jax\naudiolm_jax.stages\nmodel._x()\nmodel.encode(1)") == {
        "stages",
        "_x",
    }


def test_the_program_takes_what_train_small_asks_of_it(understand, monkeypatch, tmp_path):
    asked = []

    def run(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("AUDIOLM_AUDIO_DIR", "recordings")
    names = {}
    cells = code_cells(ROOT / "docs/notebooks/train_small.ipynb")
    for cell in (cell for cell in cells if "audiolm_jax.load(" not in cell and "plt." not in cell):
        if "def play" not in cell:
            exec(cell, names)
    names["audiolm"]("bundle", *(names["RUNS"] / part for part in "abcde"), "--out", "bundle")
    commands = [command[3:] for command in asked if command[1:3] == ["-m", "audiolm_jax"]]
    assert [command[0] for command in commands] == [
        *["train"] * 3,
        "tokenize",
        *["train"] * 3,
        "bundle",
    ]
    for command in commands:
        understand(command)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Twenty short stories, by the synthesizer that makes the prompts of the demo."""
    folder = tmp_path_factory.mktemp("stories")
    make = [sys.executable, "-m", "tools.stories.prompts", str(folder), "--each", "10"]
    subprocess.run(make, cwd=ROOT, check=True)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, RUNNERS)), reason="needs the extra notebooks"
)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(notebook, recordings, monkeypatch):
    import nbclient
    import nbformat

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("AUDIOLM_AUDIO_DIR", str(recordings))
    monkeypatch.delenv("XLA_FLAGS", raising=False)  # of the tests: eight devices
    content = nbformat.read(notebook, as_version=4)
    nbformat.validate(content)
    before = [out.get("text") for cell in content.cells for out in cell.get("outputs", ())]
    nbclient.NotebookClient(
        content, timeout=1800, resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    after = [out.get("text") for cell in content.cells for out in cell.get("outputs", ())]
    assert len(after) == len(before)
