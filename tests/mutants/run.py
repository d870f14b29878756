"""Judges the tests: applies mutations to a copy of the code and says which ones no test notices.

    python tests/mutants/run.py              all of them, on two processes
    python tests/mutants/run.py lm- codec-   those whose names begin so

A mutation is one fault in one place: a file, the text that stands there once, the text to put in
its stead, and the tests of the default suite that shall fail. Status 1 if one survives that is
not named as equivalent in its place.
"""

import argparse
import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = sorted(Path(__file__).parent.glob("*.toml"))
COPIED = ("audiolm_jax", "configs", "docs", "launch", "tests", "tools", "setup.cfg")
NO_TESTS_LEFT = 5  # pytest's status
SECONDS = 600.0  # for one mutation's tests; a hang is noticed too


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One fault."""

    name: str  # room-what
    file: str  # below the root
    old: str  # stands in the file exactly once
    new: str
    tests: list[str]  # files or tests that shall fail
    survives: str = ""  # why no test can notice; "" if one has to


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the tests said."""

    mutation: Mutation
    is_killed: bool
    words: str  # the first failing test, or what went wrong
    seconds: float


def read_mutations() -> list[Mutation]:
    """All mutations of the lists beside this file, with the list's name before theirs."""
    return [
        Mutation(name=f"{path.stem}-{name}", **fields)
        for path in LISTS
        for name, fields in tomllib.loads(path.read_text()).items()
    ]


def mutate(mutation: Mutation, root: Path) -> None:
    """Applies it below `root`; ValueError if its place is not there exactly once."""
    path = root / mutation.file
    text = path.read_text()
    if (count := text.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.name}: {mutation.file} has its text {count} times, not once")
    path.write_text(text.replace(mutation.old, mutation.new))


def judge(mutation: Mutation) -> Verdict:
    """Runs its tests, without those marked slow, on a changed copy."""
    with tempfile.TemporaryDirectory(prefix="mutant_") as scratch:
        root = Path(scratch)
        for name in COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, root / name)
        mutate(mutation, root)
        environment = os.environ | {"PYTHONPATH": str(root)}
        # Equal programs of the mutations are compiled once.
        environment.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no"]
        command += ["-p", "no:xdist", "-p", "no:cacheprovider", *mutation.tests]
        start = time.monotonic()
        try:
            result = subprocess.run(
                command, cwd=root, env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return Verdict(mutation, True, "hangs", SECONDS)
        seconds = time.monotonic() - start
        lines = result.stdout.splitlines()
        failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        if result.returncode == 1 and failed:
            return Verdict(mutation, True, failed[0].split(" ")[1], seconds)
        if result.returncode == 0:
            return Verdict(mutation, False, lines[-1], seconds)
        what = (result.stderr or result.stdout).strip().splitlines()[-1:]
        raise RuntimeError(f"{mutation.name}: pytest ended with {result.returncode}: {what}")


def main() -> int:
    """Prints a line for each mutation, then the sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names; none: all")
    parser.add_argument("--jobs", type=int, default=2, help="mutations judged at a time")
    arguments = parser.parse_args()
    chosen = [m for m in read_mutations() if m.name.startswith(tuple(arguments.names) or "")]
    start, killed, unexpected = time.monotonic(), 0, []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for verdict in pool.map(judge, chosen):
            mutation = verdict.mutation
            word = "killed  " if verdict.is_killed else "SURVIVES"
            why = f" ({mutation.survives})" if mutation.survives else ""
            print(
                f"{word} {mutation.name}: {verdict.words}, {verdict.seconds:.0f} s{why}", flush=True
            )
            killed += verdict.is_killed
            if verdict.is_killed == bool(mutation.survives):
                unexpected.append(mutation.name)
    minutes = (time.monotonic() - start) / 60
    print(f"{killed} of {len(chosen)} mutations killed in {minutes:.1f} minutes")
    if unexpected:
        print("not as the list says: " + ", ".join(unexpected))
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
