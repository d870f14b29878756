"""One folder of everything that is found in folders of recordings, through all commands."""

import os
from pathlib import Path

import pytest
from support.odd_folder import PAGE, make, measured, page
from support.odd_kinds import NAMED, RATE, all_kinds
from support.tiny_runs import BUNDLED, write_configs

from audiolm_jax.audio.files import read_audio
from audiolm_jax.audio.names import shown
from audiolm_jax.cli.main import main
from audiolm_jax.data.index import index_folder
from audiolm_jax.data.sources import AudioDataConfig
from audiolm_jax.errors import InputError
from audiolm_jax.generation.prompts import Hearing, take_prompt

ROOT = Path(__file__).parents[2]
PROMPTS = {"A name that is not UTF-8", "A name with a line break", "Shorter than a prompt"}


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    kinds = all_kinds()
    make(folder, kinds)
    return folder, kinds


def test_each_kind_has_its_verdict_and_the_page_says_so(odd):
    """And what is used has all its samples."""
    folder, kinds = odd
    index, rows = index_folder(AudioDataConfig(str(folder))), []
    assert len(kinds) > 40
    for kind in kinds:
        found = (NAMED, kind.words)
        if not (kind.needs_user and os.geteuid() == 0):
            found = measured(index, kind)
        assert found[0] == kind.verdict, (kind, found)
        assert kind.words in found[1], (kind, found)
        rows.append((kind, *found))
    assert (ROOT / PAGE).read_text() == page(rows), "python tests/support/odd_folder.py mends it"


@pytest.mark.slow  # trains seven tiny models
def test_all_commands_work_on_it(odd, tmp_path, capsys):
    folder, kinds = odd
    locked = [kind for kind in kinds if kind.needs_user]
    used = [kind for kind in kinds if kind.verdict != NAMED]
    named = [kind for kind in kinds if kind.verdict == NAMED]
    if os.geteuid() == 0:
        used, named = used + locked, [kind for kind in named if not kind.needs_user]

    def run(*words, status=0):
        capsys.readouterr()
        assert main([str(word) for word in words]) == status, capsys.readouterr()
        out, err = capsys.readouterr()
        assert "unexpected" not in err
        assert "Traceback" not in err
        return out, err

    def skipped(err):
        return [line for line in err.splitlines() if "files skipped" in line]

    out, err = run("audit", folder, "--list")
    assert f"{len(used)} good files, {len(named)} bad" in out
    assert sum(line.startswith("bad: ") for line in out.splitlines()) == len(named)
    assert err == ""
    configs = write_configs(tmp_path, folder)
    for name in ("codec", "encoder", "kmeans"):
        _, err = run("train", configs[name])
        assert len(skipped(err)) == 1, err
        assert f"{len(named)} files skipped (" in skipped(err)[0]
    _, err = run("tokenize", configs["tokens"])
    assert f"{len(named)} files skipped (" in skipped(err)[0]
    for name in ("semantic_lm", "coarse_lm", "fine_lm"):
        run("train", configs[name])
    runs = tmp_path / "runs"
    run("bundle", *(runs / name for name in BUNDLED), "--out", runs / "bundle")

    # The codec takes what is silent or short as well, and names what it does not look into.
    unfit = ("silent", "too short: 0.006", "left out", "hidden", "sound that")
    bad = [kind for kind in named if not kind.words.startswith(unfit)]
    model = ["--model", runs / "codec/model"]
    out, err = run("codec", "encode", folder, *model, "--out", tmp_path / "codes", status=2)
    failed = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == len(bad), err
    for kind in bad:
        assert sum(f"/{shown(kind.name)}: " in line for line in failed) == 1, kind
    assert len(list((tmp_path / "codes").rglob("*.codes"))) == len(used) + 2
    run("codec", "decode", tmp_path / "codes", *model, "--out", tmp_path / "heard")
    for kind in used:
        heard, rate = read_audio((tmp_path / "heard" / kind.name).with_suffix(".wav"))
        assert len(heard) / rate == pytest.approx(kind.samples / kind.rate_hz, abs=0.3)

    def heard(kind, seconds=None):
        return take_prompt(folder / kind.name, None, Hearing(RATE, 1, 1e6), seconds)

    for kind in used:
        assert len(heard(kind, 0.4).samples) == 0.4 * RATE
    for kind in bad:
        with pytest.raises(InputError) as caught:
            heard(kind)
        assert f"/{shown(kind.name)}: " in str(caught.value)
    window = ["--models", runs / "bundle", "--generation.context-seconds", 0.4, "--seconds", 0.2]
    prompts = [kind for kind in kinds if kind.what in PROMPTS]
    assert len(prompts) == len(PROMPTS)
    for number, kind in enumerate(prompts):
        words = [folder / kind.name, *window, "--out", tmp_path / f"{number}.wav"]
        out, _ = run("continue", *words, "--prompt-seconds", 0.4)
        assert "of which 0.40 s prompt" in out
        _, err = run("continue", *words, "--prompt-seconds", 3, status=2)
        assert len(err.splitlines()) == 1
        assert f"/{shown(kind.name)} has only" in err
