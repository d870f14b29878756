"""A process that is stuck ends, and says where; each case in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
BEGIN = """
import ctypes, threading, time
from audiolm_jax.training.watchdog import Watchdog

def deep_in_the_loader():
    time.sleep(60)

threading.Thread(target=deep_in_the_loader, daemon=True).start()
"""


def run(code):
    command = [sys.executable, "-c", BEGIN + code]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=30)


def test_no_progress_dumps_all_stacks_and_ends_with_its_status():
    done = run("""
def stuck_here():
    time.sleep(60)

with Watchdog(0.3) as watchdog:
    watchdog.at("waiting for data", 12)
    stuck_here()
""")
    assert done.returncode == 124
    first, _, stacks = done.stderr.partition("\n")
    assert first.startswith("stuck: waiting for data, step 12: no progress for 0.3 s")
    assert "--loop.stall-seconds" in first
    assert "124" in first
    assert "stuck_here" in stacks
    assert "deep_in_the_loader" in stacks


def test_a_native_call_that_keeps_the_interpreter_is_noticed_too():
    done = run("""
with Watchdog(0.3) as watchdog:
    watchdog.at("running", 3)
    time.sleep(0.1)  # the watchdog has looked once
    ctypes.PyDLL(None).sleep(60)
""")
    assert done.returncode == 1
    assert "Timeout" in done.stderr
    assert "deep_in_the_loader" in done.stderr


def test_progress_and_compiling_are_left_alone():
    done = run("""
with Watchdog(0.3) as watchdog:
    for step in range(8):
        watchdog.at("running", step)
        time.sleep(0.1)
    watchdog.at("running", 8, limited=False)
    time.sleep(0.7)
with Watchdog(None) as watchdog:
    watchdog.at("running", 9)
    time.sleep(0.5)
time.sleep(0.7)
""")
    assert (done.returncode, done.stderr) == (0, "")
