"""Whose page this is: a lasting id for each browser, and the name of who is logged in."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from webui.roles import is_guest

if TYPE_CHECKING:
    from webui.jobs.store import Job

SECRET_FILE = "page-secret"


def load_secret(folder: Path) -> str:
    """The key that protects what the page keeps in browsers; made once per installation.

    Without a lasting key every restart would make all browsers strangers.

    Args:
        folder: Where the databases of this installation lie; it exists.
    Raises:
        OSError: The file can be neither read nor written.
    """
    path = folder / SECRET_FILE
    try:
        kept = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        kept = ""
    if kept:
        return kept
    secret = secrets.token_urlsafe(32)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret)
    return secret


def new_browser_id() -> str:
    """An id for a browser that has never been here."""
    return secrets.token_urlsafe(9)


def client_name(browser_id: str, request: gr.Request | None) -> str:
    """The name under which jobs and drafts are kept: two logins on one browser stay apart."""
    user = user_of(request)
    return f"{user}/{browser_id}" if user else browser_id


def user_of(request: gr.Request | None) -> str:
    """Who is logged in; empty where no password is asked for."""
    return (getattr(request, "username", None) or "") if request is not None else ""


@dataclass(frozen=True)
class Visitor:
    """Who looks at the page.

    Attributes:
        client: As ``client_name``. user: The login, empty where none is asked for.
    """

    client: str
    user: str = ""

    def owns(self, client: str, user: str) -> bool:
        """True for what was made by the same login, or in the same browser.

        Args:
            client, user: Of the job or picture.
        """
        is_same_user = bool(self.user) and self.user == user
        return is_same_user or (bool(self.client) and self.client == client)

    def may_change(self, job: Job) -> bool:
        """True when the visitor may move or cancel a job: no other login asked for it. To guests
        only their own are theirs."""
        is_nobodys = not job.user and not is_guest(self.user)
        return is_nobodys or self.owns(job.client, job.user)


def visitor_of(browser_id: str, request: gr.Request | None) -> Visitor:
    """Who looks, out of a page's request."""
    return Visitor(client_name(browser_id, request), user_of(request))
