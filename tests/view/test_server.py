"""The report's web server over real sockets: only files of the report, only for its own name, nothing but reading."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from kvl_eval.errors import UsageError
from kvl_eval.view.server import ReportServer


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ReportServer]:
    """A report folder with a neighbour that must not be seen, and links that lead out of it."""
    root = tmp_path / "report"
    (root / "data").mkdir(parents=True)
    (root / "index.html").write_text("<p>first page")
    (root / "data" / "c0.js").write_text("kvl.chunk(0,[]);")
    (root / "notes.txt").write_text("no page")
    (root / ".hidden.html").write_text("hidden")
    (tmp_path / "secret.html").write_text("SECRET")
    (root / "way-out.html").symlink_to(tmp_path / "secret.html")
    (root / "outside").symlink_to(tmp_path)
    server = ReportServer(root)
    server.start()
    yield server
    server.close()


def ask(server: ReportServer, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    body = reply.read()
    connection.close()
    return reply, body


def raw(server: ReportServer, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(request)
        found = b""
        while piece := connection.recv(4096):
            found += piece
    return found


def test_it_serves_the_report(served: ReportServer) -> None:
    reply, _ = ask(served, "/")
    assert (reply.status, reply.headers["Location"]) == (302, "index.html")
    reply, body = ask(served, "/index.html?x=1")
    assert (reply.status, body) == (200, b"<p>first page")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    reply, body = ask(served, "/data/c0.js")
    assert (reply.status, body) == (200, b"kvl.chunk(0,[]);")
    assert reply.headers["Content-Type"].startswith("text/javascript")


def test_every_reply_forbids_what_a_report_does_not_need(served: ReportServer) -> None:
    for path in ("/index.html", "/nothing.html"):
        headers = ask(served, path)[0].headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Python" not in headers["Server"]


def test_head_has_no_body(served: ReportServer) -> None:
    reply, body = ask(served, "/index.html", "HEAD")
    assert (reply.status, body, reply.headers["Content-Length"]) == (200, b"", "13")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.html",
        "/data/../../secret.html",
        "/%2e%2e/secret.html",
        "/..%2fsecret.html",
        "/data/..%2f..%2fsecret.html",
        "/%252e%252e/secret.html",
        "/..\\secret.html",
        "/..%5csecret.html",
        "//secret.html",
        "/./index.html",
        "/index.html/",
        "/index.html%00.js",
        "/%ff.html",
        "/way-out.html",
        "/outside/secret.html",
        "/.hidden.html",
        "/notes.txt",
        "/data",
        "/data/",
        "/outside/",
        "/live.json",
        "/" + "a/" * 2000,
    ],
)
def test_nothing_else_is_there(served: ReportServer, path: str) -> None:
    reply, body = ask(served, path)
    assert reply.status == 404
    assert b"SECRET" not in body


def test_an_absolute_path_on_the_disk_is_no_address(served: ReportServer, tmp_path: Path) -> None:
    assert ask(served, f"/{tmp_path}/secret.html")[0].status == 404
    assert ask(served, str(tmp_path / "secret.html"))[0].status == 404
    assert ask(served, "file:///etc/passwd")[0].status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "", "[::1]:{port}"]
)
def test_requests_for_another_host_are_refused(served: ReportServer, host: str) -> None:
    reply, body = ask(served, "/index.html", Host=host.format(port=served.server_port))
    assert reply.status == 403
    assert b"first page" not in body


def test_a_request_without_a_host_is_refused(served: ReportServer) -> None:
    assert raw(served, b"GET /index.html HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403")


def test_localhost_is_its_own_name_too(served: ReportServer) -> None:
    assert ask(served, "/index.html", Host=f"localhost:{served.server_port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"])
def test_it_only_reads(served: ReportServer, method: str) -> None:
    reply, _ = ask(served, "/index.html", method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"
    assert (served.root / "index.html").read_text() == "<p>first page"


def test_it_listens_on_the_loopback_address_alone(served: ReportServer) -> None:
    assert served.server_address[0] == "127.0.0.1"
    assert served.url.startswith("http://127.0.0.1:")


def test_a_port_in_use_is_a_usage_error(served: ReportServer, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as found:
        ReportServer(tmp_path, served.server_port)
    assert found.value.code == "view.port"


def test_a_browser_that_goes_away_disturbs_nobody(served: ReportServer, capsys: pytest.CaptureFixture[str]) -> None:
    for request in (b"", b"GET", b"GET /index.html HTTP/1.1\r\nHost: x", b"\x00\xff\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", served.server_port), timeout=20) as connection:
            connection.sendall(request)
    assert ask(served, "/index.html")[0].status == 200
    assert "Traceback" not in capsys.readouterr().err
