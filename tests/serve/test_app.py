"""The site answers as its page expects: sound while it is made, bad input in one line, a line of
limited length, nothing for other sites, and whoever leaves costs nothing more."""

import asyncio
import base64
import dataclasses
import io
import json
import threading

import aiohttp
import numpy as np
import pytest
import soundfile
from aiohttp.test_utils import TestClient, TestServer

from audiolm_jax.audio.output import read_provenance
from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import Pipeline, Stream
from audiolm_jax.generation.bundle import load_bundle
from audiolm_jax.generation.config import GenerationConfig
from audiolm_jax.serve import worker
from audiolm_jax.serve.app import Site
from audiolm_jax.serve.wishes import read_wish

RATE_HZ = 16_000


def wav(seconds=1.0):
    hum = 0.3 * np.sin(np.arange(round(seconds * RATE_HZ)) * 0.05)
    file = io.BytesIO()
    soundfile.write(file, hum, RATE_HZ, format="WAV")
    return file.getvalue()


def form(prompt=None, name="prompt.wav", **fields):
    data = aiohttp.FormData(default_to_multipart=True)
    for key, value in ({"consent": "yes", "seconds": "1"} | fields).items():
        if value is not None:
            data.add_field(key, value)
    if prompt is not None:
        data.add_field("prompt", prompt, filename=name)
    return data


def visit(pipeline, tmp_path, visitor, **limits):
    """Runs a visitor, a coroutine function of a client and the site."""
    limits = {"most_waiting": 2, "most_seconds": 10.0, "upload_mib": 1.0, "is_local": True} | limits

    async def run():
        site = Site(pipeline, tmp_path, **limits)
        async with TestClient(TestServer(site.app(), host="127.0.0.1")) as client:
            return await visitor(client)

    return asyncio.run(asyncio.wait_for(run(), 120))


async def events_of(response):
    return [json.loads(line) async for line in response.content]


@pytest.fixture(scope="module")
def pipeline(tiny_bundle):
    return Pipeline(load_bundle(tiny_bundle), GenerationConfig(context_seconds=1.0))


def test_what_is_heard_is_what_is_made_and_what_is_downloaded(pipeline, tmp_path):
    wish = {"seed": "7", "temperature_coarse": "0.3"}

    async def visitor(client):
        response = await client.post("/continue", data=form(wav(), **wish))
        assert response.status == 200
        events = await events_of(response)
        files = {}
        for kind in ("wav", "flac"):
            got = await client.get(f"/results/{events[-1]['id']}.{kind}?download")
            assert f"continuation.{kind}" in got.headers["Content-Disposition"]
            files[kind] = await got.read()
        return events, files

    events, files = visit(pipeline, tmp_path, visitor)
    assert [events[0], events[1]] == [
        {"event": "queued", "before": 0},
        {"event": "started", "rate_hz": RATE_HZ},
    ]
    done = events[-1]
    assert done["event"] == "done"
    pcm = b"".join(base64.b64decode(e["pcm"]) for e in events if e["event"] == "sound")
    (tmp_path / "p.wav").write_bytes(wav())
    coarse = dataclasses.replace(pipeline.config.coarse, temperature=0.3)
    cooler = pipeline.sampled({"coarse": coarse})
    wanted = cooler.continue_audio(tmp_path / "p.wav", 1.0, 7)
    wanted.save(tmp_path / "wanted.wav")
    assert pcm == soundfile.read(tmp_path / "wanted.wav", dtype="int16")[0].tobytes()
    assert not np.array_equal(
        wanted.codes, pipeline.continue_audio(tmp_path / "p.wav", 1.0, 7).codes
    )
    assert done["tokens"] == {name: tokens.tolist() for name, tokens in wanted.tokens.items()}
    assert done["prompt_samples"] == wanted.prompt_samples
    for kind, content in files.items():
        samples, _ = soundfile.read(io.BytesIO(content), dtype="int16")
        assert samples.tobytes() == pcm
        (tmp_path / f"x.{kind}").write_bytes(content)
        provenance = read_provenance(tmp_path / f"x.{kind}")
        assert provenance == done["provenance"]
        assert (provenance["synthetic"], provenance["seed"]) == (True, 7)
    shades = np.frombuffer(base64.b64decode(done["spectrogram"]["data"]), np.uint8)
    assert len(shades) == done["spectrogram"]["bands"] * done["spectrogram"]["frames"]
    assert shades.max() == 255


