"""The layering table: who may import whom; the limits on files; what inference may import."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "audiolm_jax"

# Strictly downwards; parts of one row never import each other.
LAYERS = [
    {"errors"},
    {"types", "stages", "artifacts"},
    {"nn", "audio"},
    {"data"},
    {"training"},
    {"tokenizers.foreign"},
    {"tokenizers.acoustic", "tokenizers.semantic", "lm"},
    {"generation"},
    {"experiments.base"},
    {"evaluation.lifecycle", "evaluation.measures"},
    {"evaluation.page"},
    {"evaluation.abx", "evaluation.bundle", "evaluation.codecs"},
    {"evaluation.sweep"},
    {"experiments"},
    {"tpu_plan"},
    {"cli"},
    {"__main__"},
]
LEVEL = {part: level for level, row in enumerate(LAYERS) for part in row}
NAMESPACES = {"audiolm_jax", "audiolm_jax.tokenizers", "audiolm_jax.evaluation"}
MAX_LINES = 400
DRAWERS = {"utils", "util", "common", "helpers", "misc"}
HEAVY = {"tensorflow", "seqio", "apache_beam", "torch", "librosa", "matplotlib", "tensorboardX"}
HEAVY |= {"sklearn", "visqol", "pesq", "pystoi", "faster_whisper", "jiwer", "whisper_normalizer"}
HEAVY |= {"jinja2", "wandb"}
FILES = sorted(PACKAGE.rglob("*.py"))
# What training alone needs; none of it is loaded by generation, or by a tokenizer at work.
TRAINING = {"audiolm_jax.training", "optax", "orbax", "tensorstore"}
TRAINING_MODULES = {"losses", "discriminators", "adversarial", "balancer", "train", "fit"}
INFERENCE = [
    "audiolm_jax.generation.pipeline",
    "audiolm_jax.generation.files",
    "audiolm_jax.tokenizers.acoustic.load",
    "audiolm_jax.tokenizers.acoustic.recordings",
    "audiolm_jax.tokenizers.semantic.tokenizer",
]


def part_of(module: str) -> str | None:
    """The row entry that an absolute module name within the package belongs to."""
    names = module.split(".")[1:]
    for size in (2, 1):
        if ".".join(names[:size]) in LEVEL:
            return ".".join(names[:size])
    return None


def module_name(path: Path) -> str:
    relative = path.relative_to(PACKAGE.parent).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def imported_modules(tree: ast.AST) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def breaches(importer: str, imported: list[str]) -> list[str]:
    own = part_of(importer)
    found = []
    for name in imported:
        if name.split(".")[0] != PACKAGE.name:
            continue
        other = part_of(name)
        if other is not None and other != own and LEVEL[other] >= LEVEL[own]:
            found.append(f"{importer} imports {name}")
    return found


def test_table_covers_every_module():
    names = [module_name(path) for path in FILES]
    assert [n for n in names if part_of(n) is None and n not in NAMESPACES] == []


def test_the_top_is_short():
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    assert modules == {"__init__", "__main__", "errors", "stages", "types"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_keeps_the_rules(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= MAX_LINES
    assert path.stem not in DRAWERS
    if part_of(module_name(path)) is not None:
        assert breaches(module_name(path), imported_modules(tree)) == []
    else:  # a namespace, or the lazy public interface
        top = [node for node in tree.body if not is_for_type_checkers(node)]
        assert [n for n in imported_modules(ast.Module(top, [])) if "audiolm_jax" in n] == []
    # Heavy optional packages are imported where they are used, never when a module is loaded.
    top = [
        n
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for n in imported_modules(ast.Module([node], []))
    ]
    allowed = {"tasks.py", "converter.py", "loader.py", "tokenize.py"}
    if path.parent != PACKAGE / "data" / "tokens" or path.name not in allowed:
        assert {n.split(".")[0] for n in top} & HEAVY == set()


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("audiolm_jax.lm.train", "audiolm_jax.tokenizers.semantic.tokenizer"),
        ("audiolm_jax.data.crops", "audiolm_jax.training.loop"),
        ("audiolm_jax.nn.attention", "audiolm_jax.audio.files"),
        ("audiolm_jax.tokenizers.acoustic.load", "audiolm_jax.tokenizers.semantic.tokenizer"),
        ("audiolm_jax.evaluation.bundle.report", "audiolm_jax.evaluation.codecs.page"),
        ("audiolm_jax.experiments.base", "audiolm_jax.cli.main"),
    ],
)
def test_a_breach_is_seen(importer, imported):
    assert breaches(importer, [imported])


def test_only_its_verb_imports_the_planner():
    importers = {
        module_name(path)
        for path in FILES
        if part_of(module_name(path)) != "tpu_plan"
        and any(
            n.startswith("audiolm_jax.tpu_plan")
            for n in imported_modules(ast.parse(path.read_text()))
        )
    }
    assert importers == {"audiolm_jax.cli.plan"}


def loaded_by(code: str) -> set[str]:
    """The modules that a fresh interpreter holds after running some code."""
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", INFERENCE)
def test_inference_is_free_of_training(module):
    loaded = loaded_by(f"import {module}")
    assert {n for n in loaded if any(n == t or n.startswith(f"{t}.") for t in TRAINING)} == set()
    own = {n for n in loaded if n.startswith("audiolm_jax.")}
    assert {n for n in own if n.rpartition(".")[2] in TRAINING_MODULES} == set()
    assert {n.split(".")[0] for n in loaded} & HEAVY == set()


def test_the_public_interface_is_lazy_and_whole():
    assert not any(n.startswith("audiolm_jax.") for n in loaded_by("import audiolm_jax"))
    import audiolm_jax

    assert set(audiolm_jax.__all__) == set(audiolm_jax._PLACES)
    for name in audiolm_jax.__all__:
        assert getattr(audiolm_jax, name).__module__.startswith("audiolm_jax.")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        audiolm_jax.nonsense  # noqa: B018
