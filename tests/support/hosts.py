"""Several processes on this machine that take themselves for hosts, with CPU devices each."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
# Started, never imported: it sets up a host of its own kind.
CALL = TESTS / "support/host_call.py"
LIMIT = 240  # seconds after which hosts that hang are killed


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def hosts(commands, devices=4, **variables):
    """Processes with forced CPU devices, killed at the end of the block whatever happens."""
    environment = os.environ | {
        "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        **variables,
    }
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for command in commands
    ]
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def finish(processes, status=0):
    """What they printed; the status of each must be `status`."""
    deadline = time.monotonic() + LIMIT
    printed = []
    for process in processes:
        out, err = process.communicate(timeout=max(1, deadline - time.monotonic()))
        printed.append((out.decode(), err.decode()))
    assert [process.returncode for process in processes] == [status] * len(processes), printed
    return printed


def flags(count):
    coordinator = f"localhost:{free_port()}"
    return [
        ["--distributed", coordinator, "--num-processes", str(count), "--process-id", str(index)]
        for index in range(count)
    ]


def call(function, *words, count=2, devices=4):
    """What `count` hosts print that call a function, "module:name", with the words."""
    command = [sys.executable, str(CALL), f"localhost:{free_port()}", str(count)]
    more = [function, *map(str, words)]
    with hosts([[*command, str(index), *more] for index in range(count)], devices) as started:
        return finish(started)
