"""A proxy between s3fs and an S3 server that fails in the ways S3 does, by seed: before or after the work is done."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import urlsplit

BEFORE = {"slow-down": (503, "SlowDown"), "internal": (500, "InternalError"), "expired": (400, "ExpiredToken")}
AFTER = ("answer-lost", "error-after-success")
KINDS = (*BEFORE, *AFTER, "body-cut")


class FaultyS3(ThreadingHTTPServer):
    """`share` of the requests fail; `met` counts how."""

    daemon_threads = True

    def __init__(self, upstream: str, share: float, seed: int, kinds: tuple[str, ...] = KINDS) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream)
        self.share = share
        self.kinds = kinds
        self.met: Counter[str] = Counter()
        self._rng = Random(seed)
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def draw(self) -> str:
        with self._lock:
            fault = self._rng.choice(self.kinds) if self._rng.random() < self.share else ""
            self.met[fault] += 1
            return fault

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Lost connections are what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyS3

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        fault = self.server.draw()
        if fault in BEFORE:
            self._refuse(*BEFORE[fault])
            return
        up = http.client.HTTPConnection(str(self.server.upstream.hostname), self.server.upstream.port, timeout=60)
        up.request(self.command, self.path, body, dict(self.headers))
        answer = up.getresponse()
        content = answer.read()
        up.close()
        if fault == "answer-lost":
            self.close_connection = True
            self.connection.close()
            return
        if fault == "error-after-success":
            self._refuse(500, "InternalError")
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else str(len(content))
        self.send_header("content-length", length or "0")
        self.end_headers()
        if fault == "body-cut" and len(content) > 1:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>by the proxy</Message></Error>".encode()
        self.send_response(status)
        self.send_header("content-type", "application/xml")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _do

    def log_message(self, format: str, *args: Any) -> None:
        return None


@contextmanager
def faulty_s3(upstream: str, share: float, seed: int = 0, kinds: tuple[str, ...] = KINDS) -> Iterator[FaultyS3]:
    """A proxy that is up while the block runs."""
    server = FaultyS3(upstream, share, seed, kinds)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
