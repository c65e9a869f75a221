"""The program itself: memory, loaded models, stopping, and the page's small questions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psutil
from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute

from webui import __version__
from webui.api.errors import ApiError, SafeJSONResponse
from webui.api.options_routes import flags_to_show, present_options
from webui.errors import JobError
from webui.options import OPTIONS
from webui.roles import for_guests
from webui.studio import Studio

MEMORY_TIMEOUT_SECONDS = 2.0
UNLOAD_TIMEOUT_SECONDS = 60.0
STOP_DELAY_SECONDS = 0.3


def server_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """Memory, unload and reload, and with ``--api-server-stop`` the three ways to stop."""
    routes = APIRouter(prefix="/sdapi/v1", route_class=route_class, tags=["server"])

    @routes.get("/memory")
    def memory() -> dict[str, Any]:
        """Memory of this machine and of the device, in bytes."""
        return {"ram": ram(), "cuda": device_memory(studio)}

    @routes.post("/unload-checkpoint")
    def unload_checkpoint() -> dict[str, Any]:
        """Free the memory of loaded models; the next job loads what it needs."""
        if studio.supervisor.worker_pid is not None:
            try:
                studio.supervisor.request({"type": "unload"}, UNLOAD_TIMEOUT_SECONDS)
            except JobError as err:
                raise ApiError(503, str(err), error="JobError") from err
        return {}

    @routes.post("/reload-checkpoint")
    def reload_checkpoint() -> dict[str, Any]:
        """Load the chosen checkpoint again, so that the next job need not."""
        studio.load_chosen()
        return {}

    if studio.settings.api_server_stop:
        _add_stops(routes)
    return routes


def _add_stops(routes: APIRouter) -> None:
    @routes.post("/server-kill")
    def server_kill() -> dict[str, Any]:
        """End the process at once; a running job goes back to the queue at the next start."""
        _soon(lambda: os._exit(0))
        return {}

    @routes.post("/server-restart")
    def server_restart() -> None:
        """Not possible: nothing watches this process that could start it again."""
        raise ApiError(
            501, "This server cannot restart itself. Stop it with server-stop and start it again."
        )

    @routes.post("/server-stop", response_class=PlainTextResponse)
    def server_stop() -> str:
        """End the process in order: the queue and all pictures are kept."""
        _soon(lambda: signal.raise_signal(signal.SIGINT))
        return "Stopping."


def _soon(deed: Callable[[], None]) -> None:
    """Do it when the answer is on its way."""
    timer = threading.Timer(STOP_DELAY_SECONDS, deed)
    timer.daemon = True
    timer.start()


def ram() -> dict[str, Any]:
    """Memory of this machine in bytes: free, used, total."""
    try:
        found = psutil.virtual_memory()
    except (OSError, RuntimeError) as err:
        return {"error": str(err)}
    return {"free": found.available, "used": found.total - found.available, "total": found.total}


def device_memory(studio: Studio) -> dict[str, Any]:
    """What the model process says about its device; it is never started for this."""
    if studio.supervisor.worker_pid is None or studio.supervisor.running_job_id is not None:
        return {"error": "unavailable"}
    try:
        reply = studio.supervisor.request({"type": "memory"}, MEMORY_TIMEOUT_SECONDS)
    except JobError:
        return {"error": "unavailable"}
    return reply.get("cuda") or {"error": reply.get("error", "unavailable")}


def internal_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """What a page asks its server; open ones are in ``open_routes``."""
    routes = APIRouter(prefix="/internal", route_class=route_class, tags=["internal"])
    ready_at = time.time()

    @routes.get("/sysinfo")
    def sysinfo() -> Response:
        """Everything a report about a fault should say, without passwords."""
        return SafeJSONResponse(system_facts(studio))

    @routes.get("/sysinfo-download")
    def sysinfo_download() -> Response:
        """The same as a file."""
        name = time.strftime("sysinfo-%Y-%m-%d-%H-%M.json")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return SafeJSONResponse(system_facts(studio), headers=headers)

    @routes.get("/quicksettings-hint")
    def quicksettings_hint() -> list[dict[str, str]]:
        """Names and labels of all options."""
        return [{"name": option.key, "label": option.label} for option in OPTIONS]

    @routes.get("/profile-startup")
    def profile_startup() -> dict[str, Any]:
        """Seconds from the start of the process until it could answer."""
        begun = psutil.Process().create_time()
        imports = max(0.0, studio.started_at - begun)
        joining = max(0.0, ready_at - studio.started_at)
        return {"total": imports + joining, "records": {"imports": imports, "studio": joining}}

    return routes


def open_routes(route_class: type[APIRoute]) -> APIRouter:
    """What anybody may ask, password or not."""
    routes = APIRouter(route_class=route_class, tags=["internal"])

    @routes.get("/internal/ping")
    @for_guests
    def ping() -> dict[str, Any]:
        """The server is alive."""
        return {}

    return routes


def system_facts(studio: Studio) -> dict[str, Any]:
    """Program, machine, options and packages, for a report about a fault."""
    return {
        "Platform": platform.platform(),
        "Python": sys.version,
        "Version": __version__,
        "Data path": str(studio.settings.folders.data),
        "Commandline": flags_to_show(studio.settings),
        "Config": present_options(studio),
        "Worker": {
            "state": studio.supervisor.worker_state,
            "error": studio.supervisor.worker_error,
            **studio.supervisor.worker_facts,
        },
        "CPU": {"model": platform.processor(), "count logical": psutil.cpu_count()},
        "RAM": ram(),
        "Jobs": studio.jobs.counts(),
        "Database": {
            "file": studio.database.folders.database.name,
            "news": str(studio.database.news or ""),
        },
        "Packages": sorted(
            f"{package.name}=={package.version}" for package in importlib.metadata.distributions()
        ),
    }
