"""A training step compiled for devices that are not there, and what it needs."""

import dataclasses
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jax.sharding import Mesh, PartitionSpec

from audiolm_jax.nn.flash.cost import FlashKernel
from audiolm_jax.tpu_plan.cycles import Analysis, Collective, Kernel, analyze
from audiolm_jax.tpu_plan.feed import Feed, feed_of
from audiolm_jax.tpu_plan.hlo import read_module
from audiolm_jax.tpu_plan.largest_arrays import largest_results
from audiolm_jax.tpu_plan.names import Slice
from audiolm_jax.tpu_plan.step import Duration, Step, trace
from audiolm_jax.tpu_plan.topology import binary_bytes, count_chips, hbm_limit, slice_devices
from audiolm_jax.training.mesh import batch_sharding, host_rows
from audiolm_jax.training.state import Batch
from audiolm_jax.training.topology import CHIPS, Chip

_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
_LISTED = 20  # most expensive instructions, largest buffers


@dataclasses.dataclass(frozen=True)
class Memory:
    """Main memory of one device, in bytes; None where a step that does not fit leaves it unsaid."""

    limit: int  # what the compiler may fill
    needed: int | None  # by the whole step
    arguments: int | None = None  # state, batch and key
    temporaries: int | None = None  # what lives only within the step, code included


@dataclasses.dataclass(frozen=True)
class Compute:
    """The compiler's estimate for one device."""

    seconds: float  # of computing in a step, conditionals at their most expensive branch
    cheapest_seconds: float  # with conditionals at their cheapest branch
    is_complete: bool  # whether everything that computes has an estimate
    kernels: dict[str, tuple[int, float | None]]  # by kind: runs and seconds, None if unknown
    without_estimate: dict[str, tuple[int, float]]  # by opcode: runs and seconds of memory traffic
    unknown_loops: tuple[str, ...]  # counted as one trip
    most_expensive: tuple[tuple[float, str, str], ...]  # share of the seconds, opcode, origin


@dataclasses.dataclass(frozen=True)
class Plan:
    """One step on one topology."""

    topology: str  # name of a slice, as it was given
    shape: str  # the same as libtpu names it
    slices: int  # how many of them
    chip: str  # generation
    chips: int
    devices: int  # as JAX sees them; one may be a core of a chip
    mesh: dict[str, int]  # devices along each axis
    preset: str  # of the mesh
    parameters: int  # numbers trained by gradient
    batch_size: int  # over all devices
    hosts: int
    rows_per_host: int  # of a batch, the most that any host reads
    units: tuple[str, float]  # what a step learns from, "tokens" or "audio_seconds", and how much
    model_flops: float  # of a step over all devices
    peak_flops: float  # of all chips, bfloat16, per second
    parameter_traffic: int  # bytes that a device must exchange for its parameters alone
    memory: Memory
    compile_seconds: float  # tracing and compiling
    collectives: dict[str, Collective] | None = None  # by kind; None if the step does not fit
    compute: Compute | None = None  # None if the step does not fit
    duration: Duration | None = None  # of the whole training at that estimate; likewise
    # If the step does not fit, lines of the compiler; if it names none, the largest results of the
    # step as written, over all devices.
    largest_buffers: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether a device's memory holds the step."""
        return self.compute is not None

    @property
    def mfu(self) -> float | None:
        """Share of the peak that the estimated time of computing would use."""
        if self.compute is None:
            return None
        return self.model_flops / self.compute.seconds / self.peak_flops

    @property
    def feed(self) -> Feed | None:
        """What the step asks of a host that feeds it; None if it does not fit."""
        if self.compute is None:
            return None
        return feed_of(self.units, self.batch_size, self.rows_per_host, self.compute.seconds)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        feed: dict[str, Any] | None = None
        if self.feed is not None:
            feed = dataclasses.asdict(self.feed)
            feed |= {"cores": self.feed.cores, "idle": self.feed.idle}
        return dataclasses.asdict(self) | {"fits": self.fits, "mfu": self.mfu, "feed": feed}


