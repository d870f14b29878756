"""k-means on one, two and four hosts: the same bits, whole or gone on with by other hosts."""

import pytest
from support import kmeans_hosts
from support.hosts import call

from audiolm_jax.artifacts.model_folder import load_model

NEVER = -1


def run(root, name, count, own_folders="shared", stop=NEVER, mesh="dp"):
    words = (root, name, own_folders, stop, mesh)
    return call("support.kmeans_hosts:run", *words, count=count, devices=4)


@pytest.mark.slow
def test_any_number_of_hosts_gives_the_same_bits(tmp_path):
    """With four devices each: on a CPU the compiler's code depends on how many a process has."""
    kmeans_hosts.write_inputs(tmp_path)
    run(tmp_path, "device", 1, mesh="none")
    run(tmp_path, "one", 1)
    run(tmp_path, "two", 2)
    run(tmp_path, "own", 2, "own")
    assert "killed" in run(tmp_path, "cut", 2, stop=3)[0][0]
    assert (tmp_path / "cut" / "features").is_dir()
    run(tmp_path, "cut", 4)
    folders = [tmp_path / name for name in ("device", "one", "two", "own/0", "cut")]
    models = [load_model(folder / "model") for folder in folders]
    assert len({model.fingerprint for model in models}) == 1
    assert len({(folder / "metrics.jsonl").read_bytes() for folder in folders}) == 1
    for folder in [*folders, tmp_path / "own" / "1"]:
        assert not (folder / "features").exists()
        assert not (folder / "kmeans_state.npz").exists()
    assert not (tmp_path / "own" / "1" / "model").exists()
