"""Whose page this is: a lasting id for each browser, and the name of who is logged in."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import gradio as gr

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


def is_own(client: str, user: str, owner_client: str, owner_user: str) -> bool:
    """True when what an owner made is this visitor's: of the same login, or the same browser.

    Args:
        client, user: The visitor's ``client_name`` and login, empty where none is asked for.
        owner_client, owner_user: Of the job or picture.
    """
    return bool((user and user == owner_user) or (client and client == owner_client))