def plan_step(step: Step, where: Slice) -> Plan:
    """Compiles a step for a slice, or with `mesh.slices` for several."""
    mesh_config, batch = step.mesh, step.batch
    devices = slice_devices(where.shape, mesh_config.slices)
    chip, chips = CHIPS[devices[0].device_kind], count_chips(devices)
    started = time.monotonic()
    traced = trace(step, devices)
    mesh, abstract, shardings = traced.mesh, traced.abstract, traced.shardings
    lowered = traced.lower()
    hosts = {device.process_index for device in devices}
    plan = Plan(
        topology=where.name,
        shape=where.shape,
        slices=mesh_config.slices,
        chip=chip.name,
        chips=chips,
        devices=len(devices),
        mesh=dict(mesh.shape),
        preset=mesh_config.preset,
        parameters=traced.parameters,
        batch_size=step.batch_size,
        hosts=len(hosts),
        rows_per_host=max(len(host_rows(mesh, step.batch_size, host)) for host in hosts),
        units=step.units,
        model_flops=step.model_flops,
        peak_flops=chips * chip.bfloat16_flops,
        parameter_traffic=_parameter_traffic(mesh, batch, abstract.params, shardings.params),
        memory=Memory(hbm_limit(devices[0]), None),
        compile_seconds=0.0,
    )
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if _OUT_OF_MEMORY not in str(error):
            raise
        needed, largest = read_out_of_memory(str(error))
        return dataclasses.replace(
            plan,
            memory=dataclasses.replace(plan.memory, needed=needed),
            compile_seconds=time.monotonic() - started,
            largest_buffers=largest or _largest(traced.traced.jaxpr.jaxpr),
        )
    compile_seconds = time.monotonic() - started
    bytes_per_cycle = chip.hbm_bytes_per_second / chip.clock_hz * chips / len(devices)

    def kernel_cycles(kernel: Kernel) -> float | None:
        query = kernel.operands[0]
        flash = FlashKernel.from_program(kernel.name, query.dtype, query.shape)
        if flash is None:
            return None
        return flash.cycles(chip.name, devices[0].num_cores, bytes_per_cycle)

    (module,) = compiled.runtime_executable().hlo_modules()
    entry = read_module(module.as_serialized_hlo_module_proto())
    found = analyze(entry, kernel_cycles, 1 / bytes_per_cycle)
    compute = _compute(found, chip)
    return dataclasses.replace(
        plan,
        memory=memory_of(plan.memory.limit, compiled.memory_analysis()),
        compile_seconds=compile_seconds,
        collectives=found.collectives,
        compute=compute,
        duration=Duration.of(step.steps, compute.seconds, chips, step.price),
    )


def read_out_of_memory(message: str) -> tuple[int | None, tuple[str, ...]]:
    """Bytes needed, if the compiler says, and its largest buffers, from the text of its error."""
    used = re.search(r"Used ([\d.]+[BKMGT]) of|temporaries \(([\d.]+[BKMGT])\)", message)
    needed = binary_bytes(used[1] or used[2]) if used else None
    buffers = []
    for part in re.split(r"^\s*\d+\. (?=Size:)", message, flags=re.MULTILINE)[1:]:
        fields = dict(re.findall(r"^\s*(Size|Operator|Shape): (.*)$", part, re.MULTILINE))
        operator = re.search(r'op_name="([^"]*)"', fields.get("Operator", ""))
        size, shape = fields.get("Size", "?"), fields.get("Shape", "?")
        buffers.append(f"{size}  {shape}  {operator[1] if operator else ''}".rstrip())
    return needed, tuple(buffers)


def _largest(jaxpr: core.Jaxpr) -> tuple[str, ...]:
    return tuple(
        f"{size / 2**30:.2f}G over all devices  {shape}  {origin}"
        for size, shape, origin in largest_results(jaxpr, _LISTED)
    )


def memory_of(limit: int, stats: Any) -> Memory:
    """Memory of a compiled step, from XLA's analysis of it."""
    # What is given away is written over; the rest of the output is new.
    fresh = stats.output_size_in_bytes - stats.alias_size_in_bytes
    temporaries = stats.temp_size_in_bytes + stats.generated_code_size_in_bytes + fresh
    arguments = stats.argument_size_in_bytes
    return Memory(limit, arguments + temporaries, arguments, temporaries)


def _compute(found: Analysis, chip: Chip) -> Compute:
    unknown = any(cycles is None for _, cycles in found.kernels.values())
    return Compute(
        seconds=found.cycles / chip.clock_hz,
        cheapest_seconds=found.cheapest_cycles / chip.clock_hz,
        is_complete=not (unknown or found.unknown_loops),
        kernels={
            name: (runs, None if cycles is None else cycles / chip.clock_hz)
            for name, (runs, cycles) in found.kernels.items()
        },
        without_estimate={
            name: (runs, cycles / chip.clock_hz)
            for name, (runs, cycles) in found.without_estimate.items()
        },
        unknown_loops=tuple(found.unknown_loops),
        most_expensive=tuple(
            (cycles / found.cycles, instruction.opcode, instruction.op_name or instruction.name)
            for cycles, instruction in found.most_expensive[:_LISTED]
        ),
    )


def _parameter_traffic(mesh: Mesh, batch: Batch, params: Any, shardings: Any) -> int:
    """Bytes that the parameters alone oblige a device to exchange in a step, in their own dtype:
    one divided over devices that divide the batch is gathered twice, its gradient summed and
    scattered; any other's is summed. Of each the larger of what goes in and what comes out."""
    shared = set(_axes(batch_sharding(mesh, batch).spec[:1]))
    total = 0
    for x, sharding in zip(jax.tree.leaves(params), jax.tree.leaves(shardings), strict=True):
        own = _axes(sharding.spec)
        size = x.size * x.dtype.itemsize
        held = size // _parts(mesh, [axis for axis in own if axis not in shared])
        divided = _parts(mesh, [axis for axis in own if axis in shared])
        copies = _parts(mesh, [axis for axis in shared if axis not in own])
        total += 3 * held if divided > 1 else 0
        total += held // divided if copies > 1 else 0
    return total


def _axes(spec: PartitionSpec | Sequence[Any]) -> list[str]:
    return [a for entry in spec if entry for a in ((entry,) if isinstance(entry, str) else entry)]


def _parts(mesh: Mesh, axes: list[str]) -> int:
    return int(np.prod([mesh.shape[axis] for axis in axes], dtype=int))
