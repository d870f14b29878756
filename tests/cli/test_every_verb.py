"""docs/reference/command_line.md: exit statuses and the flags of every verb."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tyro

from audiolm_jax.cli.main import FLAGS, USAGE, main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/command_line.md").read_text()
CONFIG = '''
import dataclasses
import logging
import sys
import time
from pathlib import Path

from audiolm_jax.errors import InputError
from audiolm_jax.experiments.base import Experiment
from audiolm_jax.training.progress import Progress
from audiolm_jax.training.watchdog import Watchdog

logger = logging.getLogger("audiolm_jax.mine")


@dataclasses.dataclass(frozen=True)
class Ends(Experiment):
    """Ends as it is told."""

    verb = "train"
    directory: str = "run"
    how: str = "well"

    def run(self):
        with Progress(2, seconds=1e-9) as progress:
            progress.update(1, {"loss": 0.5})
            progress.update(2, {"loss": float("nan")})
        logger.warning("mind the gap")
        print("the result")
        match self.how:
            case "badly":
                raise InputError("x.wav: found nothing, expected sound")
            case "wrongly":
                raise ZeroDivisionError("by zero")
            case "stopped":
                raise KeyboardInterrupt
            case "asked":
                sys.exit(75)
            case "stuck":
                with Watchdog(0.3) as watchdog:
                    watchdog.at("waiting", 2)
                    time.sleep(60)
        return Path("run")


def experiment():
    return Ends()
'''
STATUSES = {"well": 0, "wrongly": 1, "badly": 2, "asked": 75, "stuck": 124, "stopped": 130}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ends.py").write_text(CONFIG)
    return ["train", "ends.py"]


def status_of(words):
    try:
        return main(words)
    except SystemExit as stop:
        return stop.code


def test_the_page_and_the_help_name_every_status_and_flag():
    table = PAGE.split("## Exit statuses")[1].split("##")[0]
    assert [int(x) for x in re.findall(r"^\| (\d+) \|", table, re.M)] == sorted(STATUSES.values())
    told = USAGE.split("Exit status: ")[1]
    assert {int(x) for x in re.findall(r"\b\d+\b", told)} == set(STATUSES.values())
    for flag in (*FLAGS, "--trust MODULE"):
        assert f"`{flag}`" in PAGE
        assert f"[{flag}]" in USAGE


@pytest.mark.parametrize("how", [how for how in STATUSES if how != "stuck"])
def test_statuses(config, how):
    assert status_of([*config, "--how", how]) == STATUSES[how]


def test_the_status_of_a_process_that_is_stuck(config):
    command = [sys.executable, "-m", "audiolm_jax", *config, "--how", "stuck"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == STATUSES["stuck"] == 124


def test_quiet_leaves_warnings_errors_and_results(config, capsys, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    assert status_of([*config, "--quiet", "--how", "badly"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "the result\n"
    assert shown.err == "mind the gap\naudiolm train: x.wav: found nothing, expected sound\n"
    monkeypatch.setattr(sys, "stderr", terminal)
    assert status_of(["--quiet", *config]) == 0
    assert terminal.getvalue() == "mind the gap\n"  # no line is drawn
    assert status_of(config) == 0
    assert "\rstep 2/2" in terminal.getvalue().replace("\x1b[K", "")


def test_the_log_as_json(config, capsys):
    assert status_of([*config, "--json-log", "--how", "badly"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "the result\n"
    lines = [json.loads(line, parse_constant=pytest.fail) for line in shown.err.splitlines()]
    assert all({"time", "level", "text"} <= line.keys() for line in lines)
    steps = [line for line in lines if "step" in line]
    assert [(x["step"], x["steps"], x["loss"]) for x in steps] == [(1, 2, 0.5), (2, 2, None)]
    assert steps[1]["text"].startswith("step 2/2  loss nan")
    assert {"steps_per_second", "seconds_left"} <= steps[1].keys() - steps[0].keys()
    assert [(x["level"], x["text"]) for x in lines[-2:]] == [
        ("warning", "mind the gap"),
        ("error", "audiolm train: x.wav: found nothing, expected sound"),
    ]
    assert lines[-1]["status"] == 2
    assert status_of(config) == 0
    assert "step 2/2" in capsys.readouterr().out  # the next command is as ever


def test_no_color_is_honoured(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setitem(tyro._experimental_options, "ansi_codes", True)
    for value, is_colored in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        monkeypatch.setattr(sys, "stdout", terminal)
        assert status_of(["info", "--help"]) in (0, None)
        assert ("\x1b[" in terminal.getvalue()) == is_colored
        assert "usage:" in terminal.getvalue()
