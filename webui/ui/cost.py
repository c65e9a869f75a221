"""What the form will cost, told before the click: seconds, memory, cells, and quicker ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import WebUIError
from webui.params import ImageToImage, TextToImage
from webui.services.costs.estimates import Cheaper, Cost
from webui.services.costs.queue_times import queue_times
from webui.services.plots.plans import Wished
from webui.services.plots.plots import PlotSize
from webui.services.resolve import AnyRequest
from webui.ui import form as txt2img_form
from webui.ui import img2img_form, kit, pasting, plots
from webui.ui.cards import duration, esc
from webui.ui.img2img_form import Source
from webui.ui.said import error_in_language
from webui.ui.tab_ids import elem_id
from webui.ui.texts import language_of, say

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import PaintingTab

SHEET_LIMIT_MEGAPIXELS = 170
WAIT_WORTH_TELLING_SECONDS = 5.0
_NO_PICTURE = "0" * 64
"""Stands for the picture of img2img, which costs the same whatever it shows."""


def draw(tab: str) -> gr.HTML:
    """The line, still empty."""
    return gr.HTML("", elem_id=elem_id(tab, "cost"), elem_classes="dq-costbox")


def on_keep(
    parts: PaintingTab, studio: Studio
) -> Callable[[str, dict[str, Any], dict[str, Any], gr.Request], dict[Any, Any]]:
    """For ``draft.connect``: the line follows whatever stands in the form."""

    def keep(
        client: str, before: dict[str, Any], now: dict[str, Any], request: gr.Request
    ) -> dict[Any, Any]:
        given = {**parts.form.defaults, **now}
        return {parts.cost: shown(studio, parts.tab, given, language_of(request))}

    return keep


def shown(studio: Studio, tab: str, form: Mapping[str, Any], language: str) -> str:
    """The line, and for the row above it (assets/kit.js) the speeds that the form stands at."""
    return kit.speeds_told(studio, form) + cost_line(studio, tab, form, language)


def cost_line(studio: Studio, tab: str, form: Mapping[str, Any], language: str) -> str:
    """What the form would cost; a form that cannot be asked for says so with a plot, and nothing
    otherwise (Generate will say it)."""
    script: Wished | None = None
    try:
        script = plots.read(form, studio.plots.plans)
        request = _request(tab, form)
        if script is not None:
            told = _plot_parts(studio, studio.plots.foretell(request, script), language)
        else:
            told = _parts(studio, request, language)
    except WebUIError as err:
        is_told, said = script is not None, esc(error_in_language(err, language))
        return f'<div class="dq-cost"><span class="dq-bad">{said}</span></div>' * is_told
    wait = queue_times(studio.jobs, studio.live, studio.estimates).total
    if told and wait > WAIT_WORTH_TELLING_SECONDS:
        told.append(esc(say("cost_waits", language, time=duration(wait, language))))
    return f'<div class="dq-cost" role="status">{" · ".join(told)}</div>' if told else ""


def _request(tab: str, form: Mapping[str, Any]) -> AnyRequest:
    around: dict[str, Any] = {
        "top_row": {}, "overrides": pasting.read_chips(form["overrides"] or []), "user": "",
    }  # fmt: skip
    if tab == "txt2img":
        return txt2img_form.make_request(dict(form), **around)
    size = int(form["width"] or 512), int(form["height"] or 512)
    return img2img_form.make_request(form, Source(_NO_PICTURE, size), **around)


def _parts(studio: Studio, request: AnyRequest, language: str) -> list[str]:
    params = studio.resolve(request, lambda _text: None)
    if not isinstance(params, TextToImage | ImageToImage):
        return []
    cost = studio.estimates.cost(params)
    if cost is None:
        return []
    parts = _amount(cost, language)
    if params.image_count > 1:
        parts.append(esc(say("cost_pictures", language, count=params.image_count)))
    if cheaper := studio.estimates.cheaper(params):
        ways = ", ".join(_way(one, language) for one in cheaper)
        parts.append(f"{esc(say('cost_cheaper', language))} {ways}")
    return parts


def _plot_parts(studio: Studio, size: PlotSize, language: str) -> list[str]:
    parts = [f"<b>{esc(say('cost_cells', language, cells=size.cells))}</b>"]
    if size.sheets * size.columns * size.rows > 1 and size.megapixels:
        shape = "×".join(str(n) for n in (size.columns, size.rows, size.sheets) if n > 1)
        parts.append(esc(shape))
        megapixels = f"{size.megapixels:.2g}" if size.megapixels < 10 else f"{size.megapixels:.0f}"
        parts.append(esc(say("cost_sheet", language, megapixels=megapixels)))
    if size.megapixels > SHEET_LIMIT_MEGAPIXELS:
        parts.append(f'<span class="dq-bad">{esc(say("cost_shrunk", language))}</span>')
    cost = studio.estimates.total(size.params)
    if cost is None:
        return [*parts, esc(say("cost_unknown", language))]
    seconds = cost.seconds * size.cells / len(size.params)
    return [*_amount(Cost(seconds, cost.memory_bytes, cost.jobs), language), *parts]


def _amount(cost: Cost, language: str) -> list[str]:
    time = duration(cost.seconds, language)
    parts = [f"<b>{esc(say('cost_seconds', language, time=time))}</b>"]
    if cost.memory_bytes:
        parts.append(esc(say("cost_memory", language, size=f"{cost.memory_bytes / 1e9:.1f}")))
    return parts


def _way(cheaper: Cheaper, language: str) -> str:
    time = say("cost_seconds", language, time=duration(cheaper.seconds, language))
    named = {
        "steps": say("cost_steps", language, steps=cheaper.value),
        "without_hires": say("cost_without_hires", language),
    }
    return esc(f"{named.get(cheaper.change, cheaper.value)} {time}")
