import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
import runtime_toy as toy

from audiolm_jax.runtime.metrics import read_metrics

# Started, never imported: it sets up a host of its own kind.
WORKER = Path(__file__).with_name("multihost_worker.py")


def run_hosts(directory, steps, hosts=2):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        coordinator = f"localhost:{probe.getsockname()[1]}"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(WORKER), coordinator, str(hosts)]
    workers = [
        subprocess.Popen([*command, str(index), str(directory), str(steps)], env=environment)
        for index in range(hosts)
    ]
    try:
        assert [worker.wait(timeout=180) for worker in workers] == [0] * hosts
    finally:
        for worker in workers:
            worker.kill()


@pytest.mark.slow
def test_two_hosts_train_as_one_and_one_goes_on_from_them(tmp_path):
    one = toy.run_toy(tmp_path / "one", toy.loop_config(12))
    run_hosts(tmp_path / "two", 6)
    run_hosts(tmp_path / "two", 9)
    two = toy.run_toy(tmp_path / "two", toy.loop_config(12))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    expected = {(x["step"], len(x)): x for x in read_metrics(tmp_path / "one" / "metrics.jsonl")}
    lines = read_metrics(tmp_path / "two" / "metrics.jsonl")
    compared = [line for line in lines if (line["step"], len(line)) in expected]
    assert len(compared) == len(expected)
    for line in compared:
        other = expected[line["step"], len(line)]
        np.testing.assert_allclose(list(line.values()), list(other.values()), rtol=1e-5)
