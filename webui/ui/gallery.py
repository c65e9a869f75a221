"""The Gallery tab: every picture, drawn by the browser's own script from small answers.

Gradio gets one empty element; the script asks for what is in sight (gallery_routes.py) once the
tab is opened. What changes forms or the queue comes back as events of the element.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import LibraryError
from webui.ui import pasting, quicksettings
from webui.ui.form import DEFAULTS, make_request
from webui.ui.quicksettings import Quicksettings
from webui.ui.sending import SendTarget, Sent, places
from webui.ui.session import visitor_of
from webui.ui.texts import language_of, say
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.params import AnyParams
    from webui.services.resolve import AnyRequest
    from webui.studio import Studio

TAB = "gallery"


def mount_js() -> str:
    """The script that draws the tab. Gradio knows an event by its name in quotation marks."""
    names = ("again", *(f"to_{key}" for key in places()))
    events = ", ".join(f"'{name}': (data) => trigger('{name}', data)" for name in names)
    return f"window.danqingGallery(element, {{{events}}});"


def draw() -> gr.HTML:
    """The tab's one element. Its events come with an ``id``: ``again`` and, for each place a
    picture can go, ``to_…``."""
    return gr.HTML(
        '<div class="dq-gal"></div>', js_on_load=mount_js(), elem_id="dq-gallery",
        elem_classes="dq-gallerybox",
    )  # fmt: skip


def connect(
    element: gr.HTML,
    studio: Studio,
    browser: gr.BrowserState,
    quick: Quicksettings,
    targets: Sequence[SendTarget],
) -> None:
    """Painting again, and sending pictures to the other tabs."""

    def again(values: Values, event: gr.EventData, request: gr.Request) -> None:
        visitor = visitor_of(values[browser], request)
        top_row = quicksettings.read(quick, values)
        wish = _request(studio, int(event._data["id"]), visitor.user, top_row, language_of(request))
        studio.submit(wish, client=visitor.client)
        tell("gal_asked", request)

    wire(element.again, again, [browser, *quick.components()], for_guests=True)
    for target in targets:
        _connect_target(element, target, studio, browser)


def _connect_target(
    element: gr.HTML, target: SendTarget, studio: Studio, browser: gr.BrowserState
) -> None:
    def send(values: Values, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        visitor = visitor_of(values[browser], request)
        picture = studio.gallery.pictures.get(int(event._data["id"]), visitor.user)
        infotext = studio.gallery.pictures.infotext(picture)
        return target.send(Sent(picture.path, infotext), request)

    wire(getattr(element, f"to_{target.key}"), send, [browser], target.gives, for_guests=True)


def _request(
    studio: Studio, picture_id: int, user: str, top_row: dict[str, Any], language: str
) -> AnyParams | AnyRequest:
    """What paints a picture once more: its own job's request, else one made from its recipe.

    Raises:
        LibraryError: It has no recipe, or one that begins with a picture that is not known.
    """
    params = studio.gallery.paint_again(picture_id, user)
    if params is not None:
        return params.model_copy(update={"user": user})
    picture = studio.gallery.pictures.get(picture_id, user)
    infotext = studio.gallery.pictures.infotext(picture)
    if not pasting.has_recipe(infotext):
        raise LibraryError(say("no_recipe_to_send", language))
    if picture.kind != "txt2img":
        raise LibraryError(say("gal_no_input", language))
    found = pasting.paste(infotext, studio)
    values = {**DEFAULTS, **found.values, "batch_size": 1, "batch_count": 1}
    known = {name: values[name] for name in DEFAULTS}
    overrides = pasting.read_chips(found.chips)
    return make_request(known, top_row=top_row, overrides=overrides, user=user)
