"""`audiolm listen`: a folder of generated files as a page, with what a fake recognizer hears."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile
from support.tiny_models import voice

from audiolm_jax.audio.output import open_writer
from audiolm_jax.cli import listen
from audiolm_jax.cli.main import main
from audiolm_jax.evaluation import generated
from audiolm_jax.evaluation.measures.recognition import HeardWord, Recognizer

RATE = 16_000


class Fake(Recognizer):
    """Hears a word each second; the fifth lies across the prompt's end at 4.4 s, mostly after."""

    fingerprint = "f" * 64

    def __init__(self, folder, language):
        self.heard = []

    def words(self, samples):
        words = [
            HeardWord(f"w{i}<b>", float(i), i + 0.9) for i in range(round(len(samples) / RATE))
        ]
        self.heard.append(len(samples))
        return words


def made(path, rate=RATE, **provenance):
    path.parent.mkdir(exist_ok=True)
    note = {"synthetic": True, "seed": 3, "prompt_seconds": 4.4, "bundle": "b" * 64} | provenance
    with open_writer(path, rate, note) as writer:
        writer.write(voice(6.0, 120.0))


@pytest.fixture
def folder(tmp_path):
    made(tmp_path / "made" / "a.wav")
    made(tmp_path / "made" / "b.flac", seed=4, prompt_seconds=0.0)
    soundfile.write(tmp_path / "made" / "own.wav", voice(1.0, 200.0), RATE)
    (tmp_path / "made" / "c.wav.txt").write_text("no sound")
    return tmp_path / "made"


def test_page_holds_the_generated_files_and_the_words_after_the_prompt(folder, capsys, monkeypatch):
    monkeypatch.setattr(listen, "Recognizer", Fake)
    assert (
        main(["listen", str(folder), "--recognizer", "whisper", "--title", "Mine & <yours>"]) == 0
    )
    page = (folder / "index.html").read_text()
    said = capsys.readouterr().out
    assert "Mine &amp; &lt;yours&gt;" in page
    assert "own" not in re.findall(r"<h3>(.*?)</h3>", page)
    quotes = re.findall(r"<blockquote>(.*?)</blockquote>", page)
    assert quotes == [
        "w0&lt;b&gt; w1&lt;b&gt; w2&lt;b&gt; w3&lt;b&gt;",
        "w4&lt;b&gt; w5&lt;b&gt;",
        "w0&lt;b&gt; w1&lt;b&gt; w2&lt;b&gt; w3&lt;b&gt; w4&lt;b&gt; w5&lt;b&gt;",
    ]
    assert "a: w4<b> w5<b>" in said
    assert "2 files, 1 of them with a prompt" in page
    sounds = re.findall(r'src="data:audio/flac;base64,([^"]+)"', page)
    there, _ = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])))
    expected, _ = soundfile.read(folder / "a.wav")
    np.testing.assert_array_equal(there, expected)


def test_without_a_recognizer_nobody_listens(folder, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["listen", str(folder), "--out", str(out)]) == 0
    assert "Nobody listened" in out.read_text()
    assert capsys.readouterr().out == f"{out}: 2 files, open it in a browser\n"


def test_other_rates_are_heard_at_16_khz(tmp_path, monkeypatch):
    made(tmp_path / "made" / "a.wav", rate=24_000)
    fake = Fake(None, "en")
    (file,) = generated.find_generated(tmp_path / "made")
    page = generated.page_of([file], "", "", fake)
    assert fake.heard == [4 * RATE]  # of 6 s at 16 kHz, played at 24
    assert page.sample_rate_hz == 24_000


@pytest.mark.parametrize("case", ["no folder", "no such", "two rates", "damaged", "suffix"])
def test_what_is_no_page_gets_one_line(case, folder, tmp_path, capsys):
    words, expected = [str(folder)], ""
    if case == "no folder":
        words, expected = [str(tmp_path / "nowhere")], "nowhere: holds no file that audiolm"
    if case == "no such":
        for name in ("a.wav", "b.flac"):
            (folder / name).unlink()
        expected = "made: holds no file that audiolm has made"
    if case == "two rates":
        made(folder / "z.wav", rate=24_000)
        expected = "z.wav: 24000 Hz"
    if case == "damaged":
        (folder / "a.wav").write_bytes((folder / "a.wav").read_bytes()[:1000])
        expected = "a.wav"
    if case == "suffix":
        words, expected = [str(folder), "--out", str(tmp_path / "x.htm")], "expected a name ending"
    assert main(["listen", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line
    assert not (folder / "index.html").exists()
