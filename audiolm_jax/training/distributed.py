"""Several processes as one run: how they find each other, and how they come to agree.

Each process drives the devices of its own machine ("host" below) and all run the same program.
Whatever would let them part ways, a file that one of them sees a moment later than another, is
decided by the first host and told to the others.
"""

import atexit
import contextlib
import dataclasses
import itertools
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from audiolm_jax.artifacts.refusals import chain
from audiolm_jax.errors import InputError, LostHostError

Value = TypeVar("Value")

# A host that waits for the first one waits as long as writing a large model may take. A host that
# died is noticed long before, by its missing heartbeat.
_PATIENCE_SECONDS = 3600
_LEAVE_SECONDS = 10
_ADDRESS = re.compile(r"(?P<host>[^\s:/]+|\[[0-9a-fA-F:.]+\]):(?P<port>[0-9]{1,5})")
# What the end of another host looks like: to Orbax, to JAX's coordination service, to gloo.
_SILENCE = re.compile(
    r"Timed out while waiting for \w+ barrier|DEADLINE_EXCEEDED|heartbeat|"
    r"Gloo .* failed|Connection (closed|reset) by peer"
)
_calls = itertools.count()


@dataclasses.dataclass(frozen=True)
class DistributedConfig:
    """Where the processes of a run meet."""

    coordinator: str
    """HOST:PORT, an address of the process with number 0 and a free port there; or auto: a TPU pod,
    SLURM, Open MPI or Kubernetes tells address, number and count."""
    num_processes: int | None = None
    """How many there are; None with auto."""
    process_id: int | None = None
    """Number of this process, from 0; None with auto."""
    timeout_seconds: int = 300
    """How long to wait for the others."""

    def __post_init__(self) -> None:
        if self.timeout_seconds < 1:
            raise InputError(f"--distributed-timeout {self.timeout_seconds}: expected 1 or more")
        count, number = self.num_processes, self.process_id
        if self.coordinator == "auto":
            for flag, value in (("--num-processes", count), ("--process-id", number)):
                if value is not None:
                    raise InputError(f"{flag} {value}: with --distributed auto leave it out")
            return
        address = _ADDRESS.fullmatch(self.coordinator)
        if not address or not 1 <= int(address["port"]) <= 65535:
            raise InputError(
                f"--distributed {self.coordinator!r}: expected auto, or HOST:PORT of process 0 "
                "with a port from 1 to 65535"
            )
        if count is None or number is None:
            raise InputError(
                f"--{'num-processes' if count is None else 'process-id'} is missing: --distributed "
                f"{self.coordinator} needs the number of processes and, from 0, that of this one"
            )
        if count < 1:
            raise InputError(f"--num-processes {count}: expected 1 or more")
        if not 0 <= number < count:
            raise InputError(f"--process-id {number}: expected 0 to {count - 1}")


def initialize(config: DistributedConfig) -> None:
    """Joins the other processes of the run; to be called before anything touches a device. If not
    all come in time the process ends with one line and status 2: JAX would abort it."""
    auto = config.coordinator == "auto"
    who = "" if auto else f"process {config.process_id} of {config.num_processes} "
    lost = (
        f"audiolm: --distributed {config.coordinator}: {who}did not meet the others within "
        f"{config.timeout_seconds} s; check that process 0 runs there, that its port is open "
        "and that all were started, each with a number of its own"
    )
    late = threading.Timer(config.timeout_seconds, _end, args=(2, lost))
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            None if auto else config.coordinator,
            config.num_processes,
            config.process_id,
            cluster_detection_method=None if auto else "deactivate",
            initialization_timeout=config.timeout_seconds + _LEAVE_SECONDS,
        )
    except Exception as error:
        said = f"{who}could not join" if who else "no TPU pod, SLURM, Open MPI or Kubernetes joined"
        hint = "" if who else "; give HOST:PORT with --num-processes and --process-id"
        reason = f"({' '.join(str(error).split())[:200]})"
        raise InputError(f"--distributed {config.coordinator}: {said} {reason}{hint}") from error
    finally:
        late.cancel()


