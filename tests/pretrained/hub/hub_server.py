"""A Hub on this machine: the endpoints that huggingface_hub uses, over HTTP, with faults to order.

`HubServer` keeps repositories as lists of commits, and large files in a store of its own: a second server, as the real one has, to which the token must not go.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

Command = Callable[..., subprocess.CompletedProcess[str]]
TOKEN = "hf_secretsecretsecret"
_LARGE = (".safetensors", ".png")


def stored(content: bytes) -> str:
    """The path of a large file in the store."""
    return f"/{hashlib.sha256(content).hexdigest()}"


def git_hash(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Commit:
    """All files of a repository at one time."""

    sha: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """Commits, the newest last, and what is named besides ``main``, which is the newest."""

    commits: list[Commit]
    private: bool = False
    gated: bool = False
    names: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit | None:
        if revision == "main":
            return self.commits[-1]
        sha = self.names.get(revision, revision)
        return next((commit for commit in self.commits if commit.sha == sha), None)


@dataclass(frozen=True)
class Answer:
    """What is sent for a request: ``drop`` closes the connection after so many bytes of the body, ``size`` is the length that is announced."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: int | None = None
    size: int | None = None


def said(status: int, message: str, code: str = "") -> Answer:
    return Answer(status, json.dumps({"error": message}).encode(), {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})})


def as_json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json"})


@dataclass
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


