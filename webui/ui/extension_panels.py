"""The blocks of extensions on the painting tabs: one element, whose value is a JSON text.

assets/extension_panels.js draws them from what ``GET /ui/extensions/forms/{tab}`` tells, so that
an extension that is dropped in appears after a refresh, and the page carries nothing of those that
are folded.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter, Body, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from webui.errors import ParamsError, WebUIError
from webui.services.extensions.listing import forms_on, list_extensions
from webui.ui.wiring import draws_for_guests

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import FieldMaker

FIELD = "extensions"
MOUNT_JS = "window.danqingExtensions(element, props, watch);"
NEVER_KEPT = {"Cache-Control": "no-store"}


def draw(fields: FieldMaker, tab: str = "") -> dict[str, Any]:
    """The element of one tab, under its field's name. Guests see none of it.

    Args:
        tab: What forms call the tab; '' = as the page does.
    """
    template = f'<div class="dq-exts" data-tab="{tab or fields.tab}"></div>'
    is_drawn = not draws_for_guests()
    drawn = gr.HTML(
        "", html_template=template if is_drawn else "", js_on_load=MOUNT_JS if is_drawn else None,
        elem_id=fields.id(FIELD), elem_classes="dq-plotbox", apply_default_css=False,
    )  # fmt: skip
    return {FIELD: drawn}


def read(form: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The extensions that are switched on, with what stands in their fields.

    Raises:
        ParamsError: The field holds no such JSON.
    """
    try:
        blocks = json.loads(form.get(FIELD) or "{}")
        return {
            name: dict(block.get("values", {})) for name, block in blocks.items() if block["on"]
        }
    except (ValueError, AttributeError, KeyError, TypeError) as err:
        raise ParamsError(
            "What stands in the blocks of extensions cannot be read.",
            "Reload the page and fill them in again.", field=FIELD,
        ) from err  # fmt: skip


def pasted(found: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The form's field after a recipe was pasted: what it tells of is switched on, others off."""
    blocks = {name: {"on": True, "values": dict(values)} for name, values in found.items()}
    return {FIELD: json.dumps(blocks, ensure_ascii=False) if blocks else ""}


def make_extension_routes(studio: Studio) -> APIRouter:
    """``/extensions`` lists what is installed, switches it and looks again; ``/extensions/forms``
    tells what to draw."""
    router = APIRouter(include_in_schema=False)
    room = studio.extensions

    def listed() -> JSONResponse:
        return JSONResponse(list_extensions(room), headers=NEVER_KEPT)

    @router.get("/extensions")
    def extensions() -> JSONResponse:
        return listed()

    @router.get("/extensions/forms/{tab}")
    def forms(tab: str) -> JSONResponse:
        return JSONResponse(forms_on(room, tab), headers=NEVER_KEPT)

    @router.post("/extensions/refresh")
    async def refresh() -> JSONResponse:
        found = await asyncio.to_thread(studio.refresh_extensions)
        told = {
            "new": found.new, "gone": found.gone, "changed": found.changed,
            "restarts_worker": found.restarts_worker, "extensions": list_extensions(room),
        }  # fmt: skip
        return JSONResponse(told, headers=NEVER_KEPT)

    @router.post("/extensions/{name}/enabled")
    def enable(name: str, is_on: bool = Body(embed=True)) -> JSONResponse:
        _told(lambda: room.enable(name, is_on))
        return listed()

    @router.post("/extensions/{name}/settings")
    def settings(name: str, values: dict[str, Any] = Body(embed=True)) -> JSONResponse:  # noqa: B008
        return JSONResponse(_told(lambda: room.set_settings(name, values)), headers=NEVER_KEPT)

    async def answer(request: Request, name: str, rest: str) -> Response:
        """An extension's own routes and pages, for its tabs; see ``webui.api.extensions``."""
        return await request.app.state.answer_extension(request, name, rest)

    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    router.add_api_route("/x/{name}/{rest:path}", answer, methods=methods)
    return router


def _told(deed: Any) -> Any:
    try:
        return deed()
    except WebUIError as err:
        raise HTTPException(err.http_status, str(err)) from err
