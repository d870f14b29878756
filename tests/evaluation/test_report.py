"""The page: well formed, self-contained, escaped, and true to what it was given."""

import base64
import dataclasses
import html.parser
import re

import numpy as np
import pytest

from audiolm_jax.audio.files import read_audio
from audiolm_jax.errors import InputError
from audiolm_jax.evaluation.bundle.report import ReportPage
from audiolm_jax.evaluation.measures.codec import ClipScore, CodecReport, PrefixScore
from audiolm_jax.evaluation.measures.histograms import LevelUse
from audiolm_jax.evaluation.measures.likelihood import LevelLikelihood, StageLikelihood
from audiolm_jax.evaluation.measures.semantic import SemanticReport
from audiolm_jax.evaluation.page.listening import AudioClip, Example
from audiolm_jax.evaluation.page.sound import to_pcm16
from audiolm_jax.evaluation.page.tables import Table, number, percent
from audiolm_jax.evaluation.page.training import TrainerSummary

RATE_HZ = 16000
HOSTILE = '<script>alert("x")</script> & \'q\' " onload="y'
VOID = {"meta", "img", "source"}


class Page(html.parser.HTMLParser):
    """Collects elements and insists that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self):
        return " ".join(self.texts)


def tone(seconds, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.5, 0.5, int(seconds * RATE_HZ)).astype(np.float32)


def row(level, model=2.0, unigram=3.0, bigram=2.5):
    return LevelLikelihood(level, 1234, model, unigram, bigram, None, 6.93, 2.25)


@pytest.fixture(scope="module")
def content():
    metrics = tuple({"step": s, "loss": 5.0 / (s + 1), "heldout/loss": 4.0} for s in range(20))
    trainers = tuple(
        TrainerSummary(
            f"{name} {HOSTILE}", 400, "8 clips", 123456, 0.25, "1 CPU", metrics, ("loss",)
        )
        for name in ("codec", "coarse")
    )
    return ReportPage(
        title=f"Title {HOSTILE}",
        summary=f"Summary {HOSTILE}",
        sample_rate_hz=RATE_HZ,
        train_seconds=5400.0,
        examples=(
            Example(
                f"clip {HOSTILE}",
                f"words {HOSTILE}",
                (
                    AudioClip(f"Prompt {HOSTILE}", tone(0.6, 0)),
                    AudioClip("Continuation, seed 0", tone(1.4, 1), 0.6, f"heard {HOSTILE}"),
                    AudioClip("Continuation, seed 1", 4 * tone(1.4, 2), prompt_seconds=0.6),
                ),
            ),
            Example("no words", None, (AudioClip("Sample", tone(0.3, 3)),)),
        ),
        trainers=trainers,
        likelihoods=(
            StageLikelihood("semantic", (row("semantic"), row("end"), row("all"))),
            StageLikelihood("fine", (row("level_2", 2.75), row("all", 2.75))),
        ),
        codec=CodecReport(
            clips=(
                ClipScore(f"a{HOSTILE}", 2.0, -1.25, 0.5, 0.61),
                ClipScore("b", 0.2, 3.0, 0.7, None),
            ),
            levels=(LevelUse(0, 100, 924, 77.7), LevelUse(1, 50, 974, 33.3)),
            prefixes=(PrefixScore(1, -3.0, 0.9, 0.4),),
            frames=5000,
            codebook_size=1024,
        ),
        semantic=SemanticReport(3, 60.0, 1500, 900, 64, 60, 41.5, 43.0),
        provenance={"config hash": "abc123", HOSTILE: HOSTILE},
        data_licence=f"CC BY-SA 3.0 {HOSTILE}",
    )


@pytest.fixture(scope="module")
def text(content):
    return content.render()


def test_page_is_well_formed_and_loads_nothing(text):
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        for name in ("src", "href", "poster", "action", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), value
            if value is not None and value.startswith("#"):
                assert value[1:] in ids
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    policy = page.all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert "default-src 'none'" in policy["content"]


def test_every_text_is_escaped(text):
    page = Page(text)
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert 'alert("x")' not in text
    assert not any("onload" in attributes for _, attributes in page.elements)
    for start in ("Title ", "Summary ", "clip ", "words ", "codec ", "coarse ", "CC BY-SA 3.0 "):
        assert start + HOSTILE in page.text  # unharmed once the browser has read it


def test_players_hold_the_samples(text, content, tmp_path):
    clips = [clip for example in content.examples for clip in example.clips]
    page = Page(text)
    assert len(page.all("audio")) == len(clips) == 4
    for attributes, clip in zip(page.all("audio"), clips, strict=True):
        head, body = attributes["src"].split(",", 1)
        assert head == "data:audio/flac;base64"
        assert clip.title in attributes["aria-label"]
        file = tmp_path / "clip.flac"
        file.write_bytes(base64.b64decode(body))
        heard, rate_hz = read_audio(file)
        assert rate_hz == RATE_HZ
        np.testing.assert_array_equal(
            np.round(heard * 32768).astype(np.int64), to_pcm16(clip.samples)
        )
    assert all(attributes["alt"] for attributes in page.all("img"))
    pictures = [image for image in page.all("img") if "class" not in image]
    assert len(pictures) == 4
    assert all(image["src"].startswith("data:image/png;base64,") for image in pictures)
    assert page.text.count("cut off") == 1
    assert [a["style"] for a in page.all("i") if "title" in a] == ["left:42.86%"] * 2


def test_tables_hold_the_numbers(text):
    page = Page(text)
    for expected in (
        "0.250",  # seconds per step
        "123,456",
        "2.000",
        "33.3\N{NO-BREAK SPACE}% below",
        "10.0\N{NO-BREAK SPACE}% above",
        "6.930",
        "77.7",
        "924",
        "974",
        "60 of 64",
        "40 %",
        "15.0",
        "abc123",
        "0.61",
        "\N{MINUS SIGN}1.2",
        "1 of 2 clips hold less than 0.4 s",
    ):
        assert expected in page.text, expected
    charts = [image for image in page.all("img") if image.get("class") == "chart"]
    dark = page.all("source")
    assert len(charts) == len(dark) == 2
    for light, other in zip(charts, dark, strict=True):
        assert light["src"].startswith("data:image/svg+xml;base64,")
        assert other["srcset"].startswith("data:image/svg+xml;base64,")
        assert light["src"] != other["srcset"]
        assert other["media"] == "(prefers-color-scheme: dark)"


def test_a_row_of_the_likelihood_table_shows_each_of_its_numbers_in_its_column(content):
    shown = StageLikelihood("coarse", (row("all", 2.125, 3.25, 2.75),))
    bare = dataclasses.replace(content, examples=(), trainers=(), codec=None, likelihoods=(shown,))
    table = bare.render().split("<caption>Coarse stage")[1].split("</table>")[0]
    cells = [re.sub("<[^>]*>", "", cell) for cell in re.findall("<td>(.*?)</td>", table)]
    assert cells[:7] == ["1,234", "2.125", "2.250", "3.250", "2.750", "", "6.930"]
    assert [cell.split("&nbsp;")[0] for cell in cells[7:9]] == ["34.6", "22.7"]
    places = re.findall(r"<[ius] style=\"(?:width|left):([0-9.]+)%", table)
    assert np.diff([float(place) for place in places]).round(2).tolist() == [16.2, -7.2]


def test_parts_that_were_not_measured_are_left_out(content):
    bare = dataclasses.replace(
        content, examples=(), trainers=(), likelihoods=(), codec=None, semantic=None
    )
    page = Page(bare.render())
    headings = [a["id"] for a in page.all("h2")]
    assert headings == ["expect-title", "provenance-title"]
    assert "STOI" not in page.text


def test_equal_content_gives_an_equal_page(content, text):
    assert content.render() == text


def test_broken_clips_are_named(content):
    for samples in (np.zeros(0), np.zeros((2, 9)), np.full(9, np.nan)):
        example = Example("where", None, (AudioClip("what", samples),))
        broken = dataclasses.replace(content, examples=(example,))
        with pytest.raises(InputError):
            broken.render()


def test_words_follow_the_numbers(content):
    def words(**fields):
        silent = dataclasses.replace(content, examples=(), trainers=(), **fields)
        return " ".join(Page(silent.render()).text.split())

    def codec(score):
        clips = (ClipScore("a", 2.0, 0.0, 0.5, score),)
        return words(codec=dataclasses.replace(content.codec, clips=clips))

    assert "STOI of 0.95" in codec(0.95)
    assert "By rule of thumb nearly every word" in codec(0.95)
    assert "most words" in codec(0.8)
    assert "some words" in codec(0.65)
    assert "few words" in codec(0.3)
    assert "few words" in codec(-0.1)
    assert "No clip was long enough" in codec(None)
    assert "clearer than the round trip." in codec(None)

    def stage(model):
        return words(likelihoods=(StageLikelihood("coarse", (row("all", model),)),))

    assert "20.0 % below a table of which token follows which: it uses more than" in stage(2.0)
    assert "8.0 % above a table" in stage(2.7)
    assert "no better than knowing how frequent" in stage(3.0)
    assert "trained from scratch on 90 minutes of audio. The paper used 60,000" in words()
    assert "40,000 times" in words()
    assert " times as much" not in words(train_seconds=3600.0 * 60_000)


def test_numbers_and_tables():
    assert number(None, 2) == number(float("nan"), 2) == "\N{EN DASH}"
    assert number(-1234.567, 1) == "\N{MINUS SIGN}1,234.6"
    assert (percent(0.12345), percent(None)) == ("12.35", "")
    table = Table(("a", "b"), [("x|y", "1")])
    assert table.markdown() == "| a | b |\n| --- | ---: |\n| x/y | 1 |\n"
