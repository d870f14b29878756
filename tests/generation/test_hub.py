"""Bundles to the Hugging Face hub and from it, against a server that behaves like it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest
from support.fake_hub import OWNER, READER, TOKEN, fake_hub

import audiolm_jax
from audiolm_jax.cli.main import main
from audiolm_jax.errors import InputError
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.generation.hub import at_hand, hub_name

REPO = f"{OWNER}/voices"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The library as HF_ENDPOINT, HF_HOME and HF_TOKEN make it when it is first imported."""
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    from huggingface_hub import constants, utils

    utils.disable_progress_bars()
    with fake_hub() as (server, address):
        values = {
            "ENDPOINT": address,
            "HUGGINGFACE_CO_URL_TEMPLATE": address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_URL_HOSTS": frozenset({"127.0.0.1"}),
            "HF_HUB_CACHE": str(tmp_path / "hub/cache"),
            "HF_TOKEN_PATH": str(tmp_path / "hub/token"),
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def commit(hub, tiny_bundle, capsys, monkeypatch):
    """Of a bundle that was pushed."""
    with monkeypatch.context() as patch:
        loaded = SimpleNamespace(fingerprint="f" * 64)
        patch.setattr("audiolm_jax.generation.hub.load_bundle", lambda place: loaded)
        return pushed(capsys, tiny_bundle)


@pytest.fixture
def unverified(monkeypatch):
    """For what does not depend on it: it takes a second each time."""
    loaded = SimpleNamespace(fingerprint="f" * 64)
    monkeypatch.setattr("audiolm_jax.generation.hub.load_bundle", lambda place: loaded)


def error_of(capsys, *words):
    capsys.readouterr()
    assert main(list(map(str, words))) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def fingerprint(folder):
    return json.loads((folder / "bundle.json").read_text())["fingerprint"]


def pushed(capsys, bundle, *flags):
    capsys.readouterr()
    assert main(["push", str(bundle), REPO, *flags]) == 0
    return capsys.readouterr().out.split("revision ")[1].split()[0]


def test_there_and_back(hub, tiny_bundle, tmp_path, capsys):
    commit = pushed(capsys, tiny_bundle)
    files = hub.commits[REPO][commit]
    # Weights are large files, of which those beyond a part came in several; the rest is text.
    assert {x for x, file in files.items() if "oid" in file} == {
        f"{part}/weights.safetensors"
        for part in ("codec", "semantic", "semantic_lm", "coarse_lm", "fine_lm")
    }
    assert any("/complete" in line for line in hub.requests)
    assert main(["pull", REPO, "--out", str(tmp_path / "out")]) == 0
    told = f"bundle {fingerprint(tiny_bundle)[:16]} of {REPO}, revision {commit}\n"
    assert capsys.readouterr().out.endswith(told)
    there = {x.relative_to(tiny_bundle) for x in tiny_bundle.rglob("*") if x.is_file()}
    here = {x.relative_to(tmp_path / "out") for x in (tmp_path / "out").rglob("*") if x.is_file()}
    assert here == there
    assert not any(x.is_symlink() for x in (tmp_path / "out").rglob("*"))
    assert all((tmp_path / "out" / x).read_bytes() == (tiny_bundle / x).read_bytes() for x in here)


@pytest.mark.usefixtures("unverified")
def test_a_name_is_loaded_where_no_path_is(hub, tiny_bundle, tmp_path, capsys, monkeypatch):
    first = pushed(capsys, tiny_bundle)
    assert pushed(capsys, tiny_bundle) == first  # nothing to do is no new commit
    monkeypatch.chdir(tmp_path)
    pipeline = audiolm_jax.load(REPO, GenerationConfig(context_seconds=1.0))
    assert f"{REPO}: revision {first} of http://127.0.0.1" in capsys.readouterr().out
    assert pipeline.bundle.fingerprint == fingerprint(tiny_bundle)
    asked = len(hub.requests)
    with at_hand(f"{REPO}@{first}") as pinned:  # all of it is here
        assert fingerprint(pinned) == fingerprint(tiny_bundle)
    assert len(hub.requests) == asked
    # A later commit is another revision; the pinned one stays what it was.
    shutil.copytree(tiny_bundle, tmp_path / "told")
    with (tmp_path / "told/README.md").open("a") as card:
        card.write("\nTold better.\n")
    second = pushed(capsys, tmp_path / "told")
    assert first != second
    with at_hand(REPO) as newest, at_hand(f"{REPO}@{first}") as pinned:
        assert (newest.name, pinned.name) == (second, first)
        assert "better" in (newest / "README.md").read_text()
        assert "better" not in (pinned / "README.md").read_text()
    # What is here wins.
    shutil.copytree(tiny_bundle / "codec", tmp_path / REPO)
    asked = len(hub.requests)
    assert audiolm_jax.load_codec(REPO).fingerprint == pipeline.bundle.parts["codec"]
    assert len(hub.requests) == asked


def test_what_was_changed_is_refused(hub, commit, tmp_path, capsys):
    hub.tampered = {hub.commits[REPO][commit]["fine_lm/weights.safetensors"]["oid"]}
    line = error_of(capsys, "pull", REPO, "--out", tmp_path / "new" / "out")
    assert f"{REPO}@{commit[:12]}/fine_lm: does not match its fingerprint" in line
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match=f"{REPO}@{commit[:12]}/fine_lm: does not match"):
        audiolm_jax.load(REPO)


