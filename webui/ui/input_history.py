"""Pictures that stood on a canvas and were replaced: a strip to bring them back from.

They are found when the draft is saved: whatever canvas then holds another picture than the draft
before, by whatever way it came there, hands its old one (drawing included) to the strip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.ui import canvas, cards
from webui.ui.img2img_form import CANVASES, MASK_UPLOAD
from webui.ui.session import client_name
from webui.ui.texts import language_of, say
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.img2img import Img2Img

KEPT_AS, MOST_KEPT = "img2img-inputs", 20


def replaced(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Canvas values of a draft whose pictures are on no canvas of the draft after it."""
    names = [*CANVASES.values(), MASK_UPLOAD]
    there = {drawing.picture for name in names if (drawing := canvas.read(after.get(name)))}
    old = [(value, canvas.read(value)) for name in names if (value := before.get(name))]
    return [value for value, drawing in old if drawing and drawing.picture not in there]


def remember(kept: Sequence[str], values: Sequence[str], shown: Mapping[str, Any]) -> list[str]:
    """The strip with more canvas values in front: each picture once, none that a canvas shows."""
    names = [*CANVASES.values(), MASK_UPLOAD]
    seen = {drawing.picture for name in names if (drawing := canvas.read(shown.get(name)))}
    strip: list[str] = []
    for value in (*values, *kept):
        drawing = canvas.read(value)
        if drawing and drawing.picture not in seen:
            seen.add(drawing.picture)
            strip.append(value)
    return strip[:MOST_KEPT]


def load(studio: Studio, client: str) -> list[str]:
    """The strip of a browser, newest first."""
    kept = studio.drafts.load(client, KEPT_AS).get("values", [])
    return [value for value in kept if isinstance(value, str)]


def keep(
    studio: Studio, client: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """Bring the strip up to date between two drafts; returns it."""
    kept = load(studio, client)
    now = remember(kept, replaced(before, after), after)
    if now != kept:
        studio.drafts.save(client, KEPT_AS, {"values": now})
    return now


def render(values: Sequence[str], language: str) -> str:
    """The strip; empty without earlier inputs."""
    thumbs = []
    for number, value in enumerate(values, 1):
        drawing = canvas.read(value)
        if drawing is None:
            continue
        alt = cards.esc(say("earlier_input", language, number=number))
        thumbs.append(
            f'<button type="button" class="dq-thumb" data-act="bring" title="{alt}" '
            f'aria-label="{alt}" data-value="{cards.esc(value)}">'
            f'<img src="ui/input/{drawing.picture}?small=1" alt="" loading="lazy"></button>'
        )
    if not thumbs:
        return ""
    title = f'<span class="dq-soft">{cards.esc(say("earlier_inputs", language))}</span>'
    return f'<div class="dq-strip dq-inputs">{title}{"".join(thumbs)}</div>'


def connect(parts: Img2Img, studio: Studio, browser: gr.BrowserState) -> None:
    """A press on a thumbnail puts it on the canvas in sight; what was there joins the strip."""
    form = parts.form

    def bring(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        given = form.read(values)
        name = CANVASES.get(given["mode"])
        wanted = canvas.read(event._data["value"])
        if name is None or wanted is None:
            return {parts.earlier: gr.skip()}
        client = client_name(values[browser], request)
        after = {**given, name: wanted.to_value()}
        strip = keep(studio, client, given, after)
        return {
            form.canvas(given["mode"]): wanted.to_value(),
            parts.earlier: render(strip, language_of(request)),
        }

    canvases = [form.canvas(mode) for mode in CANVASES]
    wire(
        parts.earlier.act, bring, [form.mode, *canvases, form.mask_upload, browser],
        [*canvases, parts.earlier], for_guests=True,
    )  # fmt: skip
