"""A package that is not installed is one line with the command that installs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from audiolm_jax.cli import main as module
from audiolm_jax.cli.extras import check_installed, what_brings
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.experiments.load import load_experiment

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("missing", "package", "extra"),
    [
        ("seqio", "seqio", "data"),
        ("tensorflow.io", "tensorflow", "data"),
        ("array_record.python.array_record_module", "array_record", "data"),
        ("jinja2", "jinja2", "eval"),
        ("PIL", "pillow", "eval"),
        ("sklearn.linear_model", "scikit-learn", "eval"),
        ("gcsfs", "gcsfs", "gcs"),
        ("torch", "torch", "import"),
    ],
)
def test_the_smallest_extra_that_brings_a_module(missing, package, extra):
    line = f"the package {package} is not installed: pip install 'audiolm_jax[{extra}]'"
    assert what_brings(missing) == line


def test_a_module_of_nobody():
    assert what_brings("no_such_module") is None
    with pytest.raises(InputError, match="here: no_such_module is not installed"):
        check_installed(["json", "no_such_module"], "here")


@pytest.mark.parametrize("config", ["demo/evaluate.py", "demo/sweep.py", "demo/tokens.py"])
def test_all_that_a_config_needs_is_looked_for_first(config, tmp_path, monkeypatch, capsys):
    """Before a directory is claimed, and before minutes of generating."""
    experiment = load_experiment(CONFIGS / config)
    assert experiment.needs
    for needed in experiment.needs:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, needed, None)
            out = tmp_path / "out"
            verb = experiment.verb
            assert main([verb, str(CONFIGS / config), "--directory", str(out)]) == 2
            assert not out.exists()
        line = f"audiolm {verb}: {CONFIGS / config}: {what_brings(needed)}\n"
        assert capsys.readouterr().err == line


def test_whatever_is_missing_later_is_one_line_too(monkeypatch, capsys):
    def run(*_):
        import seqio  # noqa: F401

    monkeypatch.setitem(sys.modules, "seqio", None)
    monkeypatch.setattr(module, "dispatch", run)
    assert main(["train", "x.py"]) == 2
    assert capsys.readouterr().err == f"audiolm train: {what_brings('seqio')}\n"


def test_a_defect_is_still_told_as_one(monkeypatch, capsys):
    def run(*_):
        import audiolm_jax.no_such_module  # noqa: F401

    monkeypatch.setattr(module, "dispatch", run)
    assert main(["train", "x.py"]) == 1
    assert "unexpected ModuleNotFoundError" in capsys.readouterr().err


def test_help_needs_nothing_of_the_extras():
    """The whole command line without any optional package."""
    blocked = [
        "seqio",
        "tensorflow",
        "jinja2",
        "matplotlib",
        "PIL",
        "sklearn",
        "array_record",
        "pystoi",
    ]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked}))\n"
    code += "from audiolm_jax.cli.main import main\nsys.exit(main(['info', '/nowhere']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "/nowhere" in done.stderr
