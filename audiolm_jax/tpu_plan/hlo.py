"""The optimized HLO module of a compiled program, read from XLA's own message.

jaxlib hands out a module as the bytes of an `HloModuleProto` but brings no Python class to read
them with. The fields that a plan reads are therefore declared here, under the numbers that they
have in XLA (xla/service/hlo.proto, xla/xla_data.proto); protobuf passes over all others.
"""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from audiolm_jax.artifacts.protobuf import Messages, message_class

_MESSAGES: Messages = {
    "Module": {"computations": (3, ["Computation"]), "entry_computation_id": (6, "int64")},
    "Computation": {
        "instructions": (2, ["Instruction"]),
        "id": (5, "int64"),
        "root_id": (6, "int64"),
    },
    "Instruction": {
        "name": (1, "string"),
        "opcode": (2, "string"),
        "shape": (3, "Shape"),
        "metadata": (7, "Metadata"),
        "literal": (8, "Literal"),
        "tuple_index": (13, "int64"),
        "custom_call_target": (28, "string"),
        "id": (35, "int64"),
        "operand_ids": (36, ["int64"]),
        "called_computation_ids": (38, ["int64"]),
        "backend_config": (43, "bytes"),
        "comparison_direction": (63, "string"),
    },
    "Shape": {
        "element_type": (2, "int32"),
        "dimensions": (3, ["int64"]),
        "tuple_shapes": (4, ["Shape"]),
    },
    "Metadata": {"op_name": (2, "string")},
    "Literal": {"s32s": (4, ["int32"]), "s64s": (5, ["int64"])},
}
_TUPLE = 13
# Element type -> name and bytes; those that are not listed have 8 bits or fewer.
_ELEMENTS = {
    1: ("pred", 1), 2: ("s8", 1), 3: ("s16", 2), 4: ("s32", 4), 5: ("s64", 8),
    6: ("u8", 1), 7: ("u16", 2), 8: ("u32", 4), 9: ("u64", 8),
    10: ("f16", 2), 11: ("f32", 4), 12: ("f64", 8), 16: ("bf16", 2),
    15: ("c64", 8), 18: ("c128", 16), 14: ("opaque", 0), 17: ("token", 0),
}  # fmt: skip
# Steps that hand a value on unchanged.
_SAME = {"copy", "bitcast", "copy-start", "copy-done", "convert", "opt-barrier", "reshape"}


class ArrayType(NamedTuple):
    """An array, without the padding of its layout."""

    dtype: str  # as in HLO, such as "bf16"
    shape: tuple[int, ...]
    itemsize: int

    @property
    def size(self) -> int:
        """Numbers in it."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return self.itemsize * self.size


@dataclasses.dataclass(frozen=True, eq=False)
class Instruction:
    """One instruction of a computation."""

    name: str
    opcode: str  # such as "fusion"
    arrays: tuple[ArrayType, ...] = ()  # of its result, those of tuples in order
    operands: tuple["Instruction", ...] = ()
    # Of a loop the body and the condition, of a conditional the branches.
    called: tuple["Computation", ...] = ()
    target: str = ""  # of a custom call
    op_name: str = ""  # where in the traced program it comes from, "" if unknown
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # the compiler's notes
    tuple_index: int = 0  # of get-tuple-element
    direction: str = ""  # of a comparison, such as "LT"
    value: int | None = None  # of a signed whole constant

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate; None where it has none or an impossible one."""
        cycles = int(self.config.get("window_config", {}).get("estimated_cycles", -1))
        return cycles if cycles >= 0 else None

    @property
    def nbytes(self) -> int:
        """Bytes of its result."""
        return sum(array.nbytes for array in self.arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class Computation:
    """What runs as one: the program, the body of a loop, a branch, the inside of a fusion."""

    instructions: tuple[Instruction, ...]
    root: Instruction  # its result


def read_module(serialized: bytes) -> Computation:
    """The entry of a serialized `HloModuleProto`; the others hang on what calls them."""
    module = message_class(_MESSAGES, "Module").FromString(serialized)
    computations: dict[int, Computation] = {}
    # A message holds what is called or read before what calls or reads it.
    for computation in module.computations:
        known: dict[int, Instruction] = {}
        for message in computation.instructions:
            numbers = [*message.literal.s32s, *message.literal.s64s]
            known[message.id] = Instruction(
                message.name,
                message.opcode,
                arrays=tuple(_arrays(message.shape)),
                operands=tuple(known[number] for number in message.operand_ids),
                called=tuple(computations[number] for number in message.called_computation_ids),
                target=message.custom_call_target,
                op_name=message.metadata.op_name,
                config=_config(message.backend_config),
                tuple_index=message.tuple_index,
                direction=message.comparison_direction,
                value=numbers[0] if len(numbers) == 1 else None,
            )
        root = known[computation.root_id]
        computations[computation.id] = Computation(tuple(known.values()), root)
    return computations[module.entry_computation_id]


def trips(loop: Instruction) -> int | None:
    """How often a while loop runs, None unless a number counts from a constant to another: the TPU
    compiler leaves it out."""
    if known := loop.config.get("known_trip_count"):
        return int(known["n"])
    body, condition = (computation.root for computation in loop.called)
    if condition.opcode != "compare" or condition.direction != "LT" or body.opcode != "tuple":
        return None
    counter, end = map(_origin, condition.operands)
    state = _origin(loop.operands[0])
    if counter.opcode != "get-tuple-element" or state.opcode != "tuple":
        return None
    start, step = _origin(state.operands[counter.tuple_index]), _step(body, counter.tuple_index)
    if start.value is None or end.value is None or not step:
        return None
    return max(0, -(-(end.value - start.value) // step))


def _step(body: Instruction, index: int) -> int | None:
    """What a loop adds to a number of its state."""
    result = _origin(body.operands[index])
    if result.opcode != "add":
        return None
    left, right = map(_origin, result.operands)
    if left.opcode != "get-tuple-element":
        left, right = right, left
    is_same = left.opcode == "get-tuple-element" and left.tuple_index == index
    return right.value if is_same else None


def _origin(instruction: Instruction) -> Instruction:
    """The instruction that made a value, behind all that handed it on."""
    while instruction.opcode in _SAME and instruction.operands:
        instruction = instruction.operands[0]
    return instruction


def _arrays(shape: Any) -> Iterable[ArrayType]:
    if shape.element_type == _TUPLE:
        for part in shape.tuple_shapes:
            yield from _arrays(part)
    else:
        dtype, itemsize = _ELEMENTS.get(shape.element_type, ("other", 1))
        yield ArrayType(dtype, tuple(shape.dimensions), itemsize)


def _config(text: bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(text or b"{}")
    except ValueError:
        return {}  # a custom call may note what it likes
    return config if isinstance(config, dict) else {}
