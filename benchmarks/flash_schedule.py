"""Cycles of the flash-attention kernels, counted in the TPU compiler's final schedule.

    python benchmarks/flash_schedule.py v5p:2x2x1 [--lengths 750 2250] [--block 384]

Needs libtpu, no TPU. A TPU core issues one bundle of instructions a cycle in the order written, so
the bundles of a loop's body are its cycles at best ("bundles"). The schedule hands products to the
matrix units faster than they can work at their published peak, so the waits are played through
("cycles"), on the careful side: a product of 16 rows holds its unit for 16 cycles (v6e: 8), a
transposed load of weights for half of that, each unit takes on at most two products ahead, and
whoever fetches a result waits for it. Waits for main memory are not in it. The cycles are the
constants of `audiolm_jax.nn.flash.cost`.
"""

import argparse
import collections
import glob
import os
import re
import tempfile
from pathlib import Path

_BUNDLE = re.compile(r"\s*(?:0x)?[0-9a-f]+\s+(\w\w)?\s*:\s*((?:>\s*)*)\{")
_UNIT = re.compile(r"(vmatmul|vmatpush\d?[.\w]*xpose|vpop)[.\w]*\.mxu(\d)")
AHEAD = 2
REGIONS = ("entry", "program", "row", "beside", "far")


def read_regions(path: str) -> dict[str, list[str]]:
    """Bundles of each region of a kernel: what runs once for a program, a row, a block."""
    regions = collections.defaultdict(list)
    depth, loops = 0, 0
    for line in Path(path).read_text().splitlines():
        match = _BUNDLE.match(line)
        if not match:
            continue
        label, here = match[1], match[2].count(">")
        # A branch in the middle of a loop is printed without its depth.
        if here or not regions["program"]:
            depth = here
        loops += depth == 3 and label == "LB"
        regions[REGIONS[depth if depth < 3 else 2 + loops]].append(line)
    return regions


def cycles(bundles: list[str], busy: int) -> int:
    """Of a region that runs over and over, waits for the matrix units included.

    Args:
      bundles: in order.
      busy: cycles that a product holds its unit.
    """
    uses = [_UNIT.findall(bundle) for bundle in bundles]
    kinds = collections.Counter(kind for use in uses for kind, _ in use)
    fetches = round(kinds["vpop"] / max(kinds["vmatmul"], 1))
    latency = _least_latency(uses, fetches)
    free, results = collections.Counter(), collections.defaultdict(collections.deque)
    time, ends = 0, []
    for _ in range(3):
        for use in uses:
            for kind, unit in use:
                if kind == "vmatmul":
                    time = max(time, free[unit] - AHEAD * busy)
                    start = max(time, free[unit])
                    free[unit] = start + busy
                    results[unit].extend([start + latency] * fetches)
                elif kind == "vpop":
                    time = max([time, *list(results[unit])[:1]])
                    if results[unit]:
                        results[unit].popleft()
                else:
                    free[unit] = max(time, free[unit]) + busy // 2
            time += 1
        ends.append(time)
    return ends[-1] - ends[-2]


def _least_latency(uses: list[list[tuple[str, str]]], fetches: int) -> int:
    """From a product to its result, as the schedule counts on it."""
    issued, least = collections.defaultdict(collections.deque), 10**9
    for time, use in enumerate(uses):
        for kind, unit in use:
            if kind == "vmatmul":
                issued[unit].extend([time] * fetches)
            elif kind == "vpop" and issued[unit]:
                least = min(least, time - issued[unit].popleft())
    return least


def main() -> None:
    """Compiles and counts for one topology."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("topology")
    parser.add_argument("--lengths", type=int, nargs="+", default=[750, 2250])
    parser.add_argument("--block", type=int, default=384)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LIBTPU_INIT_ARGS"] = (
            f"--xla_jf_dump_to={folder} --xla_jf_dump_llo_text=true "
            "--xla_jf_dump_llo_pass_label_regex=final"
        )
        _report(args, folder)


def _report(args: argparse.Namespace, folder: str) -> None:
    from audiolm_jax.tpu_plan.topology import prepare_compiler

    prepare_compiler()
    import jax
    import jax.numpy as jnp
    from jax.experimental import topologies

    from audiolm_jax.nn.flash.attention import flash_causal_attention

    generation = args.topology.split(":")[0]
    options = {"chip_config_name": "megacore"} if generation == "v4" else {}
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=args.topology, **options
    ).devices
    here = jax.sharding.SingleDeviceSharding(devices[0])
    for length in args.lengths:
        x = jax.ShapeDtypeStruct((2, length, 4, 64), jnp.bfloat16, sharding=here)
        table = jax.ShapeDtypeStruct((4, 129), jnp.float32, sharding=here)

        def gradients(q, k, v, table, d_out):
            def attend(*inputs):
                return flash_causal_attention(*inputs, block=args.block)

            return jax.vjp(attend, q, k, v, table)[1](d_out)

        for old in glob.glob(f"{folder}/*"):
            os.remove(old)
        jax.jit(gradients).lower(x, x, x, table, x).compile()
        for kind in ("forward", "backward"):
            (path,) = (
                path
                for path in glob.glob(f"{folder}/*flash_attention_{kind}*final_bundles.txt")
                if "schedule-analysis" not in path
            )
            regions = read_regions(path)
            busy = 8 if generation == "v6e" else 16
            counted = {name: cycles(regions[name], busy) for name in REGIONS[1:]}
            bundles = {name: len(regions[name]) for name in REGIONS[1:]}
            print(f"{generation} l {length} block {args.block} {kind}: {counted} bundles {bundles}")


if __name__ == "__main__":
    main()
