"""Hostile calls: whatever is asked with whatever files, it is done whole or refused in a line."""

import contextlib
import hashlib
import io
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.fake_generator import FakeGenerator
from support.tiny_models import voice

from audiolm_jax.artifacts.archive import pack
from audiolm_jax.artifacts.compilation_cache import use_compilation_cache
from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.output import read_provenance
from audiolm_jax.cli import generate
from audiolm_jax.cli.main import main
from audiolm_jax.generation import api
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.load import load

MOST_SECONDS = 60  # of a call on a loaded machine; each takes milliseconds
NUMBERS = ["0.04", "0.4", "1", "2.5", "0", "-1", "nan", "inf", "-inf", "1e9", "1e308", "1e999"]
NUMBERS += ["x", "", "1_0", "0x10", "٣", "1e-300", "0.04;rm", "--", "None"]
INTEGERS = ["0", "1", "2", "3", "-1", str(2**63), str(2**64 - 1), str(2**64), str(10**40)]
INTEGERS += ["1.5", "x", "", "0x1", "1e3", "nan"]
PROMPTS = ["good.wav", "good.flac", "link.wav", "long.wav", "stereo.ogg", "few.wav", "empty.wav"]
PROMPTS += ["silent.wav", "nan.wav", "clipped.wav", "text.wav", "cut.flac", "wrong.mp3", "in"]
PROMPTS += ["pipe.wav", "folder.wav", "missing.wav", "in/deep", ".", "", "/dev/null", "/dev/zero"]
PROMPTS += ["\udce9.wav", "a\0b.wav", "gs:/", "foo://x/y.wav", "memory://none/x.wav", "-", "--"]
OUTS = [
    "o.wav",
    "o.flac",
    "O.WAV",
    "new/o.wav",
    "old.wav",
    "out",
    "new/out",
    "good.wav",
    "link.wav",
]
OUTS += ["./good.wav", "in/good.wav", "in", "in/new", "in/..", "out/../in", "folder.wav", "o.mp3"]
OUTS += ["no/where/o.wav", "good.wav/o.wav", "x" * 300 + ".wav", "é" * 125 + ".wav", "pipe.wav"]
OUTS += ["/proc/o.wav", "/dev/null", "d/" * 3000 + "o.wav", "ring/o.wav", "ring.wav", "", "."]
OUTS += ["to_nothing.wav", "\udce9.wav", "a\0b.wav", "\n.wav", "memory://none/o.wav", "bundle"]
OUTS += ["bundle/bundle.json", "gs:", "foo://x/o.wav", "-", "--help"]
FLAGS = ["--seconds", "--prompt-seconds", "--generation.context-seconds"]
WHOLE = ["--seed", "--count", "--batch"]


