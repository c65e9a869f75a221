"""``/controlnet/*``: what the ControlNet extension for A1111 answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from webui.api.errors import ApiError, SafeJSONResponse
from webui.api.lenient import Float, Int, Text
from webui.api.pictures import decode_picture, invalid_picture, keep_picture
from webui.api.schemas import FAILURES
from webui.api.waiting import WaitingRoom
from webui.errors import LibraryError
from webui.jobs.store import Job
from webui.params import MAX_CONTROL_UNITS, ControlUnit, MakeMap, params_error
from webui.pictures import encode, load_upright
from webui.preprocessors import names
from webui.preprocessors.names import POSE, Knob, Preprocessor, complete
from webui.services.control_maps import map_network_message, usable_preprocessors
from webui.studio import Studio

VERSION: Final = 3
NO_MODEL: Final = "None"
MOST_SIDE: Final = 4096
MOST_CANVASES: Final = 16
Numbers = Annotated[list[Annotated[float, Field(allow_inf_nan=False)]], Field(max_length=1024)]
"""Of joints: x, y and certainty of each."""


class DetectBody(BaseModel):
    """POST /controlnet/detect; the popular Python client calls the pictures
    ``controlnet_images``."""

    model_config = ConfigDict(extra="ignore")

    controlnet_module: Text = "none"
    controlnet_input_images: list[str] = Field(default_factory=list[str])
    controlnet_images: list[str] = Field(default_factory=list[str])
    controlnet_processor_res: Int = -1
    controlnet_threshold_a: Float = -1
    controlnet_threshold_b: Float = -1


class TellingPerson(BaseModel):
    """One person of OpenPose's JSON."""

    model_config = ConfigDict(extra="ignore")

    pose_keypoints_2d: Numbers = Field(default_factory=list[float])
    hand_right_keypoints_2d: Numbers | None = None
    hand_left_keypoints_2d: Numbers | None = None
    face_keypoints_2d: Numbers | None = None


class PoseData(BaseModel):
    """A canvas of POST /controlnet/render_openpose_json."""

    model_config = ConfigDict(extra="ignore")

    people: list[TellingPerson] = Field(default_factory=list[TellingPerson], max_length=256)
    canvas_width: int = Field(ge=1, le=MOST_SIDE)
    canvas_height: int = Field(ge=1, le=MOST_SIDE)


def controlnet_routes(
    studio: Studio, route_class: type[APIRoute], waiting_room: WaitingRoom
) -> APIRouter:
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

    _add_preprocessors(routes, studio)
    _add_detection(routes, studio, waiting_room)
    routes.post("/render_openpose_json", responses=FAILURES)(render_openpose_json)
    return routes


def _add_preprocessors(routes: APIRouter, studio: Studio) -> None:
    @routes.get("/module_list")
    def module_list(alias_names: bool = False) -> Response:
        """Preprocessors that can be used, and their knobs."""
        usable = usable_preprocessors(studio.settings.folders)
        listed = [_listed(p, alias_names) for p in usable]
        details = [_detail(p) for p in usable]
        return SafeJSONResponse(
            {"module_list": listed, "module_detail": dict(zip(listed, details, strict=True))}
        )

    @routes.get("/control_types")
    def control_types() -> Response:
        """What goes together: preprocessors and ControlNets, by the kind of control."""
        titles = studio.controlnets.titles()
        usable = usable_preprocessors(studio.settings.folders)
        return SafeJSONResponse(
            {
                "control_types": {
                    kind: _control_type(kind, titles, usable)
                    for kind in (names.ALL, *names.CONTROL_TYPES)
                }
            }
        )


def _add_detection(routes: APIRouter, studio: Studio, waiting_room: WaitingRoom) -> None:
    @routes.post("/detect", responses=FAILURES)
    async def detect(body: DetectBody) -> Response:
        """The maps of pictures; those of networks wait for their turn in the queue."""
        module = names.find(body.controlnet_module or names.NONE)
        if module is None:
            raise ApiError(422, "Module not available")
        if not (body.controlnet_input_images or body.controlnet_images):
            raise ApiError(422, "No image selected")
        if not module.is_network:
            return _found(await run_in_threadpool(_maps, module, body))
        maps: list[bytes] = []
        for job in await run_in_threadpool(_begun, studio, module, body):
            done = await waiting_room.answer(studio, job, lambda job: _map_of(studio, job))
            maps.append(bytes(done.body))
        poses = [pose for one in maps if (pose := _pose_in(one)) is not None]
        return _found(maps, **({"poses": poses} if poses else {}))


