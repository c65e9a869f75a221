"""A package index of one's own on 127.0.0.1: what pip meets there can be made to go wrong."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.patience import PATIENCE

SETTINGS_OF_PIP = ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_INDEX_URL")


@dataclass
class PackageIndex:
    """Serves wheels as PEP 503 says.

    Attributes:
        wheels: File name → content. is_wrong_hash: Announces another sha256 than they have.
        cut_at: Hangs up after so many bytes of a wheel. asked: Paths that were asked for.
    """

    wheels: dict[str, bytes]
    is_wrong_hash: bool = False
    cut_at: int | None = None
    asked: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def env(self) -> dict[str, str]:
        """Environment under which pip asks this index alone, and gives up soon."""
        mine = {
            "PIP_INDEX_URL": f"http://127.0.0.1:{self.port}/simple/", "PIP_RETRIES": "0",
            "PIP_CONFIG_FILE": os.devnull, "PIP_NO_CACHE_DIR": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        return {**dict.fromkeys(SETTINGS_OF_PIP, ""), **mine}

    def answer(self, path: str) -> tuple[bytes, int]:
        """The bytes to send and the length to announce."""
        self.asked.append(path)
        name = path.rpartition("/")[2]
        if name in self.wheels:
            data = self.wheels[name]
            return data[: self.cut_at], len(data)
        package = path.strip("/").rpartition("/")[2]
        lines = [
            f'<a href="/files/{name}#sha256={self._told(data)}">{name}</a><br>'
            for name, data in self.wheels.items()
            if name.partition("-")[0].replace("_", "-") == package
        ]
        page = f"<!DOCTYPE html><html><body>{''.join(lines)}</body></html>".encode()
        return page, len(page)

    def _told(self, data: bytes) -> str:
        return hashlib.sha256(data + b"x" * self.is_wrong_hash).hexdigest()


@contextmanager
def serving(index: PackageIndex) -> Iterator[PackageIndex]:
    """The index answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data, length = index.answer(self.path)
            self.send_response(200)
            is_page = not self.path.endswith(".whl")
            self.send_header("Content-Type", "text/html" if is_page else "application/zip")
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(data)
            if len(data) < length:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    index.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE)