class HubServer:
    """Use it as a context: ``with HubServer() as hub``. ``hub.url`` is what HF_ENDPOINT names, ``hub.requests`` what was asked, in order."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.to_store: list[Request] = []
        self._faults: list[tuple[re.Pattern[str], list[int], Callable[[Request], Answer | None]]] = []
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self._servers = [_Server(self._hub), _Server(self._store)]
        self.url, self.store_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)

    def __enter__(self) -> HubServer:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def add(self, name: str, files: Mapping[str, bytes], *, private: bool = False, gated: bool = False) -> str:
        """One more commit in a repository, with these files and no others; its name."""
        with self._lock:
            sha = hashlib.sha1(b"commit %d" % next(self._numbers)).hexdigest()
            repo = self.repos.setdefault(name, Repo([], private, gated))
            repo.commits.append(Commit(sha, dict(files)))
            return sha

    def on(self, pattern: str, react: Answer | Callable[[Request], Answer | None], *, times: int = 1) -> None:
        """Answer the next ``times`` requests whose ``METHOD /path`` has ``pattern`` in it in this way; a function may also only look, and return None."""
        answer = react if callable(react) else lambda _: react
        self._faults.append((re.compile(pattern), [times], answer))

    def asked(self, pattern: str) -> list[Request]:
        """The requests to the Hub or its store so far whose ``METHOD /path`` has ``pattern`` in it."""
        return [request for request in [*self.requests, *self.to_store] if re.search(pattern, request.name)]

    def fault(self, request: Request) -> Answer | None:
        for pattern, left, answer in self._faults:
            with self._lock:
                due = left[0] > 0 and pattern.search(request.name) is not None
                left[0] -= due
            if due and (found := answer(request)) is not None:
                return found
        return None

    # --- the Hub ----------------------------------------------------------------------------------

    def _hub(self, request: Request) -> Answer:
        self.requests.append(request)
        if (answer := self.fault(request)) is not None:
            return answer
        path = unquote(urlsplit(request.path).path)
        authorization = request.headers.get("authorization")
        if authorization not in (None, f"Bearer {TOKEN}"):
            return said(401, "Invalid credentials in Authorization header")
        if path == "/api/repos/create":
            return self._create(json.loads(request.body), authorization)
        if path == "/api/validate-yaml":
            return as_json({"warnings": [], "errors": []})
        routes: list[tuple[str, Callable[..., Answer]]] = [
            (r"/api/(?:models|spaces)/(?P<name>[^/]+/[^/]+)(?:/revision/(?P<revision>.+))?", self._info),
            (r"/api/(?:models|spaces)/(?P<name>[^/]+/[^/]+)/tree/(?P<revision>[^/]+)", self._tree),
            (r"/api/(?:models|spaces)/(?P<name>[^/]+/[^/]+)/preupload/(?P<revision>[^/]+)", self._preupload),
            (r"/api/(?:models|spaces)/(?P<name>[^/]+/[^/]+)/commit/(?P<revision>[^/]+)", self._commit),
            (r"/(?:spaces/)?(?P<name>[^/]+/[^/]+)\.git/info/lfs/objects/batch", self._batch),
            (r"/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self._resolve),
        ]
        for pattern, route in routes:
            if (match := re.fullmatch(pattern, path)) is not None:
                groups = match.groupdict()
                return self._allowed(groups["name"], authorization) or route(request, **groups)
        return said(404, "Not found")

    def _allowed(self, name: str, authorization: str | None) -> Answer | None:
        repo = self.repos.get(name)
        if repo is None or (repo.private and authorization is None):
            return said(404 if authorization else 401, "Repository not found", "RepoNotFound")
        return said(403, f"Access to model {name} is restricted", "GatedRepo") if repo.gated else None

    def _create(self, wanted: dict[str, Any], authorization: str | None) -> Answer:
        if authorization is None:
            return said(401, "Invalid username or password.")
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] == "others":
            return said(403, "You don't have the rights to create a model under the namespace others")
        if name in self.repos:
            return as_json({"error": "You already created this repo", "url": f"{self.url}/{name}"}, 409)
        self.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=wanted.get("visibility") == "private")
        return as_json({"url": f"{self.url}/{name}"})

    def _info(self, request: Request, name: str, revision: str | None) -> Answer:
        commit = self.repos[name].at(revision or "main")
        if commit is None:
            return said(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        files = [_listed(*each) for each in commit.files.items()] if "blobs=" in request.path else []
        siblings = [{"rfilename": file["path"], "size": file["size"], "blobId": file["oid"], "lfs": file["lfs"]} for file in files]
        return as_json({"id": name, "sha": commit.sha, "private": self.repos[name].private, "siblings": siblings})

    def _tree(self, request: Request, name: str, revision: str) -> Answer:
        commit = self.repos[name].at(revision)
        return said(404, f"Invalid rev id: {revision}", "RevisionNotFound") if commit is None else as_json([_listed(*each) for each in commit.files.items()])

    def _resolve(self, request: Request, name: str, revision: str, file: str) -> Answer:
        commit = self.repos[name].at(revision)
        if commit is None:
            return said(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if file not in commit.files:
            return said(404, "Entry not found", "EntryNotFound")
        content = commit.files[file]
        headers = {"X-Repo-Commit": commit.sha}
        if not file.endswith(_LARGE):
            return Answer(200, content, {**headers, "ETag": f'"{git_hash(content)}"'})
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        return Answer(302, b"", {**headers, "X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Location": self.store_url + stored(content)})

    def _preupload(self, request: Request, name: str, revision: str) -> Answer:
        files = self.repos[name].commits[-1].files
        answers = []
        for file in json.loads(request.body)["files"]:
            path, large = file["path"], file["path"].endswith(_LARGE)
            old = files.get(path)
            oid = None if old is None else hashlib.sha256(old).hexdigest() if large else git_hash(old)
            answers.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, "oid": oid})
        return as_json({"files": answers})

    def _batch(self, request: Request, name: str) -> Answer:
        if request.headers.get("authorization") is None:
            return said(401, "log in")
        answers = []
        for wanted in json.loads(request.body)["objects"]:
            there = wanted["oid"] in self.large
            answers.append(wanted if there else {**wanted, "actions": {"upload": {"href": f"{self.store_url}/{wanted['oid']}", "header": {}}}})
        return as_json({"transfer": "basic", "objects": answers})

    def _commit(self, request: Request, name: str, revision: str) -> Answer:
        if request.headers.get("authorization") is None:
            return said(401, "log in")
        lines = [json.loads(line) for line in request.body.splitlines()]
        with self._lock:
            newest = self.repos[name].commits[-1]
            files = dict(newest.files)
            for line in lines:
                value = line["value"]
                if line["key"] == "header" and value.get("parentCommit", newest.sha) != newest.sha:
                    return said(412, "A commit has happened since. Please refresh and try again.")
                if line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                if line["key"] == "lfsFile":
                    if value["oid"] not in self.large:
                        return said(400, f"LFS object {value['oid']} was not uploaded")
                    files[value["path"]] = self.large[value["oid"]]
                if line["key"] == "deletedFile":
                    del files[value["path"]]
            sha = self.add(name, files)
        return as_json({"success": True, "commitOid": sha, "commitUrl": f"{self.url}/{name}/commit/{sha}"})

    # --- the store of large files -------------------------------------------------------------------

    def _store(self, request: Request) -> Answer:
        self.to_store.append(request)
        if (answer := self.fault(request)) is not None:
            return answer
        digest = request.path.strip("/")
        if request.method == "PUT":
            if hashlib.sha256(request.body).hexdigest() != digest:
                return said(400, "wrong content")
            self.large[digest] = request.body
            return Answer()
        content, wanted = self.large[digest], request.headers.get("range")
        if wanted is None:
            return Answer(200, content)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        return Answer(206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"})


def _listed(path: str, content: bytes) -> dict[str, Any]:
    """A file as listings of a tree and the description of a repository show it."""
    if not path.endswith(_LARGE):
        return {"type": "file", "path": path, "size": len(content), "oid": git_hash(content), "lfs": None}
    digest = hashlib.sha256(content).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n".encode()
    large = {"oid": digest, "sha256": digest, "size": len(content), "pointerSize": len(pointer)}
    return {"type": "file", "path": path, "size": len(content), "oid": git_hash(pointer), "lfs": large}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        self.respond = respond
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _handle(self) -> None:
        request = Request(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, b"".join(self._body()))
        answer = self.server.respond(request)
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.size is None else answer.size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[: answer.drop])
        if answer.drop is not None:
            self.close_connection = True

    def _body(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        elif length := int(self.headers.get("content-length", 0)):
            yield self.rfile.read(length)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


def closed_port() -> str:
    """The address of a server that is gone."""
    server = _Server(lambda _: Answer())
    server.server_close()
    return f"http://127.0.0.1:{server.server_address[1]}"
