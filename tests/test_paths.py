"""Every path may be an address: the few modules that touch files of this machine are named."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "audiolm_jax"
# No training road: evaluations write to this machine alone, which is checked, and so the others.
ASIDE = ("evaluation/", "tpu_plan/", "cli/demo.py", "cli/plan.py")
MODULES = {"shutil", "tempfile", "fcntl", "glob"}
OF_OS = {"walk", "stat", "lstat", "listdir", "scandir", "open", "replace", "rename", "remove"}
OF_OS |= {"unlink", "mkdir", "makedirs", "rmdir", "utime", "truncate", "link", "symlink"}
BY_NAME_ALONE = {"join", "relpath", "basename", "dirname", "splitext", "samestat", "commonprefix"}
# What touches them nevertheless: the layer below addresses, and what an address never reaches.
ALLOWED = {
    "artifacts/storage.py": {"Path", "os.walk", "shutil"},
    "artifacts/file_lock.py": {"fcntl", "os.unlink"},  # of files that are open
    "artifacts/local_copy.py": {"Path", "os.utime", "shutil", "tempfile"},
    "artifacts/atomic.py": {"os.replace", "shutil"},
    "artifacts/append.py": {"open"},
    "artifacts/archive.py": {"shutil"},  # of a folder to unpack in
    "artifacts/compilation_cache.py": {"Path"},
    "artifacts/traced.py": {"Path"},
    "artifacts/output_path.py": {"os.path.realpath", "shutil"},  # asked of files alone
    "artifacts/refusals.py": {"Path", "tempfile"},  # names in errors, and Python's own search
    "artifacts/writer.py": {"Path", "os.path.abspath", "os.unlink", "os.utime", "tempfile"},
    "artifacts/disk_space.py": {"shutil", "tempfile"},  # of a folder that a write failed in
    "artifacts/identity.py": {"os.path.realpath"},
    "artifacts/outside.py": {"Path"},  # of code
    "data/walk.py": {"os.path.realpath", "os.stat", "os.walk"},  # of folders; `_listed` of buckets
    "training/checkpoints.py": {"shutil"},  # free space, asked of folders alone
    # Configs are Python files of this machine; the others name no path of the user's.
    "cli/start.py": {"Path"},  # of this machine's devices
    "experiments/load.py": {"Path"},
    "cli/main.py": {"os.open"},
    "cli/options.py": {"shutil"},  # the width of a terminal
    "data/flite.py": {"shutil"},
    "data/tokens/loader.py": {"tempfile"},
    "data/tfds/names.py": {"os.path.expanduser"},
    "training/distributed.py": {"open"},
    "training/manifest.py": {"Path"},
    "generation/load.py": {"Path"},  # where this package lies
    "serve/app.py": {"Path"},  # names that visitors give, of which the ends are looked at
}


def touched(source: str) -> set[str]:
    """What a module uses that knows no addresses."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"open", "Path", "PosixPath"}
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES | {"os", "os.path", "io"}:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Attribute):
            first, _, rest = ast.unparse(node).partition(".")
            if first in MODULES and "." not in rest and "(" not in rest:
                found.add(first)
            elif (first == "os" and rest in OF_OS) or (first, rest) == ("io", "open"):
                found.add(f"{first}.{rest}")
            elif first == "os" and rest.startswith("path."):
                found |= {f"os.{rest}"} - {f"os.path.{name}" for name in BY_NAME_ALONE}
    return found


def road():
    names = {path: path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))}
    return {name: path for path, name in names.items() if not name.startswith(ASIDE)}


def test_no_module_of_the_road_goes_past_storage():
    found = {name: touched(path.read_text()) for name, path in road().items()}
    assert {name: used for name, used in found.items() if used} == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "open(name)", "Path(place)", "os.walk(x)", "os.path.exists(x)", "fcntl.flock(f, 2)",
        "shutil.rmtree(x)", "tempfile.mkdtemp()", "io.open(x)", "from os import walk",
        "from shutil import copytree", "os.open(x, 0)", "glob.glob(x)",
    ],
)  # fmt: skip
def test_a_breach_is_seen(line):
    assert touched(line)


@pytest.mark.parametrize(
    "line", ["path.open()", "TokenStore.open(x)", "at(x)", "os.path.join(a, b)", "os.environ['x']"]
)
def test_what_takes_addresses_is_let_through(line):
    assert touched(line) == set()
