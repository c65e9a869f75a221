"""A picture a person puts in and may draw upon. assets/canvas.js is its other half.

Its value is a short JSON text of keys into ``studio.inputs``: the picture, and what was drawn over
it as a transparent picture of its own. So a draft, a job and the history of inputs name what was
drawn by keys alone, and nothing drawn depends on the page staying open.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import gradio as gr
from PIL import Image

from webui.ui.cards import esc

if TYPE_CHECKING:
    from webui.library.inputs import Inputs

Mode = Literal["picture", "mask", "colour"]
MOUNT_JS = """
const mount = () => window.danqingCanvas.mount(element, props, trigger, watch);
mount();
// the event of a new picture is called 'put'
"""


@dataclass(frozen=True)
class Drawing:
    """What a canvas holds.

    Attributes:
        picture: Key of the picture. width, height: Its pixels, upright.
        strokes: Key of what was drawn over it; empty when nothing is.
    """

    picture: str
    strokes: str = ""
    width: int = 0
    height: int = 0

    def to_value(self) -> str:
        """The canvas's value, letter for letter as canvas.js writes it."""
        facts = {
            "picture": self.picture, "strokes": self.strokes, "width": self.width,
            "height": self.height,
        }  # fmt: skip
        return json.dumps(facts, separators=(",", ":"))


def draw(elem_id: str, mode: Mode) -> gr.HTML:
    """A canvas.

    Args:
        mode: ``picture`` cannot be drawn upon, ``mask`` only in one colour that covers.
    """
    template = f'<div class="dq-canvas" data-board="{esc(elem_id)}" data-mode="{mode}"></div>'
    return gr.HTML(
        "", html_template=template, js_on_load=MOUNT_JS, elem_id=elem_id,
        elem_classes="dq-canvasbox", apply_default_css=False,
    )  # fmt: skip


def read(value: Any) -> Drawing | None:
    """What a canvas's value says; None for an empty canvas or a text that is none."""
    try:
        facts = json.loads(value or "")
        drawing = Drawing(
            picture=str(facts["picture"]), strokes=str(facts.get("strokes") or ""),
            width=int(facts.get("width") or 0), height=int(facts.get("height") or 0),
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return drawing if drawing.picture else None


def holding(inputs: Inputs, key: str) -> Drawing:
    """A canvas with a kept picture on it. Raises as ``Inputs.image``."""
    image = inputs.image(key)
    return Drawing(key, "", image.width, image.height)


def keep_composite(inputs: Inputs, drawing: Drawing) -> str:
    """Keep the picture with the strokes painted in; returns its key. Raises as ``Inputs.image``."""
    if not drawing.strokes:
        return drawing.picture
    picture = inputs.image(drawing.picture).convert("RGBA")
    picture.alpha_composite(_strokes(inputs, drawing, picture.size))
    has_alpha = picture.getextrema()[3][0] < 255  # type: ignore[index]
    return inputs.keep_image(picture if has_alpha else picture.convert("RGB"))


def keep_mask(inputs: Inputs, drawing: Drawing, *, is_soft: bool = False) -> str | None:
    """Keep a mask, white where something was drawn; returns its key, None for a blank drawing.

    Args:
        is_soft: See-through strokes count by how much they cover; otherwise fully.
    """
    if not drawing.strokes:
        return None
    size = inputs.image(drawing.picture).size
    alpha = _strokes(inputs, drawing, size).getchannel("A")
    mask = alpha if is_soft else alpha.point([255 if a >= _SEEN else 0 for a in range(256)])
    return inputs.keep_image(mask) if mask.getbbox() else None


_SEEN = 8
"""Alpha from which a stroke covers: below lies only the rim that smoothing gives it."""


def _strokes(inputs: Inputs, drawing: Drawing, size: tuple[int, int]) -> Image.Image:
    strokes = inputs.image(drawing.strokes).convert("RGBA")
    return strokes if strokes.size == size else strokes.resize(size, Image.Resampling.BILINEAR)