def test_the_page_and_what_it_needs_come_from_here_alone(pipeline, tmp_path):
    async def visitor(client):
        page = await client.get("/")
        text = await page.text()
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http:" not in text + policy
        assert "https:" not in text + policy
        for name in ("page.js", "page.css", "recorder.js"):
            if name != "recorder.js":
                assert f"/static/{name}" in text
            assert (await client.get(f"/static/{name}")).status == 200
        for name in ("/static/page.html", "/static/..%2fapp.py", "/results/x.wav", "/nothing"):
            got = await client.get(name)
            assert got.status == 404
            assert list(await got.json()) == ["error"]
        info = await (await client.get("/info")).json()
        assert info["temperatures"] == {"semantic": 0.6, "coarse": 0.8, "fine": 0.6}

    visit(pipeline, tmp_path, visitor)


def test_other_sites_and_other_names_are_refused(pipeline, tmp_path):
    async def local(client):
        evil = await client.get("/info", headers={"Host": "evil.example"})
        assert evil.status == 403
        assert "this machine alone" in (await evil.json())["error"]
        other = await client.post("/continue", data=form(wav()), headers={"Origin": "http://evil"})
        assert other.status == 403
        own = {"Origin": f"http://127.0.0.1:{client.port}"}
        assert (await client.post("/continue", data=form(), headers=own)).status == 400

    async def public(client):
        assert (await client.get("/info", headers={"Host": "box.example"})).status == 200

    visit(pipeline, tmp_path, local)
    visit(pipeline, tmp_path, public, is_local=False)


@pytest.mark.parametrize(
    ("fields", "status", "line"),
    [
        ({"consent": None}, 400, "consent: say that the speaker agrees"),
        ({"consent": "no"}, 400, "consent"),
        ({"seconds": "nan"}, 400, "seconds 'nan': expected a number from 0.1 to 10"),
        ({"seconds": "11"}, 400, "seconds '11'"),
        ({"seconds": None}, 400, "seconds ''"),
        ({"seed": "-1"}, 400, "seed '-1': expected a whole number from 0 to 2^64 - 1"),
        ({"seed": str(2**64)}, 400, "seed"),
        ({"seed": "٣"}, 400, "seed"),
        ({"temperature_fine": "3"}, 400, "temperature_fine '3': expected a number from 0 to 2"),
        ({"x": "y" * 2000}, 400, "x: longer than 1000 bytes"),
        ({"prompt": None}, 400, "prompt: no file came"),
        ({"prompt": b"RIFFnonsense"}, 400, "prompt.wav: "),
        ({"prompt": b"", "name": "a.exe"}, 400, "suffix '.exe' is not one of"),
        ({"prompt": wav(0.01)}, 400, "prompt.wav: "),
        ({"prompt": b"\0" * (2**20 + 1)}, 413, "prompt: larger than 1 MiB; cut it shorter"),
    ],
)
def test_bad_input_is_one_line(pipeline, tmp_path, fields, status, line):
    fields = dict(fields)
    prompt, name = fields.pop("prompt", wav()), fields.pop("name", "prompt.wav")

    async def visitor(client):
        response = await client.post("/continue", data=form(prompt, name, **fields))
        return response.status, (await response.json())["error"]

    got, error = visit(pipeline, tmp_path, visitor)
    assert got == status
    assert line in error
    assert "\n" not in error
    assert "/tmp" not in error


