"""Names of parts from outside: what is one, whose code it is, what it must have."""

import dataclasses
import sys
from typing import Protocol

import pytest

from audiolm_jax.artifacts import outside
from audiolm_jax.artifacts.identity import Place, PlaceOrName, changes, described
from audiolm_jax.errors import InputError
from audiolm_jax.training.manifest import agreed_on
from audiolm_jax.types import SemanticTokenizer, StreamingTokenizer

NAMES = {
    "a:b": True,
    "mypackage.corpus:open_corpus": True,
    "_x._y2:_z": True,
    "tfds:librispeech": False,
    "tfds_more:librispeech": True,
    "./a:b": False,
    "gs://bucket/a": False,
    "C:\\audio": False,
    "a:b:c": False,
    "a:": False,
    "a.:b": False,
    "2a:b": False,
    "a:b\n": False,
    "data/demo": False,
    "": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    assert outside.is_outside(name) == NAMES[name]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """(folder, writes a module of the package `ours_to_test`)."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "ours_to_test"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def write(name, text):
        (folder / f"{name}.py").write_text(text)

    yield folder, write
    for name in [name for name in sys.modules if name.partition(".")[0] == "ours_to_test"]:
        del sys.modules[name]
    outside._code_of_file.cache_clear()


CLASS = """
import dataclasses

@dataclasses.dataclass(frozen=True)
class Config:
    place: str = "here"
"""


def test_code_is_known_by_its_distribution_or_its_source(package):
    folder, write = package
    write("part", CLASS)
    code = outside.code_of("ours_to_test.part:Config", "here")
    assert code.startswith("sha256:")
    assert len(code) == 7 + 64
    outside._code_of_file.cache_clear()
    info = folder.parent / "ours_to_test-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ours_to_test\nVersion: 1.2\n")
    # Installed for editing, a package is what its files are; else what its version says.
    (info / "RECORD").write_text("ours_to_test.pth,,\n")
    (info / "top_level.txt").write_text("ours_to_test\n")
    assert outside.code_of("ours_to_test.part:Config", "here") == code
    outside._code_of_file.cache_clear()
    (info / "RECORD").write_text("ours_to_test/__init__.py,,\nours_to_test/part.py,,\n")
    assert outside.code_of("ours_to_test.part:Config", "here") == "ours_to_test 1.2"


def test_a_function_is_known_by_the_file_that_defines_it(package):
    _, write = package
    write("part", CLASS)
    write("faces", "from ours_to_test.part import Config\n")
    one, two = (outside.code_of(f"ours_to_test.{x}:Config", "") for x in ("part", "faces"))
    assert one == two
    with pytest.raises(InputError, match="here: time has no file, by which its code is known"):
        outside.code_of("time:sleep", "here")


def test_a_config_says_whose_code_it_is(package):
    _, write = package
    write("part", CLASS)
    from ours_to_test.part import Config

    now = described(Config())
    assert now["code"] == {
        "config": {
            "name": "ours_to_test.part:Config",
            "code": outside.code_of("ours_to_test.part:Config", ""),
        }
    }
    other = {**now, "code": {"config": {"name": "ours_to_test.part:Other", "code": "x"}}}
    assert list(changes(other, now)) == [
        ("code.config.name", "ours_to_test.part:Other", "ours_to_test.part:Config")
    ]
    # Within a run its code may change; the processes of a run must have the same.
    edited = {**now, "code": {"config": {**now["code"]["config"], "code": "x"}}}
    assert list(changes(edited, now)) == []
    assert agreed_on(edited) != agreed_on(now) == agreed_on(described(Config()))


@dataclasses.dataclass(frozen=True)
class Places:
    directory: Place
    source: PlaceOrName


def test_a_folder_may_be_called_like_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = described(Places("shelf:first", "./shelf:first"))
    assert told["places"] == dict.fromkeys(
        ("config.directory", "config.source"), str(tmp_path.resolve() / "shelf:first")
    )
    assert set(told["code"]) == {"config"}
    with pytest.raises(
        InputError, match=r"config\.source: shelf:first: no module shelf; install its"
    ):
        described(Places("shelf:first", "shelf:first"))


def test_members_are_those_of_all_that_a_protocol_extends():
    assert set(outside.members(SemanticTokenizer)) == {
        *("sample_rate_hz", "hop_samples", "clusters", "fingerprint", "encode")
    }
    streams = {"max_block_frames", "open_encoder", "open_decoder"}
    assert streams | {"decode", "latents", "levels"} < set(outside.members(StreamingTokenizer))


class Two(Protocol):
    """Of a test."""

    first: int

    def second(self) -> int:
        """The other."""


def test_an_error_within_is_no_wrong_name(package):
    _, write = package
    write("part", "def make():\n    return 1 + 'a'\n\ndef short():\n    return 1\n")
    with pytest.raises(TypeError, match="unsupported operand"):
        outside.made_by("ours_to_test.part:make", "here", Two)
    with pytest.raises(InputError, match="short: gives a int without first, second, which test_ou"):
        outside.made_by("ours_to_test.part:short", "here", Two)
    with pytest.raises(InputError, match=r"short\(\) takes 0 positional arguments but 1 was given"):
        outside.made_by("ours_to_test.part:short", "here", Two, 1)


def test_trust_is_of_a_module_and_of_what_lies_below_it():
    with outside.trusting("one.two"):
        outside.check_trusted("one.two:x", "")
        outside.check_trusted("one.two.three:x", "")
        for name in ("one:x", "one.twofold:x", "two:x"):
            with pytest.raises(InputError, match="runs code of the module"):
                outside.check_trusted(name, "")
        assert outside.trusted() == ("one.two",)
    assert outside.trusted() == ()
    with pytest.raises(InputError, match="--trust a/b: expected the name of a module"):
        outside.trust("a/b")
