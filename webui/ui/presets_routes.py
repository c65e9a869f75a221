"""Presets as the row below Generate asks for them: listed, exported, imported, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from webui.errors import WebUIError
from webui.services.forms.presets import MOST_CHARACTERS
from webui.ui.input_routes import read_upload

if TYPE_CHECKING:
    from webui.studio import Studio

NEVER_KEPT = {"Cache-Control": "no-store"}


class Named(BaseModel):
    """A preset's name."""

    name: str = Field(max_length=500)


def make_presets_routes(studio: Studio) -> APIRouter:
    """``GET /presets``, ``GET /presets/export``, ``POST /presets/import`` and ``…/delete``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/presets")
    def presets() -> JSONResponse:
        record = studio.current_checkpoint()
        answer = {
            "presets": studio.presets.names(),
            "checkpoint": record.stem if record else "",
            "is_kept": bool(record and studio.presets.of_checkpoint(record.name)),
        }
        return JSONResponse(answer, headers=NEVER_KEPT)

    @router.get("/presets/export")
    def export() -> Response:
        return Response(
            studio.presets.export(), media_type="application/json",
            headers={"Content-Disposition": 'attachment; filename="presets.json"', **NEVER_KEPT},
        )  # fmt: skip

    @router.post("/presets/import")
    async def bring_in(request: Request) -> JSONResponse:
        data = await read_upload(request)
        try:
            text = data[: MOST_CHARACTERS * 4 + 1].decode("utf-8-sig", "replace")
            return JSONResponse({"names": studio.presets.bring_in(text)})
        except WebUIError as err:
            raise HTTPException(422, str(err)) from err

    @router.post("/presets/delete")
    def delete(named: Named) -> JSONResponse:
        """Answers with what was deleted, as ``import`` takes it."""
        try:
            return JSONResponse({"presets": {named.name: studio.presets.delete(named.name)}})
        except WebUIError as err:
            raise HTTPException(409, str(err)) from err

    return router
