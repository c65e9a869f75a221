"""Asking a server for a file: redirects, keys, forbidden addresses, and what its answer means.

Redirects are followed by hand: every hop is checked like the first address, and a key goes to
its own host alone, whoever redirects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

import httpx

from webui import __version__
from webui.errors import DownloadError

MAX_REDIRECTS: Final = 8
CONNECT_SECONDS: Final = 15.0
SILENCE_SECONDS: Final = 30.0
"""How long a server may send nothing."""
MAX_WAIT_SECONDS: Final = 120.0
"""The longest patience a server may ask for."""
_AGAIN_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 522, 524})
_NOT_FOR_ALL: Final = tuple(
    ipaddress.ip_network(net) for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16")
)
"""IPv6 addresses that stand for IPv4 ones, private ones too."""


class KeyRing(Protocol):
    """Who knows the keys."""

    def header_for(self, url: httpx.URL) -> Mapping[str, str]:
        """The header that carries the key of this URL's host; empty when there is none."""
        ...


@dataclass(frozen=True)
class Rules:
    """What may be asked.

    Attributes:
        keys: Keys by host.
        public_only: Only addresses that everybody can reach; for wishes of people elsewhere.
        trusted: Servers (``host:port``) that may be asked nevertheless: the mirrors that this
            machine's owner listed.
    """

    keys: KeyRing
    public_only: bool = False
    trusted: frozenset[str] = frozenset()

    def wants_public(self, url: httpx.URL) -> bool:
        """True where the address must be one that everybody can reach."""
        return self.public_only and server_of(url) not in self.trusted


class LinkError(DownloadError):
    """An address that is none, or leads nowhere."""

    code = "link"
    http_status = 422


class SourceError(DownloadError):
    """This source does not give the file; another one may (``again_in``: seconds after which it
    is worth asking once more, None = never)."""


@dataclass(frozen=True)
class Answer:
    """A server's answer, its body not read yet.

    Attributes:
        url: Where the last redirect led.
        linked_sha256, linked_size: What a hub said of the file while redirecting.
    """

    response: httpx.Response
    url: httpx.URL
    linked_sha256: str | None = None
    linked_size: int | None = None


def server_of(url: httpx.URL) -> str:
    """Host and port of an address."""
    return f"{url.host}:{url.port or (443 if url.scheme == 'https' else 80)}"


class _PublicTransport(httpx.AsyncHTTPTransport):
    """Connects to the very address that was looked at, so that a name cannot change its mind."""

    def __init__(self, rules: Rules) -> None:
        super().__init__()
        self._rules = rules

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._rules.wants_public(request.url):
            address = (await public_addresses(request.url))[0]
            request.extensions = {**request.extensions, "sni_hostname": request.url.host}
            request.url = request.url.copy_with(host=address)
        return await super().handle_async_request(request)


def make_client(rules: Rules) -> httpx.AsyncClient:
    """A client with the person's own proxies and certificates."""
    mounts = {"all://": _PublicTransport(rules)} if rules.public_only else None
    return httpx.AsyncClient(
        headers={"User-Agent": f"danqing/{__version__}", "Accept-Encoding": "identity"},
        timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(max_connections=32),
        mounts=mounts,
    )


@asynccontextmanager
async def ask(
    client: httpx.AsyncClient, url: str, rules: Rules, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Answer]:
    """The answer to a GET, redirects followed.

    Raises:
        SourceError: The server refuses, fails, redirects in a circle or to where nobody may go.
        DownloadError: The address itself may not be asked.
    """
    response, answer = None, None
    try:
        with translated(url):
            response, answer = await _follow(client, url, rules, headers or {})
        yield answer
    finally:
        if response is not None:
            await response.aclose()


async def _follow(
    client: httpx.AsyncClient, url: str, rules: Rules, headers: Mapping[str, str]
) -> tuple[httpx.Response, Answer]:
    here = read_address(url)
    sha256, size = None, None
    for _ in range(MAX_REDIRECTS + 1):
        if rules.wants_public(here):
            await public_addresses(here)
        request = client.build_request(
            "GET", here, headers={**headers, **rules.keys.header_for(here)}
        )
        response = await client.send(request, stream=True)
        sha256, size = _linked(response, sha256, size)
        target = response.headers.get("location")
        if not (response.has_redirect_location and target):
            try:
                _judge_status(response, here.host)
            except SourceError:
                await response.aclose()
                raise
            return response, Answer(response, here, sha256, size)
        await response.aclose()
        here = _redirected(here, target)
    raise SourceError(
        f"{here.host} redirects again and again, in a circle.", _TRY_ANOTHER, url=bare(url)
    )


def _redirected(here: httpx.URL, target: str) -> httpx.URL:
    try:
        there = here.join(target)
    except (httpx.InvalidURL, ValueError) as err:
        raise SourceError(
            f"{here.host} redirects to something that is no address.", _TRY_ANOTHER
        ) from err
    try:
        return read_address(str(there))
    except DownloadError as err:
        raise SourceError(f"{here.host} redirects elsewhere: {err.message}", err.hint) from err