def render_openpose_json(
    pose_data: Annotated[list[PoseData], Field(max_length=MOST_CANVASES)] = Body(default=[]),  # noqa: B008
) -> Response:
    """Skeletons as OpenPose's JSON tells them, in pixels or as shares of the canvas, drawn."""
    from webui.preprocessors.pose_drawing import drawn, people_in  # brings OpenCV

    if not pose_data:
        return SafeJSONResponse({"info": "No pose data detected."})
    maps: list[bytes] = []
    for number, canvas in enumerate(pose_data):
        width, height = canvas.canvas_width, canvas.canvas_height
        try:
            told = people_in([one.model_dump() for one in canvas.people], width, height)
        except ValueError as err:
            raise ApiError(422, f"[{number}].people: {err}") from err
        maps.append(encode(Image.fromarray(drawn(told, width, height)), format="png"))
    return _found(maps)


def _pose_in(png: bytes) -> Any:
    """Whose skeletons a map shows, as the model process wrote it into the file; None = none."""
    with Image.open(io.BytesIO(png)) as image:
        told = image.info.get(POSE)
    return None if told is None else json.loads(told)


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


def _control_type(kind: str, titles: list[str], usable: Sequence[Preprocessor]) -> dict[str, Any]:
    fitting = titles if kind == names.ALL else [t for t in titles if names.suits(kind, t)]
    return {
        "module_list": [module.name for module in names.of_type(kind) if module in usable],
        "model_list": [NO_MODEL, *fitting],
        "default_option": names.usual_for(kind, usable).name,
        "default_model": fitting[0] if fitting and kind != names.ALL else NO_MODEL,
    }


def _as_unit(module: Preprocessor, body: DetectBody, image: str | None) -> ControlUnit:
    """What the preprocessor is told, as a unit tells it."""
    asked = {
        "processor_res": body.controlnet_processor_res,
        "threshold_a": body.controlnet_threshold_a,
        "threshold_b": body.controlnet_threshold_b,
    }
    values = {name: value for name, value in asked.items() if value is not None}
    try:
        unit = ControlUnit(model=NO_MODEL, module=module.name, image=image, **values)
    except ValidationError as err:
        raise params_error(err) from err
    return complete(unit)


def _texts(body: DetectBody) -> Iterator[tuple[str, str]]:
    """The pictures, each with its place in the request."""
    texts = body.controlnet_input_images or body.controlnet_images
    for number, text in enumerate(texts):
        yield text, f"controlnet_input_images[{number}]"


def _maps(module: Preprocessor, body: DetectBody) -> list[bytes]:
    """The maps that need no network."""
    from webui.preprocessors.units import draw_map  # brings OpenCV

    unit = _as_unit(module, body, None)
    maps: list[bytes] = []
    for text, place in _texts(body):
        try:
            picture = load_upright(decode_picture(text, place))
        except LibraryError as err:
            raise invalid_picture(f"{place}: {err}") from err
        drawn = draw_map(unit, picture, None, picture.size, 0)
        maps.append(encode(Image.fromarray(drawn.pixels), format="png"))
    return maps


def _begun(studio: Studio, module: Preprocessor, body: DetectBody) -> list[Job]:
    """Jobs that make the maps of a network.

    Raises:
        CheckpointNotFoundError: It is not there; names its file.
    """
    units = [_as_unit(module, body, keep_picture(studio, *one)) for one in _texts(body)]
    map_network_message(units, studio.settings.folders)
    return [studio.submit(MakeMap(unit=unit), origin="api") for unit in units]


def _map_of(studio: Studio, job: Job) -> Response:
    maps = studio.control_maps.take(job.id)
    if not maps:
        raise ApiError(409, f"Job {job.task_id} was stopped before its map was made.")
    return Response(maps[0])


def _found(maps: Sequence[bytes], **more: Any) -> Response:
    images = [base64.b64encode(one).decode("ascii") for one in maps]
    return SafeJSONResponse({"images": images, "info": "Success", **more})
