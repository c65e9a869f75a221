"""A web server on 127.0.0.1 that gives files, and misbehaves in every way that was asked of it."""

from __future__ import annotations

import hashlib
import io
import itertools
import re
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from safetensors.numpy import save

FORGET = "/forget"


def weights(megabytes: float = 1.0, seed: int = 0) -> bytes:
    """A safetensors file."""
    values = np.random.default_rng(seed).integers(0, 255, int(megabytes * 2**20), np.uint8)
    return save({"a.weight": values})


@dataclass
class File:
    """A file and how it is given.

    Attributes:
        has_ranges: Answers ranges with 206. shift: Every range begins so many bytes later than
            it says it does. wrong_start: … and says so. cut_after: Hangs up after so many bytes
            of an answer, as often as ``cuts``.
        told_length: Content-Length that is announced. told_total: Size in Content-Range.
        statuses: What the first answers are in place of the file: (status, headers).
        redirect: Location of a redirect. pause: Seconds between blocks of 16 KiB.
        headers: More of them. body: What is sent in place of the file's bytes.
    """

    data: bytes = b""
    has_ranges: bool = True
    wrong_start: int = 0
    cut_after: int = 0
    cuts: int = 10**6
    told_length: int | None = None
    told_total: int | None = None
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    redirect: str = ""
    pause: float = 0.0
    kind: str = "application/octet-stream"
    headers: dict[str, str] = field(default_factory=dict)
    needs_key: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class Asked:
    """One request as it came."""

    path: str
    range: str
    key: str


@dataclass
class FileServer:
    """The files by path, and what was asked for on connections from the ``first`` on."""

    files: dict[str, File] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0
    first: int = 0

    def forget(self) -> None:
        """Nothing was asked so far; nor by connections that are there but were not heard yet."""
        connection = HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", FORGET)
        connection.getresponse().read()
        connection.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def bytes_asked(self, path: str) -> int:
        """How many bytes of a file were asked for in ranges."""
        total = 0
        for one in self.asked:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", one.range)
            if one.path == path and found:
                total += int(found[2]) + 1 - int(found[1])
        return total


@contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """It answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            number = http.numbers[self.client_address]
            if path == FORGET:
                server.first = number
                server.asked.clear()
            elif number >= server.first:
                given = Asked(self.path, self.headers.get("Range", ""), self._key())
                server.asked.append(given)
            file = server.files.get(path)
            if file is None:
                self._plain(404, {})
            elif file.statuses:
                self._plain(*file.statuses.pop(0))
            elif file.needs_key and file.needs_key != self._key():
                self._plain(401, {})
            elif file.redirect:
                self._plain(302, {"Location": file.redirect, **file.headers})
            else:
                self._give(file)

        def _key(self) -> str:
            return self.headers.get("Authorization", "").removeprefix("Bearer ")

        def _plain(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def _give(self, file: File) -> None:
            start, end, status = 0, len(file.data), 200
            found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if found and file.has_ranges:
                status, start = 206, int(found[1])
                end = min(end, int(found[2]) + 1) if found[2] else end
                if start > 0:
                    start += file.wrong_start
            body = file.data[start:end]
            length = len(body) if file.told_length is None else file.told_length
            self.send_response(status)
            self.send_header("Content-Type", file.kind)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            else:
                self.send_header("Connection", "close")
                self.close_connection = True
            if status == 206:
                total = file.told_total or len(file.data)
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{total}")
            for name, value in file.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self._send(file, body, length)

        def _send(self, file: File, body: bytes, length: int) -> None:
            if file.cut_after and file.cuts > 0 and len(body) > file.cut_after:
                file.cuts -= 1
                body = body[: file.cut_after]
            stream = io.BytesIO(body)
            try:
                while block := stream.read(16384 if file.pause else 1 << 20):
                    self.wfile.write(block)
                    self.wfile.flush()
                    time.sleep(file.pause)
            except OSError:
                self.close_connection = True
            if len(body) != length:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return None

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.numbers: dict[Any, int] = {}
            self._count = itertools.count(1)

        def process_request(self, request: Any, client_address: Any) -> None:
            self.numbers[client_address] = next(self._count)  # in the order they were made
            super().process_request(request, client_address)

        def handle_error(self, request: object, client_address: object) -> None:
            return None

    http = Quiet(("127.0.0.1", 0), Handler)
    server.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def evil_pickle() -> bytes:
    """A torch file of the old kind that asks to run a command."""
    return b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R." + struct.pack("<Q", 0)
