"""The card of a failed job: what happened, and buttons for what may help."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from webui.checkpoints.download.telling import in_bytes
from webui.errors import (
    CheckpointNotFoundError,
    DiskFullError,
    ModelTooLargeError,
    WebUIError,
)
from webui.roles import is_guest
from webui.services import remedies
from webui.ui import cards
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.params import AnyParams
    from webui.studio import Studio

HALVES = ("float16", "bfloat16")
PLACES = {
    CheckpointNotFoundError.code: "models",
    ModelTooLargeError.code: "models",
    DiskFullError.code: "gallery",
}
"""The tab where something can be done, by the code of an error."""


def card(studio: Studio, job: Job, language: str) -> str:
    """What is shown of a failed job.

    Args:
        language: ``en`` or ``zh``.
    """
    error = job.error or {}
    return cards.failure_card(error, job.id, language, _help(studio, job, error, language))


def _help(studio: Studio, job: Job, error: dict[str, Any], language: str) -> str:
    code = str(error.get("code", ""))
    params = _params_of(studio, job)
    ways = remedies.offered(code, params, _ground(studio, params))
    buttons = "".join(
        cards.action("remedy", say(f"help_{way}", language), job=job.id, way=way) for way in ways
    )
    fact = ""
    if not is_guest(job.user):
        if code == DiskFullError.code:
            fact = _free(studio, language)
            buttons += _empty_trash(studio, job, language)
        buttons += _place(code, error, language)
    return fact + (f'<div class="dq-chips dq-help">{buttons}</div>' if buttons else "")


def _place(code: str, error: dict[str, Any], language: str) -> str:
    """The button that opens the tab where something can be done."""
    place = PLACES.get(code)
    if place is None:
        return ""
    return cards.open_tab(place, str(error.get("details", {}).get("wanted", "")), language)


def _empty_trash(studio: Studio, job: Job, language: str) -> str:
    """The button for what was deleted already and still fills the disk."""
    count = studio.gallery.pictures.counts(job.user)["trash"]
    if not count:
        return ""
    return cards.action("empty_trash", say("help_empty_trash", language, count=count), job=job.id)


def _free(studio: Studio, language: str) -> str:
    try:
        free = shutil.disk_usage(studio.settings.folders.data).free
    except OSError:
        return ""
    return f"<p>{cards.esc(say('help_free', language, free=in_bytes(free)))}</p>"


def _ground(studio: Studio, params: AnyParams | None) -> remedies.Ground:
    """What the job would be painted on if it was asked for now."""
    is_basic = False
    if isinstance(params, remedies.Painting):
        try:
            record = studio.catalog.find_checkpoint(params.checkpoint)
            is_basic = studio.catalog.inspected(record).has_basic_support
        except WebUIError:  # it is gone
            pass
    return remedies.Ground(is_half=studio.worker_facts.get("dtype") in HALVES, is_basic=is_basic)


def _params_of(studio: Studio, job: Job) -> AnyParams | None:
    try:
        return studio.params_of(job)
    except WebUIError:
        return None
