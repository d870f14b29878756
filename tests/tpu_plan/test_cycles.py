"""Cycles, kernels and collectives of small programs made by hand, and of real ones."""

import gzip
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from audiolm_jax.tpu_plan.cycles import Collective, analyze
from audiolm_jax.tpu_plan.hlo import ArrayType, Computation, Instruction, read_module, trips

DATA = Path(__file__).parent / "hlo"
NUMBER = (ArrayType("s32", (), 4),)
ARRAY = (ArrayType("f32", (512, 512), 4),)
BIG = 512 * 512 * 4  # bytes of the array
X = Instruction("x", "parameter", ARRAY)


def estimated(cycles):
    return {"window_config": {"estimated_cycles": str(cycles)}}


def work(name, cycles):
    return Instruction(name, "fusion", ARRAY, (X,), config=estimated(cycles))


def computation(*instructions):
    return Computation(instructions, instructions[-1])


def constant(value):
    return Instruction(f"constant.{value}", "constant", NUMBER, value=value)


def element(of, index):
    return Instruction(f"element.{index}", "get-tuple-element", NUMBER, (of,), tuple_index=index)


def loop(name, *body, start=0, end=1, step=1, direction="LT", config=None):
    """A loop over (number, array), with the copies that the TPU compiler puts around its state."""
    state = Instruction("state", "parameter", NUMBER + ARRAY)
    following = Instruction("next", "add", NUMBER, (element(state, 0), constant(step)))
    result = Instruction("out", "tuple", NUMBER + ARRAY, (following, element(state, 1)))
    bound = (element(state, 0), constant(end))
    compare = Instruction("compare", "compare", operands=bound, direction=direction)
    copied = Instruction("copied", "copy", NUMBER, (constant(start),))
    initial = Instruction("initial", "tuple", NUMBER + ARRAY, (copied, X))
    return Instruction(
        name,
        "while",
        NUMBER + ARRAY,
        (initial,),
        called=(computation(*body, following, result), computation(compare)),
        op_name=f"jit(step)/{name}",
        config=config or {},
    )


def no_kernels(kernel):
    raise AssertionError(f"no kernel here, found {kernel}")


def analyzed(*instructions, kernel_cycles=no_kernels):
    return analyze(computation(*instructions), kernel_cycles, cycles_per_byte=0.5)


def test_cycles_add_up():
    found = analyzed(work("a", 10), work("b", 32))
    assert found.cycles == found.cheapest_cycles == 42
    assert [(cycles, one.name) for cycles, one in found.most_expensive] == [(32, "b"), (10, "a")]
    assert found.without_estimate == {}


def test_loops_run_as_often_as_they_say():
    inner = loop("inner", work("inner_work", 3), start=1, end=5)
    found = analyzed(loop("outer", work("outer_work", 1), inner, end=12))
    assert found.cycles == 12 * (1 + 4 * 3)
    assert [cycles for cycles, _ in found.most_expensive] == [12 * 4 * 3, 12]
    assert found.unknown_loops == []


def test_a_known_trip_count_wins_and_an_unknown_one_is_named():
    known = loop("loop", work("w", 2), end=5, config={"known_trip_count": {"n": "7"}})
    assert analyzed(known).cycles == 14
    found = analyzed(loop("loop", work("w", 2), end=5, direction="NE"))
    assert found.cycles == 2
    assert found.unknown_loops == ["jit(step)/loop"]


def test_a_step_of_more_than_one():
    assert analyzed(loop("loop", work("w", 1), start=2, end=9, step=2)).cycles == 4


def test_conditionals_count_their_most_expensive_branch():
    branches = computation(work("low", 3)), computation(work("high", 8))
    found = analyzed(Instruction("c", "conditional", ARRAY, (X,), called=branches))
    assert (found.cycles, found.cheapest_cycles) == (8, 3)
    assert [one.name for _, one in found.most_expensive] == ["high"]


def test_what_has_no_estimate_is_named():
    number = constant(0)
    found = analyzed(
        Instruction("r", "reshape", ARRAY, (X,)),
        Instruction("bad", "copy", ARRAY, (X,), config=estimated(-1)),
        Instruction("scalar", "add", NUMBER, (number, number)),
        Instruction("other", "custom-call", ARRAY, (X,), target="Elsewhere"),
        Instruction("room", "custom-call", ARRAY, target="AllocateBuffer"),
    )
    there_and_back = 0.5 * 2 * BIG
    assert found.without_estimate == dict.fromkeys(
        ("reshape", "copy", "Elsewhere"), (1, there_and_back)
    )
    assert found.cycles == 3 * there_and_back