@pytest.mark.usefixtures("unverified")
def test_an_interrupted_pull_leaves_nothing_and_goes_on(hub, commit, tiny_bundle, tmp_path, capsys):
    cut = {hub.commits[REPO][commit]["fine_lm/weights.safetensors"]["oid"]}
    out = tmp_path / "new" / "out"
    hub.cut = cut
    assert main(["pull", REPO, "--out", str(out)]) == 2
    line = capsys.readouterr().err.splitlines()[-1]  # the library tells of its retries first
    assert line.startswith(f"audiolm pull: {REPO}: http://127.0.0.1")
    assert "answered 500" in line
    assert not (tmp_path / "new").exists()
    hub.cut, hub.half_sent = set(), set()
    asked = len(hub.requests)
    assert main(["pull", REPO, "--out", str(out)]) == 0
    for path in tiny_bundle.rglob("*.*"):
        assert (out / path.relative_to(tiny_bundle)).read_bytes() == path.read_bytes()
    # What had come whole is not fetched again.
    assert {x.split("/")[-1] for x in hub.requests[asked:] if x.startswith("GET /cdn/")} == cut
    # An output that is no bundle stays.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").touch()
    said = error_of(capsys, "pull", REPO, "--out", tmp_path / "mine")
    assert "would be replaced, but holds other files (no bundle.json)" in said
    assert (tmp_path / "mine/notes").is_file()


@pytest.mark.usefixtures("unverified")
def test_parts_that_are_gone_leave_the_hub(hub, tiny_bundle, tmp_path, capsys):
    first = pushed(capsys, tiny_bundle)
    less = tmp_path / "less"
    shutil.copytree(tiny_bundle, less)
    (less / "codec/notes.txt").write_text("none of the bundle")
    (less / "LICENSE").unlink()
    card = (less / "README.md").read_text()
    mit = card.replace(
        "license: other\nlicense_name: see-license\nlicense_link: LICENSE\n", "license: mit\n"
    )
    assert mit != card
    (less / "README.md").write_text(mit)
    assert main(["push", str(less), REPO]) == 0
    shown = capsys.readouterr()
    assert shown.err == "not of the bundle, left here: codec/notes.txt\n"
    second = hub.refs[REPO]["main"]
    gone = hub.commits[REPO][first].keys() - hub.commits[REPO][second].keys()
    assert gone == {"LICENSE"}


@pytest.mark.usefixtures("unverified")
def test_an_archive_of_before_gets_what_hubs_want(hub, tiny_bundle, tmp_path, capsys):
    old = tmp_path / "old.zip"
    with zipfile.ZipFile(old, "w") as archive:
        for path in sorted(tiny_bundle.rglob("*.*")):
            if path.name not in ("README.md", "LICENSE", "config.json"):
                archive.write(path, f"old/{path.relative_to(tiny_bundle)}")
        archive.writestr("old/README.md", "# Mine\n\nOf a time without fields.\n")
    commit = pushed(capsys, old)
    files = hub.commits[REPO][commit]
    card = files["README.md"]["content"].decode()
    assert card.startswith("---\nlicense: unknown\nlibrary_name: audiolm_jax\n")
    assert card.endswith("---\n# Mine\n\nOf a time without fields.\n")
    parts = json.loads(files["config.json"]["content"])["parts"]
    assert parts["codec"]["kind"] == "soundstream"


