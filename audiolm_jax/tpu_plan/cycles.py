"""How long a compiled TPU step computes and what it exchanges, from its optimised HLO.

The TPU compiler writes `estimated_cycles` on the instructions that it has a model for. Summed along
the call graph, loops taken as often as they run and conditionals at their dearest branch, they
estimate the time of computing. Collectives and copies that run beside the computing carry none and
are left out. Custom kernels carry none and must be given one. Whatever else has none is counted,
named and taken to last as long as its operands and results need to main memory and back: nothing
is free in silence.
"""

import dataclasses
import re
from collections.abc import Callable

from audiolm_jax.tpu_plan.hlo import Instruction, Module, array_bytes, array_numbers, array_shapes

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
KERNEL_TARGET = "tpu_custom_call"
# Take no time of a core: names and views, and copies that the memory system does meanwhile.
_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "after-all",
    "add-dependency",
    "opt-barrier",
    "partition-id",
    "replica-id",
    "copy-start",
    "copy-done",
    "slice-start",
    "slice-done",
    "async-start",
    "async-update",
    "async-done",
}
_FREE_TARGETS = {
    "AllocateBuffer",
    "AssumeGatherIndicesInBound",
    "AsyncCollectiveDone",
    "ConcatBitcast",
}
# A few numbers are the business of the scalar core.
_FEW = 128


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A custom kernel, about which the compiler knows nothing.

    Attributes:
      name: that its author gave it, or of its instruction.
      operands: dtype and shape of each operand on one device.
    """

    name: str
    operands: tuple[tuple[str, tuple[int, ...]], ...]


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a step.

    Attributes:
      count: how many run.
      bytes: on one device, of each the larger of what goes in and what comes out.
    """

    count: int = 0
    bytes: int = 0


@dataclasses.dataclass
class Analysis:
    """A step on one device, conditionals at their dearest branch.

    Attributes:
      cycles: estimated, of one step, kernels included.
      cheapest_cycles: the same with every conditional at its cheapest branch.
      dearest: cycles of all runs of an instruction, the dearest first.
      collectives: by kind.
      kernels: runs and cycles of all kernels of a name; the cycles are None if not known.
      without_estimate: runs and cycles of other instructions that the compiler has no estimate
        for, by opcode; the cycles are those of their memory traffic.
      unknown_loops: loops counted as one trip because their number cannot be told.
    """

    cycles: float = 0.0
    cheapest_cycles: float = 0.0
    dearest: list[tuple[float, Instruction]] = dataclasses.field(default_factory=list)
    collectives: dict[str, Collective] = dataclasses.field(default_factory=dict)
    kernels: dict[str, tuple[int, float | None]] = dataclasses.field(default_factory=dict)
    without_estimate: dict[str, tuple[int, float]] = dataclasses.field(default_factory=dict)
    unknown_loops: list[str] = dataclasses.field(default_factory=list)


def analyze(
    text: str, kernel_cycles: Callable[[Kernel], float | None], cycles_per_byte: float
) -> Analysis:
    """Sums up a step.

    Args:
      text: `compiled.as_text()`.
      kernel_cycles: estimates one run of a kernel; None if it does not know the kernel.
      cycles_per_byte: that a device needs to read or write its main memory.
    """
    walk = _Walk(Module(text), kernel_cycles, cycles_per_byte)
    walk.visit(walk.module.entry, 1)
    found = walk.found
    found.cycles = walk.cycles(walk.module.entry, max)
    found.cheapest_cycles = walk.cycles(walk.module.entry, min)
    found.dearest = sorted(walk.spent.values(), key=lambda one: -one[0])
    return found


