"""What A1111 folders bring to the owner's page: tabs, JavaScript, styles, routes of their own."""

from __future__ import annotations

import json
import mimetypes
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, PlainTextResponse
from gradio.context import Context
from starlette.requests import HTTPConnection
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from webui.ui.blocks import PageBlocks
from webui.ui.cards import esc
from webui.ui.form_ids import A1111_IDS
from webui.ui.login import Visitors
from webui.ui.script_handlers import call_fenced
from webui.ui.tab_ids import elem_id

if TYPE_CHECKING:
    from webui.studio import Studio

SCRIPT = Path(__file__).parent / "assets" / "a1111.js"
PARTS = {
    "generate": "generate", "interrupt": "interrupt", "skip": "skip", "gallery": "stage",
}  # fmt: skip
"""Parts that are no fields, by A1111's names."""
Tab = tuple[gr.Blocks, str, str]


def draw_tabs(studio: Studio) -> list[Tab]:
    """The tabs that extensions make, before the page is drawn: each a page of its own."""
    scripts = studio.extensions.scripts
    if scripts is None or scripts.host is None:
        return []
    scripts.host.callbacks.call("before_ui")
    return scripts.drawing().draw_tabs(scripts.host)


def place_tabs(tabs: list[Tab]) -> None:
    """Put them behind the page's own tabs.

    Trap: Gradio numbers a tab's handlers, and all that come after, from those of the page that are
    there; where there are none yet, from 0, whatever the page's were to begin with.
    """
    if tabs and (page := Context.root_block) is not None:
        page.load(None, None, None, js="() => {}")
    for blocks, title, name in tabs:
        with gr.Tab(title, id=f"a1111-{name}", elem_id=f"tab_{name}"):
            blocks.render()


def head(studio: Studio) -> str:
    """Scripts and styles for the document's head; empty where no folder has any."""
    scripts = studio.extensions.scripts
    files = scripts.files() if scripts else {}
    if scripts is None or scripts.host is None:
        return ""
    root = studio.settings.subpath
    ids = {
        f"{tab}_{theirs}": elem_id(tab, ours.replace("_", "-"))
        for tab in ("txt2img", "img2img")
        for table in (A1111_IDS, {ours: theirs for theirs, ours in PARTS.items()})
        for ours, theirs in table.items()
    }
    opts = {k: v for k, v in scripts.host.options.data.items() if not k.startswith("outdir_")}
    facts = {"ids": ids, "opts": opts, "localizations": scripts.translations()}
    data = json.dumps(facts, ensure_ascii=False, default=str).replace("</", "<\\/")
    code = SCRIPT.read_text(encoding="utf-8")
    parts = [f"<script>window.a1111Facts = {data};\n{code}</script>"]
    for name, file in files.items():
        address = f"{root}/ui/a1111/{esc(name)}?{file.stat().st_mtime_ns}"
        if file.suffix == ".css":
            parts.append(f'<link rel="stylesheet" href="{address}">')
        else:
            kind = ' type="module"' if file.suffix == ".mjs" else " defer"
            parts.append(f'<script{kind} src="{address}"></script>')
    return "".join(parts)


def make_a1111_routes(studio: Studio) -> APIRouter:
    """``GET /a1111/{name}``: JavaScript and styles of extensions."""
    router = APIRouter(include_in_schema=False)

    @router.get("/a1111/{name:path}")
    def file(name: str) -> FileResponse:
        scripts = studio.extensions.scripts
        found = (scripts.files() if scripts else {}).get(name)
        if found is None:
            raise HTTPException(404, "No extension has that file.")
        kind = "text/javascript" if found.suffix in (".js", ".mjs") else None
        return FileResponse(found, media_type=kind or mimetypes.guess_type(found.name)[0])

    return router


class ScriptRoutes(BaseRoute):
    """The routes of extensions as one of the application's: behind the page's login, for owners,
    and never in the place of ours, which stand before it.

    Args:
        scripts: What extensions have added to the server (``webui.api.script_app``).
    """

    def __init__(self, visitors: Visitors, scripts: Any) -> None:
        self._visitors, self._scripts = visitors, scripts

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """See ``BaseRoute``."""
        return (Match.FULL if self._scripts.has(scope) else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ``BaseRoute``."""
        person = self._visitors.of(HTTPConnection(scope))
        if person is not None and not person.is_guest:
            await self._scripts(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        status = 401 if person is None else 403
        await PlainTextResponse("Not authenticated", status)(scope, receive, send)


def connect(blocks: PageBlocks, studio: Studio) -> None:
    """The page is ready: ``onUiLoaded``; what scripts have connected is called within a fence."""
    scripts = studio.extensions.scripts
    if scripts is not None and scripts.host is not None:
        blocks.fence = partial(call_fenced, scripts.host)
        blocks.load(None, None, None, js="() => window.a1111Loaded?.()")
