"""Cycles, kernels and collectives of HLO texts: small ones by hand, and pieces of real ones."""

from pathlib import Path

import pytest

from audiolm_jax.tpu_plan.cycles import Collective, analyze
from audiolm_jax.tpu_plan.hlo import Module, array_bytes, array_shapes

DATA = Path(__file__).parent / "hlo"
BIG = 512 * 512 * 4  # bytes of the array in the texts made here


def estimated(cycles):
    return f'backend_config={{"window_config":{{"estimated_cycles":"{cycles}"}}}}'


def module(entry, *computations):
    """HLO text with a big array `x` and a small number `n` in its entry."""
    lines = ["HloModule jit_step, is_scheduled=true", "", *computations]
    lines += ["ENTRY %main (p: f32[512,512]) -> f32[512,512] {"]
    lines += ["  %x = f32[512,512]{1,0:T(8,128)} parameter(0)", *entry, "}", ""]
    return "\n".join(lines)


def loop(name, end, body, start=0, step=1):
    """A loop over (number, array), its condition and its body."""
    state = "(s32[]{:T(128)}, f32[512,512]{1,0:T(8,128)})"
    return f"""
%{name}_cond (c: {state}) -> pred[] {{
  %c = {state} parameter(0)
  %end = s32[]{{:T(128)}} constant({end})
  %at = s32[]{{:T(128)}} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{{:T(512)}} compare(%at, %end), direction=LT
}}

%{name}_body (b: {state}) -> {state} {{
  %b = {state} parameter(0)
  %i = s32[]{{:T(128)}} get-tuple-element(%b), index=0
  %one = s32[]{{:T(128)}} constant({step})
  %next = s32[]{{:T(128)}} add(%i, %one)
  %v = f32[512,512]{{1,0:T(8,128)}} get-tuple-element(%b), index=1
{body}
  ROOT %out = {state} tuple(%next, %v)
}}
"""


def call_loop(name, start=0):
    state = "(s32[]{:T(128)}, f32[512,512]{1,0:T(8,128)})"
    return [
        f"  %zero_{name} = s32[]{{:T(128)}} constant({start})",
        f"  %copied_{name} = s32[]{{:T(128)S(6)}} copy(%zero_{name})",
        f"  %init_{name} = {state} tuple(%copied_{name}, %x)",
        f"  %while_{name} = {state} while(%init_{name}), condition=%{name}_cond, "
        f'body=%{name}_body, metadata={{op_name="jit(step)/{name}"}}',
    ]


def work(name, cycles):
    return (
        f"  %{name} = f32[512,512]{{1,0:T(8,128)}} fusion(%x), kind=kLoop, calls=%inside, "
        f"{estimated(cycles)}"
    )


def no_kernels(kernel):
    raise AssertionError(f"no kernel here, found {kernel}")


def test_shapes():
    text = "(bf16[2,3]{1,0:T(8,128)(2,1)S(1)}, u32[]{:S(2)}, pred[7]{0:T(1024)}, token[])"
    assert array_shapes(text)[:2] == [("bf16", (2, 3)), ("u32", ())]
    assert array_bytes(text) == 12 + 4 + 7


def test_cycles_add_up():
    text = module([work("a", 10), work("b", 32)])
    found = analyze(text, no_kernels, 0.5)
    assert found.cycles == found.cheapest_cycles == 42
    assert [(cycles, one.name) for cycles, one in found.dearest] == [(32, "b"), (10, "a")]
    assert found.without_estimate == {}


def test_loops_run_as_often_as_they_say():
    inner = loop("inner", 5, work("inner_work", 3))
    outer = loop("outer", 12, "\n".join([work("outer_work", 1), *call_loop("inner", start=1)]))
    outer = outer.replace("%x", "%v")
    found = analyze(
        module(call_loop("outer"), inner.replace("(%x)", "(%v)"), outer), no_kernels, 0.5
    )
    assert found.cycles == 12 * (1 + 4 * 3)
    assert found.unknown_loops == []


def test_a_known_trip_count_wins_and_an_unknown_one_is_named():
    entry = call_loop("loop")
    entry[-1] += ', backend_config={"known_trip_count":{"n":"7"}}'
    assert (
        analyze(
            module(entry, loop("loop", 5, work("w", 2).replace("%x", "%v"))), no_kernels, 0.5
        ).cycles
        == 14
    )
    strange = loop("loop", 5, work("w", 2).replace("%x", "%v")).replace(
        "direction=LT", "direction=NE"
    )
    found = analyze(module(call_loop("loop"), strange), no_kernels, 0.5)
    assert found.cycles == 2
    assert found.unknown_loops == ["jit(step)/loop"]


def test_a_step_of_more_than_one():
    text = module(
        call_loop("loop", start=2), loop("loop", 9, work("w", 1).replace("%x", "%v"), step=2)
    )
    assert analyze(text, no_kernels, 0.5).cycles == 4


def test_conditionals_count_their_dearest_branch():
    def branch(name, cycles):
        return (
            f"%{name} (q: f32[512,512]) -> f32[512,512] {{\n"
            "  %q = f32[512,512]{1,0} parameter(0)\n"
            f"{work('w_' + name, cycles).replace('%x', '%q')}\n}}\n"
        )

    entry = [
        "  %which = s32[] constant(0)",
        "  %c = f32[512,512]{1,0} conditional(%which, %x, %x), branch_computations={%low, %high}",
    ]
    found = analyze(module(entry, branch("low", 3), branch("high", 8)), no_kernels, 0.5)
    assert (found.cycles, found.cheapest_cycles) == (8, 3)
    assert [one.name for _, one in found.dearest] == ["w_high"]


