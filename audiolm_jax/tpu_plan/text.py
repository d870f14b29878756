"""Plans as text: a paragraph for one topology, a table for several."""

from collections.abc import Sequence

from audiolm_jax.tpu_plan.ahead import Compute, Plan

_GIB = 2**30
_DEAREST = 8
ADVICE = (
    "try --model.decoder.remat full (a stage) or --model.conformer.remat full (an encoder), a "
    "smaller --batch-size, --mesh.preset fsdp, or a larger slice"
)


def describe(config: str, plan: Plan) -> str:
    """Several lines about one plan."""
    mesh = " x ".join(f"{axis} {size}" for axis, size in plan.mesh.items())
    slices = f"{plan.slices} slices of " if plan.slices > 1 else ""
    cores = f" ({plan.devices} devices)" if plan.devices != plan.chips else ""
    unit, amount = plan.units
    rows = [
        ("mesh", f"{plan.preset}: {mesh}"),
        ("parameters", f"{plan.parameters:,}"),
        (
            "batch",
            f"{plan.batch_size:,}, {plan.batch_size / plan.chips:g} a chip; {amount:,.0f} "
            f"{unit.replace('_', ' ')} a step",
        ),
        ("memory", _memory(plan)),
        ("compile time", f"{plan.compile_seconds:.0f} s"),
    ]
    if plan.fits:
        rows += [*_collectives(plan), *_compute(plan)]
    else:
        rows += [("largest buffers", line) for line in plan.largest_buffers[:_DEAREST]]
        rows.append(("what to do", ADVICE))
    title = f"{config} on {slices}{plan.topology}: {plan.chips} chips of TPU {plan.chip}{cores}"
    return "\n".join([title, *_labelled(rows)])


def table(plans: Sequence[Plan]) -> str:
    """One line for each plan."""
    head = (
        "topology",
        "chips",
        "mesh",
        "batch",
        "HBM GiB",
        "exchanged",
        "compute",
        "MFU",
        "a second",
        "compile",
    )
    rows = [head]
    for plan in plans:
        used, limit = plan.memory.needed, plan.memory.limit
        memory = f"{'?' if used is None else f'{used / _GIB:.2f}'} of {limit / _GIB:.2f}"
        name = f"{plan.slices} x {plan.topology}" if plan.slices > 1 else plan.topology
        row = [name, str(plan.chips), plan.preset, f"{plan.batch_size:,}", memory]
        if plan.fits:
            least = "" if plan.compute.is_complete else ">="
            most = "" if plan.compute.is_complete else "<="
            row += [
                f"{_exchanged(plan) / 1e9:.2f} GB",
                f"{least}{plan.compute.seconds * 1e3:.1f} ms",
                f"{most}{plan.mfu:.2f}",
                f"{most}{_rate(plan):,.0f} {plan.units[0].replace('_', ' ')}",
            ]
        else:
            row += ["does not fit", "", "", ""]
        rows.append((*row, f"{plan.compile_seconds:.0f} s"))
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(["", *lines, _LEFT_OUT])


_LEFT_OUT = (
    "compute, MFU, a second: from the compiler's own cycles for one device, an estimate that "
    "leaves out collectives, copies beside the computing, the host and the feeding of data"
)


def _labelled(rows: Sequence[tuple[str, str]]) -> list[str]:
    lines, before = [], None
    for label, text in rows:
        lines.append(f"  {'' if label == before else label:16} {text}")
        before = label
    return lines


def _memory(plan: Plan) -> str:
    memory = plan.memory
    limit = f"of {memory.limit / _GIB:.2f} GiB that the compiler may fill"
    if memory.arguments is None:
        needed = "more" if memory.needed is None else f"{memory.needed / _GIB:.2f} GiB"
        return f"DOES NOT FIT: needs {needed} {limit}"
    return (
        f"arguments {memory.arguments / _GIB:.2f}, temporaries {memory.temporaries / _GIB:.2f}, "
        f"together {memory.needed / _GIB:.2f} {limit}"
    )


def _exchanged(plan: Plan) -> int:
    return sum(kind.bytes for kind in plan.collectives.values())


def _rate(plan: Plan) -> float:
    return plan.units[1] / plan.compute.seconds


def _collectives(plan: Plan) -> list[tuple[str, str]]:
    rows = [
        ("collectives", f"{kind:18} {one.count:6,} a step  {one.bytes / 1e9:8.3f} GB")
        for kind, one in sorted(plan.collectives.items())
    ]
    text = f"together {_exchanged(plan) / 1e9:.3f} GB a device"
    if own := plan.parameter_traffic:
        text += f", {_exchanged(plan) / own:.2f} x the parameters' own {own / 1e9:.3f} GB"
    return [*rows, ("collectives", f"{text}; of each the larger of what goes in and comes out")]


def _compute(plan: Plan) -> list[tuple[str, str]]:
    compute, unit = plan.compute, plan.units[0].replace("_", " ")
    least = "" if compute.is_complete else "at least "
    most = "" if compute.is_complete else "at most "
    rows = [
        ("model FLOPs", f"{plan.model_flops:.3e} a step"),
        (
            "estimate",
            f"compute {least}{compute.seconds * 1e3:.1f} ms a step, MFU {most}{plan.mfu:.3f}, "
            f"{most}{_rate(plan):,.0f} {unit} a second",
        ),
        ("estimate", _LEFT_OUT.partition(": ")[2]),
    ]
    if compute.cheapest_seconds < compute.seconds:
        rows.append(
            (
                "conditionals",
                f"each at its dearest branch; at its cheapest {compute.cheapest_seconds * 1e3:.1f} "
                "ms",
            )
        )
    rows += [("kernels", _kernel(name, *found, compute)) for name, found in compute.kernels.items()]
    if compute.without_estimate:
        costs = sorted(compute.without_estimate.items(), key=lambda one: -one[1][1])
        runs, seconds = (sum(cost[i] for _, cost in costs) for i in (0, 1))
        names = ", ".join(f"{name} {count}" for name, (count, _) in costs[:_DEAREST])
        rows.append(
            (
                "memory alone",
                f"{seconds * 1e3:.1f} ms in the estimate for {runs} runs without cycles of the "
                f"compiler: {names}",
            )
        )
    rows += [("unknown loops", f"{name}: counted as one trip") for name in compute.unknown_loops]
    rows += [
        ("dearest", f"{share:6.1%}  {opcode:12} {origin}")
        for share, opcode, origin in compute.dearest[:_DEAREST]
    ]
    return rows


def _kernel(name: str, runs: int, seconds: float | None, compute: Compute) -> str:
    if seconds is None:
        return f"{name}: {runs} runs a step of UNKNOWN cost"
    share = seconds / compute.seconds
    return f"{name}: {runs} runs a step, {seconds * 1e3:.1f} ms by our own estimate, {share:.1%}"
