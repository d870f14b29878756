"""Plans for graphics cards as text."""

from collections.abc import Sequence

from audiolm_jax.tpu_plan.gpu import MEMORY_SHARE, GpuPlan
from audiolm_jax.tpu_plan.text import ADVICE, aligned, batch_row, labelled

_GIB = 2**30
WHAT_IT_IS = (
    "bounds, not a measurement: memory is that of the step compiled for this machine's CPU, whose "
    "program is another than a card's; time is arithmetic; exchange between cards, host and data "
    "are left out (docs/guide/tpu.md)"
)


def describe_gpus(config: str, plan: GpuPlan) -> str:
    """Several lines about one plan."""
    card = plan.card
    peak = plan.peak_flops / plan.chips / 1e12
    rows = [
        ("mesh", f"{plan.preset}: {' x '.join(f'{axis} {n}' for axis, n in plan.mesh.items())}"),
        ("parameters", f"{plan.parameters:,}"),
        ("batch", batch_row(plan.batch_size, plan.chips, plan.units)),
        ("memory", _memory(plan)),
        ("compile time", f"{plan.compile_seconds:.0f} s"),
        ("model FLOPs", f"{plan.model_flops:.3e} a step, of {plan.dtype} numbers"),
        (
            "at least",
            f"{plan.least_seconds * 1e3:.1f} ms a step: {peak:g} TFLOP/s a card, and the state "
            f"read and written once in {plan.state_seconds * 1e3:.1f} ms",
        ),
        ("at least", str(plan.least)),
        (
            "assumed",
            f"{plan.assumed_seconds * 1e3:.1f} ms a step, {_rate(plan)} a second, at "
            f"{plan.share:g} of the peak; --share sets another",
        ),
        ("assumed", str(plan.assumed)),
        ("what this is", WHAT_IT_IS),
    ]
    if not plan.fits:
        rows.append(("what to do", _advice(plan)))
    several = f"{plan.machines} machines of " if plan.machines > 1 else ""
    cards = "1 card" if plan.chips == 1 else f"{plan.chips} cards"
    size = f"{card.memory_bytes / 1e9:g} GB"
    return "\n".join([f"{config} on {several}{plan.topology}: {cards} of {size}", *labelled(rows)])


def gpu_table(plans: Sequence[GpuPlan]) -> str:
    """One line for each plan."""
    head = ["cards", "mesh", "batch", "memory GiB", "at least", "hours", "assumed", "hours", "cost"]
    rows = [head]
    for plan in plans:
        used = f"{(plan.memory.needed or 0) / _GIB:.2f} of {plan.memory.limit / _GIB:.2f}"
        name = f"{plan.machines} x {plan.topology}" if plan.machines > 1 else plan.topology
        cost = "" if plan.assumed.cost is None else f"{plan.assumed.cost:,.0f}"
        least, assumed = (
            f"{plan.least_seconds * 1e3:.1f} ms",
            f"{plan.assumed_seconds * 1e3:.1f} ms",
        )
        rows.append(
            [
                *(name, plan.preset, f"{plan.batch_size:,}"),
                used if plan.fits else f"{used}: does not fit",
                *(least, f"{plan.least.hours:,.1f}", assumed, f"{plan.assumed.hours:,.1f}", cost),
            ]
        )
    return "\n".join(["", *aligned(rows), WHAT_IT_IS])


def _rate(plan: GpuPlan) -> str:
    unit, amount = plan.units
    return f"{amount / plan.assumed_seconds:,.0f} {unit.replace('_', ' ')}"


def _memory(plan: GpuPlan) -> str:
    memory = plan.memory
    assert memory.arguments is not None
    assert memory.temporaries is not None
    assert memory.needed is not None
    limit = (
        f"{memory.limit / _GIB:.2f} GiB, the {MEMORY_SHARE:.0%} of a card that JAX takes by default"
    )
    parts = (
        f"arguments {memory.arguments / _GIB:.2f}, temporaries {memory.temporaries / _GIB:.2f} on "
        f"the CPU, together {memory.needed / _GIB:.2f}"
    )
    return f"{parts} of {limit}" if plan.fits else f"DOES NOT FIT: {parts}, more than {limit}"


def _advice(plan: GpuPlan) -> str:
    needed = (plan.memory.needed or 0) / plan.card.memory_bytes
    if needed < 0.92:
        return f"set XLA_PYTHON_CLIENT_MEM_FRACTION=.95 where it trains, or {ADVICE}"
    return ADVICE
