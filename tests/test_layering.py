"""The layering table: who may import whom; and the limits on files."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "audiolm_jax"

# Strictly downwards; parts of one row never import each other.
LAYERS = [
    {"errors"},
    {"records", "nn", "audio"},
    {"stages", "runtime", "tokenizers.streams", "tokenizers.windows"},
    {"tokenizers.frame_encoder", "tokenizers.kmeans"},
    {"tokenizers.soundstream", "tokenizers.w2v_bert", "tokenizers.pretrained", "lm"},
    {"tokenizers.acoustic", "tokenizers.semantic"},
    {"data"},
    {"generate"},
    {"eval"},
    {"experiment"},
    {"programs", "inputs"},
    {"samples", "evaluation", "abx_evaluation", "codec_evaluation", "sweep_evaluation"},
    {"run"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
LEVEL = {part: level for level, row in enumerate(LAYERS) for part in row}
MAX_LINES = 400
DRAWERS = {"utils", "util", "common", "helpers", "misc"}
HEAVY = {"tensorflow", "seqio", "apache_beam", "torch", "librosa", "matplotlib", "tensorboardX"}
HEAVY |= {"sklearn", "visqol", "pesq", "pystoi", "faster_whisper", "jiwer", "whisper_normalizer"}
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
    unknown = [n for n in names if n not in ("audiolm_jax", "audiolm_jax.tokenizers")]
    assert [n for n in unknown if part_of(n) is None] == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_keeps_the_rules(path):
    source = path.read_text()
    tree = ast.parse(source)
    assert len(source.splitlines()) <= MAX_LINES
    assert path.stem not in DRAWERS
    if part_of(module_name(path)) is not None:
        assert breaches(module_name(path), imported_modules(tree)) == []
    else:
        assert imported_modules(tree) == []
    # Heavy optional packages are imported where they are used, never when a module is loaded.
    top = [
        n
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for n in imported_modules(ast.Module([node], []))
    ]
    allowed = {
        "data/tokens/tasks.py",
        "data/tokens/converter.py",
        "data/tokens/loader.py",
        "data/tokens/tokenize.py",
    }
    if str(path.relative_to(PACKAGE)) not in allowed:
        assert {n.split(".")[0] for n in top} & HEAVY == set()


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("audiolm_jax.lm.train", "audiolm_jax.data.tokens.loader"),
        ("audiolm_jax.training.loop", "audiolm_jax.stages"),
        ("audiolm_jax.nn.attention", "audiolm_jax.types"),
        (
            "audiolm_jax.tokenizers.acoustic.soundstream.model",
            "audiolm_jax.tokenizers.semantic.w2v_bert.model",
        ),
        ("audiolm_jax.experiments.experiment", "audiolm_jax.cli.main"),
    ],
)
def test_a_breach_is_seen(importer, imported):
    assert breaches(importer, [imported])