@pytest.mark.usefixtures("unverified")
def test_each_refusal_is_one_line(hub, tiny_bundle, tmp_path, capsys, monkeypatch):
    def refusal(*words):
        return error_of(capsys, *words)

    push = ("push", tiny_bundle, REPO)
    pull = ("pull", REPO, "--out", tmp_path / "out")
    assert "has no such model" in refusal(*pull)
    monkeypatch.setenv("HF_TOKEN", READER)
    assert "gives this token no right to that" in refusal(*push)
    monkeypatch.setenv("HF_TOKEN", "hf_nobody")
    assert "does not know this token" in refusal(*push)
    monkeypatch.delenv("HF_TOKEN")
    assert f"{REPO}: no token; set HF_TOKEN" in refusal(*push)
    assert not hub.commits
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert "gives this token no right" in refusal("push", tiny_bundle, "other/voices")
    assert "expected OWNER/NAME" in refusal("push", tiny_bundle, f"{REPO}@main")
    assert "expected OWNER/NAME" in refusal("push", tiny_bundle, "voices")
    commit = pushed(capsys, tiny_bundle, "--private")
    absent = refusal("pull", f"{REPO}@{commit[:7]}", "--out", tmp_path / "out")
    assert f"{REPO}@{commit[:7]}: " in absent
    assert "has no such revision" in absent
    monkeypatch.delenv("HF_TOKEN")
    assert "has no such model, or shows it to others alone" in refusal(*pull)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.gated.add(REPO)
    assert "its owner lets in who asks" in refusal(*pull)
    hub.gated.clear()
    wrong = tmp_path / "wrong"
    shutil.copytree(tiny_bundle, wrong)
    (wrong / "README.md").write_text("---\nlicense: mine\n---\n# Wrong\n")
    assert '"license" must be one of the list' in refusal("push", wrong, REPO)
    (wrong / "README.md").write_text("---\nlicense: [\n---\n# Wrong\n")
    assert "README.md: what it begins with is no YAML" in refusal("push", wrong, REPO)
    (wrong / "README.md").write_text("---\nlicense: mit\n---\n# Other\n")
    hub.intervene = lambda: hub.add_commit(REPO, hub.commits[REPO][commit])
    assert "has a newer commit" in refusal("push", wrong, REPO)
    assert not (tmp_path / "out").exists()


def test_without_a_hub(hub, tmp_path, capsys, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    line = error_of(capsys, "pull", REPO, "--out", tmp_path / "out")
    assert "by way of http://127.0.0.1:9 ([Errno 111] Connection refused)" in line
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    line = error_of(capsys, "pull", REPO, "--out", tmp_path / "out")
    assert "HF_HUB_OFFLINE is set, and " in line
    assert not (tmp_path / "out").exists()


def test_without_the_library(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    line = error_of(capsys, "pull", REPO, "--out", tmp_path / "out")
    assert line.endswith("pip install 'audiolm_jax[hub]'")
    with pytest.raises(InputError, match=f"{REPO}: nothing of that name is here; as a name of"):
        audiolm_jax.load(REPO)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a/b", ("a/b", None)),
        ("a.b-c/d_e@v1.0", ("a.b-c/d_e", "v1.0")),
        ("a/b@refs/pr/1", ("a/b", "refs/pr/1")),
    ],
)
def test_names(text, parts):
    name = hub_name(text)
    assert (name.repo, name.revision) == parts
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["a", "a/b/c", "./a", "../a", "/a/b", "a/b.zip", "a--b/c", "a/b..c", "a/b.git", "a/b@", "a/b-",
     "gs://a/b", "a/é", "a /b", "a/b@../c"],
)  # fmt: skip
def test_what_is_no_name(text):
    assert hub_name(text) is None


@pytest.mark.slow
def test_by_the_environment_alone(tiny_bundle, tmp_path):
    """As a user sets it, in processes of their own."""
    with fake_hub() as (server, address):
        kept = {x: y for x, y in os.environ.items() if not x.startswith("HF_")}
        env = kept | {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": TOKEN}

        def run(*words):
            command = [sys.executable, "-m", "audiolm_jax", *map(str, words)]
            done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            return done.stdout

        told = run("push", tiny_bundle, REPO)
        commit = server.refs[REPO]["main"]
        assert f"{address}/{REPO}: bundle " in told
        run("pull", f"{REPO}@{commit}", "--out", "out")
        words = ["--models", REPO, "--seconds", "0.4", "--count", "1", "--out", "made"]
        run("sample", *words, "--generation.context-seconds", "1")
    assert load_bundle(tmp_path / "out").fingerprint == load_bundle(tiny_bundle).fingerprint
    assert (tmp_path / "made/sample_0.wav").is_file()
    assert not any("xet" in line for line in server.requests)
