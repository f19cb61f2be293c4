"""A stand-in for the Hugging Face hub on 127.0.0.1: enough of its HTTP interface for the genuine clients.

Repositories are folders, one per revision: `Repo(kind="models", name="owner/name", revisions={"main": folder})`.
A repository can be gated: its files are there for one token, its list of files for everybody, as on the real hub. `Hub`
can be told to fall silent, or to hang up, after so many bytes of a file. Every request is remembered as (method, path),
and how files were asked for as (path, first byte), so that tests can say what was fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Repo:
    """A repository: its folder at each revision."""

    kind: str  # models, datasets
    name: str
    revisions: Mapping[str, Path]
    gated: bool = False
    token: str | None = None  # opens a gated repository
    lists: bool = False  # a gated repository tells its files to everybody

    def commit(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit stands for; None where there is none."""
        commits = {
            name: hashlib.sha1(f"{self.kind}/{self.name}@{name}".encode()).hexdigest() for name in self.revisions
        }
        return commits.get(revision, revision if revision in commits.values() else None)

    def files(self, commit: str) -> dict[str, Path]:
        """{path in the repository: file}."""
        (folder,) = (path for name, path in self.revisions.items() if self.commit(name) == commit)
        return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


@dataclass
class Hub:
    """The server's address, its repositories, and what was asked of it."""

    url: str
    repos: list[Repo] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    ranges: list[tuple[str, int]] = field(default_factory=list)
    stalls: dict[str, int] = field(default_factory=dict)  # {file name: bytes after which the server falls silent}
    breaks: dict[str, int] = field(default_factory=dict)  # {file name: bytes after which it hangs up, once}
    changed: threading.Event = field(default_factory=threading.Event)

    def find(self, kind: str, path: str) -> tuple[Repo, str] | None:
        """The repository that `path` begins with, and what follows its name."""
        for repo in self.repos:
            if repo.kind == kind and (path + "/").startswith(repo.name + "/"):
                return repo, path[len(repo.name) :].strip("/")
        return None

    def fetched(self, part: str) -> list[str]:
        """Paths of the files whose content was asked for, as far as they contain `part`."""
        return [path for method, path in self.requests if method == "GET" and "/resolve/" in path and part in path]


@contextmanager
def serving(repos: list[Repo]) -> Iterator[Hub]:
    """A hub with those repositories, until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    hub = Hub(url=f"http://127.0.0.1:{server.server_address[1]}", repos=repos)
    server.hub = hub  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.changed.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _answer(self) -> None:
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path).strip("/")
        hub.requests.append((self.command, path))
        if path.startswith("api/"):
            kind, _, rest = path.removeprefix("api/").partition("/")
        else:
            kind, rest = (
                ("datasets", path.removeprefix("datasets/")) if path.startswith("datasets/") else ("models", path)
            )
        found = hub.find(kind, rest)
        if found is None:
            self._fail(404, "RepoNotFound")
        elif found[0].gated and not self._may(found[0], path):
            self._fail(403 if "Authorization" in self.headers else 401, "GatedRepo")
        else:
            repo, action = found
            verb, _, place = action.partition("/")
            revision, _, name = place.partition("/")
            commit = repo.commit(revision or "main")
            if commit is None:
                self._fail(404, "RevisionNotFound")
            elif path.startswith("api/"):
                self._api(repo, verb, commit, name, body)
            else:
                self._file(repo, commit, name)

    def _may(self, repo: Repo, path: str) -> bool:
        """Whether this request may see a gated repository."""
        known = repo.token is not None and self.headers.get("Authorization") == f"Bearer {repo.token}"
        return known or (repo.lists and path.startswith("api/"))

    def _api(self, repo: Repo, verb: str, commit: str, name: str, body: bytes) -> None:
        files = repo.files(commit)
        if verb in ("", "revision"):
            siblings = [_sibling(path, file) for path, file in files.items()]
            self._json({"id": repo.name, "sha": commit, "private": False, "tags": [], "siblings": siblings})
        elif verb == "tree":
            deep = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in ("true", "1")
            below = {path: file for path, file in files.items() if path.startswith(f"{name}/" if name else "")}
            if name and not below:
                self._fail(404, "EntryNotFound")
            else:
                self._json(_entries(below, name, deep))
        elif verb == "paths-info":
            asked = parse_qs(body.decode()).get("paths", []) if b"=" in body else json.loads(body)["paths"]
            self._json([one for one in _entries(files, "", True) if one["path"] in asked])
        else:
            self._fail(404, "EntryNotFound")

    def _file(self, repo: Repo, commit: str, name: str) -> None:
        file = repo.files(commit).get(name)
        if file is None:
            self._fail(404, "EntryNotFound", commit)
            return
        content = file.read_bytes()
        start, end = _range(self.headers.get("Range"), len(content))
        if self.command == "GET":
            self.server.hub.ranges.append((name, start))  # type: ignore[attr-defined]
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self._send(content[start:end], "application/octet-stream", name)

    def _json(self, value: Any) -> None:
        self.send_response(200)
        self._send(json.dumps(value).encode(), "application/json")

    def _fail(self, status: int, code: str, commit: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self._send(json.dumps({"error": code}).encode(), "application/json")

    def _send(self, content: bytes, kind: str, name: str | None = None) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        hub: Hub = self.server.hub  # type: ignore[attr-defined]
        with contextlib.suppress(ConnectionError):
            if name in hub.stalls:
                self.wfile.write(content[: hub.stalls[name]])
                self.wfile.flush()
                hub.changed.wait(60)
                self.close_connection = True
            elif name in hub.breaks:
                self.wfile.write(content[: hub.breaks.pop(name)])
                self.close_connection = True
            else:
                self.wfile.write(content)


def _sibling(path: str, file: Path) -> dict[str, Any]:
    """A file as a repository's description lists it; binary ones are kept by their sha256, as on the real hub."""
    content = file.read_bytes()
    found: dict[str, Any] = {
        "rfilename": path,
        "size": len(content),
        "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
    }
    if file.suffix not in (".md", ".json"):
        found["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
    return found


def _entries(files: Mapping[str, Path], below: str, deep: bool) -> list[dict[str, Any]]:
    """Files and folders as the hub lists them; without `deep` only what lies directly in `below`."""
    listed: dict[str, dict[str, Any]] = {}
    for path, file in files.items():
        inside = path.removeprefix(f"{below}/" if below else "")
        parts = inside.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join([*([below] if below else []), *parts[:depth]])
            listed.setdefault(folder, {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0})
        oid = hashlib.sha1(file.read_bytes()).hexdigest()
        listed[path] = {"type": "file", "path": path, "oid": oid, "size": file.stat().st_size}
    depth = below.count("/") + 1 if below else 0
    return [one for one in listed.values() if deep or one["path"].count("/") == depth]


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First byte and the one after the last that a `Range` header asks for."""
    if not header:
        return 0, size
    first, _, last = header.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, size) if last else size
