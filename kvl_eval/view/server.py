"""A web server for one report folder: on 127.0.0.1 only, read-only, and deaf to requests made for another host.

It answers GET and HEAD for files of the report that lie where they seem to lie, and for `live.json`. There are no
directory listings. Requests whose `Host` is not this server's (a page elsewhere whose name was pointed at 127.0.0.1)
are refused.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from kvl_eval.decode import encode
from kvl_eval.errors import UsageError
from kvl_eval.reports.page_templates import ASSETS
from kvl_eval.view.live import RunProgress

HERE = Path(__file__).resolve().parent
OWN = {"live.html", "live.js", "live.css"}  # pages of this package, beside those of the report
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".png": "image/png",
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
IDLE = 30.0  # seconds after which a silent connection is closed

State = Callable[[], RunProgress]


class ReportServer(ThreadingHTTPServer):
    """Serves `root`; `state` gives what `live.json` holds, None where no run is in progress."""

    daemon_threads = True

    def __init__(self, root: Path, port: int = 0, state: State | None = None) -> None:
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except (OSError, OverflowError) as error:
            raise UsageError(
                "view.port",
                f"cannot listen on 127.0.0.1:{port}",
                why=getattr(error, "strerror", None) or str(error),
                fix="use another --port, or remove --port to use a free one",
            ) from error
        self.root = root.resolve()
        self.state = state

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://127.0.0.1:{self.server_port}/"

    @property
    def hosts(self) -> set[str]:
        """What a request's `Host` may be."""
        return {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}

    def start(self) -> threading.Thread:
        """Serve in a thread of its own, until `close`."""
        thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="report-server", daemon=True
        )
        thread.start()
        return thread

    def close(self) -> None:
        """Stop serving and let go of the port."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A closed connection is ignored; anything else is a bug and is printed."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def find_file(root: Path, path: str) -> Path | None:
    """The file below `root` that the address `path` names; None for anything that is not a plain file inside."""
    try:
        parts = unquote(path, errors="strict").removeprefix("/").split("/")
    except UnicodeDecodeError:
        return None
    if any(part in ("", ".", "..") or set(part) & set("\\\0:") or part.startswith(".") for part in parts):
        return None
    if parts[0] in OWN:
        return _inside(HERE / "assets", parts)
    bundled = parts[0] == "assets" and not (root / "assets").is_dir()
    return _inside(ASSETS.parent if bundled else root, parts)


def _inside(base: Path, parts: Sequence[str]) -> Path | None:
    """The file of these names below `base`; None for anything else."""
    try:
        resolved = base.joinpath(*parts).resolve(strict=True)
    except (OSError, ValueError):
        return None
    inside = resolved.is_relative_to(base.resolve())
    return resolved if inside and resolved.is_file() and resolved.suffix in TYPES else None


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: ReportServer
    server_version = "kvl-eval"
    sys_version = ""
    timeout = IDLE

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _refuse(self) -> None:
        self._short(HTTPStatus.METHOD_NOT_ALLOWED, "this server is read-only", {"Allow": "GET, HEAD"})

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged."""

    def _answer(self, body: bool) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._short(HTTPStatus.FORBIDDEN, "this server answers only under its own address")
            return
        path = urlsplit(self.path).path if self.path.startswith("/") else ""
        if path == "/":
            self._first_page()
        elif path == "/live.json":
            self._state(body)
        else:
            self._file(find_file(self.server.root, path), body)

    def _first_page(self) -> None:
        first = "index.html" if self.server.state is None else "live.html"
        self._short(HTTPStatus.FOUND, "", {"Location": first})

    def _state(self, body: bool) -> None:
        if self.server.state is None:
            self._short(HTTPStatus.NOT_FOUND, "no run is in progress")
            return
        content = json.dumps(encode(self.server.state())).encode("ascii")
        self._head(HTTPStatus.OK, TYPES[".json"], len(content))
        if body:
            self.wfile.write(content)

    def _file(self, path: Path | None, body: bool) -> None:
        if path is None:
            self._short(HTTPStatus.NOT_FOUND, "no such page")
            return
        with path.open("rb") as file:
            self._head(HTTPStatus.OK, TYPES[path.suffix], path.stat().st_size)
            if body:
                shutil.copyfileobj(file, self.wfile)

    def _short(self, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> None:
        """A status with one line of text; the connection is closed, so that a body sent along is not read."""
        content = f"{text}\n".encode() if text else b""
        self.close_connection = True
        self._head(status, "text/plain; charset=utf-8", len(content), headers)
        if self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, status: HTTPStatus, kind: str, size: int, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        every = {"Content-Type": kind, "Content-Length": str(size), **HEADERS, **(headers or {})}
        for name, value in every.items():
            self.send_header(name, value)
        self.end_headers()