class _Walk:
    def __init__(
        self,
        module: Module,
        kernel_cycles: Callable[[Kernel], float | None],
        cycles_per_byte: float,
    ):
        self.module, self._kernel_cycles = module, kernel_cycles
        self._cycles_per_byte = cycles_per_byte
        self.found = Analysis()
        self.spent: dict[tuple[str, str], tuple[float, Instruction]] = {}

    def cycles(self, computation: str, choose: Callable) -> float:
        """Of one run of a computation; `choose` picks among the branches of a conditional."""
        total = 0.0
        for one in self.module.computations[computation].values():
            match one.opcode:
                case "while":
                    parts = one.called("body", "condition")
                    once = sum(self.cycles(part, choose) for part in parts)
                    total += (self.module.trips(computation, one) or 1) * once
                case "conditional":
                    total += choose(self.cycles(part, choose) for part in _branches(one))
                case "call":
                    total += sum(self.cycles(part, choose) for part in one.called("to_apply"))
                case _:
                    total += self._own_cycles(computation, one) or 0
        return total

    def visit(self, computation: str, times: int) -> None:
        """Records what a computation does that runs so many times in a step."""
        for one in self.module.computations[computation].values():
            kind = one.opcode.removesuffix("-start")
            match one.opcode:
                case "while":
                    trips = self.module.trips(computation, one)
                    if trips is None:
                        self.found.unknown_loops.append(one.op_name or one.name)
                    for part in one.called("body", "condition"):
                        self.visit(part, times * (1 if trips is None else trips))
                case "conditional":
                    self.visit(max(_branches(one), key=lambda p: self.cycles(p, max)), times)
                case "call":
                    for part in one.called("to_apply"):
                        self.visit(part, times)
                case _ if kind in COLLECTIVES:
                    self._add_collective(kind, computation, one, times)
                case _:
                    for part in one.called("calls"):
                        self._visit_fusion(part, times)
                    self._visit_single(computation, one, times)

    def _visit_single(self, computation: str, one: Instruction, times: int) -> None:
        cycles = self._own_cycles(computation, one)
        if one.target == KERNEL_TARGET:
            name = _kernel(self.module, computation, one).name
            runs, known = self.found.kernels.get(name, (0, 0.0))
            known = None if cycles is None or known is None else known + times * cycles
            self.found.kernels[name] = (runs + times, known)
        elif one.cycles is None and cycles:
            label = one.target or one.opcode
            runs, known = self.found.without_estimate.get(label, (0, 0.0))
            self.found.without_estimate[label] = (runs + times, known + times * cycles)
        if cycles:
            before, _ = self.spent.get((computation, one.name), (0.0, one))
            self.spent[computation, one.name] = (before + times * cycles, one)

    def _own_cycles(self, computation: str, one: Instruction) -> float | None:
        """Of one run, without what it calls; None for a kernel that is not known."""
        if one.target == KERNEL_TARGET:
            return self._kernel_cycles(_kernel(self.module, computation, one))
        if one.cycles is not None:
            return one.cycles
        if self._is_free(one):
            return 0.0
        operands = [array_bytes(shape) for shape in self.module.operand_shapes(computation, one)]
        if one.opcode == "dynamic-update-slice":  # in place
            return self._cycles_per_byte * 2 * sum(operands[1:2])
        return self._cycles_per_byte * (sum(operands) + array_bytes(one.shape))

    def _is_free(self, one: Instruction) -> bool:
        if one.opcode in _FREE or one.target in _FREE_TARGETS or one.opcode.endswith("-done"):
            return True
        if one.opcode.removesuffix("-start") in COLLECTIVES:
            return True
        if one.opcode == "fusion" and any(self._collectives(p) for p in one.called("calls")):
            return True
        return array_numbers(one.shape) <= _FEW

    def _collectives(self, computation: str) -> list[Instruction]:
        inside = self.module.computations.get(computation, {}).values()
        return [one for one in inside if one.opcode in COLLECTIVES]

    def _visit_fusion(self, computation: str, times: int) -> None:
        """A fused collective: a scattered sum, or one that is started here and ends elsewhere."""
        inside = self.module.computations.get(computation, {}).values()
        starts = any(one.target == "AsyncCollectiveStart" for one in inside)
        scatters = any(one.opcode == "dynamic-slice" for one in inside)
        for one in self._collectives(computation):
            # An asynchronous one stands in every fusion that it runs beside: count its start.
            if "async_collective_fusion_config" in one.attributes and not starts:
                continue
            scattered = one.opcode == "all-reduce" and scatters
            kind = "reduce-scatter" if scattered else one.opcode
            self._add_collective(kind, computation, one, times)

    def _add_collective(self, kind: str, computation: str, one: Instruction, times: int) -> None:
        into = sum(map(array_bytes, self.module.operand_shapes(computation, one)))
        out = array_bytes(one.shape)
        if one.opcode.endswith("-start") and kind != "all-reduce":
            out -= into  # its result holds the operands too
        known = self.found.collectives.get(kind, Collective())
        self.found.collectives[kind] = Collective(
            known.count + times, known.bytes + times * max(into, out)
        )


def _branches(one: Instruction) -> list[str]:
    return one.called("branch_computations", "true_computation", "false_computation")


def _kernel(module: Module, computation: str, one: Instruction) -> Kernel:
    texts = module.operand_shapes(computation, one)
    path = one.op_name.removesuffix("/pallas_call").split("/")
    name = path[-1] or re.sub(r"\.\d+$", "", one.name)
    return Kernel(name, tuple(shape for text in texts for shape in array_shapes(text)))
