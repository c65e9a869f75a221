"""POST /sdapi/v1/png-info: the recipe inside a picture."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.routing import APIRoute

from webui.api.pictures import decode_picture, invalid_picture
from webui.api.schemas import PngInfoAnswer, PngInfoBody
from webui.errors import LibraryError
from webui.infotext import Infotext, with_defaults
from webui.lenient import json_safe
from webui.pictures import read_infotext
from webui.recipes import read_items
from webui.studio import Studio


def png_info_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """The png-info route."""
    routes = APIRouter(route_class=route_class, tags=["pictures"])

    @routes.post("/sdapi/v1/png-info", response_model=PngInfoAnswer)
    def png_info(body: PngInfoBody) -> PngInfoAnswer:
        """Read the recipe inside a picture of any program; another's comes in A1111's words."""
        file = decode_picture(body.image)
        try:
            infotext, items = read_infotext(file)
        except LibraryError as err:
            raise invalid_picture() from err
        recipe = read_items(dict(items), infotext)
        found = with_defaults(
            recipe.infotext if recipe else Infotext(),
            auto_backcompat=bool(studio.options["auto_backcompat"]),
            skip=studio.options["infotext_skip_pasting"] or (),
        )
        parameters = {
            "Prompt": found.prompt,
            "Negative prompt": found.negative_prompt,
            **found.params,
        }
        return PngInfoAnswer(
            info=json_safe(recipe.text if recipe else ""),
            items=json_safe(items),
            parameters=json_safe(parameters),
        )

    return routes
