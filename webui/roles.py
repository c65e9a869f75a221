"""Who may do what: the owner everything, a guest what is marked ``for_guests`` and nothing else.

Both doors ask here. A route or a handler that says nothing is the owner's alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

GUEST_MARK = "~"
"""Stands in the name of every guest and in no owner's, so that a name alone tells the role: of a
job that waits since yesterday, of a picture in the library."""
_MARKED = "__for_guests__"
_Function = TypeVar("_Function", bound=Callable[..., Any])


def is_guest(user: str) -> bool:
    """True for the name of a guest; the local person's name is empty."""
    return GUEST_MARK in user


def guest_name(login: str, session: str = "") -> str:
    """The name under which a guest's jobs and pictures are kept.

    Args:
        session: What tells several people apart who use the same login.
    """
    return f"{login}{GUEST_MARK}{session}"


def login_of(user: str) -> str:
    """What a guest logged in with, whoever else did; the same for all names of one login."""
    return user.partition(GUEST_MARK)[0]


def for_guests(function: _Function) -> _Function:
    """Mark a route's or an event's function: guests may call it, too."""
    setattr(function, _MARKED, True)
    return function


def is_for_guests(function: Callable[..., Any] | None) -> bool:
    """True for what ``for_guests`` has marked."""
    return bool(getattr(function, _MARKED, False))


def may_see(user: str, owner: str) -> bool:
    """Whether what ``owner`` made is there for ``user``: not between two logins; what nobody's
    login made is every owner's, and no guest's."""
    if is_guest(user):
        return owner == user
    return not user or owner in ("", user)
