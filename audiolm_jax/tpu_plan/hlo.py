"""The text of an optimised HLO module, as the TPU compiler prints it, taken apart.

Written for libtpu 0.0.42, which names no types in operands and no number of trips on loops.
"""

import dataclasses
import functools
import math
import re

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_OPCODE = re.compile(r"\s*([\w\-]+)\(")
_ARRAY = re.compile(r"\b(pred|token|bf16|[subfc]\d+[a-z0-9]*)\[([\d,]*)\]")
# Steps that hand a value on unchanged.
_SAME = {"copy", "bitcast", "copy-done", "convert", "opt-barrier", "reshape"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
      name: without %.
      shape: text of its result type, layouts included.
      opcode: such as "fusion".
      operands: text between the parentheses.
      attributes: the rest of the line.
      is_root: whether it is the computation's result.
    """

    name: str
    shape: str
    opcode: str
    operands: str
    attributes: str
    is_root: bool = False

    @functools.cached_property
    def operand_names(self) -> list[str]:
        """Names of its operands, in order."""
        return re.findall(r"%([\w.\-]+)", self.operands)

    def called(self, *attributes: str) -> list[str]:
        """Computations named by the given attributes, such as "body"."""
        found = []
        for attribute in attributes:
            match = re.search(rf"\b{attribute}=(\{{[^}}]*\}}|%?[\w.\-]+)", self.attributes)
            if match:
                found += re.findall(r"[\w.\-]+", match[1])
        return found

    @property
    def target(self) -> str:
        """Of a custom call, "" otherwise."""
        match = re.search(r'custom_call_target="([^"]*)"', self.attributes)
        return match[1] if match else ""

    @property
    def op_name(self) -> str:
        """Where in the traced program it comes from, "" if unknown."""
        match = re.search(r'op_name="((?:[^"\\]|\\.)*)"', self.attributes)
        return match[1] if match else ""

    @property
    def cycles(self) -> int | None:
        """The compiler's estimate; None where it has none or an impossible one."""
        match = re.search(r'"estimated_cycles":"?(-?\d+)', self.attributes)
        return int(match[1]) if match and int(match[1]) >= 0 else None


class Module:
    """The computations of an optimised HLO module.

    Args:
      text: `compiled.as_text()`.

    Attributes:
      computations: instructions by name, by name of their computation.
      entry: name of the computation that runs first.

    Raises:
      ValueError: the text holds no entry computation.
    """

    def __init__(self, text: str):
        self.computations: dict[str, dict[str, Instruction]] = {}
        self.entry = ""
        current: dict[str, Instruction] = {}
        for line in text.splitlines():
            if header := _COMPUTATION.match(line):
                current = self.computations.setdefault(header[2], {})
                self.entry = header[2] if header[1] else self.entry
            elif found := _INSTRUCTION.match(line):
                current[found[2]] = _parse(found[2], found[3], bool(found[1]))
        if not self.entry:
            raise ValueError("no entry computation in this HLO text")

    def operand_shapes(self, computation: str, instruction: Instruction) -> list[str]:
        """Texts of the types of an instruction's operands."""
        known = self.computations[computation]
        return [known[name].shape for name in instruction.operand_names if name in known]

    def trips(self, computation: str, loop: Instruction) -> int | None:
        """How often a while loop runs, None if that cannot be told.

        It can for loops that count a number of their state from a constant up to another.
        """
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes):
            return int(known[1])
        condition = self.computations[loop.called("condition")[0]]
        body = self.computations[loop.called("body")[0]]
        compare = next(one for one in condition.values() if one.is_root)
        if compare.opcode != "compare" or "direction=LT" not in compare.attributes:
            return None
        counter, bound = (_origin(condition, name) for name in compare.operand_names)
        end = _constant(bound)
        if counter.opcode != "get-tuple-element" or end is None:
            return None
        index = _index(counter)
        result = next(one for one in body.values() if one.is_root)
        start = _constant(self._element(computation, loop.operand_names[0], index))
        step = self._element_step(body, result, index)
        if start is None or not step:
            return None
        return max(0, -(-(end - start) // step))

    def _element(self, computation: str, name: str, index: int) -> Instruction | None:
        known = self.computations[computation]
        made = _origin(known, name)
        return _origin(known, made.operand_names[index]) if made.opcode == "tuple" else None

    def _element_step(
        self, body: dict[str, Instruction], result: Instruction, index: int
    ) -> int | None:
        """What a loop adds to a number of its state."""
        if result.opcode != "tuple":
            return None
        new = _origin(body, result.operand_names[index])
        if new.opcode != "add":
            return None
        left, right = (_origin(body, name) for name in new.operand_names)
        if left.opcode != "get-tuple-element":
            left, right = right, left
        same = left.opcode == "get-tuple-element" and _index(left) == index
        return _constant(right) if same else None


def array_shapes(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every array in the text of a type."""
    return [
        (dtype, tuple(int(size) for size in sizes.split(",") if size))
        for dtype, sizes in _ARRAY.findall(text)
    ]


def array_bytes(text: str) -> int:
    """Bytes of every array in the text of a type, without the padding of its layout."""
    return sum(_item_bytes(dtype) * math.prod(shape) for dtype, shape in array_shapes(text))


def array_numbers(text: str) -> int:
    """Numbers in every array in the text of a type."""
    return sum(math.prod(shape) for _, shape in array_shapes(text))


def _item_bytes(dtype: str) -> int:
    bits = re.search(r"\d+", dtype)
    return 0 if dtype == "token" else max(1, int(bits[0]) // 8) if bits else 1


def _parse(name: str, text: str, is_root: bool) -> Instruction:
    end = _closing(text, 0) if text.startswith("(") else text.index(" ")
    opcode = _OPCODE.match(text, end)
    close = _closing(text, opcode.end() - 1)
    operands = text[opcode.end() : close - 1]
    return Instruction(name, text[:end], opcode[1], operands, text[close:], is_root)


def _closing(text: str, opening: int) -> int:
    """The place behind the parenthesis that closes the one at `opening`."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, opening):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.end()
    raise ValueError(f"unbalanced parentheses in HLO: {text[:80]}")


def _origin(known: dict[str, Instruction], name: str) -> Instruction:
    """The instruction that made a value, behind all that handed it on."""
    found = known[name]
    while found.opcode in _SAME and found.operand_names:
        found = known[found.operand_names[0]]
    if found.opcode == "copy-start":
        return _origin(known, found.operand_names[0])
    return found


def _constant(instruction: Instruction | None) -> int | None:
    if instruction is None or instruction.opcode != "constant":
        return None
    value = instruction.operands.strip()
    return int(value) if re.fullmatch(r"-?\d+", value) else None


def _index(instruction: Instruction) -> int:
    return int(re.search(r"\bindex=(\d+)", instruction.attributes)[1])
