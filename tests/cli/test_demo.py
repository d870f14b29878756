"""The demo's plan: each corpus in a run directory of its own, every step told where it is."""

from pathlib import Path

import pytest

from audiolm_jax.artifacts.identity import described
from audiolm_jax.cli import demo
from audiolm_jax.cli.configured import configured
from audiolm_jax.cli.main import main


def experiments(options):
    """What the steps describe, by config file."""
    return {
        Path(words[1]).stem: configured(words[0], words[1:])
        for _, words in demo.steps(options)
        if words[0] in ("train", "tokenize", "evaluate")
    }


def test_the_default_demo_needs_no_flag():
    for _, words in demo.steps(demo.DemoOptions()):
        assert words[0] in ("audit", "bundle") or len(words) == 2
    absolute = demo.DemoOptions(str(Path(demo.DEFAULT_AUDIO).resolve()))
    assert absolute.runs == demo.RUNS
    assert demo.steps(absolute)[1:] == demo.steps(demo.DemoOptions())[1:]


@pytest.mark.parametrize("given", [None, Path("elsewhere/mine")])
def test_own_recordings_have_a_run_directory_of_their_own(tmp_path, given):
    options = demo.DemoOptions(str(tmp_path / "my voices"), given)
    root = given or Path("runs/demo-my voices")
    found = experiments(options)
    assert found.keys() == experiments(demo.DemoOptions()).keys()
    for name, experiment in found.items():
        places = described(experiment)["places"]
        for field, place in places.items():
            if field == "config.data.source":
                assert place == options.audio_dir
            elif field == "config.runs":
                assert set(place) == {str((root / x).resolve()) for x in demo.TRAINED} - {
                    str((root / "kmeans").resolve())
                }
            elif place:  # None or empty: there is none
                assert Path(place).is_relative_to(root.resolve()), (name, field, place)
    assert found["kmeans"].encoder == found["encoder"].directory
    assert found["coarse_lm"].tokens == found["tokens"].directory
    assert found["coarse_lm"].semantic == found["tokens"].semantic == found["kmeans"].directory
    assert found["evaluate"].bundle == demo.steps(options)[-2][1][-1]


def test_a_step_that_fails_ends_the_demo_with_its_status(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo, "_run", lambda command: 130)
    assert main(["demo", "--audio-dir", str(tmp_path)]) == 130
    assert "stopped at step 1 of 10; the same command goes on" in capsys.readouterr().err
