"""Pictures of the Train tab: those that are trained on, and samples. Names, never paths."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, Response

from webui.errors import WebUIError
from webui.params import TrainLora
from webui.services.training.sets import is_plain
from webui.services.training.trainings import run_folder_of
from webui.training.photographs import small
from webui.ui.train_form import sets_of

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import Studio

THUMB_SIDE = 320
FOR_A_DAY = {"Cache-Control": "private, max-age=86400"}


def make_train_routes(studio: Studio, login: Any, find_job: Callable[[int, str], Job]) -> APIRouter:
    """``/train/picture/{set}/{file}`` and ``/train/sample/{job}/{file}``.

    Args:
        login: FastAPI's dependency that gives the login of who asks.
        find_job: A job that a login may see; raises HTTPException otherwise.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/train/picture/{name}/{file}")
    async def picture(name: str, file: str, user: str = login) -> Response:
        return Response(
            await asyncio.to_thread(_thumb, studio, name, file, user),
            media_type="image/webp", headers=FOR_A_DAY,
        )  # fmt: skip

    @router.get("/train/sample/{job_id}/{file}")
    async def sample(job_id: int, file: str, user: str = login) -> Response:
        path = await asyncio.to_thread(_sample, studio, find_job(job_id, user), file)
        return FileResponse(path, media_type="image/png", headers=FOR_A_DAY)

    return router


def _thumb(studio: Studio, name: str, file: str, user: str) -> bytes:
    try:
        image = small(sets_of(studio, user).picture(name, file), THUMB_SIDE)
    except (WebUIError, OSError) as err:
        raise HTTPException(404, str(err)) from err
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=80)
    return packed.getvalue()


def _sample(studio: Studio, job: Job, file: str) -> Path:
    params = studio.params_of(job)
    if not isinstance(params, TrainLora) or not is_plain(file):
        raise HTTPException(404, "There is no such picture.")
    path = run_folder_of(studio, params) / "sample" / file
    if path.suffix != ".png" or not path.is_file():
        raise HTTPException(404, "There is no such picture.")
    return path
