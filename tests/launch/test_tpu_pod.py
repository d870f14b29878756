"""launch/tpu_pod.sh against a gcloud that writes down what it is asked and answers as told."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch/tpu_pod.sh"
GCLOUD = r"""#!/usr/bin/env bash
echo "$*" >>calls
case "$*" in
  *"tpu-vm describe"*) cat slice 2>/dev/null ;;
  *"queued-resources create"*) [ ! -e no_quota ] && echo READY >slice ;;
  *"queued-resources delete"*) [ ! -e stuck ] && rm slice ;;
  *"tpu-vm delete"*) [ ! -e stuck ] ;;
  *"queued-resources describe"*) echo WAITING_FOR_RESOURCES ;;
  *"audiolm train conf.py"*) echo run >>runs && bash "answer$(wc -l <runs)" ;;
esac
"""
DELETE = "compute tpus queued-resources delete pod --force --quiet --zone z"
HOSTS = "echo 'audiolm status {} on host-0'; echo 'audiolm status {} on host-1'"


@pytest.fixture
def pod(tmp_path):
    """Starts the script; each answer is what a run on all hosts does."""
    for name, text in (("gcloud", GCLOUD), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(*answers, **variables):
        for number, answer in enumerate(answers, 1):
            (tmp_path / f"answer{number}").write_text(answer)
        given = {"NAME": "pod", "ZONE": "z", "TYPE": "v5p-32", "SETUP": "true", **variables}
        path = f"{tmp_path}:{os.environ['PATH']}"
        command = ["env", "--default-signal=INT", "bash", str(SCRIPT), "conf.py", "--x", "a b"]
        return subprocess.Popen(
            command, cwd=tmp_path, env={**os.environ, **given, "PATH": path}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    return start


def outcome(process, folder):
    """Status, output and calls; the slice must have been given back last, but for its training."""
    output, _ = process.communicate(timeout=60)
    return process.returncode, output, (folder / "calls").read_text().splitlines()


def test_a_finished_run_gives_the_slice_back(pod, tmp_path):
    status, output, calls = outcome(pod(HOSTS.format(0, 0)), tmp_path)
    assert (status, calls[-1]) == (0, DELETE)
    assert "pod is given back when this script ends; KEEP=yes keeps it" in output
    assert any(r"audiolm train conf.py --x a\ b --distributed auto" in call for call in calls)


def test_a_slice_that_was_there_is_given_back_too(pod, tmp_path):
    (tmp_path / "slice").write_text("READY\n")
    status, _, calls = outcome(pod(HOSTS.format(0, 0)), tmp_path)
    assert (status, calls[-1]) == (0, DELETE)
    assert not [call for call in calls if "create" in call]


def test_keep_is_said_aloud_and_deletes_nothing(pod, tmp_path):
    (tmp_path / "slice").write_text("READY\n")
    status, output, calls = outcome(pod(HOSTS.format(0, 0), KEEP="yes"), tmp_path)
    assert status == 0
    assert output.count("goes on costing") == 2
    assert "delete pod --force --zone z" in output
    assert not [call for call in calls if "delete" in call]


@pytest.mark.parametrize("reason", ["audiolm train: --mesh.model 3: does not divide", "No room"])
def test_a_refusal_ends_it_with_the_reason_and_the_host(pod, tmp_path, reason):
    answer = f"echo '{reason}'\n" + HOSTS.format(2, 1)
    status, output, calls = outcome(pod(answer), tmp_path)
    assert (status, calls[-1]) == (2, DELETE)
    assert f"error: refused by host-0 (statuses of all hosts: 1 2):\n{reason}\n" in output


def test_four_failures_in_a_row_give_up_and_give_back(pod, tmp_path):
    status, output, calls = outcome(pod(*[HOSTS.format(1, 134)] * 4), tmp_path)
    assert (status, calls[-1]) == (1, DELETE)
    assert "failed 4 times in a row (statuses: 1 134 )" in output


def test_a_slice_that_was_taken_away_is_asked_for_again(pod, tmp_path):
    answers = ["rm slice", HOSTS.format(75, 75), HOSTS.format(0, 0)]
    status, _, calls = outcome(pod(*answers), tmp_path)
    assert (status, calls[-1]) == (0, DELETE)
    assert sum("create" in call for call in calls) == 2
    assert sum("--command true" in call for call in calls) == 2


def test_an_interrupt_lets_training_save_and_gives_the_slice_back(pod, tmp_path):
    process = pod("echo >running; exec /bin/sleep 60")
    while not (tmp_path / "running").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    status, output, calls = outcome(process, tmp_path)
    assert (status, calls[-1]) == (130, DELETE)
    assert "pkill -TERM" in calls[-2]
    assert "asking training to save" in output


def test_no_quota_ends_it_and_leaves_nothing_to_give_back(pod, tmp_path):
    (tmp_path / "no_quota").touch()
    status, output, calls = outcome(pod(), tmp_path)
    assert (status, "error: the request for pod was refused" in output) == (1, True)
    assert "create" in calls[-1]


def test_a_slice_that_cannot_be_given_back_is_no_quiet_end(pod, tmp_path):
    (tmp_path / "stuck").touch()
    status, output, _ = outcome(pod(HOSTS.format(0, 0)), tmp_path)
    assert status == 1
    assert "error: pod could not be given back and goes on costing" in output
