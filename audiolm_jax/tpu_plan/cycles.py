"""How long a compiled TPU step computes and what it exchanges, from its optimized HLO.

The TPU compiler writes `estimated_cycles` on the instructions that it has a model for. They are
summed along the call graph, loops as often as they run, conditionals at their most expensive
branch, which `compiled.cost_analysis()` does not do. Collectives and copies beside the computing
are left out, custom kernels must be given cycles, and whatever else has none is counted, named and
taken to last as long as its operands and results need to main memory and back.
"""

import dataclasses
from collections.abc import Callable, Iterable

from audiolm_jax.tpu_plan.hlo import ArrayType, Computation, Instruction, trips

COLLECTIVES = {
    "all-gather", "all-reduce", "reduce-scatter", "all-to-all", "ragged-all-to-all",
    "collective-permute", "collective-broadcast",
}  # fmt: skip
KERNEL_TARGET = "tpu_custom_call"
# Take no time of a core: names and views, and copies that the memory system does meanwhile.
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all",
    "add-dependency", "opt-barrier", "partition-id", "replica-id", "copy-start", "slice-start",
    "async-start", "async-update",
}  # fmt: skip
_FREE_TARGETS = {
    "AllocateBuffer", "AssumeGatherIndicesInBound", "AsyncCollectiveDone", "ConcatBitcast",
}  # fmt: skip
# A few numbers are the business of the scalar core.
_FEW = 128


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A custom kernel, about which the compiler knows nothing."""

    name: str  # that its author gave it, or of its instruction
    operands: tuple[ArrayType, ...]  # on one device


@dataclasses.dataclass(frozen=True)
class Collective:
    """All collectives of one kind in a step."""

    count: int = 0  # how many run
    bytes: int = 0  # on one device, of each the larger of what goes in and what comes out


@dataclasses.dataclass
class Analysis:
    """A step on one device, conditionals at their most expensive branch."""

    cycles: float = 0.0  # estimated, of one step, kernels included
    cheapest_cycles: float = 0.0  # the same with every conditional at its cheapest branch
    # Cycles of all runs of an instruction, the most expensive first.
    most_expensive: list[tuple[float, Instruction]] = dataclasses.field(default_factory=list)
    collectives: dict[str, Collective] = dataclasses.field(default_factory=dict)  # by kind
    # Runs and cycles of all kernels of a name; the cycles are None if not known.
    kernels: dict[str, tuple[int, float | None]] = dataclasses.field(default_factory=dict)
    # By opcode: runs and cycles, those of their memory traffic, of what has no estimate.
    without_estimate: dict[str, tuple[int, float]] = dataclasses.field(default_factory=dict)
    # Loops counted as one trip because their number cannot be told.
    unknown_loops: list[str] = dataclasses.field(default_factory=list)


def analyze(
    entry: Computation, kernel_cycles: Callable[[Kernel], float | None], cycles_per_byte: float
) -> Analysis:
    """Sums up a step; `kernel_cycles` gives those of a kernel's run, None for an unknown kernel."""
    walk = _Walk(kernel_cycles, cycles_per_byte)
    walk.visit(entry, 1)
    walk.found.cycles = walk.cycles(entry, max)
    walk.found.cheapest_cycles = walk.cycles(entry, min)
    spent = [(cycles, instruction) for instruction, cycles in walk.spent.items()]
    walk.found.most_expensive = sorted(spent, key=lambda pair: -pair[0])
    return walk.found