def test_what_has_no_estimate_is_named():
    entry = [
        "  %r = f32[512,512]{1,0} reshape(%x)",
        f"  %bad = f32[512,512]{{1,0}} copy(%r), {estimated(-1)}",
        "  %small = f32[] constant(0)",
        "  %scalar = f32[] add(%small, %small)",
        '  %other = f32[512,512]{1,0} custom-call(%x), custom_call_target="Elsewhere"',
        '  %room = f32[512,512]{1,0} custom-call(), custom_call_target="AllocateBuffer"',
    ]
    found = analyze(module(entry), no_kernels, 0.5)
    there_and_back = 0.5 * 2 * BIG
    assert found.without_estimate == dict.fromkeys(
        ("reshape", "copy", "Elsewhere"), (1, there_and_back)
    )
    assert found.cycles == 3 * there_and_back


def kernel_call(name):
    return (
        f"  %{name}.3 = (bf16[4,128]{{1,0}}, f32[4]{{0}}) custom-call(%x), "
        'custom_call_target="tpu_custom_call", '
        f'metadata={{op_name="jit(step)/shard_map/{name}/pallas_call"}}'
    )


def test_kernels_are_costed_by_name_and_shape():
    seen = []

    def cost(kernel):
        seen.append(kernel)
        return 100.0 if kernel.name == "mine" else None

    body = "\n".join(kernel_call("mine").replace("%x", "%v").splitlines())
    text = module([*call_loop("loop"), kernel_call("theirs")], loop("loop", 6, body))
    found = analyze(text, cost, 0.5)
    assert found.kernels == {"mine": (6, 600.0), "theirs": (1, None)}
    assert found.cycles == 600
    assert {kernel.operands for kernel in seen} == {(("f32", (512, 512)),)}


def test_collectives_count_the_larger_side_once():
    entry = [
        "  %sum = f32[512,512]{1,0} all-reduce(%x), channel_id=1, to_apply=%add",
        "  %all = f32[2048,512]{1,0} all-gather(%x), channel_id=2, dimensions={0}",
        "  %part = f32[128,512]{1,0} reduce-scatter(%x), channel_id=3, to_apply=%add",
        "  %go = (f32[512,512]{1,0}, f32[2048,512]{1,0}) all-gather-start(%x), channel_id=4",
        "  %come = f32[2048,512]{1,0} all-gather-done(%go)",
        "  %send = (f32[512,512]{1,0}, f32[512,512]{1,0}, u32[], u32[]) "
        "collective-permute-start(%x), channel_id=5",
        "  %sent = f32[512,512]{1,0} collective-permute-done(%send)",
    ]
    found = analyze(module(entry), no_kernels, 0.5)
    assert found.collectives == {
        "all-reduce": Collective(1, BIG),
        "all-gather": Collective(2, 2 * 4 * BIG),
        "reduce-scatter": Collective(1, BIG),
        "collective-permute": Collective(1, BIG + 8),
    }
    assert found.without_estimate == {}


def test_collectives_in_loops_count_every_trip():
    body = "  %sum = f32[512,512]{1,0} all-reduce(%v), channel_id=1, to_apply=%add"
    found = analyze(module(call_loop("loop"), loop("loop", 12, body)), no_kernels, 0.5)
    assert found.collectives == {"all-reduce": Collective(12, 12 * BIG)}


def test_text_without_an_entry():
    with pytest.raises(ValueError, match="no entry"):
        Module("HloModule nothing")


# Pieces of what libtpu 0.0.42 printed for the coarse stage, shortened to what is read here. The
# figures are those of the whole texts, where they do not depend on what was left out.
def test_a_real_step_of_the_small_stage():
    """3 layers on 4 chips: gathered beside the computing, gradients summed and scattered."""
    found = analyze((DATA / "v5e_blocks.txt").read_text(), no_kernels, 0.5)
    layer = 128 * (3 * 128 + 128 + 2 * 256 + 256)
    vocabulary = 580 * 128
    assert found.collectives["all-gather"] == Collective(14, 2 * 3 * layer + (4 + 2) * vocabulary)
    assert found.collectives["reduce-scatter"] == Collective(4, 4 * (3 * layer + 2 * vocabulary))
    assert found.unknown_loops == []
    loops = [
        (name, one.name, module.trips(name, one))
        for module in [Module((DATA / "v5e_blocks.txt").read_text())]
        for name, known in module.computations.items()
        for one in known.values()
        if one.opcode == "while"
    ]
    assert [trips for *_, trips in loops] == [3, 3]


def test_a_real_step_with_kernels():
    """12 layers on 16 chips, all but matrix products recomputed."""
    runs = {}

    def cost(kernel):
        runs[kernel.name] = kernel.operands
        return 1e6

    found = analyze((DATA / "v5p_flash.txt").read_text(), cost, 0.5)
    assert found.kernels == {
        "flash_attention_forward": (24, 24e6),
        "flash_attention_backward": (12, 12e6),
    }
    assert runs["flash_attention_forward"][0] == ("bf16", (16, 16, 64, 2304))
    weights = 1024 * (3 * 1024 + 1024 + 3 * 4096)
    gathered = 2 * 12 * weights + 2 * 5124 * 1024
    assert found.collectives["all-gather"].bytes == pytest.approx(2 * gathered, rel=0.02)
    # The gradients of the matrices in bfloat16, and of the kernels' bias tiles in float32.
    summed = 2 * (12 * weights + 2 * 5124 * 1024) + 4 * 12 * 16 * 2 * 128 * 128
    assert found.collectives["all-reduce"].bytes == pytest.approx(summed, rel=0.01)
