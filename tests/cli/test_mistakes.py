"""What users get for a mistake: one line with its cause and its remedy, a status, and no file.

`MISTAKES`, `FULL` and `OPEN` are tables of commands and the lines they answer with. {t} is the
folder of the test, {b} a bundle, {p} its parts, {d} configs/demo.
"""

import contextlib
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import jax
import numpy as np
import pytest
import soundfile
from jax._src import compiler
from support.fake_generator import FakeGenerator
from support.tiny_models import voice
from support.tiny_runs import write_configs

from audiolm_jax.artifacts import local_copy
from audiolm_jax.artifacts.archive import pack
from audiolm_jax.audio.output import open_writer
from audiolm_jax.cli.main import main
from audiolm_jax.data.alignments import AlignedPhone, write_alignments
from audiolm_jax.generation import api

DEMO = Path(__file__).parents[2] / "configs" / "demo"
SMALL = "--seconds 1 --generation.context-seconds 1"
FIVE = "{p}/codec {p}/semantic {p}/semantic_lm {p}/coarse_lm {p}/fine_lm"

MISTAKES = [
    # Of words: "audiolm" stands before those of no verb, "audiolm VERB" before all others.
    ("trian x.py", "'trian': no such verb; did you mean audiolm train? audiolm --help lists all"),
    ("encode x", "'encode': no such verb; did you mean audiolm codec? audiolm --help lists all"),
    ("x.py", "'x.py': no such verb; audiolm --help lists all"),
    (
        "import dak x",
        "'dak': expected one of dac, w2v-bert-2, hubert; did you mean audiolm import dac? audiolm "
        "import --help lists all",
    ),
    ("train", "expected a config file; see audiolm train --help"),
    ("train {t}/no.py", "{t}/no.py: no such config file; see the folder configs/"),
    (
        "tokenize {d}/codec.py",
        "{d}/codec.py: describes a CodecExperiment, which audiolm tokenize does not take; it is "
        "for audiolm train",
    ),
    (
        "train {d}/codec.py --loop.setps 3",
        "--loop.setps: no such flag; did you mean --loop.steps? see audiolm train {d}/codec.py "
        "--help",
    ),
    (
        "train {d}/codec.py loop.steps=3",
        "'loop.steps=3': not expected here; see audiolm train {d}/codec.py --help",
    ),
    (
        "train {d}/codec.py --warm-start.source x",
        "--warm-start.source: belongs behind warm-start:warm-start-config, which is not here; see "
        "audiolm train {d}/codec.py --help",
    ),
    (
        "train {d}/codec.py --help lopp",
        "--help lopp: expected one of options, model, loop, optimizer, mesh, data, train, "
        "discriminator-optimizer, subcommands",
    ),
    (
        "train --help codex",
        "--help codex: expected one of codec, encoder, kmeans, residual, vocoder, stage, "
        "classifier, detector, bundle",
    ),
    # Of places.
    ("train {d}/codec.py --data.source /nope", "--data.source = /nope: no such folder"),
    (
        "train {t}/codec.py --data.source {t}/one",
        "{t}/one: no train clip among 1 with --data.heldout-percent = 20; one file is not "
        "divided by files: hold out its end with --data.split-by time",
    ),
    (
        "train {t}/codec.py --directory /proc/x",
        "/proc/x: cannot be written (No such file or directory: /proc/x); choose another place",
    ),
    (
        "train {t}/codec.py --directory {t}/a.wav",
        "{t}/a.wav: cannot be written (File exists: {t}/a.wav); choose another place",
    ),
    (
        "continue {t}/a.wav --models {b} --out /proc/x/o.wav",
        "--out /proc/x/o.wav: cannot be written (No such file or directory); choose another place",
    ),
    (
        "continue {t}/no.wav --models {t}/none --out {t}/o.wav --generation.context-seconds 9",
        "{t}/no.wav: cannot be read: No such file or directory",
    ),
    (
        "sample --models {b} --out /proc/x",
        "--out /proc/x: cannot be written (No such file or directory); choose another place",
    ),
    (
        "codec encode {t}/a.wav --model {b} --out /proc/x.codes",
        "--out /proc/x.codes: cannot be written (No such file or directory); choose another place",
    ),
    (
        f"bundle {FIVE} --out {{t}}/audio",
        "--out {t}/audio: would be replaced, but holds other files (no bundle.json); name a new "
        "folder",
    ),
    (
        "import dac {t}/none --out {t}/audio",
        "--out {t}/audio: would be replaced, but holds other files (no model.json); name a new "
        "folder",
    ),
    (
        "release {b}/codec --out /proc/x.zip --licence x",
        "/proc/x.zip: cannot be written (No such file or directory: /proc/.x.zip.lock); choose "
        "another place",
    ),
    (
        "index {t}/audio --index /proc/x",
        "--data.index = /proc/x: cannot be written: [Errno 2] No such file or directory: '/proc/x'",
    ),
    # Of models.
    (
        "codec encode {t}/a.wav --model {t}/none --out {t}/o.codes",
        "{t}/none: no trained model here (no such folder); train it first",
    ),
    (
        "codec encode {t}/a.wav --model {t}/a.wav --out {t}/o.codes",
        "{t}/a.wav: a file, expected a run directory or model folder",
    ),
    (
        "detect {t}/a.wav --model {b}",
        "{b}: a bundle of several models; name one of its folders",
    ),
    (
        "detect {t}/a.wav --model {t}/b.zip",
        "{t}/b.zip: an archive; unpack it, expected a run directory or model folder",
    ),
    (
        "sample --models {t}/none --out {t}/s",
        "{t}/none/bundle.json: not found; `audiolm bundle` writes a folder that has it",
    ),
    (
        "train {d}/coarse_lm.py --tokens {t}/none",
        "{t}/none: token store does not exist; run audiolm tokenize",
    ),
]
_FULL = "no space left on the disk (File too large); make room, and give the same command again"
# No file may have more than 1,000 bytes. What of a folder of files was whole before stays.
FULL = [
    (f"continue {{t}}/a.wav --models {{b}} --out {{t}}/o.wav {SMALL}", "{t}/o.wav"),
    (f"continue {{t}}/a.wav --models {{b}} --out {{t}}/o.flac {SMALL}", "{t}/o.flac"),
    (f"continue {{t}}/audio --models {{b}} --out {{t}}/o {SMALL}", "{t}/o/0.wav"),
    (f"sample --models {{b}} --out {{t}}/o {SMALL}", "{t}/o/sample_0.wav"),
    ("revoice {t}/a.wav --models {b} --out {t}/o.wav", "{t}/o.wav"),
    ("codec encode {t}/long.wav --model {b} --out {t}/o.codes", "{t}/o.codes"),
    (f"bundle {FIVE} --out {{t}}/o", "{t}/o"),
    ("release {b}/codec --out {t}/o.zip --licence x", "{scratch}"),
    ("items triphones {t}/a.tsv --out {t}/o.item", "{t}/o.item"),
    ("listen {t}/made --out {t}/o.html", "{t}/o.html"),
    ("index {t}/audio --index {t}/o", "{t}/o/files.arrow"),
    ("prepare {t}/made --out {t}/o", "{t}/o/a.wav/00000000-00001000.flac"),
    ("pack {t}/audio --out {t}/o", "{t}/o/audio-train.array_record-00000-of-00002"),
    (
        "tokenize {t}/tokens.py --codec {b}/codec --semantic {b}/semantic --directory {t}/o",
        "{t}/o/train-00000-of-00002.array_record",
    ),
]
# By these the same command goes on.
STATE = {"o/PACK.unfinished.json", "o/.audiolm_prepare/rules.json"}
# With so few files allowed that work begins and cannot go on.
OPEN = [
    "audit {t}/audio",
    "info {b}",
    "info {t}/b.zip",
    f"bundle {FIVE} --out {{t}}/o",
    "release {b}/codec --out {t}/o.zip --licence x",
    "items triphones {t}/a.tsv --out {t}/o.item",
    "listen {t}/made --out {t}/o.html",
    "pack {t}/audio --out {t}/o",
]


