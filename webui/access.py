"""Who is there: passwords, sessions, and which role a visitor of a door has.

The person at this machine needs no password unless one was given; whoever comes from elsewhere
(another machine, the share link) always does. Used from the event loop only, except where said.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from webui.brake import Brake
from webui.passwords import hash_password, is_right, make_password
from webui.roles import guest_name, is_guest
from webui.settings import MADE_GUEST, Settings

SESSION_SECONDS = 14 * 86400.0
MAX_SESSIONS = 1000
"""Of one login, so that nobody's many sessions end another's."""
MAX_REMEMBERED = 1000


@dataclass(frozen=True)
class Person:
    """Who asks. The local person and clients without a login have an empty name."""

    name: str = ""

    @property
    def is_guest(self) -> bool:
        """May do only what is marked ``for_guests``."""
        return is_guest(self.name)


LOCAL = Person()


class Logins:
    """Names and hashed passwords. Safe in any thread."""

    def __init__(self, owners: Iterable[tuple[str, str]], guests: Iterable[tuple[str, str]]):
        self._hashed = dict(guests) | dict(owners)
        self._guests = {name for name, _ in guests} - {name for name, _ in owners}
        self._nobody = hash_password(make_password()) if self._hashed else ""

    def __bool__(self) -> bool:
        return bool(self._hashed)

    def check(self, name: str, password: str) -> bool:
        """True for a known name with its password; a name that nobody has takes as long."""
        if not self._hashed:
            return False
        hashed = self._hashed.get(name, self._nobody)
        return is_right(password, hashed) and name in self._hashed

    def is_guest(self, name: str) -> bool:
        """True for the logins of guests."""
        return name in self._guests


TUNNEL = "tunnel"
"""Stands for the address of everybody who comes in through the public tunnel."""
IPV6_HOME_BITS = 64
"""So many first bits of an IPv6 address are one household's, which may use all others as it likes
(RFC 6177)."""
_PERSON = "danqing_person"


@dataclass(frozen=True)
class _Session:
    login: str
    person: Person
    ends_at: float


class Access:
    """Checks passwords at both doors and keeps the page's sessions, in memory alone.

    Args:
        settings: From the start-up flags.
        clock: Seconds that only grow.
    Attributes:
        page, api: The logins of the two doors.
        brake: Counts wrong passwords of both.
        cookie: Name of the cookie that holds a session's token; servers on one host do not take
            each other's.
        shared_ports: Ports of this machine behind which the public tunnel lies.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        guests = settings.guest_logins
        self.page = Logins(settings.page_logins, guests)
        self.api = Logins(settings.api_logins or settings.page_logins, guests)
        self.brake = Brake(clock)
        self.shared_ports: set[int] = set()
        self.has_guests = bool(guests)
        folder = str(settings.folders.data).encode("utf-8", "replace")
        self.cookie = f"danqing-{hashlib.sha256(folder).hexdigest()[:8]}"
        self._asks_here = settings.asks_here
        self._asks_api_here = bool(settings.api_logins) or settings.asks_here
        self._page_opens_api = not settings.api_logins
        self._clock = clock
        self._sessions: dict[bytes, _Session] = {}
        self._secret = secrets.token_bytes(32)
        self._remembered: dict[bytes, None] = {}

    def is_shared(self, server_port: int | None) -> bool:
        """True for a request that came in through the public tunnel."""
        return server_port in self.shared_ports

    def asks(self, server_port: int | None) -> bool:
        """True when the page wants a password of who comes in through this port."""
        return self._asks_here or self.is_shared(server_port)

    def asks_api(self, server_port: int | None) -> bool:
        """True when the API wants one."""
        return self._asks_api_here or self.is_shared(server_port)

    def peer(self, scope: Mapping[str, Any]) -> str:
        """Whose wrong passwords a request's are counted with, by its ASGI scope: who guesses
        through the tunnel keeps nobody waiting who sits at this machine."""
        if self.is_shared(server_port(scope)):
            return TUNNEL
        client = scope.get("client")
        return _household(client[0]) if client else ""

    # Sessions of the page

    def begin_session(self, login: str) -> str:
        """Let somebody in whose password was right; returns what their browser keeps.

        Several people use the guests' common login, so each session of it is a guest of its own.
        """
        token = secrets.token_urlsafe(32)
        person = Person(login)
        if self.page.is_guest(login):
            own = secrets.token_hex(4) if login == MADE_GUEST else ""
            person = Person(guest_name(login, own))
        self._sessions[_digest(token)] = _Session(login, person, self._clock() + SESSION_SECONDS)
        own = [key for key, session in self._sessions.items() if session.login == login]
        for key in own[:-MAX_SESSIONS]:
            del self._sessions[key]
        return token

    def person(self, token: str | None, server_port: int | None) -> Person | None:
        """Who opens the page; None for who has to log in first."""
        person = self._person_in_session(token)
        if person is None and not self.asks(server_port):
            return LOCAL
        return person

    def _person_in_session(self, token: str | None) -> Person | None:
        session = self._sessions.get(_digest(token)) if token else None
        if session is None or session.ends_at <= self._clock():
            return None
        return session.person

    def page_person_at_api(self, cookies: Mapping[str, str]) -> Person | None:
        """Who asks the API from within the page, by the page's session: extensions' scripts do.
        None where the API has owners of its own."""
        token = cookies.get(self.cookie)
        return self._person_in_session(token) if self._page_opens_api else None

    def end_session(self, token: str | None) -> None:
        """Forget a session; what the browser kept is worth nothing any more."""
        if token:
            self._sessions.pop(_digest(token), None)

    # Passwords sent with every request

    def api_person(self, login: str) -> Person | None:
        """Who a login of the API stands for; None for the guests' common one, with which several
        people could not be told apart."""
        if not self.api.is_guest(login):
            return Person(login)
        return None if login == MADE_GUEST else Person(guest_name(login))

    def remembers(self, login: str, password: str) -> bool:
        """True when the API has let this very pair in before: it is not worth 0.1 s again."""
        return self._keyed(login, password) in self._remembered

    def remember(self, login: str, password: str) -> None:
        """Keep a keyed hash of a pair that was right, as long as the program runs."""
        self._remembered[self._keyed(login, password)] = None
        while len(self._remembered) > MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    def _keyed(self, login: str, password: str) -> bytes:
        said = f"{len(login)}:{login}{password}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, said, "sha256")


def server_port(scope: Mapping[str, Any]) -> int | None:
    """The port of ours at which a request came in, by its ASGI scope."""
    server = scope.get("server")
    return server[1] if server else None


def note_person(scope: MutableMapping[str, Any], person: Person) -> None:
    """Keep with a request who asks; its limits and the sentences of its answer go by that."""
    scope[_PERSON] = person


def person_of(scope: Mapping[str, Any]) -> Person:
    """Who asks; the local person where nobody was noted."""
    return scope.get(_PERSON, LOCAL)


def _household(host: str) -> str:
    """An address, or the part of it that one household shares."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, ipaddress.IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), IPV6_HOME_BITS), strict=False))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
