"""The API as one FastAPI application; app.py puts the page beside it."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Match

from webui import __version__
from webui.api.body_limit import BodyLimit
from webui.api.controlnet import controlnet_routes
from webui.api.downloads import download_routes
from webui.api.errors import ApiError, SafeJSONResponse, answer_error
from webui.api.extensions import ExtensionDoors, extension_routes
from webui.api.extra_networks import extra_networks_routes
from webui.api.extras import extras_routes
from webui.api.fence import make_fenced_route, told_to_guests
from webui.api.file_tools import file_tool_routes
from webui.api.gallery import gallery_routes
from webui.api.guard import API_ROOTS, Guard, Trust
from webui.api.headers import SecurityHeaders
from webui.api.image_to_image import image_to_image_routes
from webui.api.interrogate import interrogate_routes
from webui.api.lists import list_routes
from webui.api.options_routes import options_routes
from webui.api.plots import plot_routes
from webui.api.png_info import png_info_routes
from webui.api.progress import progress_routes, task_routes
from webui.api.script_app import ScriptApp, script_routes
from webui.api.server import internal_routes, open_routes, server_routes
from webui.api.subpath import Subpath
from webui.api.text_to_image import text_to_image_routes
from webui.api.timing import Timing
from webui.api.waiting import WaitingRoom
from webui.studio import Studio

GZIP_FROM_BYTES = 1000
GZIP_LEVEL = 4
ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


def build_api(studio: Studio) -> FastAPI:
    """The HTTP API over a studio.

    The caller starts and stops the studio. With ``--no-api`` only /internal is served.

    Args:
        studio: The web process's owner of everything.
    """
    app = FastAPI(
        title="Danqing WebUI API",
        version=__version__,
        strict_content_type=False,
        openapi_url=None,  # served by a route of ours, behind the password
        default_response_class=SafeJSONResponse,  # no file's name makes a list fail
        docs_url=None,  # both pages load their program from another server: blank when offline,
        redoc_url=None,  # and a stranger's code beside our API
    )
    told = studio.guests.told

    async def answer(request: Request, err: Exception) -> Response:
        return told_to_guests(request, answer_error(err), told)

    app.add_exception_handler(HTTPException, answer)
    app.add_exception_handler(RequestValidationError, answer)
    _add_routes(app, studio)
    _add_layers(app, studio)
    return app


def _add_routes(app: FastAPI, studio: Studio) -> None:
    settings = studio.settings
    fenced = make_fenced_route(studio.access, studio.guests.told)
    if settings.api:
        waiting_room = WaitingRoom()
        app.include_router(text_to_image_routes(studio, fenced, waiting_room))
        app.include_router(image_to_image_routes(studio, fenced, waiting_room))
        app.include_router(extras_routes(studio, fenced, waiting_room))
        app.include_router(interrogate_routes(studio, fenced, waiting_room))
        app.include_router(progress_routes(studio, fenced))
        app.include_router(list_routes(studio, fenced))
        app.include_router(extra_networks_routes(studio, fenced))
        app.include_router(options_routes(studio, fenced))
        app.include_router(png_info_routes(studio, fenced))
        app.include_router(server_routes(studio, fenced))
        app.include_router(file_tool_routes(studio, fenced))
        app.include_router(plot_routes(studio, fenced))
        app.include_router(download_routes(studio, fenced))
        app.include_router(gallery_routes(studio, fenced))
        app.include_router(controlnet_routes(studio, fenced, waiting_room))
    doors = ExtensionDoors(studio)
    app.state.answer_extension = doors.answer  # for the page, behind its own login
    if settings.api:
        app.include_router(extension_routes(doors, fenced))
    app.include_router(_schema_routes(app, fenced))
    app.include_router(task_routes(studio, fenced))
    app.include_router(internal_routes(studio, fenced))
    app.include_router(open_routes(make_fenced_route()))
    app.include_router(_unknown_routes(app, make_fenced_route()))
    scripts = app.state.script_app = ScriptApp(studio)  # for the page, behind its own login
    if not settings.page:
        studio.extensions.renew_page = scripts.open_without_page
        scripts.open_without_page()
        app.include_router(script_routes(scripts, fenced))


def _schema_routes(app: FastAPI, route_class: type[APIRoute]) -> APIRouter:
    """The machine-readable description of every route."""
    routes = APIRouter(route_class=route_class)

    @routes.get("/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> Response:
        """The schema, with the sub-path under which we were called."""
        root = request.scope.get("root_path", "").rstrip("/")
        return SafeJSONResponse({**app.openapi(), **({"servers": [{"url": root}]} if root else {})})

    return routes


def _unknown_routes(app: FastAPI, route_class: type[APIRoute]) -> APIRouter:
    """Answers for API paths that do not exist, so that a page mounted later does not take them."""
    routes = APIRouter(route_class=route_class)

    def unknown(request: Request) -> Response:
        for route in app.router.routes:
            match, _ = route.matches(request.scope)
            if match is Match.PARTIAL:
                raise ApiError(405, "Method Not Allowed")
        raise ApiError(404, "Not Found")

    for prefix in API_ROOTS:
        routes.add_api_route(
            f"/{prefix}/{{rest:path}}", unknown, methods=ALL_METHODS, include_in_schema=False
        )
    return routes


def _add_layers(app: FastAPI, studio: Studio) -> None:
    """Layers around everything, the page included; the last one added is the outermost."""
    settings = studio.settings
    app.add_middleware(Guard, trust=Trust.from_settings(settings), access=studio.access)
    app.add_middleware(BodyLimit, access=studio.access)
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL)
    if settings.cors_origins or settings.cors_origins_regex:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_origin_regex=settings.cors_origins_regex,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=True,
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(Timing, log=settings.api_log)
    if settings.subpath:
        app.add_middleware(Subpath, path=settings.subpath)