def write_inputs():
    """Into the current folder."""
    sound = voice(1.0, 130)
    for name in ("good.wav", "good.flac", "in/good.wav", "in/deep/b.ogg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(name, sound, 16000)
    Path("link.wav").symlink_to("good.wav")
    soundfile.write("long.wav", np.tile(sound, 9), 8000)
    soundfile.write("stereo.ogg", np.stack([sound, sound], 1), 44100)
    soundfile.write("few.wav", sound[:10], 16000)
    soundfile.write("empty.wav", sound[:0], 16000)
    soundfile.write("silent.wav", 0 * sound, 16000)
    soundfile.write("nan.wav", np.append(sound, np.nan), 16000, subtype="FLOAT")
    soundfile.write("clipped.wav", np.clip(9 * sound, -1, 1), 16000)
    Path("text.wav").write_text("this is no sound\n" * 50)
    Path("in/text.wav").write_text("this is no sound\n" * 50)
    Path("cut.flac").write_bytes(Path("good.flac").read_bytes()[:3000])
    shutil.copy("good.flac", "wrong.mp3")
    os.mkfifo("pipe.wav")
    Path("folder.wav").mkdir()
    Path("ring").symlink_to("ring")
    Path("ring.wav").symlink_to("ring.wav")
    Path("to_nothing.wav").symlink_to("nothing.wav")
    soundfile.write("old.wav", sound[:5000], 16000)


def damaged(source, target, number, rng):
    """Writes a copy of a bundle with one thing wrong; of every third an archive."""
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    path = files[number % len(files)]
    data = bytearray(path.read_bytes())
    match rng.integers(6):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(data[: rng.integers(len(data))])
        case 2:
            for _ in range(3):
                data[rng.integers(min(len(data), 3000))] = rng.integers(256)
            path.write_bytes(data)
        case 3:
            path.unlink()
            path.mkdir()
        case 4:
            path.write_text(["[]", "{}", "null", "[" * 9999, '{"format": 1}'][rng.integers(5)])
        case 5:
            path.write_bytes(rng.bytes(len(data)))
    if number % 3 == 0:
        pack(target, target.with_suffix(".zip"))
        return target.with_suffix(".zip")
    return target


def digest(path):
    path = Path(path)
    if path.is_symlink():
        return os.readlink(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"


def state(*left_out):
    """Everything below the current folder."""
    return {
        str(path): digest(path) for path in sorted(Path().rglob("*")) if str(path) not in left_out
    }


@contextlib.contextmanager
def time_limit():
    def stop(number, frame):
        raise TimeoutError("hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MOST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run(words):
    """(status, standard output as bytes, lines of standard error)."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    usual = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = out, err
    try:
        with time_limit():
            status = main(words)
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.stdout, sys.stderr = usual
    out.flush()
    err.flush()
    return status, out.buffer.getvalue(), err.buffer.getvalue().decode().splitlines()


WORDS = st.text(st.characters(exclude_characters="/."), max_size=8)  # nothing out of the folder
CALLS = st.fixed_dictionaries(
    {
        "verb": st.sampled_from(["continue"] * 5 + ["sample", "revoice", "info"]),
        "prompt": st.sampled_from(PROMPTS) | WORDS,
        "out": st.none() | st.sampled_from(OUTS) | WORDS,
        "flags": st.lists(
            st.tuples(st.sampled_from(FLAGS), st.sampled_from(NUMBERS))
            | st.tuples(st.sampled_from(WHOLE), st.sampled_from(INTEGERS))
            | st.tuples(st.just("--format"), st.sampled_from(["wav", "pcm", "mp3"]))
            | st.tuples(st.just("--stream"))
            | st.tuples(st.text(max_size=5)),
            max_size=4,
        ),
        "bundle": st.none() | st.integers(0, 10**6) | st.sampled_from(["none", "good.wav", ""]),
    }
)


class House:
    def __init__(self, folder, source, bundle):
        self.folder, self.source, self.bundle = folder, source, bundle


@pytest.fixture(scope="module")
def house(tiny_bundle, tmp_path_factory):
    """A folder of inputs, with a bundle that is loaded once."""
    use_compilation_cache()  # which says so once
    folder = tmp_path_factory.mktemp("hostile")
    before = Path.cwd()
    os.chdir(folder)
    write_inputs()
    shutil.copytree(tiny_bundle, "bundle")
    yield House(folder, tiny_bundle, load_bundle(tiny_bundle))
    os.chdir(before)


def check(house, call, patch):
    folder, source, bundle = house.folder, house.source, house.bundle
    patch.setattr(api, "Generator", FakeGenerator)
    good = api.Pipeline(bundle)
    patch.setattr(
        generate,
        "load",
        lambda place, config: good if str(place) == "bundle" else load(place, config),
    )
    models = "bundle" if call["bundle"] is None else call["bundle"]
    if isinstance(models, int):
        models = damaged(source, folder.parent / "bad", models, np.random.default_rng(models))
    verb = call["verb"]
    words = [verb]
    if verb == "info":
        words += [call["prompt"] if call["bundle"] is None else str(models)]
    else:
        words += [call["prompt"]] * (verb != "sample") + ["--models", str(models)]
        words += [] if call["out"] is None else ["--out", call["out"]]
        words += [word for pair in call["flags"] for word in pair]
    before = state()
    start = time.monotonic()
    status, _, said = run(words)
    spent = time.monotonic() - start
    text = "\n".join(said)
    try:
        assert status in (0, 2), text
        assert spent < MOST_SECONDS
        assert "Traceback" not in text
        assert "unexpected" not in text
        if status == 2:
            assert said[-1].startswith("audiolm ")
            is_folder = "\0" not in call["prompt"] and Path(call["prompt"]).is_dir()
            notes = [line for line in said if line.startswith(("failed: ", "skipped "))]
            warned = [line for line in said if "at full scale" in line or "are heard" in line]
            assert is_folder or not [x for x in notes if not x.startswith("failed: ")]
            assert len(said) == 1 + len(notes) + len(warned), text
        after = state()
        new = {name for name in after if before.get(name) != after[name]}
        assert set(before) <= set(after)
        files = {name for name in new if after[name] != "no file"}
        for name in files:
            assert "good" not in name or name.startswith(("out/", "new/")), name
            assert name not in PROMPTS
            assert name not in before or name == "to_nothing.wav"
            assert not name.startswith("bundle")
            assert not Path(name).name.startswith("."), name
            assert len(read_audio(name)[0]) > 0
            assert read_provenance(name)["synthetic"] is True
        is_partly = any(line.startswith("failed: ") for line in said)
        assert not files or status == 0 or is_partly, text
        return status
    finally:
        for name in sorted(set(state()) - set(before), reverse=True):
            Path(name).rmdir() if Path(name).is_dir() else Path(name).unlink()
        if "to_nothing.wav" in files_changed(before):
            Path("to_nothing.wav").unlink()
            Path("to_nothing.wav").symlink_to("nothing.wav")
        shutil.rmtree(folder.parent / "bad", ignore_errors=True)
        (folder.parent / "bad.zip").unlink(missing_ok=True)


def files_changed(before):
    return {name for name, was in before.items() if digest(name) != was}


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=60, derandomize=True, database=None, suppress_health_check=CHECKS)
@given(call=CALLS)
def test_hostile_calls(house, call):
    with pytest.MonkeyPatch.context() as patch:
        check(house, call, patch)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=CHECKS, print_blob=True)
@given(call=CALLS)
def test_a_thousand_hostile_calls(house, call):
    with pytest.MonkeyPatch.context() as patch:
        check(house, call, patch)


@pytest.mark.slow
def test_damaged_bundles_one_by_one(house):
    """Each file of a bundle in each of the ways."""
    ends = set()
    for number in range(0, 1000, 71):
        call = {"verb": "info", "prompt": "", "out": None, "flags": [], "bundle": number}
        with pytest.MonkeyPatch.context() as patch:
            ends.add(check(house, call, patch))
    assert 2 in ends