class _Walk:
    def __init__(self, kernel_cycles: Callable[[Kernel], float | None], cycles_per_byte: float):
        self._kernel_cycles, self._cycles_per_byte = kernel_cycles, cycles_per_byte
        self.found = Analysis()
        self.spent: dict[Instruction, float] = {}

    def cycles(self, computation: Computation, choose: Callable[[Iterable[float]], float]) -> float:
        """Of one run of a computation; `choose` picks among the branches of a conditional."""
        total = 0.0
        for instruction in computation.instructions:
            inside = (self.cycles(called, choose) for called in instruction.called)
            match instruction.opcode:
                case "while":
                    total += (trips(instruction) or 1) * sum(inside)
                case "conditional":
                    total += choose(inside)
                case "call":
                    total += sum(inside)
                case _:
                    total += self._own_cycles(instruction) or 0
        return total

    def visit(self, computation: Computation, times: int) -> None:
        """Records what a computation does that runs so many times in a step."""
        for instruction in computation.instructions:
            kind = instruction.opcode.removesuffix("-start")
            match instruction.opcode:
                case "while":
                    count = trips(instruction)
                    if count is None:
                        self.found.unknown_loops.append(instruction.op_name or instruction.name)
                    for called in instruction.called:
                        self.visit(called, times * (1 if count is None else count))
                case "conditional":
                    branch = max(instruction.called, key=lambda called: self.cycles(called, max))
                    self.visit(branch, times)
                case "call":
                    for called in instruction.called:
                        self.visit(called, times)
                case _ if kind in COLLECTIVES:
                    self._add_collective(kind, instruction, times)
                case _:
                    for called in instruction.called:
                        self._visit_fusion(called, times)
                    self._visit_single(instruction, times)

    def _visit_single(self, instruction: Instruction, times: int) -> None:
        cycles = self._own_cycles(instruction)
        if instruction.target == KERNEL_TARGET:
            name = _kernel(instruction).name
            runs, known = self.found.kernels.get(name, (0, 0.0))
            known = None if cycles is None or known is None else known + times * cycles
            self.found.kernels[name] = (runs + times, known)
        elif instruction.cycles is None and cycles:
            label = instruction.target or instruction.opcode
            runs, by_traffic = self.found.without_estimate.get(label, (0, 0.0))
            self.found.without_estimate[label] = (runs + times, by_traffic + times * cycles)
        if cycles:
            self.spent[instruction] = self.spent.get(instruction, 0.0) + times * cycles

    def _own_cycles(self, instruction: Instruction) -> float | None:
        """Of one run, without what it calls; None for a kernel that is not known."""
        if instruction.target == KERNEL_TARGET:
            return self._kernel_cycles(_kernel(instruction))
        if instruction.cycles is not None:
            return float(instruction.cycles)
        if _is_free(instruction):
            return 0.0
        operands = [operand.nbytes for operand in instruction.operands]
        if instruction.opcode == "dynamic-update-slice":  # in place
            return self._cycles_per_byte * 2 * sum(operands[1:2])
        return self._cycles_per_byte * (sum(operands) + instruction.nbytes)

    def _visit_fusion(self, computation: Computation, times: int) -> None:
        """A fused collective: a scattered sum, or one that is started here and ends elsewhere."""
        inside = computation.instructions
        starts = any(instruction.target == "AsyncCollectiveStart" for instruction in inside)
        scatters = any(instruction.opcode == "dynamic-slice" for instruction in inside)
        for instruction in _collectives(computation):
            # An asynchronous one stands in every fusion that it runs beside: count its start.
            if "async_collective_fusion_config" in instruction.config and not starts:
                continue
            is_scattered = instruction.opcode == "all-reduce" and scatters
            kind = "reduce-scatter" if is_scattered else instruction.opcode
            self._add_collective(kind, instruction, times)

    def _add_collective(self, kind: str, instruction: Instruction, times: int) -> None:
        into = sum(operand.nbytes for operand in instruction.operands)
        out = instruction.nbytes
        if instruction.opcode.endswith("-start") and kind != "all-reduce":
            out -= into  # its result holds the operands too
        known = self.found.collectives.get(kind, Collective())
        self.found.collectives[kind] = Collective(
            known.count + times, known.bytes + times * max(into, out)
        )


def _is_free(instruction: Instruction) -> bool:
    opcode = instruction.opcode
    if opcode in _FREE or instruction.target in _FREE_TARGETS or opcode.endswith("-done"):
        return True
    if opcode.removesuffix("-start") in COLLECTIVES:
        return True
    if opcode == "fusion" and any(map(_collectives, instruction.called)):
        return True
    return sum(array.size for array in instruction.arrays) <= _FEW


def _collectives(computation: Computation) -> list[Instruction]:
    return [one for one in computation.instructions if one.opcode in COLLECTIVES]


def _kernel(instruction: Instruction) -> Kernel:
    path = instruction.op_name.removesuffix("/pallas_call").split("/")
    name = path[-1] or instruction.name.rpartition(".")[0] or instruction.name
    operands = tuple(array for operand in instruction.operands for array in operand.arrays)
    return Kernel(name, operands)
