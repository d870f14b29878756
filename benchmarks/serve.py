"""`audiolm serve` under visitors: nothing lost, memory flat, seconds to the first new sound.

python benchmarks/serve.py BUNDLE                              200 requests of 8 visitors at a time
python benchmarks/serve.py BUNDLE --requests 50 --json out.json

Of every ten requests one sends what is no sound, one a form without consent, and one leaves after
the first sound. Each other must end with `done`. The server is a process of its own, started as a
user starts it; its memory is that of the process after the first tenth of the requests and at the
end. The first new sound is the second piece: the first is the prompt. It includes waiting for the
others in the line.
"""

import argparse
import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import aiohttp
import numpy as np
import soundfile

RATE_HZ, PROMPT_SECONDS = 16_000, 3.0


def prompt(number: int) -> bytes:
    """A wav file of a hum with noise."""
    rng = np.random.default_rng(number)
    t = np.arange(round(PROMPT_SECONDS * RATE_HZ)) / RATE_HZ
    hum = sum(np.sin(2 * np.pi * rng.uniform(90, 250) * k * t) / k for k in range(1, 9))
    file = io.BytesIO()
    soundfile.write(file, 0.1 * hum + 0.01 * rng.standard_normal(len(t)), RATE_HZ, format="WAV")
    return file.getvalue()


async def visit(
    session: aiohttp.ClientSession, url: str, number: int, seconds: float
) -> tuple[str, float | None]:
    """(what became of it, seconds to the first new sound or None) of a request."""
    kind = {1: "no sound", 2: "no consent", 3: "left"}.get(number % 10, "whole")
    form = aiohttp.FormData(default_to_multipart=True)
    form.add_field("consent", "no" if kind == "no consent" else "yes")
    form.add_field("seconds", str(seconds))
    form.add_field("seed", str(number))
    sound = b"no sound at all" if kind == "no sound" else prompt(number)
    form.add_field("prompt", sound, filename="prompt.wav")
    began, pieces, first = time.perf_counter(), 0, None
    async with session.post(f"{url}continue", data=form) as response:
        if kind.startswith("no "):
            told = (await response.json())["error"]
            return (f"{kind}: refused" if response.status == 400 and told else "LOST"), None
        async for line in response.content:
            event = json.loads(line)
            pieces += event["event"] == "sound"
            if first is None and pieces == 2:
                first = time.perf_counter() - began
                if kind == "left":
                    return "left", first
            if event["event"] == "done":
                return "done", first
    return "LOST", first


async def crowd(
    url: str, requests: int, visitors: int, seconds: float, process: int
) -> tuple[Counter[str], list[float], list[float]]:
    """Outcomes, seconds to the first sound, MiB of the server after a tenth and at the end."""
    numbers, outcomes, firsts, memory = iter(range(requests)), Counter[str](), [], []
    timeout, limit = aiohttp.ClientTimeout(total=None, sock_read=600), 2**22

    async def visitor() -> None:
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=limit) as session:
            for number in numbers:
                try:
                    outcome, first = await visit(session, url, number, seconds)
                except aiohttp.ClientError as error:
                    outcome, first = f"LOST ({type(error).__name__})", None
                outcomes[outcome] += 1
                if first is not None:
                    firsts.append(first)
                if outcomes.total() == requests // 10:
                    memory.append(mebibytes(process))

    await asyncio.gather(*(visitor() for _ in range(visitors)))
    return outcomes, firsts, [*memory, mebibytes(process)]


def mebibytes(process: int) -> float:
    """What a process holds in memory."""
    text = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found
    return int(found[1]) / 1024


@contextlib.contextmanager
def server(bundle: str):
    """A server that has compiled what it needs: (its address, its process)."""
    command = [sys.executable, "-m", "audiolm_jax", "serve", "--models", bundle, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            url = line.split()[1] if line.startswith("open ") else url
            if line.startswith("ready"):
                break
        yield url, process.pid
        process.terminate()
        print(f"server ended with status {process.wait(60)}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", help="folder or archive of a bundle")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--visitors", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a continuation")
    parser.add_argument("--json", help="file to write the figures to")
    args = parser.parse_args()
    with server(args.bundle) as (url, process):
        began = time.perf_counter()
        outcomes, firsts, memory = asyncio.run(
            crowd(url, args.requests, args.visitors, args.seconds, process)
        )
        took = time.perf_counter() - began
    p50, p95 = np.quantile(firsts, [0.5, 0.95])
    print(f"{args.requests} requests of {args.visitors} visitors at a time in {took:.0f} s")
    print(", ".join(f"{name} {count}" for name, count in sorted(outcomes.items())))
    print(f"first new sound: p50 {p50:.1f} s, p95 {p95:.1f} s, in the line included")
    print(
        f"memory of the server: {memory[0]:.0f} MiB after a tenth, {memory[-1]:.0f} MiB at the end"
    )
    if args.json:
        figures = {"outcomes": outcomes, "seconds": took, "p50": p50, "p95": p95, "mib": memory}
        Path(args.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
