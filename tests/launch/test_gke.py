"""launch/gke.sh against a kubectl that fails as a cluster does; its manifest and the image."""

import configparser
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

FAKES = Path(__file__).parent / "fakes"
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "launch/gke.sh"
DONE, FAILED = "state: echo Completed", "state: echo 'StartupPolicyCompleted Failed'"
DELETE = "delete jobset lm --ignore-not-found"


@pytest.fixture
def gke(tmp_path):
    processes = []

    def start(*words, scenario=(), **variables):
        (tmp_path / "scenario").write_text("".join(f"{line}\n" for line in scenario))
        given = {"NAME": "lm", "IMAGE": "repo/audiolm:tpu", "BUCKET": "b", "TPU": "tpu-v5p-slice"}
        given |= {"TOPOLOGY": "2x2x4", "HOSTS": "4", "PAUSE": "0", "FAKE": str(tmp_path)}
        given |= {"PATH": f"{FAKES}:{os.environ['PATH']}"}
        process = subprocess.Popen(
            ["env", "--default-signal=INT", "bash", SCRIPT, *(words or ("train", "c.py"))],
            env=os.environ | given | variables, text=True, cwd=tmp_path,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def outcome(process):
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def calls(folder):
    return (folder / "calls").read_text().splitlines()


def pod(index=0, phase="Pending", scheduled="", waiting="", ended="", status="", message=""):
    return (
        f"lm-slice-0-{index}-x|{index}|{phase}|{scheduled}|{waiting}|{ended}|{status}|{message}\n"
    )


def test_a_job_that_is_done_is_deleted_and_was_shown(gke, tmp_path):
    (tmp_path / "pods").write_text(pod(1, "Running") + pod(0, "Running"))
    (tmp_path / "log").write_text("step 1\nstep 2\n")
    status, output = outcome(gke(scenario=["state: :", "state: :", DONE]))
    assert (status, calls(tmp_path)[-1]) == (0, DELETE)
    assert "\nstep 1\nstep 2\n" in output
    assert "logs -f lm-slice-0-0-x -c train" in calls(tmp_path)


def test_the_manifest_says_what_was_asked_for(gke, tmp_path):
    words = ["train", "c.py", "--run-name", 'a "b" \\ & | c']
    outcome(gke(*words, scenario=[DONE], SLICES="2", SERVICE_ACCOUNT="writer"))
    applied = (tmp_path / "applied").read_text()
    assert "${" not in applied.partition("apiVersion")[2]
    jobset = yaml.safe_load(applied)
    assert jobset["metadata"]["annotations"]["alpha.jobset.sigs.k8s.io/exclusive-topology"] == (
        "cloud.google.com/gke-nodepool"
    )
    (job,) = jobset["spec"]["replicatedJobs"]
    assert (job["replicas"], job["template"]["spec"]["completions"]) == (2, 4)
    assert job["template"]["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [2]
    spec = job["template"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["args"] == [*words, "--distributed", "auto"]
    assert container["image"] == "repo/audiolm:tpu"
    assert container["resources"]["limits"] == {"google.com/tpu": 4}
    assert spec["serviceAccountName"] == "writer"
    assert spec["volumes"][0]["csi"]["volumeAttributes"]["bucketName"] == "b"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in spec["volumes"]}


@pytest.mark.parametrize(
    ("pods", "line"),
    [
        (pod(waiting="ImagePullBackOff", message='Back-off pulling image "repo"'),
         'pod lm-slice-0-0-x cannot begin (ImagePullBackOff): Back-off pulling image "repo"'),
        (pod(1, scheduled="Unschedulable", message="0/5 nodes are available."),
         "pod lm-slice-0-1-x cannot be scheduled: 0/5 nodes are available."),
    ],
)  # fmt: skip
def test_what_cannot_begin_is_said_once_and_given_up(gke, tmp_path, pods, line):
    (tmp_path / "pods").write_text(pods)
    status, output = outcome(gke(PATIENCE="3"))
    assert (status, calls(tmp_path)[-1]) == (1, DELETE)
    assert output.count(f"== {line}\n") == 1
    assert f"error: given up after 3 looks: {line}" in output


def test_what_can_begin_after_a_while_is_waited_for(gke, tmp_path):
    (tmp_path / "pods").write_text(pod(scheduled="Unschedulable", message="no nodes"))
    status, output = outcome(
        gke(scenario=["pods: :", "pods: rm pods", "state: :", "state: :", "state: :", DONE])
    )
    assert status == 0
    assert "cannot be scheduled: no nodes" in output


@pytest.mark.parametrize(
    ("ended", "code", "line", "status"),
    [
        ("OOMKilled", "137", "ran out of its host's memory (OOMKilled)", 1),
        ("Error", "1", "ended with 1 (Error)", 1),
        ("Error", "2", "ended with 2 (Error)", 2),
        ("Error", "75", "was asked to stop, and saved", 1),
    ],
)
def test_why_a_pod_failed_is_one_line(gke, tmp_path, ended, code, line, status):
    (tmp_path / "pods").write_text(pod(0, "Running") + pod(1, "Failed", ended=ended, status=code))
    result, output = outcome(gke(scenario=["state: :", FAILED]))
    assert (result, calls(tmp_path)[-1]) == (status, DELETE)
    assert output.count(f"== pod lm-slice-0-1-x {line}\n") == 1
    assert "error: lm " in output


def test_a_cluster_that_does_not_answer_is_asked_again(gke):
    status, output = outcome(gke(scenario=["state: refuse timeout", "state: refuse timeout", DONE]))
    assert status == 0
    assert output.count("the cluster does not answer") == 1


def test_what_the_cluster_refuses_leaves_nothing(gke, tmp_path):
    status, output = outcome(gke(scenario=["apply: refuse 'Error from server (Forbidden): no'"]))
    assert status == 1
    assert "error: lm was not accepted, see above" in output
    assert DELETE not in calls(tmp_path)


def test_an_interrupt_deletes_and_a_kill_leaves_the_set_to_the_next(gke, tmp_path):
    def until_asked(process):
        while (
            not (tmp_path / "calls").exists() or "get pods" not in (tmp_path / "calls").read_text()
        ):
            assert process.poll() is None
            time.sleep(0.01)

    process = gke()
    until_asked(process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert (tmp_path / "jobset").exists()
    assert "lm is there with another command" in outcome(gke("train", "other.py"))[1]
    (tmp_path / "calls").unlink()
    process = gke()
    until_asked(process)
    os.killpg(process.pid, signal.SIGINT)
    status, output = outcome(process)
    assert (status, calls(tmp_path)[-1]) == (130, DELETE)
    assert "lm is there with this command: following" in output
    assert not [call for call in calls(tmp_path) if "apply" in call]


def test_a_delete_that_fails_is_said(gke):
    status, output = outcome(gke(scenario=[DONE, "delete: refuse Unable to connect to the server"]))
    assert status == 1
    assert "error: lm could not be deleted and keeps its nodes" in output


@pytest.mark.parametrize(
    ("words", "variables", "line"),
    [
        (["c.py"], {}, "c.py: expected train or tokenize first"),
        (["train", "c.py"], {"BUCKET": ""}, "BUCKET is not set"),
        (["train", "c.py"], {"NAME": "Big_Name"}, "NAME Big_Name: expected lower-case letters"),
    ],
)
def test_what_cannot_be_meant_is_one_line_and_no_call(gke, tmp_path, words, variables, line):
    status, output = outcome(gke(*words, **variables))
    assert (status, output.startswith("error: ")) == (1, True)
    assert line in output
    assert not (tmp_path / "calls").exists()


def test_the_image_is_made_of_what_is_there():
    text = (ROOT / "launch/container/Dockerfile").read_text()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", text, re.M)
    assert {"cpu", "cuda13", "tpu", "speak"} <= {name for _, name in stages}
    assert {source for source, _ in stages} <= {
        "python:3.11-slim-bookworm",
        *(name for _, name in stages),
    }
    assert set(re.findall(r"^COPY --from=(\S+) ", text, re.M)) <= {name for _, name in stages}
    extras = ",".join(re.findall(r"'\.\[(.+)\]'", text)).split(",")
    assert extras == ["serve", "hub", "data", "eval", "gcs", "s3", "cuda13", "tpu"]
    assert all(setup.has_option("options.extras_require", extra) for extra in extras)
    copied = {
        word for words in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M) for word in words.split()
    }
    assert all((ROOT / name).exists() for name in copied)
    kept = (ROOT / "launch/container/Dockerfile.dockerignore").read_text()
    assert copied == set(re.findall(r"^!(.+)$", kept, re.M))
    final = text.partition("AS base\n")[2]
    assert re.findall("^USER (.+)$", final, re.M) == ["audiolm"]
    (program,) = re.findall(r'^ENTRYPOINT \["(.+)"\]$', final, re.M)
    assert f"{program} = " in setup["options.entry_points"]["console_scripts"]
    jobset = (ROOT / "launch/gke/jobset.yaml").read_text()
    assert f"command: [{program}]" in jobset
