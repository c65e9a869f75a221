"""Sending a picture and its recipe from one place of the page to another.

Places that take pictures are registered as ``SendTarget`` (picture_buttons.py); places that have
pictures draw ``draw_buttons`` and hand over what they show as a ``Sent``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import LibraryError
from webui.ui.tab_ids import elem_id
from webui.ui.texts import label
from webui.ui.wiring import Values, draws_for_guests, wire

if TYPE_CHECKING:
    from webui.studio import Studio

TARGETS = {
    "txt2img": "send_to_txt2img",
    "img2img": "send_to_img2img",
    "inpaint": "send_to_inpaint",
    "restore": "send_to_restore",
    "png_info": "send_to_png_info",
}
"""Every place a picture can go, and the key of its button's text, in the buttons' order."""


NOT_FOR_GUESTS = ("restore", "png_info")
"""Those whose tabs the guests' page has not."""


def places() -> dict[str, str]:
    """The entries of ``TARGETS`` on the page that is drawn now."""
    if not draws_for_guests():
        return TARGETS
    return {key: text for key, text in TARGETS.items() if key not in NOT_FOR_GUESTS}


@dataclass(frozen=True)
class Sent:
    """A picture on its way.

    Attributes:
        path: Its file. infotext: Its recipe, empty without one.
        has_script: The recipe's script is to be chosen, too. Not for a result that is gone on
            from: that would grow or enlarge it a second time.
    """

    path: Path
    infotext: str = ""
    has_script: bool = False

    def keep(self, studio: Studio) -> str:
        """Keep the file as an input; returns its key.

        Raises:
            LibraryError: It cannot be read or kept.
        """
        try:
            data = self.path.read_bytes()
        except OSError as err:
            raise LibraryError(
                f"The picture {self.path} cannot be read: {err.strerror or err}.",
                "Choose another picture.",
                path=str(self.path),
            ) from err
        return studio.inputs.keep(data)


@dataclass(frozen=True)
class SendTarget:
    """A place a picture can be sent to; each tab that takes pictures makes its own.

    Attributes:
        key: Its name in TARGETS.
        gives: Components that change.
        send: From the picture to their changes, for a browser's request.
    """

    key: str
    gives: list[Any] = field(default_factory=list)
    send: Callable[[Sent, gr.Request], dict[Any, Any]] = lambda _sent, _request: {}


def draw_buttons(tab: str, without: Sequence[str] = ()) -> dict[str, gr.Button]:
    """One button for each target, by its key.

    Args:
        tab: Under whose element ids.
        without: Keys of places that are not to be offered here.
    """
    return {
        key: gr.Button(
            label(text), size="sm", min_width=44, scale=0, interactive=False,
            elem_id=elem_id(tab, f"send-{key.replace('_', '-')}"),
            elem_classes=f"dq-send-{key.replace('_', '-')}",
        )
        for key, text in places().items()
        if key not in without
    }  # fmt: skip


def connect(
    buttons: dict[str, gr.Button],
    targets: Sequence[SendTarget],
    takes: Sequence[Any],
    find: Callable[[Values, gr.Request], Sent],
) -> None:
    """Wire one place's buttons.

    Args:
        takes: Components that ``find`` needs.
        find: The picture that is shown there.
    Raises:
        KeyError: A button was drawn for a place that nobody registered.
    """
    by_key = {target.key: target for target in targets}

    def sends(target: SendTarget) -> Callable[..., dict[Any, Any]]:
        def send(values: Values, request: gr.Request) -> dict:
            return target.send(find(values, request), request)

        return send

    for key, button in buttons.items():
        target = by_key[key]
        wire(button.click, sends(target), takes, target.gives, for_guests=True)
