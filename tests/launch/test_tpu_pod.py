"""launch/tpu_pod.sh against a gcloud of two hosts that fails as it does (fakes/gcloud)."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAKES = Path(__file__).parent / "fakes"
LAUNCH = Path(__file__).parents[2] / "launch"
SETUP = 'mkdir -p audiolm/.venv/bin\ncp "$FAKE/audiolm" audiolm/.venv/bin/'
DELETE = "compute tpus queued-resources delete pod --zone z --force --quiet"
UNTIL_TERM = "trap 'exit 75' TERM; echo up; while :; do /bin/sleep 0.05; done"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the hosts of a slice run Linux")


class Pod:
    """A slice that may be asked for, and scripts that ask for it."""

    def __init__(self, folder: Path):
        self.folder = folder
        (folder / "audiolm").write_bytes((FAKES / "audiolm").read_bytes())
        (folder / "audiolm").chmod(0o755)
        self.processes = []

    def scenario(self, *lines):
        (self.folder / "scenario").write_text("".join(f"{line}\n" for line in lines))

    def hosts_do(self, *both):
        """What the first, second ... start of the command does: on both hosts, or on each."""
        for host in (0, 1):
            lines = [line if isinstance(line, str) else line[host] for line in both]
            (self.folder / f"run.{host}").write_text("".join(f"{line}\n" for line in lines))

    def start(self, *words, **variables):
        given = {"NAME": "pod", "ZONE": "z", "TYPE": "v5p-32", "SETUP": SETUP, "PAUSE": "0"}
        given |= {"FAKE": str(self.folder), "PATH": f"{FAKES}:{os.environ['PATH']}"}
        command = ["env", "--default-signal=INT", "bash", str(LAUNCH / "tpu_pod.sh")]
        process = subprocess.Popen(
            [*command, *(words or ("train", "conf.py", "--x", "a b"))],
            cwd=self.folder, env=os.environ | given | variables, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def run(self, *words, **variables):
        """Status and output."""
        process = self.start(*words, **variables)
        output, _ = process.communicate(timeout=60)
        return process.returncode, output

    def read(self, name):
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def calls(self, word=""):
        return [call for call in self.read("calls").splitlines() if word in call]

    def wait_for(self, name, text=""):
        end = time.monotonic() + 30
        while not ((self.folder / name).exists() and text in self.read(name)):
            assert time.monotonic() < end
            time.sleep(0.01)

    def is_given_back(self):
        return not self.read("node") and not self.read("request")

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        for pid in self.folder.glob("hosts/*/.audiolm_pod/pid"):
            subprocess.run(["kill", "-KILL", "--", f"-{pid.read_text().strip()}"], check=False)


@pytest.fixture
def pod(tmp_path):
    pod = Pod(tmp_path)
    yield pod
    pod.end()


def test_a_finished_run_gives_the_slice_back(pod):
    pod.hosts_do(("echo step 1; echo step 2", "echo only here"))
    status, output = pod.run()
    assert (status, pod.calls()[-1]) == (0, DELETE)
    assert pod.is_given_back()
    assert "pod is given back when this script ends; KEEP=yes keeps it" in output
    assert "\nstep 1\nstep 2\n" in output
    assert "only here" not in output
    assert [pod.read(f"ran.{host}") for host in (0, 1)] == [
        "train conf.py --x a b --distributed auto\n"
    ] * 2


@pytest.mark.parametrize(
    ("type_name", "version"),
    [
        ("v4-32", "tpu-ubuntu2204-base"),
        ("v5litepod-16", "v2-alpha-tpuv5-lite"),
        ("v5e-16", "v2-alpha-tpuv5-lite"),
        ("v5p-32", "v2-alpha-tpuv5"),
        ("v6e-16", "v2-alpha-tpuv6e"),
    ],
)
def test_the_runtime_is_that_of_the_type(pod, type_name, version):
    pod.scenario("create: refuse PERMISSION_DENIED")  # the request alone is of interest
    pod.run(TYPE=type_name)
    assert f"--runtime-version {version} --spot" in pod.calls("create")[0]


def test_how_to_ask_is_as_told(pod):
    pod.scenario(*["create: refuse PERMISSION_DENIED"] * 4)
    pod.run(TYPE="v4-8", VERSION="mine", SPOT="no", CREATE="--network n --internal-ips")
    pod.run(RESERVED="yes")
    pod.run(FLEX="24h", TYPE="v6e-16")
    asked = [call.partition("--runtime-version ")[2] for call in pod.calls("create")]
    assert asked == [
        "mine --network n --internal-ips",
        "v2-alpha-tpuv5 --reserved",
        "v2-alpha-tpuv6e --provisioning-model flex-start --max-run-duration 24h",
    ]
    assert pod.calls("create")[2].startswith("alpha compute")


@pytest.mark.parametrize(
    ("words", "variables", "line"),
    [
        (["conf.py"], {}, "conf.py: expected a verb of audiolm first, such as: "),
        (["--help"], {}, "expected a verb of audiolm and what belongs to it"),
        (["train", "c.py"], {"SETUP": ""}, "SETUP is not set"),
        (["train", "c.py"], {"TYPE": "tpu7x-16"}, "not given out by queued resources but by GKE"),
        (["train", "c.py"], {"TYPE": "h100-8"}, "TYPE h100-8: expected v4-N, v5litepod-N"),
        (["train", "c.py"], {"SPOT": "yes", "FLEX": "1h"}, "one of the three at most"),
        (["train", "c.py"], {"KEEP": "maybe"}, "KEEP is 'maybe'; expected yes or no"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_line_and_no_call(pod, words, variables, line):
    status, output = pod.run(*words, **variables)
    assert status == 1
    assert line in output
    assert output.startswith("error: ")
    assert not pod.calls()


def test_other_verbs_run_on_the_first_host_with_one_chip(pod):
    pod.hosts_do('echo "$TPU_VISIBLE_CHIPS $TPU_PROCESS_BOUNDS"')
    status, output = pod.run("continue", "p.wav", "--out", "o")
    assert (status, pod.read("ran.0"), pod.read("ran.1")) == (0, "continue p.wav --out o\n", "")
    assert "\n0 1,1,1\n" in output
    assert not pod.calls("--worker=all")


def test_tokenize_runs_on_all_hosts(pod):
    assert pod.run("tokenize", "tokens.py")[0] == 0
    assert pod.read("ran.1") == "tokenize tokens.py --distributed auto\n"


def test_capacity_and_quota_are_asked_for_again(pod):
    pod.scenario(
        'create: refuse RESOURCE_EXHAUSTED: There is no more capacity in the zone \\"z\\"',
        "create: refuse \"Quota 'TPUV5sPreemptible' exhausted. Limit 20800 in region z\"",
        "create: echo FAILED$'\\t'There is no more capacity >request; exit",
        "create: echo WAITING_FOR_RESOURCES >request; echo request: grant >>scenario; exit",
    )
    status, output = pod.run()
    assert (status, len(pod.calls("create"))) == (0, 4)
    assert "not now: ERROR: (gcloud.compute.tpus) RESOURCE_EXHAUSTED: There is no more" in output
    assert "the request for pod failed: There is no more capacity" in output
    assert pod.is_given_back()


@pytest.mark.parametrize(
    "reason",
    [
        "PERMISSION_DENIED: Permission 'tpu.queuedresources.create' denied; see quota project",
        'INVALID_ARGUMENT: accelerator type \\"v5p-33\\" was not found in zone z',
        "Quota limit 'TPUV6EPreemptible' has been exceeded. Limit: 0 in region z.",
        "something nobody has seen",
    ],
)
def test_what_does_not_pass_is_asked_once(pod, reason):
    pod.scenario(f'create: refuse "{reason}"')
    status, output = pod.run()
    assert (status, len(pod.calls("create"))) == (1, 1)
    assert reason.replace("\\", "") in output
    assert "error: the request for pod was refused" in output
    assert not pod.calls("delete")


def test_a_request_that_fails_for_good_is_deleted(pod):
    pod.scenario("create: echo FAILED$'\\t'the reservation is not known >request; exit")
    status, output = pod.run()
    assert (status, pod.calls()[-1]) == (1, DELETE)
    assert "error: the request for pod failed: the reservation is not known" in output


def test_asking_ends(pod):
    pod.scenario(*["create: refuse RESOURCE_EXHAUSTED"] * 9)
    status, output = pod.run(TRIES="3")
    assert (status, len(pod.calls("create"))) == (1, 3)
    assert "error: no slice after asking 3 times in a row" in output


def test_a_slice_that_is_taken_away_is_asked_for_again(pod):
    """While it is made, and while it works."""
    pod.scenario("create: echo CREATING >node; echo PROVISIONING >request; exit", "describe: ",
                 "describe: preempt", "lines: wait_for ran.1; preempt")  # fmt: skip
    pod.hosts_do(UNTIL_TERM, "exit 75", "exit 0")
    status, output = pod.run()
    assert (status, len(pod.calls("create"))) == (0, 3)
    assert "pod was taken away (PREEMPTED, its request SUSPENDED)" in output
    assert pod.read("ran.0").count("\n") == 3
    assert pod.is_given_back()


def test_ssh_may_drop_at_any_time(pod):
    """gcloud repeats what it was about, or gives up; nothing starts twice and no line is lost."""
    pod.scenario("setup: drop", "setup: lose", "start: drop", "start: lose",
                 *["look: lose"] * 3, "lines: drop", "lines: lose")  # fmt: skip
    pod.hosts_do("for i in 1 2 3 4 5 6 7 8; do echo line $i; /bin/sleep 0.1; done")
    status, output = pod.run()
    shown = [line for line in output.splitlines() if line.startswith("line ")]
    assert (status, shown) == (0, [f"line {i}" for i in range(1, 9)])
    assert "hosts do not answer" in output
    assert "exited with return code [255]" in output
    assert pod.read("ran.0").count("\n") == 1


def test_no_network_is_no_reason_to_ask_for_another_slice(pod):
    pod.scenario("look: ", *["look: refuse Unable to find the server at tpu.googleapis.com"] * 2,
                 *["describe: "], *["describe: refuse Connection reset"] * 2)  # fmt: skip
    pod.hosts_do("/bin/sleep 0.3")
    status, output = pod.run()
    assert (status, len(pod.calls("create"))) == (0, 1)
    assert "the command goes on there; looking again: ERROR" in output


def test_who_may_not_ask_is_told_so_and_nothing_is_deleted(pod):
    pod.scenario("describe: refuse 'You do not currently have an active account selected.'")
    status, output = pod.run()
    assert status == 1
    assert (
        "error: gcloud does not say whether pod is there: ERROR: (gcloud.compute.tpus) You"
        in output
    )
    assert not pod.calls("delete")


@pytest.mark.parametrize("reason", ["audiolm train: --mesh.model 3: does not divide", "No room"])
def test_a_refusal_ends_it_with_the_reason_and_the_host(pod, reason):
    pod.hosts_do((f"echo '{reason}' >&2; exit 2", UNTIL_TERM))
    status, output = pod.run()
    assert (status, pod.calls()[-1]) == (2, DELETE)
    assert f"error: refused by host-0 (statuses of all hosts: 2):\n{reason}\n" in output


@pytest.mark.slow
def test_four_failures_in_a_row_give_up_and_give_back(pod):
    pod.hosts_do(*[("exit 1", "exit 134")] * 4)
    status, output = pod.run()
    assert (status, pod.calls()[-1]) == (1, DELETE)
    assert "error: failed 4 times in a row (statuses: 1 134)" in output


@pytest.mark.slow
def test_failures_that_lie_far_apart_are_not_counted(pod):
    pod.hosts_do(*["exit 1"] * 5)
    assert pod.run(LASTING="0")[0] == 0


@pytest.mark.slow
def test_a_host_that_hangs_is_killed(pod):
    pod.hosts_do(("exit 1", UNTIL_TERM.replace("exit 75", ":")), "exit 0")
    status, output = pod.run()
    assert status == 0
    assert "going on (statuses: host-1 hung, others ended with 1)" in output


@pytest.mark.slow
def test_a_replaced_host_is_set_up_and_all_begin_anew(pod):
    pod.scenario("look: ", "look: wait_for ran.0; wait_for ran.1; replace 1")
    pod.hosts_do(UNTIL_TERM, "exit 0")
    status, output = pod.run(SETUP=f"{SETUP}; echo set >>$FAKE/setups")
    assert (status, len(pod.calls("create"))) == (0, 1)
    assert "host-1 began anew" in output
    assert pod.read("setups").count("set") == 3


def test_a_setup_that_failed_on_one_host_is_repeated_there_alone(pod):
    setup = f"{SETUP}; echo $HOST >>$FAKE/setups; [ $HOST = 0 ] || mkdir $FAKE/once"
    pod.scenario("setup: mkdir once", "setup: rmdir once")
    status, output = pod.run(SETUP=setup)
    assert (status, pod.read("setups").split().count("0")) == (0, 1)
    assert "SETUP failed on host-1" in output


def test_a_setup_that_keeps_failing_says_where_and_why(pod):
    status, output = pod.run(SETUP="[ $HOST = 0 ] || ls /no/such; touch $FAKE/done.$HOST")
    assert (status, pod.calls()[-1]) == (1, DELETE)
    assert "error: SETUP failed three times on host-1, see above" in output
    assert "host-1: ls: cannot access '/no/such'" in output
    assert not (pod.folder / "done.1").exists()


def test_an_interrupt_lets_training_save_and_gives_the_slice_back(pod):
    pod.hosts_do("trap 'echo saved >>$FAKE/saved; exit 75' TERM; while :; do /bin/sleep 0.05; done")
    process = pod.start()
    pod.wait_for("calls", "--worker=0")
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, pod.calls()[-1]) == (130, DELETE)
    assert pod.read("saved").count("saved") == 2
    assert "asking training to save" in output


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_training_outlives_the_script_and_is_followed_by_the_next(pod, number):
    pod.hosts_do("echo up; until [ -e $FAKE/finish ]; do /bin/sleep 0.05; done; echo end")
    process = pod.start()
    pod.wait_for("calls", "--worker=0")
    os.killpg(process.pid, number)
    process.communicate(timeout=60)
    assert pod.read("node") == "READY\n"
    other = pod.run("train", "other.py")
    assert other[0] == 1
    assert "pod is at work on another command, and was left so" in other[1]
    asked = len(pod.calls("create"))
    (pod.folder / "calls").unlink()
    process = pod.start()
    pod.wait_for("calls", "--worker=0")
    (pod.folder / "finish").touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "pod is at work on this command: following" in output
    assert "\nend\n" in output
    assert (pod.read("ran.0").count("\n"), asked, pod.calls("create")) == (1, 1, [])
    assert pod.is_given_back()


def test_a_request_that_waits_is_not_made_again(pod):
    (pod.folder / "request").write_text("WAITING_FOR_RESOURCES\n")
    pod.scenario("request: :", "request: grant")
    status, output = pod.run()
    assert (status, pod.calls("create")) == (0, [])
    assert "the request for pod: WAITING_FOR_RESOURCES" in output


def test_keep_is_said_aloud_and_the_same_command_may_run_again(pod):
    for _ in range(2):
        status, output = pod.run(KEEP="yes")
        assert status == 0
        assert output.count("goes on costing") == 2
        assert "delete pod --force --zone z" in output
    assert not pod.calls("delete")
    assert pod.read("ran.0").count("\n") == 2


def test_a_slice_made_without_a_request_is_given_back_too(pod):
    pod.scenario("describe: [ -e once ] || { grant; rm request; touch once; }")
    assert pod.run()[0] == 0
    assert pod.is_given_back()
    assert not pod.calls("create")


def test_a_delete_that_fails_is_repeated(pod):
    pod.scenario("delete: refuse FAILED_PRECONDITION: the request is being processed")
    assert pod.run()[0] == 0
    assert pod.is_given_back()


def test_a_slice_that_cannot_be_given_back_is_no_quiet_end(pod):
    pod.scenario(*["delete: refuse INTERNAL: an internal error occurred"] * 5)
    status, output = pod.run()
    assert status == 1
    assert "error: pod could not be given back and goes on costing" in output
    assert "an internal error occurred" in output
