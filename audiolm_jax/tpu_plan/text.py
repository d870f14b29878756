"""Plans as text: a paragraph for one topology, a table for several."""

from collections.abc import Sequence

from audiolm_jax.tpu_plan.cycles import Collective
from audiolm_jax.tpu_plan.plan import Compute, Plan
from audiolm_jax.tpu_plan.step import Duration

_GIB = 2**30
_LISTED = 8
ADVICE = (
    "try --model.decoder.remat full (a stage) or --model.conformer.remat full (an encoder), a "
    "smaller --batch-size, --mesh.preset fsdp, or a larger slice"
)


def describe(config: str, plan: Plan) -> str:
    """Several lines about one plan."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    slices = f"{plan.slices} slices of " if plan.slices > 1 else ""
    cores = f" ({plan.devices} devices)" if plan.devices != plan.chips else ""
    rows = [
        ("mesh", f"{plan.preset}: {mesh}"),
        ("parameters", f"{plan.parameters:,}"),
        ("batch", batch_row(plan.batch_size, plan.chips, plan.units)),
        ("memory", _memory(plan)),
        ("compile time", f"{plan.compile_seconds:.0f} s"),
    ]
    if plan.compute is not None and plan.collectives is not None:
        rows += [*_collectives(plan, plan.collectives), *_compute(plan, plan.compute)]
    else:
        rows += [("largest buffers", line) for line in plan.largest_buffers[:_LISTED]]
        rows.append(("what to do", ADVICE))
    name = plan.topology if plan.topology == plan.shape else f"{plan.topology} ({plan.shape})"
    title = f"{config} on {slices}{name}: {plan.chips} chips of TPU {plan.chip}{cores}"
    return "\n".join([title, *labelled(rows)])


def batch_row(batch_size: int, chips: int, units: tuple[str, float]) -> str:
    """Of all chips and of each, and what a step learns from."""
    unit, amount = units
    per_step = f"{amount:,.0f} {unit.replace('_', ' ')} a step"
    return f"{batch_size:,}, {batch_size / chips:g} a chip; {per_step}"


def table(plans: Sequence[Plan]) -> str:
    """One line for each plan."""
    head = [
        "topology", "chips", "mesh", "batch", "HBM GiB", "exchanged", "compute", "MFU", "a second",
        "hours", "cost", "compile",
    ]  # fmt: skip
    rows = [head]
    for plan in plans:
        used = "?" if plan.memory.needed is None else f"{plan.memory.needed / _GIB:.2f}"
        memory = f"{used} of {plan.memory.limit / _GIB:.2f}"
        name = f"{plan.slices} x {plan.topology}" if plan.slices > 1 else plan.topology
        row = [name, str(plan.chips), plan.preset, f"{plan.batch_size:,}", memory]
        if plan.compute is not None and plan.collectives is not None:
            least, most = ("", "") if plan.compute.is_complete else (">=", "<=")
            row += [
                f"{_exchanged(plan.collectives) / 1e9:.2f} GB",
                f"{least}{plan.compute.seconds * 1e3:.1f} ms",
                f"{most}{plan.mfu:.2f}",
                f"{most}{_rate(plan, plan.compute)}",
                *_hours_and_cost(plan.duration, least),
            ]
        else:
            row += ["does not fit", "", "", "", "", ""]
        rows.append([*row, f"{plan.compile_seconds:.0f} s"])
    return "\n".join(["", *aligned(rows), _LEFT_OUT])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, its columns as wide as they need be; empty ones are left out."""
    columns = [column for column in zip(*rows, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    ]


def _hours_and_cost(duration: Duration | None, least: str) -> tuple[str, str]:
    if duration is None:
        return "", ""
    cost = "" if duration.cost is None else f"{least}{duration.cost:,.0f}"
    return f"{least}{duration.hours:,.1f}", cost


_LEFT_OUT = (
    "compute, MFU, a second, hours: from the compiler's own cycles for one device, an estimate "
    "that leaves out collectives, copies beside the computing, the host and the feeding of data"
)


def labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Lines with a label before each, which is not repeated."""
    lines: list[str] = []
    before = None
    for label, text in rows:
        lines.append(f"  {'' if label == before else label:16} {text}")
        before = label
    return lines


def _memory(plan: Plan) -> str:
    memory = plan.memory
    limit = f"of {memory.limit / _GIB:.2f} GiB that the compiler may fill"
    if memory.arguments is None or memory.temporaries is None:
        needed = "more" if memory.needed is None else f"{memory.needed / _GIB:.2f} GiB"
        return f"DOES NOT FIT: needs {needed} {limit}"
    return (
        f"arguments {memory.arguments / _GIB:.2f}, temporaries {memory.temporaries / _GIB:.2f}, "
        f"together {(memory.arguments + memory.temporaries) / _GIB:.2f} {limit}"
    )


def _exchanged(collectives: dict[str, Collective]) -> int:
    return sum(collective.bytes for collective in collectives.values())


def _rate(plan: Plan, compute: Compute) -> str:
    unit, amount = plan.units
    return f"{amount / compute.seconds:,.0f} {unit.replace('_', ' ')}"


def _collectives(plan: Plan, collectives: dict[str, Collective]) -> list[tuple[str, str]]:
    rows = [
        ("collectives", f"{kind:18} {found.count:6,} a step  {found.bytes / 1e9:8.3f} GB")
        for kind, found in sorted(collectives.items())
    ]
    exchanged = _exchanged(collectives)
    text = f"together {exchanged / 1e9:.3f} GB a device"
    if own := plan.parameter_traffic:
        text += f", {exchanged / own:.2f} x the parameters' own {own / 1e9:.3f} GB"
    return [*rows, ("collectives", f"{text}; of each the larger of what goes in and comes out")]


def _compute(plan: Plan, compute: Compute) -> list[tuple[str, str]]:
    least, most = ("", "") if compute.is_complete else ("at least ", "at most ")
    rows = [
        ("model FLOPs", f"{plan.model_flops:.3e} a step"),
        (
            "estimate",
            f"compute {least}{compute.seconds * 1e3:.1f} ms a step, MFU {most}{plan.mfu:.3f}, "
            f"{most}{_rate(plan, compute)} a second",
        ),
        ("estimate", _LEFT_OUT.partition(": ")[2]),
    ]
    if plan.duration is not None:
        rows.append(("all steps", f"{least}{plan.duration}"))
    if feed := plan.feed:
        given = " to ".join(dict.fromkeys(f"{rate:,.0f}" for rate in feed.given))
        need = f"needs {feed.needed:,.0f} {feed.unit} a second on each of {plan.hosts} hosts"
        if feed.idle is None:
            text = f"{feed.cores[1]:.1f} CPUs, of which one gave {given} out of packs"
        else:
            waits = " to ".join(dict.fromkeys(f"{share:.0%}" for share in feed.idle))
            enough = f"SHORT: chips wait {waits} of the time" if feed.idle[1] else "enough"
            text = f"one process gave {given}: {enough}"
        rows.append(("feed", f"{need}; {text} (docs/guide/tpu.md)"))
    if compute.cheapest_seconds < compute.seconds:
        cheapest = f"at its cheapest {compute.cheapest_seconds * 1e3:.1f} ms"
        rows.append(("conditionals", f"each at its most expensive branch; {cheapest}"))
    rows += [
        ("kernels", _kernel(name, runs, seconds, compute))
        for name, (runs, seconds) in compute.kernels.items()
    ]
    if compute.without_estimate:
        costs = sorted(compute.without_estimate.items(), key=lambda item: -item[1][1])
        runs = sum(count for _, (count, _) in costs)
        seconds = sum(cost for _, (_, cost) in costs)
        names = ", ".join(f"{name} {count}" for name, (count, _) in costs[:_LISTED])
        share = f"{seconds * 1e3:.1f} ms in the estimate for {runs} runs"
        rows.append(("memory alone", f"{share} without cycles of the compiler: {names}"))
    rows += [("unknown loops", f"{name}: counted as one trip") for name in compute.unknown_loops]
    rows += [
        ("most expensive", f"{share:6.1%}  {opcode:12} {origin}")
        for share, opcode, origin in compute.most_expensive[:_LISTED]
    ]
    return rows


def _kernel(name: str, runs: int, seconds: float | None, compute: Compute) -> str:
    if seconds is None:
        return f"{name}: {runs} runs a step of UNKNOWN cost"
    share = seconds / compute.seconds
    return f"{name}: {runs} runs a step, {seconds * 1e3:.1f} ms by our own estimate, {share:.1%}"
