"""How the processes of a run find each other, and what is said when they cannot."""

import json
import subprocess
import sys

import jax
import pytest

from audiolm_jax.errors import InputError, LostHostError
from audiolm_jax.training import distributed
from audiolm_jax.training.distributed import (
    DistributedConfig,
    from_first_host,
    initialize,
    joined,
    on_all_hosts,
    silence,
)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("somewhere",), "expected auto, or HOST:PORT"),
        (("host:0", 2, 0), "a port from 1 to 65535"),
        (("host:70000", 2, 0), "a port from 1 to 65535"),
        (("a b:80", 2, 0), "expected auto, or HOST:PORT"),
        (("host:80",), "--num-processes is missing"),
        (("host:80", 2), "--process-id is missing"),
        (("host:80", 0, 0), "--num-processes 0"),
        (("host:80", 2, 2), "--process-id 2: expected 0 to 1"),
        (("auto", 2), "--num-processes 2: with --distributed auto"),
        (("auto", None, 0), "--process-id 0: with --distributed auto"),
        (("auto", None, None, 0), "--distributed-timeout 0"),
    ],
)
def test_config_refuses(fields, words):
    with pytest.raises(InputError) as error:
        DistributedConfig(*fields)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_config_takes_names_and_addresses():
    for address in ("node-1.cluster:8476", "10.0.0.1:8476", "[::1]:8476"):
        assert DistributedConfig(address, 2, 1).coordinator == address


def test_no_cluster_is_one_line(monkeypatch):
    def unknown(*arguments, **fields):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", unknown)
    with pytest.raises(InputError, match=r"no TPU pod, SLURM.*give HOST:PORT"):
        initialize(DistributedConfig("auto"))


@pytest.mark.slow
def test_a_lonely_process_ends_in_time_and_names_the_coordinator():
    program = (
        "from audiolm_jax.training.distributed import *\n"
        "initialize(DistributedConfig('localhost:1', 2, 1, 1))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert "localhost:1: process 1 of 2 did not meet the others within 1 s" in line


def test_alone_nothing_is_joined(capsys):
    with joined(None):
        print("seen")
    assert capsys.readouterr().out == "seen\n"
    assert not jax.distributed.is_initialized()
    assert from_first_host(lambda: 3) == 3


class Answers:
    """JAX's store of keys, as far as it is used."""

    def __init__(self):
        self.values = {}

    def key_value_set(self, key, value):
        self.values[key] = value

    def blocking_key_value_get(self, key, milliseconds):
        return self.values[key]


def test_the_first_host_decides_for_all(monkeypatch):
    client = Answers()
    monkeypatch.setattr(distributed, "_client", lambda: client)
    host = 0
    monkeypatch.setattr(jax, "process_index", lambda: host)

    def refuse():
        raise InputError("no")

    def on_host(number, make):
        nonlocal host
        host = number
        monkeypatch.setattr(distributed, "_calls", iter([7]))
        return from_first_host(make)

    assert on_host(0, lambda: {"a": [1]}) == on_host(1, refuse) == {"a": [1]}
    for number in (0, 1):
        with pytest.raises(InputError, match=r"^no$"):
            on_host(number, refuse)
    with pytest.raises(ZeroDivisionError):
        on_host(0, lambda: 1 // 0)
    with pytest.raises(InputError, match="the first host failed"):
        on_host(1, refuse)
    assert all(json.loads(value) for value in client.values.values())


def test_what_fails_on_one_host_is_told_by_all(monkeypatch):
    others = "no seqio"
    monkeypatch.setattr(distributed, "from_all_hosts", lambda own: [own, others])

    def refuse():
        raise InputError("no tokens")

    with pytest.raises(InputError, match=r"^process 1: no seqio$"):
        on_all_hosts(lambda: 3)
    with pytest.raises(InputError, match=r"^no tokens$"):
        on_all_hosts(refuse)
    others = None
    assert on_all_hosts(lambda: 3) == 3


def caused(error, cause):
    error.__cause__ = cause
    return error


BARRIER = TimeoutError("Timed out while waiting for async_write_complete barrier.")
PEER = "UNKNOWN: Gloo all-reduce failed: [pair.cc:538] Connection closed by peer [10.0.0.2]:3811"


@pytest.mark.parametrize(
    "error",
    [
        BARRIER,
        caused(RuntimeError("the checkpoint was not written"), BARRIER),
        jax.errors.JaxRuntimeError(PEER),
        jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out. Id: leave::0"),
        jax.errors.JaxRuntimeError("UNAVAILABLE: task 1 stopped sending heartbeats"),
    ],
)
def test_a_host_that_is_gone_is_one_line(error, monkeypatch):
    monkeypatch.setattr(distributed, "initialize", lambda config: None)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    left = []
    monkeypatch.setattr(distributed.atexit, "register", lambda call, status: left.append(status))
    with (
        pytest.raises(LostHostError, match="another process of the run stopped answering") as lost,
        joined(DistributedConfig("localhost:1", 2, 0)),
    ):
        raise error
    assert "start all of them again with the same command" in str(lost.value)
    assert lost.value.__cause__ is error
    assert left == [1]


@pytest.mark.parametrize(
    "error",
    [
        InputError("codec: Connection closed by peer"),
        TimeoutError("a read timed out"),
        jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"),
        ZeroDivisionError("Gloo all-reduce failed"),
    ],
)
def test_other_errors_stay_what_they_are(error):
    assert silence(error) is None
