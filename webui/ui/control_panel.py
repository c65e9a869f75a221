"""The ControlNet panel of the painting tabs: one element, whose value is a JSON text of its units.

assets/control_panel.js draws it when it is opened for the first time; folded it is one line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter, Body, HTTPException
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError

from webui.errors import CheckpointNotFoundError, ParamsError, WebUIError, from_json
from webui.jobs.store import Job
from webui.params import MAX_CONTROL_UNITS, ControlUnit, MakeMap, params_error
from webui.pictures import encode
from webui.preprocessors import names
from webui.preprocessors.names import Knob, complete, module_of
from webui.preprocessors.recipe import KEY, read_units
from webui.roles import for_guests
from webui.services.control_maps import (
    lacking_networks,
    map_network_message,
    usable_preprocessors,
)
from webui.ui.control_texts import KNOB_TEXTS, TYPE_TEXTS

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import FieldMaker

FIELD = "control"
MOUNT_JS = "window.danqingControl(element, props, watch);"
NEVER_KEPT = {"Cache-Control": "no-store"}
SMALLEST, LARGEST = 64, 2048
"""Sides in pixels of a map that is previewed."""
OF_THE_PAGE = ("on", "type")
"""What a unit on the page has beside ``ControlUnit``'s fields."""


def draw(fields: FieldMaker) -> dict[str, Any]:
    """The panel of one painting tab, under its field's name."""
    template = f'<div class="dq-control" data-tab="{fields.tab}"></div>'
    drawn = gr.HTML(
        "", html_template=template, js_on_load=MOUNT_JS, elem_id=fields.id(FIELD),
        elem_classes="dq-plotbox", apply_default_css=False,
    )  # fmt: skip
    return {FIELD: drawn}


def read(form: Mapping[str, Any]) -> tuple[ControlUnit, ...]:
    """The units that are switched on.

    Raises:
        ParamsError: The panel holds no such JSON, a unit has no model, or a value is out of range.
    """
    try:
        units: list[dict[str, Any]] = json.loads(form.get(FIELD) or "[]")
        on = {number: dict(unit) for number, unit in enumerate(units) if unit.get("on")}
    except (ValueError, AttributeError, TypeError) as err:
        raise ParamsError(
            "The ControlNet panel cannot be read.", "Reload the page and fill it in again.",
            field=FIELD,
        ) from err  # fmt: skip
    return tuple(_unit(number, unit) for number, unit in on.items())


def _unit(number: int, values: Mapping[str, Any]) -> ControlUnit:
    given = {n: value for n, value in values.items() if n not in OF_THE_PAGE and value != ""}
    if not given.get("model"):
        raise ParamsError(
            f"ControlNet {number} is switched on, but has no model.",
            "Choose one, or switch the unit off.",
            field=FIELD,
        )
    try:
        return ControlUnit.model_validate(given)
    except ValidationError as err:
        inner = params_error(err)
        raise ParamsError(f"ControlNet {number}: {inner.message}", inner.hint, field=FIELD) from err


def pasted(pairs: Mapping[str, str], studio: Studio) -> tuple[dict[str, str], list[str]]:
    """The panel after a recipe was pasted, and ControlNets of it that are not here.

    A recipe names no pictures: those that the person chooses are kept with the jobs.
    """
    units: list[dict[str, Any]] = [{} for _ in range(MAX_CONTROL_UNITS)]
    missing: list[str] = []
    for number, told in read_units(pairs).items():
        if number >= MAX_CONTROL_UNITS:
            continue
        try:
            told["model"] = studio.controlnets.find(str(told["model"])).name
        except CheckpointNotFoundError:
            missing.append(str(told["model"]))
            continue
        try:
            unit = complete(ControlUnit.model_validate(told))
        except (ValidationError, ParamsError):
            missing.append(f"{KEY} {number}: {told.get('module', names.NONE)}")
            continue
        units[number] = _shown(unit)
    return {FIELD: json.dumps(units) if any(units) else ""}, missing


def of_request(units: Sequence[ControlUnit]) -> dict[str, str]:
    """The panel that makes a request's units again, their pictures among them."""
    return {FIELD: json.dumps([_shown(unit) for unit in units]) if units else ""}


def _shown(unit: ControlUnit) -> dict[str, Any]:
    """A unit as the panel holds it: what stands as usual is left out."""
    told = {"model", "module"} | {name for name, value in unit if value != _USUAL[name]}
    return {"on": True, **unit.model_dump(include=told)}


_USUAL = dict(ControlUnit.model_construct(model=""))