def test_kernels_are_costed_by_name_and_shape():
    def kernel(name):
        path = f"jit(step)/shard_map/{name}/pallas_call"
        target = "tpu_custom_call"
        return Instruction(f"{name}.3", "custom-call", ARRAY, (X,), target=target, op_name=path)

    seen = []

    def cost(kernel):
        seen.append(kernel)
        return 100.0 if kernel.name == "mine" else None

    found = analyzed(loop("loop", kernel("mine"), end=6), kernel("theirs"), kernel_cycles=cost)
    assert found.kernels == {"mine": (6, 600.0), "theirs": (1, None)}
    assert found.cycles == 600
    assert {kernel.operands for kernel in seen} == {ARRAY}


def test_collectives_count_the_larger_side_once():
    def collective(opcode, *results):
        return Instruction(opcode, opcode, results, (X,))

    four, part = ArrayType("f32", (2048, 512), 4), ArrayType("f32", (128, 512), 4)
    flag = ArrayType("u32", (), 4)
    started = collective("all-gather-start", *ARRAY, four)
    found = analyzed(
        collective("all-reduce", *ARRAY),
        collective("all-gather", four),
        collective("reduce-scatter", part),
        started,
        Instruction("come", "all-gather-done", (four,), (started,)),
        collective("collective-permute-start", *ARRAY, *ARRAY, flag, flag),
    )
    assert found.collectives == {
        "all-reduce": Collective(1, BIG),
        "all-gather": Collective(2, 2 * 4 * BIG),
        "reduce-scatter": Collective(1, BIG),
        "collective-permute": Collective(1, BIG + 8),
    }
    assert found.without_estimate == {}


def test_collectives_in_loops_count_every_trip():
    found = analyzed(loop("loop", Instruction("sum", "all-reduce", ARRAY, (X,)), end=12))
    assert found.collectives == {"all-reduce": Collective(12, 12 * BIG)}


def loops(computation):
    for instruction in computation.instructions:
        if instruction.opcode == "while":
            yield instruction
        for called in instruction.called:
            yield from loops(called)


def test_a_module_is_read_from_the_message_of_the_compiler():
    def step(x):
        x, _ = jax.lax.scan(lambda x, _: (jnp.sin(x @ x), None), x, length=7)
        return x, jnp.ones((3, 5), jnp.bfloat16)

    compiled = jax.jit(step).lower(jnp.ones((4, 4))).compile()
    (module,) = compiled.runtime_executable().hlo_modules()
    entry = read_module(module.as_serialized_hlo_module_proto())
    first = ArrayType("f32", (4, 4), 4)
    assert entry.root.arrays == (first, ArrayType("bf16", (3, 5), 2))
    assert entry.root.nbytes == 4 * 4 * 4 + 3 * 5 * 2
    assert [trips(found) for found in loops(entry)] == [7]


def real_step(name):
    """What libtpu 0.0.42 made of the coarse stage; the message holds the fields that are read."""
    entry = read_module(gzip.decompress((DATA / f"{name}.pb.gz").read_bytes()))
    found = analyze(entry, lambda kernel: 1e6, cycles_per_byte=0.5)
    assert found.unknown_loops == []
    return found, {opcode: runs for opcode, (runs, _) in found.without_estimate.items()}


@pytest.mark.slow
def test_a_real_step_of_the_small_stage():
    """3 layers on 4 chips: gathered beside the computing."""
    found, without_estimate = real_step("v5e_blocks")
    assert found.cycles == 14_568_769
    assert found.collectives == {
        "all-gather": Collective(23, 1_280_000),
        "all-reduce": Collective(5, 1_490_408),
        "reduce-scatter": Collective(1, 1_280_000),
    }
    assert without_estimate == {"dynamic-update-slice": 3, "fusion": 3, "reshape": 25, "reverse": 4}


def test_a_real_step_with_kernels():
    """12 layers on 16 chips, all but attention kernels recomputed."""
    found, without_estimate = real_step("v5p_flash")
    assert found.cycles == 4_187_415_507
    assert found.kernels == {
        "flash_attention_forward_384": (12, 12e6),
        "flash_attention_backward_384": (12, 12e6),
    }
    assert without_estimate == {
        "dynamic-update-slice": 25, "fusion": 4, "reshape": 77, "reverse": 25, "sort": 1,
    }  # fmt: skip
    assert found.collectives == {
        "all-gather": Collective(173, 826_441_728),
        "all-reduce": Collective(54, 449_749_472),
    }
    # Weights are gathered twice in bfloat16, their gradients summed once.
    weights = 12 * 1024 * (3 * 1024 + 1024 + 3 * 4096) + 2 * 5124 * 1024
    assert found.collectives["all-gather"].bytes == pytest.approx(2 * 2 * weights, rel=0.03)
    assert found.collectives["all-reduce"].bytes == pytest.approx(2 * weights, rel=0.08)
