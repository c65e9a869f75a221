"""``/controlnet/*``: what the ControlNet extension for A1111 answers."""

from __future__ import annotations

import base64
import io
from typing import Any, Final

import numpy as np
from fastapi import APIRouter
from fastapi.routing import APIRoute
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from webui.api.errors import ApiError, SafeJSONResponse
from webui.api.lenient import Bool, Float, Int, Text
from webui.api.pictures import decode_picture, invalid_picture
from webui.api.schemas import FAILURES
from webui.errors import LibraryError
from webui.params import MAX_CONTROL_UNITS, ControlUnit
from webui.pictures import load_upright
from webui.preprocessors import names
from webui.preprocessors.names import Knob, Preprocessor, complete
from webui.studio import Studio

VERSION: Final = 3
NO_MODEL: Final = "None"


class DetectBody(BaseModel):
    """POST /controlnet/detect; the popular Python client calls the pictures
    ``controlnet_images``."""

    model_config = ConfigDict(extra="ignore")

    controlnet_module: Text = "none"
    controlnet_input_images: list[str] = Field(default_factory=list[str])
    controlnet_images: list[str] = Field(default_factory=list[str])
    controlnet_masks: list[str] = Field(default_factory=list[str])
    controlnet_processor_res: Int = -1
    controlnet_threshold_a: Float = -1
    controlnet_threshold_b: Float = -1
    low_vram: Bool = False


def controlnet_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """Lists, and maps of pictures."""
    routes = APIRouter(prefix="/controlnet", route_class=route_class, tags=["controlnet"])

    @routes.get("/version")
    def version() -> dict[str, int]:
        """The version of the extension's interface that this is."""
        return {"version": VERSION}

    @routes.get("/settings")
    def settings() -> dict[str, int]:
        """How many units can act at once."""
        return {"control_net_unit_count": MAX_CONTROL_UNITS}

    @routes.get("/model_list")
    def model_list(update: bool = True) -> Response:
        """ControlNets by «stem [hash8]»; looks at the folders first unless told not to."""
        if update:
            studio.catalog.refresh()
        return SafeJSONResponse({"model_list": [NO_MODEL, *studio.controlnets.titles()]})

    @routes.get("/module_list")
    def module_list(alias_names: bool = False) -> Response:
        """Preprocessors, and their knobs."""
        listed = [_listed(p, alias_names) for p in names.PREPROCESSORS]
        details = [_detail(p) for p in names.PREPROCESSORS]
        return SafeJSONResponse(
            {"module_list": listed, "module_detail": dict(zip(listed, details, strict=True))}
        )

    @routes.get("/control_types")
    def control_types() -> Response:
        """What goes together: preprocessors and ControlNets, by the kind of control."""
        titles = studio.controlnets.titles()
        return SafeJSONResponse(
            {
                "control_types": {
                    kind: _control_type(kind, titles) for kind in (names.ALL, *names.CONTROL_TYPES)
                }
            }
        )

    @routes.post("/detect", responses=FAILURES)
    def detect(body: DetectBody) -> Response:
        """The maps of pictures."""
        images = body.controlnet_input_images or body.controlnet_images
        module = names.find(body.controlnet_module or names.NONE)
        if module is None:
            raise ApiError(422, "Module not available")
        if not images:
            raise ApiError(422, "No image selected")
        maps = [_map(text, number, module, body) for number, text in enumerate(images)]
        return SafeJSONResponse({"images": maps, "info": "Success"})

    return routes


def _listed(module: Preprocessor, has_aliases: bool) -> str:
    return module.name if has_aliases or not module.short else module.short


def _detail(module: Preprocessor) -> dict[str, Any]:
    sliders: list[Any] = [_slider(module.resolution) if module.resolution else None]
    return {"model_free": False, "sliders": [*sliders, *map(_slider, module.knobs)]}


def _slider(knob: Knob) -> dict[str, Any]:
    step = {"step": knob.step} if knob.step else {}
    return {
        "name": knob.label, "value": knob.value, "min": knob.minimum, "max": knob.maximum, **step,
    }  # fmt: skip


def _control_type(kind: str, titles: list[str]) -> dict[str, Any]:
    fitting = titles if kind == names.ALL else [t for t in titles if names.suits(kind, t)]
    usual = names.usual_for(kind)
    return {
        "module_list": [module.name for module in names.of_type(kind)],
        "model_list": [NO_MODEL, *fitting],
        "default_option": usual.name,
        "default_model": fitting[0] if fitting and kind != names.ALL else NO_MODEL,
    }


def _as_unit(module: Preprocessor, body: DetectBody) -> ControlUnit:
    """What the preprocessor is told, as a unit tells it."""
    asked = {
        "processor_res": body.controlnet_processor_res,
        "threshold_a": body.controlnet_threshold_a,
        "threshold_b": body.controlnet_threshold_b,
    }
    values = {name: value for name, value in asked.items() if value is not None}
    return ControlUnit.model_construct(model=NO_MODEL, module=module.name, **values)


def _map(text: str, number: int, module: Preprocessor, body: DetectBody) -> str:
    from webui.preprocessors.maps import Knobs, make_map  # brings OpenCV

    try:
        picture = load_upright(decode_picture(text, f"controlnet_input_images[{number}]"))
    except LibraryError as err:
        raise invalid_picture(f"controlnet_input_images[{number}]: {err}") from err
    unit = complete(_as_unit(module, body))
    knobs = Knobs(unit.threshold_a, unit.threshold_b)
    found = make_map(np.array(picture.convert("RGB")), module, unit.processor_res, knobs)
    file = io.BytesIO()
    Image.fromarray(found).save(file, "PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")
