"""The web application: the page, a stream of events for each continuation, files to download.

POST /continue takes a form (the fields of `wishes`, then a file named `prompt`) and answers with
lines of JSON as they come: queued, started, progress, sound (16-bit samples in base64, the
prompt's first), and last done or error. What is wrong with the form is one line in `error`: 400,
413 for too large a file, 503 where the line is full, 507 where this machine has no room for it.
"""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from audiolm_jax.artifacts.local_copy import scratch_folder
from audiolm_jax.artifacts.refusals import refusal
from audiolm_jax.audio.names import one_line
from audiolm_jax.errors import InputError
from audiolm_jax.generation.api import Pipeline
from audiolm_jax.generation.prompts import Prompt
from audiolm_jax.serve import LOOPBACK
from audiolm_jax.serve.wishes import MOST_TEMPERATURE, Wish, read_wish
from audiolm_jax.serve.worker import BusyError, Event, Job, Worker

_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "recorder.js": "text/javascript"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_FIELD_BYTES = 1000


class Site:
    """What is served: a pipeline, its line of waiting visitors, limits."""

    def __init__(
        self,
        pipeline: Pipeline,
        results: Path,
        *,
        most_waiting: int,
        most_seconds: float,
        upload_mib: float,
        is_local: bool,
        is_warmed_up: bool = False,
    ) -> None:
        """`results`: an empty folder. `is_warmed_up`: as `Worker` has it. `is_local`: answer only
        who calls this machine by a name of its loopback, so that no page of another site reaches it
        through a visitor's browser."""
        self._pipeline, self._stages = pipeline, tuple(pipeline.bundle.stages)
        self._most_seconds, self._upload_mib = most_seconds, upload_mib
        self._is_local = is_local
        self._worker = Worker(pipeline, results, most_waiting, is_warmed_up)

    def app(self) -> web.Application:
        """The application; closing it ends the worker."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/static/{name}", self._static),
                web.get("/info", self._info),
                web.post("/continue", self._continue),
                web.get("/results/{name}", self._result),
            ]
        )
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        await asyncio.to_thread(self._worker.close)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Refuses other sites, turns bad input into one line, and sets what every answer has."""
        try:
            if reason := self._refuse(request):
                raise web.HTTPForbidden(text=reason)
            response: web.StreamResponse = await handler(request)
        except InputError as error:
            response = _refused(400, str(error))
        except BusyError as error:
            response = _refused(503, str(error))
        except (OSError, MemoryError) as error:
            if (line := refusal(error)) is None:
                raise
            response = _refused(507, line)
        except web.HTTPException as error:
            response = _refused(error.status, error.text or error.reason)
        if not response.prepared:
            response.headers["Content-Security-Policy"] = _POLICY
            response.headers["X-Content-Type-Options"] = "nosniff"
            response.headers["Referrer-Policy"] = "no-referrer"
        return response

    def _refuse(self, request: web.Request) -> str | None:
        host = urlsplit(f"//{request.host}")
        if self._is_local and host.hostname not in LOOPBACK:
            return f"{request.host}: this server answers on this machine alone"
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return "this request comes from the page of another site"
        return None

    async def _page(self, request: web.Request) -> web.Response:
        return web.Response(text=_resource("page.html"), content_type="text/html")

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in _STATIC:
            raise web.HTTPNotFound
        return web.Response(text=_resource(name), content_type=_STATIC[name])

    async def _info(self, request: web.Request) -> web.Response:
        config = self._pipeline.config
        return web.json_response(
            {
                "bundle": self._pipeline.bundle.fingerprint[:16],
                "rate_hz": self._pipeline.sample_rate_hz,
                "prompt_limit_seconds": self._pipeline.prompt_limit_seconds,
                "most_seconds": self._most_seconds,
                "most_temperature": MOST_TEMPERATURE,
                "upload_mib": self._upload_mib,
                "temperatures": {
                    stage: getattr(config, stage).temperature for stage in self._stages
                },
            }
        )

    async def _continue(self, request: web.Request) -> web.StreamResponse:
        try:
            wish, prompt = await self._read_form(request)
        except InputError:
            raise
        except (HttpProcessingError, ValueError, AssertionError, LookupError) as error:
            # What the reader of forms makes of one that is cut or no form.
            raise InputError(f"damaged form ({type(error).__name__}); send it again") from None
        loop, events = asyncio.get_running_loop(), asyncio.Queue[Event]()

        def tell(event: Event) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is over: the server ends
                loop.call_soon_threadsafe(events.put_nowait, event)

        job = Job(prompt, wish, tell)
        before = self._worker.submit(job)
        response = web.StreamResponse(headers={"Cache-Control": "no-store"})
        response.content_type = "application/x-ndjson"
        try:
            await response.prepare(request)
            event: Event = {"event": "queued", "before": before}
            while True:
                await response.write(json.dumps(event).encode() + b"\n")
                if event["event"] in ("done", "error"):
                    break
                event = await events.get()
        except ConnectionError:  # the visitor has gone: `is_left` tells the worker
            pass
        finally:
            job.is_left.set()
        return response

    async def _read_form(self, request: web.Request) -> tuple[Wish, Prompt]:
        if not request.content_type.startswith("multipart/"):
            raise InputError("expected a form with fields and a file named prompt")
        fields: dict[str, str] = {}
        with scratch_folder() as folder:
            upload: Path | None = None
            async for part in _parts(request):
                name = part.name or ""
                if name == "prompt" and upload is None:
                    upload = await self._receive(part, folder)
                else:
                    fields[name] = await _text(part)
            wish = read_wish(fields, self._pipeline.config, self._stages, self._most_seconds)
            if upload is None:
                raise InputError("prompt: no file came; record or choose one")
            try:
                return wish, await asyncio.to_thread(self._pipeline.take, upload)
            except InputError as error:  # told of the name that the visitor knows
                raise InputError(str(error).replace(f"{folder}/", "")) from None

    async def _receive(self, part: BodyPartReader, folder: Path) -> Path:
        # The name decides nothing but how the file is called in a message, and its format.
        path = folder / f"prompt{Path(part.filename or '').suffix.lower()[:8]}"
        size, most = 0, self._upload_mib * 2**20
        with path.open("wb") as file:
            while block := await part.read_chunk(1 << 16):
                if (size := size + len(block)) > most:
                    raise web.HTTPRequestEntityTooLarge(
                        max_size=round(most),
                        actual_size=size,
                        text=f"prompt: larger than {self._upload_mib:g} MiB; cut it shorter",
                    )
                file.write(block)
        return path

    async def _result(self, request: web.Request) -> web.StreamResponse:
        wanted = Path(request.match_info["name"])
        path = self._worker.result(wanted.stem, wanted.suffix)
        if path is None:
            raise web.HTTPNotFound(text="this result is not kept any more; make it again")
        headers = {"Cache-Control": "no-store"}
        if "download" in request.query:
            headers["Content-Disposition"] = f'attachment; filename="continuation{path.suffix}"'
        return web.FileResponse(path, headers=headers)


def _refused(status: int, line: str) -> web.Response:
    return web.json_response({"error": one_line(line)}, status=status)


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader):
            raise InputError("a form within the form: expected fields and a file")
        yield part


async def _text(part: BodyPartReader) -> str:
    raw = b""
    while block := await part.read_chunk(_FIELD_BYTES):
        if len(raw := raw + block) > _FIELD_BYTES:
            raise InputError(f"{(part.name or '')[:40]}: longer than {_FIELD_BYTES} bytes")
    return raw.decode(errors="replace").strip()


def _resource(name: str) -> str:
    return (resources.files("audiolm_jax.serve") / "static" / name).read_text(encoding="utf-8")


def run(app: web.Application, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves until Ctrl-C or SIGTERM; `ready` is told the address of the page once it answers.
    InputError if the address cannot be had."""
    asyncio.run(_serve(app, host, port, ready))


async def _serve(app: web.Application, host: str, port: int, ready: Callable[[str], None]) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"--host {host} --port {port}: {reason}; choose another") from None
        taken = runner.addresses[0][1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{taken}/")
        ended = asyncio.Event()
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends the loop by itself
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
    finally:
        await runner.cleanup()
