"""Builds the studio from the start-up flags and serves it: the only place where the web side is
joined. ``python launch.py`` runs this file in the project's own environment."""

from __future__ import annotations

import os

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import errno
import logging
import secrets
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from webui.api.app import build_api
from webui.errors import SettingsError, WebUIError
from webui.launcher.words import say, speaks_chinese, tell
from webui.settings import MADE_GUEST, MADE_OWNER, Settings, is_loopback, read_settings
from webui.studio import Studio

logger = logging.getLogger("danqing")
PORTS_TRIED = 20


def main(argv: list[str] | None = None) -> int:
    """Serve until stopped.

    Returns:
        Exit code: 0 after a normal stop, 2 when the flags or the folders cannot be used.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        settings = read_settings(sys.argv[1:] if argv is None else argv)
        if settings.ignored:
            say("Ignored: {flags}", flags=", ".join(settings.ignored))
        listeners = [open_port(settings)]
        studio = Studio(settings)
    except WebUIError as err:
        print(_told(err), file=sys.stderr)
        return 2
    port = shared_port = listeners[0].getsockname()[1]
    if settings.share:
        listeners.append(_listen("127.0.0.1", 0))
        shared_port = listeners[1].getsockname()[1]
        studio.access.shared_ports.add(shared_port)
    app = build_app(studio, on_up=lambda: announce(settings, port, shared_port))
    config = uvicorn.Config(
        app,
        log_level="warning",
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=3,
        ssl_keyfile=settings.tls_keyfile,
        ssl_certfile=settings.tls_certfile,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        server_header=False,
    )
    signal.signal(signal.SIGTERM, _stop)
    try:
        _Server(config, studio).run(sockets=listeners)
    except KeyboardInterrupt:
        pass
    finally:
        studio.stop()
    return 0


def _told(err: WebUIError) -> str:
    """What happened and what to do, in the language of this person's system."""
    told = [err.message, err.hint]
    if speaks_chinese():
        from webui.ui.said import CHINESE, in_language

        told = [in_language(sentence, CHINESE) for sentence in told]
    return "\n".join(told).strip()


def _stop(sig: int, frame: FrameType | None) -> None:
    """uvicorn raises the signal that ended it once more; make it end the program in order."""
    raise KeyboardInterrupt


class _Server(uvicorn.Server):
    """Tells the studio at once when the person stops it, so that nobody waits for a picture."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self._studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._studio.announce_closing()
        super().handle_exit(sig, frame)


def build_app(studio: Studio, on_up: Callable[[], None] = lambda: None) -> FastAPI:
    """Both doors on one server. The studio starts to work once the server answers."""
    app = build_api(studio)
    router: Any = app.router  # its type knows only lifespans without state
    router.lifespan_context = _with_studio(app, studio, on_up)
    if studio.settings.page:
        from webui.ui.page import mount

        app = mount(app, studio)
    return app


def _with_studio(
    app: FastAPI, studio: Studio, on_up: Callable[[], None]
) -> Callable[[FastAPI], object]:
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[object]:
        async with inner(application) as state:
            studio.start()
            on_up()
            yield state

    return lifespan


def open_port(settings: Settings) -> socket.socket:
    """Take the port, or the next free one when none was asked for.

    Raises:
        SettingsError: The port asked for is taken or not allowed, or no port is free.
    """
    last = settings.port if settings.port_is_fixed else settings.port + PORTS_TRIED - 1
    for port in range(settings.port, min(last, 65535) + 1):
        try:
            return _listen(settings.host, port)
        except OSError as err:
            if err.errno != errno.EADDRINUSE:
                raise SettingsError(
                    tell(
                        "{host}:{port} cannot be used: {reason}.",
                        host=settings.host,
                        port=port,
                        reason=err.strerror or err,
                    ),
                    tell("Choose another address with --server-name or another port with --port."),
                ) from err
    ports = str(settings.port) if last == settings.port else f"{settings.port}–{last}"
    raise SettingsError(
        tell("Port {ports} is in use by another program.", ports=ports),
        tell(
            "Stop that program (perhaps this one runs already), or choose another port with --port."
        ),
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two programs share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def announce(settings: Settings, port: int, shared_port: int = 0) -> None:
    """Say where the page is and who may log in, open it where there is a screen, and share it when
    asked.

    Args:
        shared_port: Where the public tunnel comes in.
    """
    url, *others = page_addresses(settings, port)
    say("\nDanqing (丹青) is at {url}    Stop it with Ctrl+C.", url=url)
    for other in others:
        say("On other machines of this network: {url}", url=other)
    for line in invitation(settings):
        print(line, flush=True)
    say()
    if settings.page and should_open_browser(settings):
        threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    if settings.share:
        threading.Thread(target=_share, args=(shared_port,), daemon=True).start()


def invitation(settings: Settings) -> list[str]:
    """The passwords that were made for this run, which are written down nowhere else."""
    can = {
        MADE_OWNER: tell("may do everything"),
        MADE_GUEST: tell("may paint; for those you invite"),
    }
    return [
        tell("Name: {name}    Password: {password}    ({can})", name=n, password=p, can=can[n])
        for n, p in settings.made_logins
    ]


def page_addresses(settings: Settings, port: int) -> list[str]:
    """The page's address on this machine and, when it answers on every one, in the network."""
    scheme = "https" if settings.tls_certfile else "http"
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    hosts = [f"[{here}]" if ":" in here else here]
    if settings.host in ("0.0.0.0", "::"):
        hosts += filter(None, [lan_address()])
    return [f"{scheme}://{host}:{port}{settings.subpath}/" for host in hosts]


def lan_address() -> str:
    """This machine's IPv4 address towards other machines, or ''.

    Connecting a UDP socket only chooses the way out; nothing is sent. 192.0.2.1 is nobody's
    address (RFC 5737).
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))
            found = str(probe.getsockname()[0])
    except OSError:
        return ""
    return "" if is_loopback(found) or found == "0.0.0.0" else found


def should_open_browser(settings: Settings) -> bool:
    """True on a person's own machine with a screen, unless told otherwise."""
    if settings.flags.get("no_autolaunch") or os.environ.get("CI"):
        return False
    if settings.autolaunch:
        return True
    has_screen = (
        sys.platform in ("win32", "darwin")
        or bool(os.environ.get("DISPLAY"))
        or bool(os.environ.get("WAYLAND_DISPLAY"))
    )
    return has_screen and is_loopback(settings.host) and not os.environ.get("SSH_CONNECTION")


OTHER_TUNNELS = """\
    ssh -R 80:127.0.0.1:{port} localhost.run
    cloudflared tunnel --url http://127.0.0.1:{port}
    ngrok http {port}
    tailscale funnel {port}"""


def _share(port: int) -> None:
    """Ask Gradio's service for a public address that leads to a port of ours."""
    from gradio.networking import setup_tunnel

    try:
        address = setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None)
    except Exception as err:  # the tunnel client is gradio's; whatever it raises, we go on
        reason = (str(err).strip().splitlines() or [type(err).__name__])[0].rstrip(".")
        say(
            "No public link could be made: {reason}.\n"
            "The page goes on working here. The link needs the internet and Gradio's tunnel "
            "program, which is\nfetched at first use. Each of these makes a link as well; "
            "passwords are asked for there, too:",
            reason=reason,
        )
        print(OTHER_TUNNELS.format(port=port), flush=True)
        return
    say("Public link: {url}    (everybody has to log in there)", url=address)


if __name__ == "__main__":
    sys.exit(main())
