"""A headless Chromium driven by its own protocol: what a visitor does to a page, and sees."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
import tempfile
from pathlib import Path

import aiohttp

PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")
_FLAGS = [
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--mute-audio", "--autoplay-policy=no-user-gesture-required"),
    *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
    "--remote-debugging-port=0",
]


class Browser:
    """One page."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints = []  # of scripts and of the page's policy

    async def do(self, method, **params):
        """A command of the protocol, and what it returns."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(message["params"]["exceptionDetails"])
            if message.get("method") == "Log.entryAdded":
                entry = message["params"]["entry"]
                if entry["level"] == "error":
                    self.complaints.append(f"{entry.get('url')}: {entry['text']}")
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    async def value(self, script):
        """Of an expression, awaited."""
        options = {"awaitPromise": True, "returnByValue": True}
        result = await self.do("Runtime.evaluate", expression=script, **options)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def wait_for(self, script, seconds=60):
        """Until an expression is true."""
        for _ in range(10 * seconds):
            if await self.value(script):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{script} is not true after {seconds} s")

    async def open(self, url, width=1200, height=900):
        """Goes to a page and waits until it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.do("Emulation.setDeviceMetricsOverride", **size)
        await self.do("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete'")

    async def press(self, key):
        """A key, where the focus is."""
        text = {"Enter": "\r", "Space": " "}.get(key)
        name = {"Space": " "}.get(key, key)
        number = {"Enter": 13, "Space": 32, "Tab": 9}[key]
        key = {"key": name, "code": key, "windowsVirtualKeyCode": number}
        await self.do(
            "Input.dispatchKeyEvent", type="keyDown", **key, **({"text": text} if text else {})
        )
        await self.do("Input.dispatchKeyEvent", type="keyUp", **key)

    async def tab_to(self, name):
        """Presses the tabulator until an element has the focus."""
        for _ in range(40):
            if await self.value("document.activeElement.id") == name:
                return
            await self.press("Tab")
        raise AssertionError(f"{name} cannot be reached with the keyboard")

    async def picture(self, path):
        """Of the whole page, as PNG."""
        got = await self.do("Page.captureScreenshot", captureBeyondViewport=True)
        Path(path).write_bytes(base64.b64decode(got["data"]))


@contextlib.asynccontextmanager
async def chromium():
    """A browser with a microphone that beeps."""
    with tempfile.TemporaryDirectory(prefix="chromium_", ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, *_FLAGS, f"--user-data-dir={folder}", "about:blank",
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            file = Path(folder) / "DevToolsActivePort"
            while not (file.is_file() and len(file.read_text().splitlines()) == 2):
                assert process.returncode is None, "chromium did not start"
                await asyncio.sleep(0.1)
            port = int(file.read_text().splitlines()[0])
            async with aiohttp.ClientSession() as session:
                pages = await (await session.get(f"http://127.0.0.1:{port}/json")).json()
                page = next(page for page in pages if page["type"] == "page")
                url = page["webSocketDebuggerUrl"]
                async with session.ws_connect(url, max_msg_size=0) as socket:
                    browser = Browser(socket)
                    for name in ("Page", "Runtime", "Log"):
                        await browser.do(f"{name}.enable")
                    yield browser
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