def is_told(key: str) -> bool:
    """Whether a recipe's key tells of a unit."""
    return key == KEY or key.startswith(f"{KEY} ")


def make_control_routes(
    studio: Studio, login: Any, find_job: Callable[[int, str], Job]
) -> APIRouter:
    """``GET /controlnet/lists``: what there is to choose from; ``POST /controlnet/map``: the map of
    a unit, as a picture, or the job that makes it; ``GET /controlnet/map/…``: what that made.

    Args:
        login: Who asks. find_job: A job that this login may see, or an answer of 404.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/controlnet/lists")
    @for_guests
    def lists(refresh: bool = False) -> JSONResponse:
        if refresh:
            studio.catalog.refresh()
        return JSONResponse(_lists(studio), headers=NEVER_KEPT)

    @router.post("/controlnet/map")
    @for_guests
    def make(
        unit: dict[str, Any] = Body(embed=True),  # noqa: B008
        width: int = Body(embed=True),
        height: int = Body(embed=True),
        user: str = login,
    ) -> Response:
        try:
            asked = _asked(unit, width, height, user)
            if module_of(asked.unit).is_network:
                map_network_message([asked.unit], studio.settings.folders)
                job = studio.submit(asked)
                return JSONResponse({"job": job.id}, 202, headers=NEVER_KEPT)
            return Response(_map(studio, asked), media_type="image/png")
        except WebUIError as err:
            told = studio.guests.told(user, str(err))
            raise HTTPException(err.http_status, told) from err

    @router.get("/controlnet/map/{job_id}")
    def made(job_id: int, user: str = login) -> Response:
        job = find_job(job_id, user)
        if not job.is_finished:
            return JSONResponse({"job": job.id}, 202, headers=NEVER_KEPT)
        if job.state == "failed":
            err = from_json(job.error or {})
            raise HTTPException(err.http_status, str(err))
        maps = studio.control_maps.take(job_id)
        if not maps:
            raise HTTPException(404, "The map was not made.")
        return Response(maps[0], media_type="image/png", headers=NEVER_KEPT)

    return router


def _asked(values: Mapping[str, Any], width: int, height: int, user: str) -> MakeMap:
    """The map that is asked for. Raises ParamsError."""
    unit = complete(_unit(0, {**values, "model": "any"}))
    width, height = (min(max(side, SMALLEST), LARGEST) for side in (width, height))
    try:
        return MakeMap(unit=unit, map_width=width, map_height=height, user=user)
    except ValidationError as err:
        raise params_error(err) from err


def _map(studio: Studio, asked: MakeMap) -> bytes:
    """One that needs no network. Raises LibraryError."""
    from webui.preprocessors.units import draw_map  # brings OpenCV: not before it is needed

    unit, size = asked.unit, (asked.map_width, asked.map_height)
    assert unit.image is not None, "MakeMap sees to it"
    mask = studio.inputs.image(unit.mask) if unit.mask else None
    found = draw_map(unit, studio.inputs.image(unit.image), mask, size, 0).placed(*size)
    return encode(found.picture(), format="png")


def _lists(studio: Studio) -> dict[str, Any]:
    models = [studio.catalog.inspected(record) for record in studio.controlnets.usable()]
    usable = usable_preprocessors(studio.settings.folders)
    return {
        "models": [
            {
                "name": record.name, "title": studio.controlnets.title(record),
                "family": record.family,
                "types": [t for t in names.CONTROL_TYPES if names.suits(t, record.stem)],
            }
            for record in models
            if not record.problem
        ],
        "modules": [
            {
                "name": module.name, "types": module.types, "network": module.is_network,
                "resolution": _knob(module.resolution) if module.resolution else None,
                "knobs": [_knob(knob) for knob in module.knobs],
            }
            for module in usable
        ],
        "types": [
            {"name": name, "zh": TYPE_TEXTS[name], "module": names.usual_for(name, usable).name}
            for name in (names.ALL, *names.CONTROL_TYPES)
        ],
        "lacking": [
            {"name": one.name, "types": one.types,
             "files": [{"file": w.file, "source": w.source} for w in wanted]}
            for one, wanted in lacking_networks(studio.settings.folders).items()
        ],
    }  # fmt: skip


def _knob(knob: Knob) -> dict[str, Any]:
    return {
        "label": knob.label, "zh": KNOB_TEXTS[knob.label], "value": knob.value,
        "min": knob.minimum, "max": knob.maximum, "step": knob.step or 1,
    }  # fmt: skip
