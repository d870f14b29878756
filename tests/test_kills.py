"""A run that is killed again and again ends like one that is not, bit for bit."""

import pytest
from support.kill_harness import Harness, assert_same_run, write_inputs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainer", "kills", "seed"), [("stage", 25, 2), ("codec", 8, 3), ("encoder", 8, 4)]
)
def test_many_kills(tmp_path, trainer, kills, seed):
    write_inputs(tmp_path)
    harness = Harness(tmp_path, trainer, steps=10 + 8 * kills)
    reference = harness.finish("reference")
    hit = harness.kill_and_restart("killed", kills, seed)
    print(f"{trainer}: seed {seed}, {sum(hit.values())} kills: {hit}")
    assert_same_run(reference, tmp_path / "killed")
    assert hit["saving"] > 0
    assert hit["training"] > 0