def _linked(
    response: httpx.Response, sha256: str | None, size: int | None
) -> tuple[str | None, int | None]:
    """Hugging Face tells the hash and the size of a large file in the redirect."""
    told = response.headers.get("x-linked-etag", "").strip('"').lower()
    length = whole_number(response.headers.get("x-linked-size", ""))
    return (
        told if re.fullmatch(r"[0-9a-f]{64}", told) else sha256,
        size if length is None else length,
    )


def whole_number(text: str) -> int | None:
    """A header's number of bytes; None for what is none, or is beyond all disks."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def read_address(url: str) -> httpx.URL:
    """An address that may be asked at all.

    Raises:
        LinkError: Another scheme than http and https, no host, or a password inside.
    """
    try:
        read = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as err:
        raise LinkError(f"{url[:200]!r} is no web address: {err}.", _WRITE_LIKE) from err
    if read.scheme not in ("http", "https") or not read.host:
        raise LinkError(f"{url[:200]!r} is no http or https address.", _WRITE_LIKE)
    if read.userinfo:
        raise LinkError(
            "The address has a name and a password inside.",
            "Leave them out; a key for a site is stored in the Models tab.",
        )
    return read


async def public_addresses(url: httpx.URL) -> list[str]:
    """The IP addresses of a URL's host, every one of which everybody can reach.

    Raises:
        SourceError: One of them is private, or the name has none.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(url.host, url.port or 443, type=socket.SOCK_STREAM)
    except OSError as err:
        raise SourceError(f"The name {url.host} is not known.", _CHECK_LINE, again_in=0) from err
    addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise SourceError(
            f"{url.host} lies in a private network, which this page does not reach into.",
            "Put the file into the models folder by hand, or fetch it on the machine itself: "
            "python launch.py models get LINK",
            url=bare(str(url)),
        )
    return addresses


def is_public(address: str) -> bool:
    """True for an address of the open internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif any(ip in net for net in _NOT_FOR_ALL):
            return False
    return ip.is_global and not ip.is_multicast


# Failures


_WRITE_LIKE: Final = "Write it as https://…"
_TRY_ANOTHER: Final = "Try another source."
_CHECK_LINE: Final = "Check the connection, the proxy, and the list of mirrors in the Models tab."


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Inside, failures of the network become SourceErrors that may be worth another attempt."""
    host = httpx.URL(url).host
    try:
        yield
    except httpx.TimeoutException as err:
        raise SourceError(f"{host} does not answer in time.", _CHECK_LINE, again_in=0) from err
    except httpx.ConnectError as err:
        message = f"{host} cannot be reached ({err})."
        raise SourceError(message, _CHECK_LINE, again_in=0) from err
    except httpx.HTTPError as err:
        message = f"The connection to {host} broke: {err or type(err).__name__}."
        raise SourceError(message, _CHECK_LINE, again_in=0) from err


def _judge_status(response: httpx.Response, host: str) -> None:
    """Let only an answer through that brings something.

    Args:
        host: As people know it; the connection may have gone to its address.
    Raises:
        SourceError: Any other answer, in words.
    """
    status = response.status_code
    if status in (200, 206, 416):
        return
    if status in _AGAIN_LATER:
        wait = retry_after(response.headers.get("retry-after", ""))
        why = "asks for patience" if status in (429, 503) else "has a fault of its own"
        raise SourceError(
            f"{host} {why} (HTTP {status}).",
            "Try again later, or another source.",
            again_in=0 if wait is None else wait,
        )
    raise _refusal(status, host, response.headers)


def _refusal(status: int, host: str, headers: Mapping[str, str]) -> SourceError:
    if headers.get("x-error-code") == "GatedRepo":
        return SourceError(
            f"{host} gives this file only to people who agreed to its licence.",
            "Open its page in the browser, agree there, make an access token and store it in the "
            "Models tab (or: python launch.py models key huggingface.co).",
            status=status,
        )
    if status in (401, 403):
        return SourceError(
            f"{host} wants a key for this file, or refuses the one it was given (HTTP {status}).",
            "If the site has accounts, make a key (access token) in yours and store it in the "
            "Models tab (or: python launch.py models key SITE). Otherwise fetch the file in a "
            "browser and put it into the models folder.",
            status=status,
        )
    if status in (404, 410):
        return SourceError(
            f"{host} does not have this file (HTTP {status}).", "Check the link.", status=status
        )
    return SourceError(f"{host} answered HTTP {status}.", _TRY_ANOTHER, status=status)


def retry_after(text: str) -> float | None:
    """Seconds that a Retry-After header asks for, at most ``MAX_WAIT_SECONDS``; None without."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return min(float(text), MAX_WAIT_SECONDS)
    try:
        when = parsedate_to_datetime(text)
        return min(max(0.0, when.timestamp() - time.time()), MAX_WAIT_SECONDS)
    except (TypeError, ValueError, OverflowError):
        return None


def bare(url: str) -> str:
    """An address without what may be secret in it: query, fragment, password."""
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        return ""
    return str(read.copy_with(query=None, fragment=None, username=None, password=None))
