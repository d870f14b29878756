"""A run that is copied to another place, with its data and tokens under other mounts, is the same
run; one with other data in the same place is another."""

import dataclasses
import shutil

import pytest
from support.lm_run import experiment as stage_experiment
from support.lm_run import make_store
from support.loudness import LOOP, Loudness, loudness, outcome, speak

from audiolm_jax.errors import InputError
from audiolm_jax.training.config import MeshConfig, WarmStartConfig


@pytest.fixture
def here(tmp_path, caplog):
    caplog.set_level("INFO")
    speak(tmp_path / "here/data", 0)
    return tmp_path / "here"


def test_moved_it_goes_on_bit_for_bit_and_is_known_as_finished(here, caplog, monkeypatch):
    whole = loudness(here, directory=str(here / "whole"))
    whole.run()
    assert whole.is_left_alone(caplog)
    loudness(here, steps=2).run()
    there = here.parent / "there"
    there.mkdir()
    shutil.copytree(here / "run", there / "mnt/run")
    shutil.copytree(here / "data", there / "voices")
    shutil.copytree(here / "whole", there / "whole")
    shutil.rmtree(here / "data")
    monkeypatch.chdir(there)
    data = dataclasses.replace(whole.data, source="voices")
    moved = dataclasses.replace(whole, directory="mnt/run", data=data)
    assert not moved.is_left_alone(caplog)
    assert "going on from step 2" in caplog.text
    assert outcome(there / "mnt/run") == outcome(here / "whole")
    assert moved.is_left_alone(caplog)
    assert dataclasses.replace(moved, directory="whole").is_left_alone(caplog)
    # The folder is called as before, and holds other recordings, from another working directory.
    speak(here.parent / "else/voices", 50)
    monkeypatch.chdir(here.parent / "else")
    with pytest.raises(InputError, match=r"data\.fingerprint is .* use another directory"):
        dataclasses.replace(moved, directory=str(there / "whole")).run()


def test_fields_that_change_no_result_may_change(here, caplog, monkeypatch):
    loudness(here, steps=2).run()
    often = dataclasses.replace(LOOP, log_every=2, evaluate_every=1)
    loudness(here, loop=often).run()
    assert "going on from step 2" in caplog.text
    for change in ({"log_every": 7}, {"progress_seconds": 1.0}, {"best_metric": "other"}):
        assert loudness(here, loop=dataclasses.replace(LOOP, **change)).is_left_alone(caplog)
    assert loudness(here, mesh=MeshConfig("dp")).is_left_alone(caplog)
    for change in ({"steps": 5}, {"export": "best", "keep_best": 1}):
        longer = loudness(here, loop=dataclasses.replace(LOOP, **change))
        assert not longer.is_finished()
    with monkeypatch.context() as patch:
        patch.setattr(Loudness, "upstream", lambda self: {"codec": "other"})
        assert not loudness(here).is_finished()
    with pytest.raises(InputError, match=r"crop_seconds is 0\.1 .* 0\.2 now"):
        loudness(here, crop_seconds=0.2).run()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Later(Loudness):
    """The same class after a field was added to it."""

    louder: float = 1.0


Later.__module__, Later.__qualname__ = Loudness.__module__, Loudness.__qualname__


def test_a_field_that_came_since_opens_no_finished_run(here, caplog):
    before = loudness(here)
    before.run()
    fields = {f.name: getattr(before, f.name) for f in dataclasses.fields(before)}
    assert Later(**fields).is_left_alone(caplog)
    with pytest.raises(InputError, match=r"louder is absent .* 2\.0 now"):
        Later(**fields, louder=2.0).run()


@pytest.mark.slow
def test_the_weights_to_start_from_may_move_but_not_be_others(here, caplog):
    for name, seed in (("old", 1), ("other", 2)):
        loop = dataclasses.replace(LOOP, steps=2, seed=seed)
        loudness(here, directory=str(here / name), loop=loop).run()

    def started(name, steps):
        return loudness(here, steps, warm_start=WarmStartConfig(str(here / name)))

    started("old", 2).run()
    (here / "old").rename(here / "moved")
    started("old", 3).run()  # no more need of it
    started("moved", 4).run()
    assert "going on from step 3" in caplog.text
    assert started("moved", 4).is_left_alone(caplog)
    assert not started("other", 4).is_finished()
    with pytest.raises(InputError, match=r"warm_start\..* in this run directory"):
        started("other", 5).run()


@pytest.mark.slow  # imports TensorFlow and compiles a stage
def test_a_stage_moves_with_its_tokens_and_tokenizers(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    make_store(here)

    def stage(root, run, steps):
        made = stage_experiment(root, steps, MeshConfig(), directory=str(root / run))
        loop = dataclasses.replace(made.loop, log_every=1, evaluate_every=2, checkpoint_every=2)
        places = {name: str(root / name) for name in ("tokens", "codec", "semantic")}
        return dataclasses.replace(made, loop=loop, **places)

    stage(here, "whole", 4).run()
    stage(here, "run", 2).run()
    shutil.copytree(here, there)
    shutil.rmtree(here / "tokens")
    monkeypatch.chdir(there)
    relative = {name: name for name in ("tokens", "codec", "semantic")}
    moved = dataclasses.replace(stage(there, "run", 4), directory="run", **relative)
    moved.run()
    assert "going on from step 2" in caplog.text
    assert outcome(there / "run") == outcome(here / "whole")
    caplog.clear()
    dataclasses.replace(moved, tokens=str(there / "tokens")).run()
    assert "nothing to do" in caplog.text
