"""Against other web pages using this server behind a person's back.

A browser sends requests to local addresses for any page it shows. Two checks close that door:

- *Host*: a server that only this machine can reach answers only to this machine's names, so a
  foreign name that was re-pointed at 127.0.0.1 (DNS rebinding) gets nothing. Where a password
  guards the path, the name does not matter: browsers send it to no re-pointed name.
- *Origin*: a request that can change something, sent by a page of another origin, is refused.
  Programs send no Origin header and are not concerned.

Addresses given to ``--cors-allow-origins`` are trusted in both.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from webui.access import Access, server_port
from webui.api.errors import ApiError, answer_error
from webui.settings import Settings, is_loopback

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
API_ROOTS = ("sdapi", "internal", "danqing", "controlnet", "extensions")
"""First parts of the paths that the API answers, besides /openapi.json."""
NO_ORIGIN = "null"
"""What browsers send for files, sandboxed frames and some redirects."""


@dataclass(frozen=True)
class Trust:
    """Whom the server answers.

    Attributes:
        is_local: Only this machine can reach the server.
        host: The address the server listens on.
        origins, origins_regex: Pages of other origins that may use it.
        has_api_logins, has_page_logins: Passwords guard the API, the page.
    """

    is_local: bool
    host: str
    origins: tuple[str, ...] = ()
    origins_regex: str | None = None
    has_api_logins: bool = False
    has_page_logins: bool = False

    @classmethod
    def from_settings(cls, settings: Settings) -> Trust:
        return cls(
            is_local=is_loopback(settings.host),
            host=settings.host,
            origins=settings.cors_origins,
            origins_regex=settings.cors_origins_regex,
            has_api_logins=bool(settings.api_logins) or settings.asks_here,
            has_page_logins=settings.asks_here,
        )

    def host_is_ours(self, host_header: str, *, is_api: bool) -> bool:
        """False for a name that a foreign page may have pointed at this machine."""
        if not self.is_local or (self.has_api_logins if is_api else self.has_page_logins):
            return True
        name = _host_name(host_header)
        if not name or name in ("localhost", self.host.lower()) or name.endswith(".localhost"):
            return True
        if _is_address(name):  # an address in digits cannot be re-pointed
            return True
        origins = (f"{scheme}://{host_header}" for scheme in ("http", "https"))
        return any(map(self.origin_is_allowed, origins))

    def origin_is_ours(self, origin: str, hosts: tuple[str, ...]) -> bool:
        """True for the page of the very address that was called, and for allowed origins.

        A share link needs no more than that, and a name like it may be a stranger's.

        Args:
            origin: The Origin header.
            hosts: The names under which the browser or a proxy called us.
        """
        if self.origin_is_allowed(origin):
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:  # a bracket that is not closed
            return False
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return False
        return _without_default_port(parts.netloc) in {_without_default_port(h) for h in hosts}

    def origin_is_allowed(self, origin: str) -> bool:
        """True when a CORS flag names this origin; "null" is anybody's, so only * admits it."""
        if "*" in self.origins:
            return True
        if origin == NO_ORIGIN:
            return False
        if origin in self.origins:
            return True
        return bool(self.origins_regex and re.fullmatch(self.origins_regex, origin))


class Guard:
    """ASGI layer that refuses foreign Hosts and Origins with 403.

    Args:
        app: What is guarded.
        trust: Whom to answer.
        access: Knows the ports behind which the share link lies, where everybody has to log in
            and the name in ``Host`` is the tunnel's; None = there are none.
    """

    def __init__(self, app: ASGIApp, trust: Trust, access: Access | None = None) -> None:
        self._app = app
        self._trust = trust
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer_error(refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        is_api = is_api_path(scope)
        if not self._is_shared(scope) and not self._trust.host_is_ours(host, is_api=is_api):
            return ApiError(
                403,
                f"This server does not answer to the name {host!r}. Open it as "
                f"http://{self._trust.host}, or start it with "
                f"--cors-allow-origins http://{host} if that name is yours.",
            )
        origin = headers.get("origin")
        is_safe = scope["type"] == "http" and scope["method"] in SAFE_METHODS
        outer = headers.get("x-forwarded-host") if _is_proxy_here(scope) else None
        hosts = tuple(filter(None, (host, outer)))
        if origin is None or is_safe or self._trust.origin_is_ours(origin, hosts):
            return None
        if origin == NO_ORIGIN:
            return ApiError(
                403,
                "A page without an address of its own (a file, or a sandboxed frame) tried to use "
                "this server and was refused. Serve that page over http and open it there.",
            )
        return ApiError(
            403,
            f"A page at {origin!r} tried to use this server and was refused. If that page is "
            f"yours, start the server with --cors-allow-origins {origin}",
        )

    def _is_shared(self, scope: Scope) -> bool:
        return self._access is not None and self._access.is_shared(server_port(scope))


def is_api_path(scope: Scope) -> bool:
    """True for the paths that the API answers."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == "/openapi.json" or path.startswith(tuple(f"/{root}/" for root in API_ROOTS))


def _is_proxy_here(scope: Scope) -> bool:
    """True when the connection comes from this machine, as a reverse proxy's does.

    uvicorn puts the address that such a proxy reports in place of the proxy's own, with port 0,
    which no connection has; it does so only for proxies on this machine or those that the
    person named in FORWARDED_ALLOW_IPS.
    """
    host, port = scope.get("client") or ("", None)
    return port == 0 or is_loopback(host)


def _host_name(host: str) -> str:
    """The name in ``name:port`` or ``[address]:port``, lower case, without a final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _without_default_port(netloc: str) -> str:
    return re.sub(r":(80|443)$", "", netloc.lower())
