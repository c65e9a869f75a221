"""The page's own routes beside Gradio's, and the one check before all of them.

They lie on the outer application, which Gradio's login does not cover, so each one asks for the
same login here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import JSONResponse
from PIL import Image

from webui.access import note_person
from webui.errors import JobError
from webui.pictures import load_upright
from webui.roles import for_guests, is_for_guests
from webui.ui.a1111_page import make_a1111_routes
from webui.ui.control_panel import make_control_routes
from webui.ui.extension_panels import make_extension_routes
from webui.ui.extensions_routes import make_store_routes
from webui.ui.extra_networks_routes import make_card_routes
from webui.ui.gallery_routes import make_gallery_routes
from webui.ui.input_routes import make_input_routes
from webui.ui.picture_routes import (
    find_job,
    find_picture,
    make_file_routes,
    make_picture_routes,
    open_picture,
)
from webui.ui.plots import make_plot_routes
from webui.ui.presets_routes import make_presets_routes
from webui.ui.settings_routes import make_settings_routes
from webui.ui.texts import language_of, say
from webui.ui.train_routes import make_train_routes
from webui.ui.words_routes import make_words_routes

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.login import Visitors
    from webui.ui.painting_tab import PaintingTab

OPEN_PATH = "/ui/ping"
"""The one route that answers strangers: an open page asks whether the program is back."""


def make_routes(
    studio: Studio,
    visitors: Visitors,
    tabs: Sequence[PaintingTab],
    page_number: Callable[[], int] = lambda: 0,
) -> APIRouter:
    """The page's own routes. What one login painted is not there for another.

    Every one of them, whichever file it stands in, is behind ``check``: it answers those who are
    logged in, and guests only where its function is marked ``for_guests``.

    Args:
        visitors: Tells who asks.
        tabs: The painting tabs, whose fields may have start values.
        page_number: Of the present build of the owner's page.
    """

    def check(request: Request) -> str:
        route = request.scope["route"]
        if route.path == OPEN_PATH:
            return ""
        person = visitors.of(request)
        if person is None:
            raise HTTPException(401, "Not authenticated")
        note_person(request.scope, person)
        if person.is_guest and not is_for_guests(route.endpoint):
            raise HTTPException(403, say("owner_only", language_of(request)))
        return person.name

    login = Depends(check)
    router = APIRouter(prefix="/ui", include_in_schema=False, dependencies=[login])

    @router.get("/ping")
    @for_guests
    def ping(request: Request) -> JSONResponse:
        """Tells an open page that the program answers, whether it is still the same run, which
        build of the page it has, and whether jobs of who looks have changed."""
        person = visitors.of(request)
        number = 0 if person is None or person.is_guest else page_number()
        told = {"run": studio.started_at, "page": number, "jobs": ""}
        if person is not None:
            with suppress(JobError):  # that the program answers is told in any case
                told["jobs"] = studio.jobs.mark(person.name)
        return JSONResponse(told, headers={"Cache-Control": "no-store"})

    def painted(request: Request, picture_id: int) -> Image.Image:
        return load_upright(open_picture(studio, find_picture(studio, picture_id, check(request))))

    job_of = partial(find_job, studio)
    router.include_router(make_picture_routes(studio, login))
    router.include_router(make_file_routes(studio, login))
    router.include_router(make_input_routes(studio))
    router.include_router(make_train_routes(studio, login, job_of))
    router.include_router(make_plot_routes(studio, check))
    router.include_router(make_store_routes(studio, page_number))
    router.include_router(make_extension_routes(studio))
    router.include_router(make_a1111_routes(studio))
    router.include_router(make_control_routes(studio, login, job_of))
    router.include_router(make_words_routes(studio))
    router.include_router(make_presets_routes(studio))
    router.include_router(make_card_routes(studio, painted))
    router.include_router(make_gallery_routes(studio, login))
    router.include_router(make_settings_routes(studio, tabs))
    return router