def test_what_is_no_form_is_refused(pipeline, tmp_path):
    async def visitor(client):
        for body, kind in (
            (b"{}", "application/json"),
            (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
            (b"", "multipart/form-data"),
        ):
            got = await client.post("/continue", data=body, headers={"Content-Type": kind})
            assert got.status == 400
            assert list(await got.json()) == ["error"]

    visit(pipeline, tmp_path, visitor)


class Slow(Pipeline):
    """A pipeline that makes a piece each time it is told to, and counts how many."""

    def __init__(self, pipeline):
        self.go, self.pieces, self.began = threading.Semaphore(0), 0, threading.Semaphore(0)
        self.sample_rate_hz, self.bundle = pipeline.sample_rate_hz, pipeline.bundle
        self.config, self.take = pipeline.config, pipeline.take
        self.result = pipeline.continue_audio(np.ones(RATE_HZ, np.float32) * 0.1, 0.1, 0, RATE_HZ)
        self.error = None

    def sampled(self, sampling):
        return self

    def stream(self, prompt, seconds, seed, rate_hz=None, progress=None):
        outer = self

        class Pieces(Stream):
            result = outer.result

            def __init__(self):
                pass

            def __iter__(self):
                outer.began.release()
                for _ in range(3):
                    outer.go.acquire()
                    if outer.error:
                        raise outer.error
                    outer.pieces += 1
                    yield np.zeros(10, np.float32)

        return Pieces()


@pytest.fixture
def slow(pipeline):
    return Slow(pipeline)


def test_others_wait_in_a_line_of_limited_length(slow, tmp_path):
    async def visitor(client):
        first = await client.post("/continue", data=form(wav()))
        await asyncio.to_thread(slow.began.acquire)
        waiting = [await client.post("/continue", data=form(wav())) for _ in range(2)]
        queued = [json.loads(await response.content.readline()) for response in waiting]
        assert [event["before"] for event in queued] == [0, 1]
        full = await client.post("/continue", data=form(wav()))
        assert full.status == 503
        assert (await full.json())["error"] == "2 wait already; try again in a minute"
        slow.go.release(9)
        lasts = [(await events_of(response))[-1]["event"] for response in (first, *waiting)]
        assert lasts == ["done"] * 3

    visit(slow, tmp_path, visitor)
    assert slow.pieces == 9


def test_who_leaves_is_not_worked_for(slow, tmp_path):
    async def visitor(client):
        response = await client.post("/continue", data=form(wav()))
        await asyncio.to_thread(slow.began.acquire)
        gone = await client.post("/continue", data=form(wav()))
        await gone.content.readline()
        gone.close()
        response.close()
        await asyncio.sleep(0.5)
        slow.go.release(9)
        after = await client.post("/continue", data=form(wav()))
        return await events_of(after)

    assert visit(slow, tmp_path, visitor)[-1]["event"] == "done"
    assert slow.pieces == 1 + 0 + 3  # of the first the piece under way, of the second none


@pytest.mark.parametrize(
    ("error", "line"),
    [(InputError("the disk is full"), "the disk is full"), (ValueError("x"), "failed: ValueError")],
)
def test_what_fails_meanwhile_is_told_and_the_next_is_served(slow, tmp_path, error, line):
    async def visitor(client):
        slow.error = error
        slow.go.release(9)
        events = await events_of(await client.post("/continue", data=form(wav())))
        slow.error = None
        return events, await events_of(await client.post("/continue", data=form(wav())))

    failed, served = visit(slow, tmp_path, visitor)
    assert failed[-1] == {"event": "error", "line": line}
    assert served[-1]["event"] == "done"


def test_the_oldest_results_go(slow, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "KEPT_RESULTS", 2)
    slow.go.release(99)

    async def visitor(client):
        names = []
        for _ in range(3):
            events = await events_of(await client.post("/continue", data=form(wav())))
            names.append(events[-1]["id"])
        return [(await client.get(f"/results/{name}.flac")).status for name in names]

    assert visit(slow, tmp_path, visitor) == [404, 200, 200]
    assert len(list(tmp_path.iterdir())) == 4


def test_fields_left_out_are_as_usual(pipeline):
    wish = read_wish({"consent": "yes", "seconds": "2"}, pipeline.config, ("semantic", "fine"), 9.0)
    assert (wish.seconds, wish.seed) == (2.0, 0)
    assert wish.sampling == {"semantic": pipeline.config.semantic, "fine": pipeline.config.fine}