@contextlib.contextmanager
def joined(config: DistributedConfig | None) -> Iterator[None]:
    """Runs the block as one process of several, of which only the first has a standard output; as
    the only one if `config` is None. A host on which the block fails ends without waiting for the
    others, who may wait for it, and who end when they notice that it is gone: by LostHostError."""
    if config is None:
        yield
        return
    initialize(config)
    with contextlib.ExitStack() as stack:
        if not is_first_host():
            quiet = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(quiet))
        try:
            yield
        except Exception as error:
            if jax.process_count() > 1:
                # Registered last, so called first: before JAX waits for all to shut down.
                atexit.register(_leave, 2 if isinstance(error, InputError) else 1)
                if (line := silence(error)) is not None:
                    raise LostHostError(line) from error
            raise


def silence(error: BaseException) -> str | None:
    """One line if an error comes of another process that is gone or hangs; None otherwise."""
    for cause in chain(error):
        is_told = isinstance(cause, TimeoutError | jax.errors.JaxRuntimeError)
        if is_told and _SILENCE.search(text := " ".join(str(cause).split())):
            return (
                f"another process of the run stopped answering ({text[:200]}); what it printed, or "
                "its host, says why; start all of them again with the same command, which goes on "
                "from what is saved"
            )
    return None


def is_first_host() -> bool:
    """Whether this process is the one that writes; touches no device if it is the only one."""
    return _client() is None or jax.process_index() == 0


def from_first_host(make: Callable[[], Value]) -> Value:
    """The JSON value that `make` returns on the first host, which alone calls it, on every host.
    All must come here in the same order, and return no sooner than the first has ended. Whatever
    `make` raises is an InputError on the others."""
    client = _client()
    if client is None:
        return make()
    key = f"audiolm_jax/from_first_host/{next(_calls)}"
    if not is_first_host():
        answer = json.loads(client.blocking_key_value_get(key, _PATIENCE_SECONDS * 1000))
        if "error" in answer:
            raise InputError(answer["error"])
        return answer["value"]
    answer = {"error": "the first host failed; see what it printed"}
    try:
        value = make()
        answer = {"value": value}
        return value
    except InputError as error:
        answer = {"error": str(error)}
        raise
    finally:  # the others wait for an answer whatever has happened
        client.key_value_set(key, json.dumps(answer))


def wait_for_all(what: str) -> None:
    """Returns when all processes of the run have come here."""
    if (client := _client()) is not None:
        name = f"audiolm_jax/{what}/{next(_calls)}"
        client.wait_at_barrier(name, timeout_in_ms=_PATIENCE_SECONDS * 1000)


def from_all_hosts(value: Value) -> list[Value]:
    """The JSON values that all hosts give, by number of the host, on every host."""
    client = _client()
    if client is None:
        return [value]
    key = f"audiolm_jax/from_all_hosts/{next(_calls)}"
    client.key_value_set(f"{key}/{jax.process_index()}", json.dumps(value))

    def get(host: int) -> Value:
        return json.loads(client.blocking_key_value_get(f"{key}/{host}", _PATIENCE_SECONDS * 1000))

    return from_first_host(lambda: [get(host) for host in range(jax.process_count())])


def on_all_hosts(make: Callable[[], Value]) -> Value:
    """What `make` returns on this host, once it has ended on all. InputError on every host if it is
    one on any: its own line, or that of the first other that has one."""
    error = None
    try:
        value = make()
    except InputError as own:
        error = own
    said = from_all_hosts(None if error is None else str(error))
    if error is not None:
        raise error
    for number, line in enumerate(said):
        if line is not None:
            raise InputError(f"process {number}: {line}")
    return value


def _client() -> Any:
    """JAX's connection to the other processes, which Orbax uses too; None if there are none."""
    from jax._src import distributed

    return distributed.global_state.client


def _leave(status: int) -> None:
    # What failed on all hosts alike ends them together, each with a status of its own.
    with contextlib.suppress(Exception):
        _client().wait_at_barrier("audiolm_jax/leave", _LEAVE_SECONDS * 1000)
        time.sleep(is_first_host())  # the others are lost without its service
    _end(status)


def _end(status: int, message: str = "") -> None:
    print(message, end="\n" if message else "", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(status)
