import dataclasses
import json

import pytest
from support import training_toy as toy

from audiolm_jax.errors import InputError
from audiolm_jax.training import manifest
from audiolm_jax.training.checkpoints import KEPT
from audiolm_jax.training.config import MeshConfig
from audiolm_jax.training.manifest import build_manifest, claim_run


@dataclasses.dataclass(frozen=True)
class Part:
    dim: int = 8
    rates: tuple[int, ...] = (2, 4)


@dataclasses.dataclass(frozen=True)
class Run:
    loop: object
    part: Part = Part()
    mesh: MeshConfig = MeshConfig()


def make(steps=10, data="d0", upstream="u0", seed=0, **fields):
    config = Run(toy.loop_config(steps), **fields)
    return build_manifest(config, {"loop": seed}, {"fingerprint": data}, {"codec": upstream})


def claim(directory, manifest):
    """A start that comes to its first checkpoint."""
    with claim_run(directory, manifest, KEPT):
        (directory / "checkpoints" / "1").mkdir(parents=True, exist_ok=True)
        return json.loads((directory / "manifest.json").read_text())


def test_manifest_is_written_first_and_says_what_ran(tmp_path):
    written = claim(tmp_path / "new" / "run", make())
    assert written["config"]["part"] == {"dim": 8, "rates": [2, 4]}
    assert len(written["config_hash"]) == 16
    assert written["versions"]["jax"]
    assert written["devices"]["count"] == 8
    assert written["seeds"] == {"loop": 0}
    assert written["upstream"] == {"codec": "u0"}


def test_git_commit_in_a_checkout_only(tmp_path, monkeypatch):
    git = make()["git"]
    assert git is None or (len(git["commit"]) == 40 and isinstance(git["dirty"], bool))
    monkeypatch.setattr("audiolm_jax.training.manifest.__file__", str(tmp_path / "manifest.py"))
    assert make()["git"] is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"part": Part(dim=16)}, ["config.part.dim", "is 8 ", "16 now"]),
        ({"part": Part(rates=(2, 5))}, ["config.part.rates", "[2, 4]", "[2, 5]"]),
        ({"data": "d1"}, ["data.fingerprint", '"d0"', '"d1"']),
        ({"upstream": "u1"}, ["upstream.codec", '"u0"', '"u1"']),
        ({"seed": 1}, ["seeds.loop", "is 0 ", "1 now"]),
        ({"steps": 9}, ["config.loop.steps", "is 10 ", "9 now"]),
    ],
)
def test_another_run_is_refused_with_field_values_and_remedy(tmp_path, change, words):
    before = claim(tmp_path, make())
    with pytest.raises(InputError) as error:
        claim(tmp_path, make(**change))
    message = str(error.value)
    assert all(word in message for word in words), message
    assert "another directory" in message
    assert "\n" not in message
    assert claim(tmp_path, make()) == before


@pytest.mark.parametrize("kept", [None, "checkpoints/50", "checkpoints_unreadable/9", "model/x"])
def test_a_start_that_kept_nothing_leaves_the_directory_free(tmp_path, kept):
    """A wrong field found late, or too little memory: the right one may follow it."""
    with claim_run(tmp_path, make(), KEPT):
        (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
        (tmp_path / "checkpoints").mkdir()
    if kept is None:
        now = claim(tmp_path, make(part=Part(dim=16)))
        assert now["config"]["part"]["dim"] == 16
    else:
        (tmp_path / kept).mkdir(parents=True)
        with pytest.raises(InputError, match=r"config\.part\.dim is 8 in this run directory"):
            claim(tmp_path, make(part=Part(dim=16)))


def test_field_that_one_side_lacks_is_a_difference(tmp_path):
    claim(tmp_path, make())
    changed = make()
    changed["upstream"]["kmeans"] = "k"
    with pytest.raises(InputError, match=r"upstream.kmeans is absent .* and \"k\" now"):
        claim(tmp_path, changed)


def test_a_run_of_before_goes_on_where_a_new_field_says_what_it_did(tmp_path):
    old, same, other = make(), make(), make()
    same["config"]["edge_share"], other["config"]["edge_share"] = 0.0, 0.2
    claim(tmp_path, old)
    with pytest.raises(InputError, match=r"config\.edge_share is absent .* and 0\.2 now"):
        claim(tmp_path, other)
    assert claim(tmp_path, same)["config"]["edge_share"] == 0.0
    with pytest.raises(InputError, match=r"config\.edge_share is 0\.0 .* and 0\.2 now"):
        claim(tmp_path, other)


def test_more_steps_extend_and_another_mesh_is_allowed(tmp_path):
    claim(tmp_path, make())
    extended = claim(tmp_path, make(steps=20, mesh=MeshConfig("dp")))
    assert extended["config"]["loop"]["steps"] == 20
    with pytest.raises(InputError, match=r"loop\.steps"):
        claim(tmp_path, make(steps=10))


def test_a_run_of_before_the_bound_on_held_out_batches_goes_on(tmp_path):
    before = make()
    del before["config"]["loop"]["heldout_batches"]
    claim(tmp_path, before)
    assert claim(tmp_path, make())["config"]["loop"]["heldout_batches"] == 100


def test_a_second_process_is_refused_until_the_first_is_done(tmp_path):
    with (
        claim_run(tmp_path, make(), KEPT),
        pytest.raises(InputError, match=r"another process .* is writing here"),
    ):
        claim(tmp_path, make())
    claim(tmp_path, make())


def test_hosts_that_would_train_something_else_are_named_to_all(tmp_path, monkeypatch):
    said = []

    def answer(own):
        said.append(own)
        return [None, own or "config.part.dim is 9, not 8"]

    monkeypatch.setattr(manifest, "from_all_hosts", answer)
    line = r"process 1 was .* \(config\.part\.dim is 9, not 8\); give all the same command"
    with pytest.raises(InputError, match=line):
        claim(tmp_path, make())
    # On the other host, which hears of the first's config.
    monkeypatch.setattr(manifest, "from_first_host", lambda _: manifest.agreed_on(make()))
    with pytest.raises(InputError, match=line):
        claim(tmp_path, make(part=Part(9)))
    assert said == [None, "config.part.dim is 9, not 8"]
    assert not list(tmp_path.iterdir())
