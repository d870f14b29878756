"""launch/slurm.sh with an srun and a scontrol that write down what they are asked."""

import os
import re
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch/slurm.sh"
# As of SLURM 22.05: srun ends with the largest status of its tasks, or with 128 + the signal.
SRUN = 'echo "srun $*" >>calls; eval "$(cat does 2>/dev/null)"'
SCONTROL = 'echo "scontrol $*" >>calls; [ ! -e completing ]'


@pytest.fixture
def job(tmp_path):
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), (".venv/bin/audiolm", "")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    def run(*words, does=""):
        """Status, standard error and calls, as if sbatch ran a copy of it in its spool folder."""
        (tmp_path / "does").write_text(does)
        spooled = tmp_path / "slurm_script"
        spooled.write_bytes(SCRIPT.read_bytes())
        given = {
            "SLURM_SUBMIT_DIR": str(tmp_path),
            "SLURM_JOB_ID": "7",
            "SLURM_CPUS_PER_TASK": "12",
        }
        given |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        result = subprocess.run(["bash", spooled, *words], cwd="/", env=os.environ | given,
                                capture_output=True, text=True, timeout=60)  # fmt: skip
        calls = tmp_path / "calls"
        return (
            result.returncode,
            result.stderr,
            calls.read_text().splitlines() if calls.exists() else [],
        )

    return run


def test_training_runs_on_all_tasks_with_their_cpus(job):
    assert job("train", "c.py", "--x", "1") == (
        0,
        "",
        [
            "srun --kill-on-bad-exit=0 --cpus-per-task 12 "
            ".venv/bin/audiolm train c.py --x 1 --distributed auto"
        ],
    )


def test_other_verbs_are_one_task(job):
    _, _, calls = job("evaluate", "e.py")
    assert calls[0].endswith(
        "--cpus-per-task 12 --nodes 1 --ntasks 1 .venv/bin/audiolm evaluate e.py"
    )


@pytest.mark.parametrize(
    ("does", "status", "is_queued_again"),
    [
        ("exit 75", 75, True),  # preempted, or the time limit is near: saved
        ("kill -TERM $PPID; exit 75", 75, True),  # SLURM tells this script, too
        ("exit 1", 1, False),
        ("exit 2", 2, False),
        ("exit 137", 137, False),  # the time limit came before all had saved
    ],
)
def test_only_what_was_saved_is_queued_again(job, does, status, is_queued_again):
    result, _, calls = job("train", "c.py", does=does)
    assert (result, "scontrol requeue 7" in calls) == (status, is_queued_again)


def test_a_job_that_cannot_be_queued_again_says_so(job, tmp_path):
    (tmp_path / "completing").touch()
    status, error, _ = job("train", "c.py", does="exit 75")
    assert status == 75
    assert "error: 7 was saved but could not be queued again" in error


def test_a_config_alone_and_another_folder_are_refused(job, tmp_path):
    assert job("c.py") == (
        2,
        "error: c.py: expected a verb of audiolm first, such as: train c.py\n",
        [],
    )
    (tmp_path / ".venv/bin/audiolm").unlink()
    status, error, calls = job("train", "c.py")
    assert (status, calls) == (2, [])
    assert "run sbatch in the folder of this repository" in error


def test_the_directives_come_before_any_command():
    """sbatch reads no further than the first command."""
    lines = SCRIPT.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    directives = [i for i, line in enumerate(lines) if re.match("#SBATCH ", line)]
    assert len(directives) == 6
    assert max(directives) < first
