"""The scripts that make many pictures of one request: their panels, and what stands in them.

Each panel is one element whose value is a JSON text; assets/plots.js draws its fields, so that
the page carries nothing of a panel that is not open.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter, HTTPException
from fastapi.responses import JSONResponse

from webui.errors import ParamsError
from webui.params import PROMPT_LIST, PROMPT_MATRIX, XYZ_PLOT
from webui.roles import for_guests
from webui.services.plots.axes import axis_choices
from webui.services.plots.recipe import KINDS, LETTERS, OPTIONS, ReadScript, read_script
from webui.services.plots.scripts import PromptList, PromptMatrix, XyzPlot, script_from
from webui.ui.plots_texts import AXIS_TEXTS
from webui.ui.texts import label

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import FieldMaker

PANELS = {XYZ_PLOT: "plot_xyz", PROMPT_MATRIX: "plot_matrix", PROMPT_LIST: "plot_list"}
"""The form field of each script."""
NAMES = {XYZ_PLOT: "script_xyz", PROMPT_MATRIX: "script_matrix", PROMPT_LIST: "script_list"}
"""The texts that name them."""
MOUNT_JS = "window.danqingPlots(element, props, watch);"


def choices() -> list[tuple[Any, str]]:
    """Entries of the menu of scripts."""
    return [(label(NAMES[script]), script) for script in PANELS]


def draw(fields: FieldMaker) -> tuple[dict[str, gr.Column], dict[str, Any]]:
    """A panel for each script, by its name, and their fields; no panel is in sight."""
    columns: dict[str, gr.Column] = {}
    drawn: dict[str, Any] = {}
    for script, field in PANELS.items():
        with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as columns[script]:
            template = f'<div class="dq-plot" data-kind="{KINDS[script]}" data-tab="{fields.tab}">'
            drawn[field] = gr.HTML(
                "", html_template=f"{template}</div>", js_on_load=MOUNT_JS,
                elem_id=fields.id(field), elem_classes="dq-plotbox", apply_default_css=False,
            )  # fmt: skip
    return columns, drawn


def read(form: Mapping[str, Any]) -> XyzPlot | PromptMatrix | PromptList | None:
    """What the chosen script's panel says; None while another script or none is chosen.

    Raises:
        ParamsError: A value out of its range.
    """
    script = form.get("script")
    if script not in PANELS:
        return None
    try:
        values = json.loads(form[PANELS[script]] or "{}")
    except ValueError as err:
        raise ParamsError(
            f"The fields of {script} cannot be read.", "Choose the script again.", field="script"
        ) from err
    return script_from({**values, "kind": KINDS[script]})


def of_sheet(params: Mapping[str, str]) -> ReadScript | None:
    """The script of a sheet's recipe, as far as it can be set up here; None for other recipes."""
    found = read_script(params)
    if found is None:
        return None
    try:
        script_from({**found.values, "kind": KINDS[found.name]})
    except ParamsError:  # written by a newer version, or changed by hand: the axes count
        axes = {name: value for name, value in found.values.items() if name in LETTERS}
        return replace(found, values=axes, keys=found.keys - {OPTIONS})
    return found


def pasted(params: Mapping[str, str]) -> dict[str, Any]:
    """The fields of the form that a sheet's recipe sets; {} for any other recipe."""
    found = of_sheet(params)
    if found is None:
        return {}
    return {"script": found.name, PANELS[found.name]: json.dumps(found.values, ensure_ascii=False)}


def make_plot_routes(studio: Studio) -> APIRouter:
    """``GET /plots/axes/{tab}``: every axis with its names and what its values can be."""
    router = APIRouter(include_in_schema=False)

    @router.get("/plots/axes/{tab}")
    @for_guests
    def axes(tab: str) -> JSONResponse:
        if tab not in ("txt2img", "img2img"):
            raise HTTPException(404, "There are no such axes.")
        found = axis_choices(studio.plots.names, tab).items()
        listed = [
            {"name": name, "zh": AXIS_TEXTS.get(name, name), "choices": values}
            for name, values in found
        ]
        return JSONResponse(listed, headers={"Cache-Control": "no-store"})

    return router
