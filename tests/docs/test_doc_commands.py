"""Every command line of the documentation is one that the programs take."""

import importlib.util
import os
import re

import pytest
from support.doc_pages import PAGES, ROOT, code_blocks, commands, name, words

import audiolm_jax
from audiolm_jax.cli.main import VERBS
from audiolm_jax.errors import InputError

# What stands for a config file of the reader's own, by verb.
CONFIGS = {
    "train": "configs/demo/codec.py",
    "tokenize": "configs/demo/tokens.py",
    "evaluate": "configs/stories/groups.py",
    "plan": "configs/demo/codec.py",
}
NUMBERS = {"N": "4", "I": "0", "S": "60", "T": "0.5"}


def variants(line):
    """What a line with signs for options and choices stands for, its placeholders filled."""
    _, *rest = line
    rest = [re.sub(r"^\[|\]$", "", word) for word in rest if word not in ("...", "[...]")]
    choices = [[]]
    for word in rest:
        inner = re.fullmatch(r"\{(.*)\}", word)
        options = inner[1].split(",") if inner else [word.split("|")[0]]
        choices = [[*before, filled(rest[0], option)] for before in choices for option in options]
    return choices


def filled(verb, word):
    if word == "CONFIG.py":
        return CONFIGS[verb]
    return NUMBERS.get(word, word)


# Those of troubleshooting.md are refused; test_doc_troubleshooting.py says with which words. Those
# of extending.md are of the package on that page; test_extending.py runs them.
TAKEN = [page for page in PAGES if page.name not in ("troubleshooting.md", "extending.md")]
LINES = {line.text: line for page in TAKEN for line in commands(page, "audiolm")}


@pytest.mark.parametrize("text", LINES, ids=lambda text: f"{LINES[text].page}:{LINES[text].line}")
def test_the_program_takes_the_line(text, understand):
    for arguments in variants(words(text.replace("[--field v]", ""))):
        if not {"VERB", "--help"} & set(arguments):
            understand(arguments)


@pytest.mark.parametrize(
    "line", ["train configs/demo/none.py", "continue a.wav --sconds 3 --out b.wav", "trian x.py"]
)
def test_a_line_that_it_does_not_take_is_seen(line, understand):
    with pytest.raises(InputError):
        understand(line.split())


def test_there_are_lines():
    assert len(LINES) > 120
    assert {line.text.split()[1] for line in LINES.values()} >= set(VERBS) - {"demo"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_other_programs_of_the_repository_are_there(page):
    for _, block in code_blocks(page, "") + code_blocks(page, "sh"):
        for script in re.findall(r"\blaunch/[\w/]+\.sh\b", block):
            assert os.access(ROOT / script, os.X_OK), script
        for module in re.findall(r"python3? -m ((?:audiolm_jax|tools)[\w.]*)", block):
            assert importlib.util.find_spec(module), module
        for script in re.findall(r"python3? ((?:benchmarks|tests)/\S+\.py)", block):
            assert (ROOT / script).is_file(), script


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_compiles_and_its_public_names_are_there(page):
    for line, block in code_blocks(page, "python"):
        compile(block, f"{page}:{line}", "exec")
        for public in re.findall(r"audiolm_jax\.(\w+)\(", block):
            assert hasattr(audiolm_jax, public), public
