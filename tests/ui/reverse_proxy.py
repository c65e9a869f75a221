"""A small reverse proxy: https in front, a sub-path cut off, the visitor told in headers."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

TLS = Path(__file__).parents[1] / "data" / "tls"
OF_THE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "host"}


class _Handler(BaseHTTPRequestHandler):
    target = 0
    subpath = ""

    def _pass_on(self) -> None:
        if not self.path.startswith(f"{self.subpath}/"):
            self.send_error(404)
            return
        headers = {k: v for k, v in self.headers.items() if k.lower() not in OF_THE_CONNECTION}
        headers |= {
            "X-Forwarded-For": self.client_address[0], "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": self.headers["Host"],
        }  # fmt: skip
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        behind = http.client.HTTPConnection("127.0.0.1", self.target, timeout=120)
        try:
            behind.request(self.command, self.path.removeprefix(self.subpath), body, headers)
            answer = behind.getresponse()
            self.send_response_only(answer.status, answer.reason)
            for name, value in answer.getheaders():
                if name.lower() not in OF_THE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while chunk := answer.read1(65536):  # events go on as they come
                self.wfile.write(chunk)
        except OSError:  # either side is gone
            self.close_connection = True
        finally:
            behind.close()

    do_GET = do_HEAD = do_POST = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is told."""


@contextmanager
def https_proxy(target: int, subpath: str) -> Iterator[str]:
    """Passes ``https://127.0.0.1:…{subpath}/`` on to a port of this machine; yields the address."""
    handler = type("Handler", (_Handler,), {"target": target, "subpath": subpath})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}{subpath}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
