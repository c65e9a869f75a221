"""Routes of our own: weights files made out of others, and what is in a file.

A1111 has no routes for these (its merger is a tab only). They begin jobs and answer at once: a
merge takes minutes.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from webui.api.errors import ApiError
from webui.checkpoints.report import report_on
from webui.jobs.store import Job
from webui.params import FILE_TOOL_KINDS, AnyFileTool, build
from webui.services.file_tools import find_file, with_known_names
from webui.studio import Studio

PREFIX = "/danqing/v1"
_ANY = Body(default_factory=dict)


def file_tool_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The routes that make weights files and look into them."""
    routes = APIRouter(prefix=PREFIX, route_class=route_class, tags=["models"])

    @routes.post("/file-tools/{kind}")
    async def begin(kind: str, body: dict[str, Any] = _ANY) -> dict[str, Any]:
        """Begin a job that makes a weights file; fields are those of its request."""
        return await run_in_threadpool(_begin, studio, kind, body)

    @routes.get("/file-tools/jobs/{job_id}")
    def look(job_id: int) -> dict[str, Any]:
        """How far such a job is, and which file it made."""
        return _view(studio, studio.jobs.get(job_id))

    @routes.post("/file-tools/jobs/{job_id}/cancel")
    def cancel(job_id: int) -> dict[str, Any]:
        """Stop such a job; nothing half-made is left."""
        _own(studio.jobs.get(job_id))
        studio.control.cancel(job_id)
        return _view(studio, studio.jobs.get(job_id))

    @routes.get("/model-info")
    async def model_info(name: str, kind: str = "checkpoint", hashes: bool = False) -> Any:
        """What is in a weights file: facts, metadata, tensors; nothing in it is run."""
        return await run_in_threadpool(_info, studio, kind, name, hashes)

    return routes


def _begin(studio: Studio, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    if kind not in FILE_TOOL_KINDS:
        raise ApiError(404, f"No tool is called {kind!r}. There are: {', '.join(FILE_TOOL_KINDS)}.")
    values = {key: value for key, value in body.items() if key not in ("kind", "user", "output")}
    params = build(kind, values)
    assert isinstance(params, AnyFileTool)
    return _view(studio, studio.submit(with_known_names(params, studio.catalog), origin="api"))


def _own(job: Job) -> None:
    if job.kind not in FILE_TOOL_KINDS:
        raise ApiError(404, f"Job {job.id} makes no weights file.")


def _view(studio: Studio, job: Job) -> dict[str, Any]:
    _own(job)
    live = studio.live.get(job.id)
    return {
        "job": job.id,
        "task_id": job.task_id,
        "kind": job.kind,
        "state": job.state,
        "progress": live.progress if live else float(job.state == "done"),
        "stage": live.stage if live else "",
        "files": (job.result or {}).get("files", []),
        "warnings": list(job.warnings),
        "error": job.error,
    }


def _info(studio: Studio, kind: str, name: str, hashes: bool) -> dict[str, Any]:
    try:
        record = find_file(studio.catalog, kind, name)
    except KeyError:
        raise ApiError(404, f"No kind of file is called {kind!r}.") from None
    has_hashes = hashes and not studio.settings.no_hashing
    found = report_on(record, studio.catalog, has_hashes=has_hashes)
    return {
        "name": found.record.name,
        "kind": kind,
        "filename": str(found.record.path),
        "size": found.record.size,
        "sha256": found.record.sha256,
        "family": found.record.family,
        "title": found.title,
        "format": found.format,
        "parameters": found.numbers,
        "dtypes": dict(found.formats),
        "metadata": dict(found.metadata),
        "tensors": {n: {"dtype": t.dtype, "shape": t.shape} for n, t in found.tensors.items()},
        "problem": found.problem,
        "wishes": [dict(wish) for wish in found.wishes],
    }
