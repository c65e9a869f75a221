"""What the page and the API are told of extensions, in plain data."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

from webui.errors import WebUIError
from webui.extension_forms import Form, ModelFile
from webui.services.extensions.git import Git, read_origin
from webui.services.extensions.known import Known
from webui.services.extensions.room import ExtensionRoom


def list_extensions(room: ExtensionRoom) -> list[dict[str, Any]]:
    """Everything that lies in the extension folders.

    Returns:
        For each: ``name``, ``title``, ``description``, ``version``, ``path``, ``is_built_in``,
        ``kind``; ``state`` (``on``, ``off``, ``broken``: it cannot be loaded, ``left out``: it
        failed too often) with ``why``; ``enabled``; ``seconds`` that loading took; ``troubles``;
        ``notes`` and ``wants_install`` of A1111 folders; ``settings`` with their ``values``;
        ``tabs``; ``has_worker_part``.
    """
    return [listed(room, known) for known in room.all()]


def listed(room: ExtensionRoom, known: Known) -> dict[str, Any]:
    """One of them, as ``list_extensions`` tells it."""
    extension, state = known.extension, state_of(room, known)
    return {
        "name": known.name,
        "title": extension.title.model_dump(),
        "description": extension.manifest.description.model_dump(),
        "version": extension.manifest.version,
        "path": str(extension.path),
        "kind": extension.kind,
        "is_built_in": extension.is_built_in,
        "enabled": room.is_enabled(extension),
        "state": state[0],
        "why": state[1],
        "seconds": round(known.seconds, 4),
        "notes": room.scripts.notes(known.name) if room.scripts else [],
        "wants_install": room.scripts.wants_install(known.name) if room.scripts else False,
        "troubles": [trouble.to_json() for trouble in room.fence.troubles(known.name)],
        "has_worker_part": extension.model is not None,
        "settings": [one.to_page() for one in known.settings.values()],
        "values": room.settings_of(known),
        "tabs": [
            {"title": tab.title.model_dump(), "page": tab.page} for tab in known.tabs
        ],
        "job_kinds": [
            {
                "name": kind.name,
                "title": kind.title.model_dump(),
                "fields": [one.to_page() for one in kind.fields],
            }
            for kind in known.job_kinds.values()
        ],
    }  # fmt: skip


def list_repositories(room: ExtensionRoom) -> list[dict[str, Any]]:
    """Those that come from a git remote, as ``/sdapi/v1/extensions`` tells them; ``commit_date`` is
    0 where git cannot say it."""
    found: list[dict[str, Any]] = []
    for known in room.all():
        path = known.extension.path
        origin = read_origin(path)
        if origin is None or not origin.url:
            continue
        try:
            seconds = _seconds_of(path, origin.commit)
        except (WebUIError, ValueError):
            seconds = 0
        found.append(
            {
                "name": path.name,
                "remote": origin.url,
                "branch": origin.branch,
                "commit_hash": origin.commit,
                "version": origin.commit[:8],
                "commit_date": seconds,
                "enabled": room.is_enabled(known.extension),
            }
        )
    return found


@lru_cache(maxsize=1000)
def _seconds_of(folder: Path, commit: str) -> int:
    """A program is started to tell it, and it never changes."""
    return Git().seconds_of(folder, commit, threading.Event())


def state_of(room: ExtensionRoom, known: Known) -> tuple[str, str]:
    """``on``, ``off``, ``broken`` or ``left out``, and why."""
    if not room.is_enabled(known.extension):
        return "off", ""
    if known.extension.problem:
        return "broken", known.extension.problem
    if why := room.fence.left_out(known.name):
        return "left out", why
    if known.is_loaded:
        return "on", ""
    troubles = room.fence.troubles(known.name)
    return "broken", troubles[-1].message if troubles else "It could not be loaded."


def forms_on(room: ExtensionRoom, tab: str) -> list[dict[str, Any]]:
    """The blocks of a tab, in the order they are drawn.

    Returns:
        For each: ``name``, ``title``, and the form's own data; ``files`` holds what fields that
        name a file offer.
    """
    found: list[dict[str, Any]] = []
    for known in room.loaded():
        form = known.forms.get(tab)
        if form is not None:
            title = form.title if form.title.en else known.extension.title
            files = {f.name: room.files_for(f) for f in form.fields if isinstance(f, ModelFile)}
            found.append({**_drawn(form), "name": known.name, "title": title.model_dump(),
                          "files": files})  # fmt: skip
    return found


def _drawn(form: Form) -> dict[str, Any]:
    return form.to_page()
