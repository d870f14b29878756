"""The page in a real browser: by keyboard alone, a prompt from the microphone, its continuation
heard, looked at and downloaded."""

import asyncio
import signal
import subprocess
import sys

import pytest
from support import chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium.PROGRAM is None, reason="needs Chromium (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def url(tiny_bundle):
    """Of a server as a user starts it."""
    words = [
        "serve",
        "--models",
        str(tiny_bundle),
        "--port",
        "0",
        "--generation.context-seconds",
        "1",
    ]
    command = [sys.executable, "-m", "audiolm_jax", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stdout if line.startswith("open "))
        assert line.startswith("open http://127.0.0.1:")
        yield line.split()[1]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def visit(visitor):
    async def run():
        async with chromium.chromium() as browser:
            await visitor(browser)
            return browser.complaints

    assert asyncio.run(asyncio.wait_for(run(), 300)) == []


def text(name):
    return f"document.getElementById('{name}').textContent"


def test_a_voice_goes_on_by_keyboard_alone(url, tmp_path):
    async def visitor(browser):
        await browser.open(url)
        await browser.wait_for("document.querySelectorAll('#temperatures input').length === 3")
        await browser.tab_to("record")
        await browser.press("Enter")
        await browser.wait_for(f"/[12][.]\\d s/.test({text('chosen')})")
        await browser.press("Enter")
        await browser.wait_for(f"{text('chosen')}.includes('recording.wav')")
        await browser.value("document.getElementById('seconds').value = 2")
        await browser.tab_to("consent")
        await browser.press("Space")
        await browser.tab_to("go")
        await browser.press("Enter")
        await browser.wait_for(f"{text('status')}.startsWith('Done: ')", 200)
        assert await browser.value("document.activeElement.id") == "result-title"
        assert "synthetic" in await browser.value(text("result-title"))
        for canvas in ("wave", "spectrum"):
            colors = await browser.value(
                f"new Set(new Uint32Array(document.getElementById('{canvas}').getContext('2d')"
                ".getImageData(0, 0, 1200, 100).data.buffer)).size"
            )
            assert colors > 3
        await browser.wait_for("document.getElementById('player').duration > 2.9")
        assert await browser.value("document.querySelectorAll('#tokens tr').length") == 3
        for kind, mark in (("wav", "RIFF"), ("flac", "fLaC")):
            start = await browser.value(
                f"fetch(document.getElementById('{kind}').href).then(r => r.arrayBuffer())"
                ".then(b => new TextDecoder().decode(b.slice(0, 4)))"
            )
            assert start == mark

    visit(visitor)


def test_what_is_missing_is_said(url):
    async def visitor(browser):
        await browser.open(url, width=390, height=800)
        await browser.wait_for(f"{text('bundle')}.length > 20")
        await browser.tab_to("go")
        await browser.press("Enter")
        assert "No prompt yet" in await browser.value(text("error"))
        await browser.value("take(new Blob(['no sound']), 'broken.wav'), 0")
        await browser.press("Enter")
        assert "agrees" in await browser.value(text("error"))
        await browser.value("document.getElementById('consent').click()")
        await browser.press("Enter")
        await browser.wait_for(f"{text('error')}.includes('prompt.wav: ')")
        assert await browser.value("document.documentElement.scrollWidth") <= 390
        browser.complaints.clear()  # a browser logs each answer of status 400

    visit(visitor)
