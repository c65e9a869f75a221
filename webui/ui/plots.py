"""Plans of extensions on the painting tabs: their entries in the menu of scripts, and one panel.

The panel is one element whose value is a JSON text; assets/plots.js draws the fields of the chosen
plan from what ``GET /ui/plots/{tab}`` tells, so that a plan that is dropped in appears after a
refresh, and the page carries nothing of a panel that is not open.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from gradio.i18n import I18nData

from webui.errors import ParamsError
from webui.extension_forms import Words
from webui.roles import for_guests
from webui.services.plots.plans import KIND, Owned, Plans, Wished
from webui.services.plots.recipe import SCRIPT, ReadScript, read_script
from webui.ui.texts import CHINESE, TEXTS, add_text, label

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import FieldMaker

FIELD = "plot"
OLD_FIELDS = {"plot_xyz": "xyz", "plot_matrix": "matrix", "plot_list": "list"}
"""Fields of drafts and presets of versions before plans, and whose values they hold."""
PANEL = "a plan"
"""Stands for all plans among the columns of scripts."""
MOUNT_JS = "window.danqingPlots(element, props, watch);"


def add_texts(plans: Plans) -> None:
    """Put titles among the page's texts, before it is built."""
    for owned in plans.all():
        add_text(_key(owned), owned.title, title_of(owned.title, plans, CHINESE))


def entries(plans: Iterable[Owned], tab: str, language: str = "") -> list[tuple[Any, str]]:
    """Entries of the menu of scripts.

    Args:
        language: Of a page that is open, which has no texts of plans that came later; '' = the
            page is being built.
    """
    here = (owned for owned in plans if tab in owned.plan.tabs)
    return [(_shown(owned, language), owned.title) for owned in here]


def _key(owned: Owned) -> str:
    return f"plan_{owned.plan.name}"


def _shown(owned: Owned, language: str) -> I18nData | str:
    if not language and _key(owned) in TEXTS:
        return label(_key(owned))
    return _in(owned.plan.title, language)


def _in(title: Words, language: str) -> str:
    return (title.zh if language == CHINESE else "") or title.en


def without_plans(choices: Iterable[Any]) -> list[tuple[Any, str]]:
    """Entries of the menu of scripts, as the page was built with it, that are no plans."""
    return [(shown, value) for shown, value in choices if not _is_plan(shown)]


def _is_plan(shown: Any) -> bool:
    return isinstance(shown, I18nData) and shown.key.startswith("plan_")


def draw(fields: FieldMaker) -> tuple[dict[str, gr.Column], dict[str, Any]]:
    """The panel, out of sight, and its field."""
    with gr.Column(visible=False, elem_classes="dq-panel", min_width=0) as column:
        drawn = gr.HTML(
            "", html_template=f'<div class="dq-plot dq-plan" data-tab="{fields.tab}"></div>',
            js_on_load=MOUNT_JS, elem_id=fields.id(FIELD), elem_classes="dq-plotbox",
            apply_default_css=False,
        )  # fmt: skip
    return {PANEL: column}, {FIELD: drawn}


def read(form: Mapping[str, Any], plans: Plans) -> Wished | None:
    """What the chosen plan's panel says; None while another script or none is chosen.

    Raises:
        ParamsError: The plan is not here any more, or its fields cannot be read.
    """
    script, kept = str(form.get("script") or ""), _parsed(form.get(FIELD))
    owned = plans.find(script)
    if owned is None:
        if script and script == kept.get("title"):
            plans.named(script)
        return None
    return {**kept["values"].get(owned.plan.name, {}), KIND: owned.plan.name}


def chosen(script: str, text: Any, plans: Plans) -> str | None:
    """The panel's value when another script was chosen; None when that is no plan."""
    owned = plans.find(script)
    if owned is None:
        return None
    try:
        return _written(owned, _parsed(text)["values"])
    except ParamsError:  # it could not be read before; choosing a script begins anew
        return _written(owned, {})


def _written(owned: Owned, values: Mapping[str, Any]) -> str:
    kept = {"plan": owned.plan.name, "title": owned.title, "values": values}
    return json.dumps(kept, ensure_ascii=False)


def _parsed(text: Any) -> dict[str, Any]:
    try:
        kept = json.loads(text or "{}")
        return {**kept, "values": dict(kept.get("values", {}))}
    except (ValueError, TypeError, AttributeError, RecursionError) as err:
        raise ParamsError(
            "The fields of the script cannot be read.", "Choose the script again.", field="script"
        ) from err


def of_older(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a form, those of versions before plans under the name they have now."""
    found = {name: value for name, value in values.items() if name not in OLD_FIELDS}
    if FIELD not in found and len(found) < len(values):
        old: dict[str, Any] = {}
        for name, plan in OLD_FIELDS.items():
            text = values.get(name)
            try:
                old[plan] = json.loads(text) if text else {}
            except (ValueError, TypeError, RecursionError):
                continue
        found[FIELD] = json.dumps({"values": old}, ensure_ascii=False)
    return found


def of_sheet(params: Mapping[str, str], plans: Plans) -> ReadScript | None:
    """The plan of a sheet's recipe, as far as it can be set up here; None for other recipes."""
    owned = plans.find(params.get(SCRIPT, ""))
    return None if owned is None else read_script(params, owned.plan)


def sheet_keys(params: Mapping[str, str], plans: Plans) -> frozenset[str]:
    """Keys of a sheet's recipe that its plan understands."""
    found = of_sheet(params, plans)
    return found.keys if found else frozenset()


def pasted(params: Mapping[str, str], plans: Plans) -> dict[str, Any]:
    """The fields of the form that a sheet's recipe sets; {} for any other recipe."""
    found = of_sheet(params, plans)
    if found is None:
        return {}
    owned = plans.named(found.title)
    return {"script": found.title, FIELD: _written(owned, {owned.plan.name: found.values})}


def title_of(script: str, plans: Plans, language: str) -> str:
    """What a plot's plan is called; its English title once it is gone."""
    owned = plans.find(script)
    return _in(owned.plan.title if owned else Words(en=script), language)


def make_plot_routes(studio: Studio, user_of: Callable[[Request], str]) -> APIRouter:
    """``GET /plots/{tab}``: every plan with its fields, and what there is to choose in them.

    Args:
        user_of: Who asks.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/plots/{tab}")
    @for_guests
    def panels(tab: str, request: Request) -> JSONResponse:
        if tab not in ("txt2img", "img2img"):
            raise HTTPException(404, "There are no such plans.")
        plans = studio.plots.plans
        listed = [plans.panel(one, tab) for one in plans.all(tab, user_of(request))]
        return JSONResponse(listed, headers={"Cache-Control": "no-store"})

    return router