class House:
    """A folder of inputs."""

    def __init__(self, folder, bundle):
        self.folder = folder
        scratch = os.environ.get("AUDIOLM_SCRATCH") or tempfile.gettempdir()
        places = {"t": folder, "b": bundle, "p": bundle.parent / "parts", "d": DEMO}
        self.places = {name: str(path) for name, path in places.items()} | {"scratch": scratch}

    def fill(self, text):
        return text.format(**self.places)

    def files(self):
        """Without the index of recordings, which any command may keep, and Python's bytecode."""
        aside = {".audiolm_index", "__pycache__"}
        kept = (x for x in self.folder.rglob("*") if not aside.intersection(x.parts))
        return {str(path.relative_to(self.folder)) for path in kept}

    def call(self, line, capsys):
        """(status, lines of standard error)."""
        capsys.readouterr()
        try:
            status = main(shlex.split(self.fill(line)))
        except SystemExit as stop:
            status = stop.code
        return status, capsys.readouterr().err.splitlines()


@pytest.fixture(scope="module")
def house(tiny_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mistakes")
    for place, seconds in (("audio/0", 1.0), ("audio/1", 1.2), ("audio/2", 1.4), ("a", 1.0)):
        (folder / "audio").mkdir(exist_ok=True)
        soundfile.write(folder / f"{place}.wav", voice(seconds, 130), 16000)
    (folder / "one").mkdir()
    soundfile.write(folder / "one/a.wav", voice(30.0, 100), 16000)
    soundfile.write(folder / "long.wav", voice(8.0, 100), 16000)
    (folder / "made").mkdir()
    note = {"synthetic": True, "seed": 3, "prompt_seconds": 0.4, "bundle": "b" * 64}
    with open_writer(folder / "made/a.wav", 16000, note) as writer:
        writer.write(voice(1.0, 120))
    pack(tiny_bundle, folder / "b.zip")
    phones = [
        AlignedPhone(f"{who}/{n}", phone, Decimal(i), Decimal(i + 1), who)
        for who in ("low", "high")
        for n in range(20)
        for i, phone in enumerate(("b", "ah", "d", "b", "ih", "d", "pau"))
    ]
    write_alignments(folder / "a.tsv", phones)
    write_configs(folder, folder / "audio", names=("codec", "tokens"))
    jax.devices()
    return House(folder, tiny_bundle)


@pytest.mark.parametrize(("line", "said"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_mistake_is_one_line(house, capsys, line, said):
    before = house.files()
    status, lines = house.call(line, capsys)
    is_verb = not any(line.startswith(word) for word in ("trian", "encode", "x.py"))
    program = f"audiolm {line.split()[0]}" if is_verb else "audiolm"
    assert lines == [f"{program}: {house.fill(said)}"]
    assert status == 2
    assert house.files() == before


@contextlib.contextmanager
def limit(kind, most):
    soft, hard = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))


@pytest.mark.parametrize(("line", "where"), FULL, ids=[line for line, _ in FULL])
def test_a_full_disk_leaves_nothing_half_written(house, capsys, monkeypatch, line, where):
    monkeypatch.setattr(api, "Generator", FakeGenerator)
    for folder in ("audio", "made"):
        house.call(f"audit {{t}}/{folder}", capsys)  # whose index is kept before
    before = house.files()
    # Of compiled programs JAX would keep half a one.
    monkeypatch.setattr(compiler.compilation_cache, "put_executable_and_time", lambda *_: None)
    with limit(resource.RLIMIT_FSIZE, 1000):
        status, lines = house.call(line, capsys)
    left = {name for name in house.files() - before if (house.folder / name).is_file()}
    shutil.rmtree(house.fill("{t}/o"), ignore_errors=True)
    verb = line.split()[0]
    assert lines[-1] == f"audiolm {verb}: {house.fill(where)}: {_FULL}"
    assert [x for x in lines[:-1] if not x.startswith(("--", "a 5"))] == []
    assert status == 2
    assert left <= STATE


@pytest.mark.parametrize("line", OPEN)
def test_no_more_open_files_is_called_so(house, capsys, line):
    """Wherever it happens, and whatever a reader makes of a file it could not open."""
    before = house.files()
    house.call(line, capsys)  # what is imported is imported
    counts = []
    for more in range(60):
        for path in sorted(house.folder.glob("o*")):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(house.folder / "audio/.audiolm_index", ignore_errors=True)
        free = os.dup(0)
        os.close(free)
        with limit(resource.RLIMIT_NOFILE, free + more):
            status, lines = house.call(line, capsys)
        if status == 0:
            break
        counts.append(more)
        allowed = f"of which {free + more} are allowed; raise ulimit -n, and give the same command"
        assert f"Too many open files, {allowed} again" in lines[-1]
        assert len(lines) == 1
        assert status == 2
        assert house.files() - before <= {"o"} | STATE
    assert status == 0
    assert counts


def test_no_folder_for_temporary_files(house, capsys, monkeypatch):
    monkeypatch.setattr(local_copy, "_own_folder", local_copy._made_folder.__wrapped__)
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/a", "/proc/b"])
    monkeypatch.delenv("AUDIOLM_SCRATCH", raising=False)
    lost = (
        "no folder for temporary files can be written (['/proc/a', '/proc/b']); make room in one, "
        "or set TMPDIR to one that can, and give the same command again"
    )
    calls = ("info {t}/b.zip", "release {b}/codec --out {t}/o.zip --licence x")
    before = house.files()
    for line in calls:
        assert house.call(line, capsys) == (2, [f"audiolm {line.split()[0]}: {lost}"])
    monkeypatch.setenv("AUDIOLM_SCRATCH", "/proc/x")
    for line in calls:
        named = "AUDIOLM_SCRATCH = /proc/x: cannot be written (No such file or directory)"
        said = [f"audiolm {line.split()[0]}: {named}; name a folder that can"]
        assert house.call(line, capsys) == (2, said)
    assert house.files() == before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is full")
def test_a_full_disk_behind_standard_output(house, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        status = main(["info", house.fill("{b}")])
        with contextlib.suppress(OSError):
            full.close()
    said = "no space left on the disk (No space left on device); make room, and give"
    assert said in capsys.readouterr().err
    assert status == 2


def test_a_field_of_a_config_file_that_is_none_or_not_there(tmp_path):
    """In a process of its own, where no test looks at the types of arguments."""
    head = "from audiolm_jax.training.config import LoopConfig\n\ndef experiment():\n    return "
    (tmp_path / "typo.py").write_text(f"{head}LoopConfig(steps=1, setps=2)\n")
    (tmp_path / "less.py").write_text(f"{head}LoopConfig()\n")
    program = "from audiolm_jax.cli.main import main\nmain(['train', 'typo.py'])\n"
    program += "main(['train', 'less.py'])"
    environment = os.environ | {"PYTHONPATH": str(DEMO.parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines() == [
        "audiolm train: typo.py:4: LoopConfig has no field setps; did you mean steps?",
        "audiolm train: less.py:4: LoopConfig missing 1 required positional argument: 'steps'",
    ]


def test_help_can_be_asked_for_one_part(capsys):
    sizes = {}
    for words in (["train", "--help"], ["train", str(DEMO / "codec.py"), "--help", "loop"]):
        assert main(words) == 0
        sizes[words[-1]] = capsys.readouterr().out
    assert len(sizes["--help"].splitlines()) < 40
    assert "codec       Train SoundStream" in sizes["--help"]
    assert "--loop.steps INT" in sizes["loop"]
    assert "--model." not in sizes["loop"]
    assert main(["train", "--help", "stage", "model.decoder"]) == 0
    part = capsys.readouterr().out
    assert "--model.decoder.width INT" in part
    assert "--model.stage.name" not in part


def test_names_of_255_bytes(house, capsys, monkeypatch):
    monkeypatch.setattr(api, "Generator", FakeGenerator)
    long = "é" * 125 + "x"
    for line in (
        f"continue {{t}}/a.wav --models {{b}} --out {{t}}/{long}.wav {SMALL}",
        f"bundle {FIVE} --out {{t}}/{long}wxyz",
        f"release {{b}}/codec --out {{t}}/{long}.zip --licence x",
        f"listen {{t}}/made --out {{t}}/{'l' * 250}.html",
    ):
        assert house.call(line, capsys)[0] == 0
    for path in [x for x in house.folder.iterdir() if len(os.fsencode(x.name)) >= 255]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder = house.folder / "longs"
    folder.mkdir()
    soundfile.write(folder / f"{'n' * 251}.wav", np.zeros(3200), 16000)
    soundfile.write(folder / "b.wav", np.zeros(3200), 16000)
    status, lines = house.call("codec encode {t}/longs --model {b} --out {t}/longs_o", capsys)
    assert status == 2
    assert [x.name for x in (house.folder / "longs_o").iterdir()] == ["b.codes"]
    assert "cannot be written (File name too long)" in lines[0]
    assert lines[-1].endswith("1 of 2 files failed, see above")
    for name in ("longs", "longs_o"):
        shutil.rmtree(house.folder / name)
