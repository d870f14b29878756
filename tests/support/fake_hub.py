"""A server that behaves like the Hugging Face hub as far as its library shows it: repositories of
models, their commits, large files by LFS (basic and multipart), and downloads by way of another
address. What the real one refuses it refuses: no or unknown tokens, foreign owners, unknown fields,
cards whose fields are wrong, large files that are no LFS, objects that were not uploaded or are
others than they are called, commits on a head that moved, empty commits.
"""

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import yaml

TOKEN, OWNER = "hf_writes", "singer"
READER = "hf_reads"  # a token that may not write
PART_BYTES = 16 << 10  # larger objects are uploaded in parts; it is 5 GB there
MOST_REGULAR = 10 << 20
NO_RIGHT = "You don't have the rights to create a model under this namespace"
LFS_TYPE = "application/vnd.git-lfs+json"
LICENCES = {"apache-2.0", "mit", "cc-by-sa-3.0", "cc-by-4.0", "other", "unknown"}


class RefusedError(Exception):
    def __init__(self, status: int, message: str, code: str = ""):
        super().__init__(message)
        self.status, self.code = status, code


class Hub:
    """All that the server knows."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, bytes] = {}  # LFS, by SHA-256
        self.parts: dict[tuple[str, int], bytes] = {}
        self.commits: dict[str, dict[str, dict[str, Any]]] = {}  # repository -> commit -> files
        self.refs: dict[str, dict[str, str]] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()
        self.requests: list[str] = []
        self.cut: set[str] = set()  # objects of which half comes, and at the next request none
        self.half_sent: set[str] = set()
        self.tampered: set[str] = set()  # objects that come with one bit changed
        self.intervene: Any = None  # called before a commit is taken

    def create(self, repo: str, is_private: bool) -> None:
        attributes = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
        self.commits[repo], self.refs[repo] = {}, {}
        self.add_commit(repo, {".gitattributes": {"content": attributes}})
        self.private |= {repo} if is_private else set()

    def add_commit(self, repo: str, files: dict[str, dict[str, Any]]) -> str:
        told = [sorted((x, _oid(f)) for x, f in files.items()), len(self.commits[repo]), repo]
        commit = hashlib.sha1(json.dumps(told).encode()).hexdigest()
        self.commits[repo][commit] = files
        self.refs[repo]["main"] = commit
        return commit

    def files(self, repo: str, revision: str) -> tuple[str, dict[str, dict[str, Any]]]:
        # A commit is taken by its full name alone.
        commit = self.refs[repo].get(revision, revision)
        if commit not in self.commits[repo]:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit, self.commits[repo][commit]

    def size(self, file: dict[str, Any]) -> int:
        return len(file["content"]) if "content" in file else file["size"]


def _oid(file: dict[str, Any]) -> str:
    """Of git: SHA-1 of the content, for LFS of the file that points at it."""
    content = file.get("content")
    if content is None:
        content = _pointer(file)
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _pointer(file: dict[str, Any]) -> bytes:
    spec = "version https://git-lfs.github.com/spec/v1\n"
    return f"{spec}oid sha256:{file['oid']}\nsize {file['size']}\n".encode()


def _is_large(path: str) -> bool:
    return path.endswith(".safetensors")


def check_card(content: str) -> list[str]:
    """What is wrong with the fields of a card."""
    match = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
    if match is None:
        return ["empty or missing yaml metadata in repo card"]
    fields = yaml.safe_load(match[1])
    wrong = []
    licence = fields.get("license")
    if licence not in LICENCES:
        wrong.append(f'"license" must be one of the list, not {licence!r}')
    if licence == "other" and not re.fullmatch(r"[a-z0-9.-]+", fields.get("license_name", "")):
        wrong.append('"license_name" must be an identifier')
    for name, form in (("language", r"[a-z]{2,3}"), ("datasets", r"[\w.-]+(/[\w.-]+)?")):
        words = fields.get(name, [])
        if not isinstance(words, list) or not all(re.fullmatch(form, str(x)) for x in words):
            wrong.append(f'"{name}" must be a list of identifiers')
    if not all(isinstance(tag, str) for tag in fields.get("tags", [])):
        wrong.append('"tags" must be strings')
    for i, model in enumerate(fields.get("model-index", [])):
        for result in model["results"] if model.get("name") else [{}]:
            told = [result.get("task", {}).get("type"), result.get("dataset", {}).get("type")]
            told += [result.get("dataset", {}).get("name"), *result.get("metrics", [None])]
            if not all(told):
                wrong.append(f'"model-index[{i}]" lacks a required field')
    return wrong


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *words: Any) -> None:
        pass

    def _serve(self) -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        size = int(self.headers.get("Content-Length") or 0)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(size)
        parsed = urllib.parse.urlsplit(self.path)
        path, query = urllib.parse.unquote(parsed.path), urllib.parse.parse_qs(parsed.query)
        try:
            with self.hub.lock:
                self._route(path, query, body)
        except RefusedError as error:
            headers = {"X-Error-Message": str(error), "X-Error-Code": error.code}
            self._json({"error": str(error)}, error.status, {k: v for k, v in headers.items() if v})

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        kind = {"Content-Type": "application/json; charset=utf-8"}
        self._send(json.dumps(value).encode(), status, kind | (headers or {}))

    def _send(self, data: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> None:
        name = r"(?P<repo>[\w.-]+/[\w.-]+)"
        routes = {
            ("POST", r"/api/repos/create"): self._create,
            ("POST", r"/api/validate-yaml"): self._validate,
            ("GET", rf"/api/models/{name}(?:/revision/(?P<revision>.+))?"): self._info,
            ("GET", rf"/api/models/{name}/tree/(?P<revision>.+)"): self._tree,
            ("POST", rf"/api/models/{name}/preupload/(?P<revision>.+)"): self._preupload,
            ("POST", rf"/api/models/{name}/commit/(?P<revision>.+)"): self._commit,
            ("POST", rf"/{name}\.git/info/lfs/objects/batch"): self._batch,
            ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})"): self._put,
            ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})/(?P<part>\d+)"): self._put_part,
            ("POST", r"/lfs/(?P<oid>[0-9a-f]{64})/complete"): self._complete,
            ("POST", r"/lfs/verify"): self._verify,
            ("GET", rf"/{name}/resolve/(?P<revision>[^/]+)/(?P<file>.+)"): self._resolve,
            ("GET", r"/cdn/(?P<oid>[0-9a-f]{64})"): self._download,
        }
        method = "GET" if self.command == "HEAD" else self.command
        for (verb, pattern), answer in routes.items():
            if verb == method and (match := re.fullmatch(pattern, path)):
                answer(body, query, **match.groupdict())
                return
        raise RefusedError(404, f"{self.command} {path}: not known")

    def _user(self, writes: bool = False) -> str | None:
        header = self.headers.get("Authorization")
        token = None if header is None else header.removeprefix("Bearer ")
        if token not in (None, TOKEN, READER):
            raise RefusedError(401, "Invalid credentials in Authorization header")
        if writes and token is None:
            raise RefusedError(401, "Invalid username or password.")
        if writes and token != TOKEN:
            raise RefusedError(
                403, "You don't have the rights to create a model under this namespace"
            )
        return token

    def _repo(self, repo: str, writes: bool = False) -> str:
        user = self._user(writes)
        if repo not in self.hub.commits or (repo in self.hub.private and user != TOKEN):
            raise RefusedError(401 if user is None else 404, "Repository not found", "RepoNotFound")
        if writes and not repo.startswith(f"{OWNER}/"):
            raise RefusedError(403, "You don't have write access to this repository")
        return repo

    def _create(self, body: bytes, query: Any) -> None:
        self._user(writes=True)
        fields = json.loads(body)
        if extra := set(fields) - {"name", "organization", "visibility", "private", "type"}:
            raise RefusedError(400, f"unknown fields {sorted(extra)}")
        if fields["organization"] != OWNER:
            raise RefusedError(
                403, "You don't have the rights to create a model under this namespace"
            )
        repo = f"{fields['organization']}/{fields['name']}"
        if repo in self.hub.commits:
            there = "You already created this model repo"
            self._json({"error": there, "url": f"{self._base()}/{repo}"}, HTTPStatus.CONFLICT)
            return
        is_private = fields.get("visibility") == "private" or fields.get("private", False)
        self.hub.create(repo, is_private)
        self._json({"url": f"{self._base()}/{repo}", "name": repo})

    def _validate(self, body: bytes, query: Any) -> None:
        fields = json.loads(body)
        errors = [{"message": words} for words in check_card(fields["content"])]
        status = HTTPStatus.BAD_REQUEST if errors else HTTPStatus.OK
        self._json({"errors": errors, "warnings": []}, status)

    def _info(self, body: bytes, query: Any, repo: str, revision: str | None) -> None:
        self._repo(repo)
        commit, files = self.hub.files(repo, revision or "main")
        siblings = [{"rfilename": name} for name in sorted(files)]
        facts = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "tags": []}
        self._json({"_id": "0", "private": repo in self.hub.private, "downloads": 0, **facts})

    def _tree(self, body: bytes, query: Any, repo: str, revision: str) -> None:
        self._repo(repo)
        _, files = self.hub.files(repo, revision)
        entries = []
        for path, file in sorted(files.items()):
            size = self.hub.size(file)
            entry = {"type": "file", "path": path, "size": size, "oid": _oid(file)}
            if "oid" in file:
                pointer = len(_pointer(file))
                entry["lfs"] = {"oid": file["oid"], "size": size, "pointerSize": pointer}
                entry["xetHash"] = file["oid"]  # offered by the hub; whoever takes it up gets 404
            entries.append(entry)
        self._json(entries)

    def _preupload(self, body: bytes, query: Any, repo: str, revision: str) -> None:
        self._repo(repo, writes=True)
        _, files = self.hub.files(repo, revision)
        answers = []
        for asked in json.loads(body)["files"]:
            if len(base64.b64decode(asked["sample"], validate=True)) > 512:
                raise RefusedError(400, "sample: 512 bytes at most")
            there = files.get(asked["path"])
            oid = None if there is None else there.get("oid") or _oid(there)
            is_large = _is_large(asked["path"]) or asked["size"] > MOST_REGULAR
            mode = "lfs" if is_large else "regular"
            more = {} if oid is None else {"oid": oid}
            answers.append(
                {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, **more}
            )
        self._json({"files": answers})

    def _batch(self, body: bytes, query: Any, repo: str) -> None:
        self._repo(repo, writes=True)
        if LFS_TYPE not in (self.headers.get("Accept"), self.headers.get("Content-Type")):
            raise RefusedError(406, f"expected {LFS_TYPE}")
        asked = json.loads(body)
        if asked["operation"] != "upload" or asked["hash_algo"] != "sha256":
            raise RefusedError(422, "only uploads by sha256")
        if not {"basic", "multipart"} <= set(asked["transfers"]):
            raise RefusedError(422, "basic and multipart")
        objects = []
        for wanted in asked["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            answer: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.hub.objects:
                upload: dict[str, Any] = {"href": f"{self._base()}/lfs/{oid}"}
                if size > PART_BYTES:
                    count = -(-size // PART_BYTES)
                    urls = {str(i + 1): f"{self._base()}/lfs/{oid}/{i + 1}" for i in range(count)}
                    upload = {"href": f"{self._base()}/lfs/{oid}/complete"}
                    upload["header"] = {"chunk_size": str(PART_BYTES), **urls}
                answer["actions"] = {
                    "upload": upload,
                    "verify": {"href": f"{self._base()}/lfs/verify"},
                }
            objects.append(answer)
        self._json({"transfer": "basic", "objects": objects})

    def _keep(self, oid: str, data: bytes) -> None:
        if hashlib.sha256(data).hexdigest() != oid:
            raise RefusedError(400, "XAmzContentSHA256Mismatch")
        self.hub.objects[oid] = data

    def _put(self, body: bytes, query: Any, oid: str) -> None:
        if len(body) > PART_BYTES:
            raise RefusedError(400, "EntityTooLarge")
        self._keep(oid, body)
        self._send(b"", 200, {})

    def _put_part(self, body: bytes, query: Any, oid: str, part: str) -> None:
        if len(body) > PART_BYTES:
            raise RefusedError(400, "EntityTooLarge")
        self.hub.parts[oid, int(part)] = body
        self._send(b"", 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'})

    def _complete(self, body: bytes, query: Any, oid: str) -> None:
        told = json.loads(body)
        numbers = [part["partNumber"] for part in told["parts"]]
        if told["oid"] != oid or numbers != list(range(1, len(numbers) + 1)):
            raise RefusedError(400, "InvalidPartOrder")
        data = [self.hub.parts.pop((oid, number)) for number in numbers]
        for part, etag in zip(data, (part["etag"] for part in told["parts"]), strict=True):
            if etag != f'"{hashlib.md5(part).hexdigest()}"':
                raise RefusedError(400, "InvalidPart")
        self._keep(oid, b"".join(data))
        self._json({"success": True})

    def _verify(self, body: bytes, query: Any) -> None:
        self._user(writes=True)
        told = json.loads(body)
        if len(self.hub.objects.get(told["oid"], b"")) != told["size"]:
            raise RefusedError(404, "no such object")
        self._json({"success": True})

    def _commit(self, body: bytes, query: Any, repo: str, revision: str) -> None:
        self._repo(repo, writes=True)
        if self.headers.get("Content-Type") != "application/x-ndjson":
            raise RefusedError(400, "expected application/x-ndjson")
        if self.hub.intervene is not None:
            self.hub.intervene()
        lines = [json.loads(line) for line in body.splitlines()]
        header, operations = lines[0]["value"], lines[1:]
        if lines[0]["key"] != "header" or not header["summary"]:
            raise RefusedError(400, "a commit begins with its summary")
        head, files = self.hub.files(repo, revision)
        if revision not in self.hub.refs[repo]:
            raise RefusedError(400, f"{revision} is no branch")
        if header.get("parentCommit", head) != head:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(files)
        for operation in operations:
            self._apply(files, operation["key"], operation["value"])
        if files == self.hub.commits[repo][head]:
            raise RefusedError(400, "Empty commit")
        if wrong := check_card(files["README.md"]["content"].decode()):
            raise RefusedError(400, wrong[0])
        commit = self.hub.add_commit(repo, files)
        url = f"{self._base()}/{repo}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def _apply(self, files: dict[str, Any], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "deletedFile":
            if path not in files:
                raise RefusedError(404, "A file with this name doesn't exist", "EntryNotFound")
            del files[path]
        elif key == "file":
            content = base64.b64decode(value["content"], validate=True)
            if _is_large(path) or len(content) > MOST_REGULAR:
                raise RefusedError(400, f"{path}: files larger than 10 MiB or binary must be LFS")
            files[path] = {"content": content}
        elif key == "lfsFile":
            if len(self.hub.objects.get(value["oid"], b"")) != value["size"]:
                raise RefusedError(400, f"{path}: the LFS object {value['oid']} was not uploaded")
            files[path] = {"oid": value["oid"], "size": value["size"]}
        else:
            raise RefusedError(400, f"{key}: not known")

    def _resolve(self, body: bytes, query: Any, repo: str, revision: str, file: str) -> None:
        self._repo(repo)
        if repo in self.hub.gated:
            raise RefusedError(403, "Access to this model is restricted", "GatedRepo")
        commit, files = self.hub.files(repo, revision)
        if file not in files:
            raise RefusedError(404, "Entry not found", "EntryNotFound")
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_oid(files[file])}"'}
        if "content" in files[file]:
            self._send(files[file]["content"], 200, headers)
            return
        oid, size = files[file]["oid"], files[file]["size"]
        headers |= {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size)}
        headers |= {"X-Xet-Hash": oid, "X-Xet-Refresh-Route": f"{self._base()}/xet"}
        self._send(b"", 302, headers | {"Location": f"{self._base('localhost')}/cdn/{oid}"})

    def _download(self, body: bytes, query: Any, oid: str) -> None:
        if self.headers.get("Authorization") is not None:
            raise RefusedError(400, "the store of large files wants no token")
        data = self.hub.objects[oid]
        if oid in self.hub.tampered:
            data = data[:-1] + bytes([data[-1] ^ 1])
        start, status, headers = 0, 200, {"ETag": f'"{oid}"', "Accept-Ranges": "bytes"}
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if oid in self.hub.half_sent:
            raise RefusedError(500, "Internal error")
        if oid in self.hub.cut:
            self.hub.half_sent.add(oid)
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        self._send(data[start:], status, headers)

    def _base(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.server_address[1]}"


for _method in ("GET", "HEAD", "PUT", "POST"):
    setattr(Handler, f"do_{_method}", Handler._serve)


@contextlib.contextmanager
def fake_hub() -> Iterator[tuple[Hub, str]]:
    """What the server knows, and its address."""
    hub = Hub()
    kind = type("_Handler", (Handler,), {"hub": hub})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
