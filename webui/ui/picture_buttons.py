"""What can be done with a finished picture: files, places to send it to, a larger version."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import LibraryError
from webui.params import AnyParams, Hires, TextToImage
from webui.roles import is_guest
from webui.services.follow_ups import Parent, enlarge, is_first_pass
from webui.settings import is_loopback
from webui.ui import pasting, quicksettings, restore, sending
from webui.ui.form import DEFAULTS, make_request
from webui.ui.img2img import Img2Img, put_picture
from webui.ui.painting_form import NO_SCRIPT
from webui.ui.painting_tab import PaintingTab, fill_form
from webui.ui.png_info import PngInfo
from webui.ui.quicksettings import Quicksettings
from webui.ui.restore import Restore
from webui.ui.results import Results, go_on_from, shown_picture
from webui.ui.sending import SendTarget, Sent
from webui.ui.session import user_of
from webui.ui.texts import language_of, say
from webui.ui.txt2img import Txt2Img
from webui.ui.wiring import Values, tell, wire, wire_then_press

if TYPE_CHECKING:
    from webui.studio import Studio

MOST_TOLD = 6
"""Of what a recipe says that has no place here; the PNG Info tab shows all."""


def connect(
    painting: Txt2Img,
    repainting: Img2Img,
    restoring: Restore,
    info: PngInfo,
    tabs: gr.Tabs,
    quick: Quicksettings,
    browser: gr.BrowserState,
    studio: Studio,
) -> list[SendTarget]:
    """Wire the rows below the stages, the paste buttons and those of PNG Info.

    Returns:
        Every place a picture can go.
    """
    more = [_to_png_info(info, tabs), restore.send_target(restoring, tabs, studio)]
    targets = connect_painting(painting, repainting, more, tabs, quick, browser, studio)
    _connect_files(restoring.results, studio)
    _connect_sending(restoring.results, targets, studio)
    _connect_info(info, targets)
    return targets


def connect_painting(
    painting: Txt2Img,
    repainting: Img2Img,
    more: Sequence[SendTarget],
    tabs: gr.Tabs,
    quick: Quicksettings,
    browser: gr.BrowserState,
    studio: Studio,
) -> list[SendTarget]:
    """Wire the rows below the stages of the painting tabs.

    Args:
        more: Places a picture can go besides these tabs.
    Returns:
        Every place a picture can go.
    """
    targets = [*send_targets(painting, repainting, tabs, studio), *more]
    for parts in (painting, repainting):
        _connect_files(parts.results, studio)
        _connect_pasting(parts, studio)
        _connect_sending(parts.results, targets, studio)
        _connect_enlarging(parts.results, painting, quick, browser, studio)
    return targets


def send_targets(
    painting: Txt2Img, repainting: Img2Img, tabs: gr.Tabs, studio: Studio
) -> list[SendTarget]:
    """Where a picture can go. A tab that takes pictures adds its entry here and in TARGETS."""

    def to_txt2img(sent: Sent, request: gr.Request) -> dict[Any, Any]:
        if not sent.infotext:
            raise LibraryError(say("no_recipe_to_send", language_of(request)))
        found = pasting.paste(sent.infotext, studio)
        _tell_pasted(found, "sent", request)
        return {**fill_form(painting, found, studio), tabs: gr.Tabs(selected="txt2img")}

    def to_canvas(mode: str) -> Callable[[Sent, gr.Request], dict[Any, Any]]:
        def send(sent: Sent, request: gr.Request) -> dict[Any, Any]:
            changes = put_picture(repainting, studio, sent.keep(studio), mode)
            if sent.infotext:
                found = pasting.paste(sent.infotext, studio)
                _tell_pasted(found, f"sent_{mode}", request)
                changes |= fill_form(repainting, found, studio)
                if mode == "inpaint" or not sent.has_script:
                    changes[repainting.form.script] = NO_SCRIPT
            return {**changes, tabs: gr.Tabs(selected="img2img")}

        return send

    repainted = [*repainting.form.components(), tabs]
    return [
        SendTarget("txt2img", [*painting.form.components(), tabs], to_txt2img),
        SendTarget("img2img", repainted, to_canvas("img2img")),
        SendTarget("inpaint", repainted, to_canvas("inpaint")),
    ]


def _to_png_info(info: PngInfo, tabs: gr.Tabs) -> SendTarget:
    def send(sent: Sent, _request: gr.Request) -> dict[Any, Any]:
        return {info.picture: str(sent.path), tabs: gr.Tabs(selected="png_info")}

    return SendTarget("png_info", [info.picture, tabs], send)


def _connect_sending(stage: Results, targets: list[SendTarget], studio: Studio) -> None:
    def shown(values: Values, request: gr.Request) -> Sent:
        picture = shown_picture(studio, values[stage.shown], language_of(request))
        return Sent(picture.path, picture.infotext)

    sending.connect(stage.targets, targets, [stage.shown], shown)


def _connect_info(info: PngInfo, targets: list[SendTarget]) -> None:
    def dropped(values: Values, request: gr.Request) -> Sent:
        if not values[info.picture]:
            raise LibraryError(say("no_picture", language_of(request)))
        return Sent(Path(values[info.picture]), values[info.text], has_script=True)

    sending.connect(info.targets, targets, [info.picture, info.text], dropped)


def _connect_enlarging(
    stage: Results,
    painting: Txt2Img,
    quick: Quicksettings,
    browser: gr.BrowserState,
    studio: Studio,
) -> None:
    """ "Upscale" below a picture: with the second pass that the form of txt2img describes."""

    def upscale(values: Values, event: gr.EventData, request: gr.Request) -> dict:
        def make(parent: Parent, user: str) -> AnyParams:
            hires = second_pass(painting, quick, values, studio) if is_first_pass(parent) else None
            return enlarge(parent, hires, user=user)

        go_on_from(studio, int(event._data["key"]), values[browser], request, make)
        return {stage.picked: None}

    takes = [*painting.form.components(), *quick.components(), browser]
    wire_then_press(
        stage.wake, stage.stage.upscale, upscale, takes, [stage.picked], for_guests=True
    )


def second_pass(
    painting: Txt2Img, quick: Quicksettings, values: Values, studio: Studio
) -> Hires | None:
    """Hires. fix as its fields stand, whether its box is checked or not.

    Raises:
        ParamsError: One of its fields cannot be used.
    """
    given = painting.form.read(values)
    kept = {name: given[name] for name in given if name.startswith("hires_") or name == "styles"}
    wish = make_request(
        {**DEFAULTS, **kept, "has_hires": True},
        top_row=quicksettings.read(quick, values), overrides={}, user="",
    )  # fmt: skip
    resolved = studio.resolve(wish)
    return resolved.hires if isinstance(resolved, TextToImage) else None


def _connect_files(parts: Results, studio: Studio) -> None:
    def open_folder(values: Values, request: gr.Request) -> None:
        folder = shown_picture(studio, values[parts.shown], language_of(request)).path.parent
        if is_at_this_machine(studio.settings.host, request) and show_in_file_manager(folder):
            return tell("folder_opened", request, path=folder)
        return tell("folder_is", request, path=folder)

    def save(values: Values, request: gr.Request) -> None:
        picture = shown_picture(studio, values[parts.shown], language_of(request))
        tell("saved_to", request, path=studio.library.save_copy(picture.id))

    wire(parts.folder.click, open_folder, [parts.shown])
    wire(parts.save.click, save, [parts.shown])


def is_at_this_machine(host: str, request: gr.Request) -> bool:
    """True when the person sits at the machine that paints: both ends are loopback, and no proxy
    stands between."""
    client = request.client.host if request.client else ""
    is_behind = "x-forwarded-for" in request.headers
    return is_loopback(host) and is_loopback(client) and not is_behind


def show_in_file_manager(folder: Path) -> bool:
    """Open a folder of pictures on this machine's screen; False where there is none."""
    if sys.platform == "win32":
        os.startfile(folder)
        return True
    has_screen = (
        sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    if not has_screen:
        return False
    program = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        subprocess.Popen(
            [program, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError:
        return False
    return True


def _connect_pasting(painting: PaintingTab, studio: Studio) -> None:
    form = painting.form

    def paste(values: Values, request: gr.Request) -> dict:
        language = language_of(request)
        text = values[form.prompt]
        if not text and not is_guest(
            user_of(request)
        ):  # whose recipe was last is not theirs to see
            text = last_recipe(studio.settings.folders.data)
        if not pasting.has_recipe(text):
            raise LibraryError(say("nothing_to_paste", language))
        found = pasting.paste(text, studio)
        _tell_pasted(found, "pasted", request)
        return fill_form(painting, found, studio)

    wire(painting.buttons.paste.click, paste, [form.prompt], form.components(), for_guests=True)


def _tell_pasted(found: pasting.Pasted, text: str, request: gr.Request) -> None:
    """That it was read, which of its models this machine does not have, and what has no place."""
    if found.missing:
        tell("pasted_without", request, names=", ".join(found.missing))
    if found.left_out:
        told = found.left_out[:MOST_TOLD]
        told += ["…"] if len(found.left_out) > MOST_TOLD else []
        tell("pasted_left_out", request, names="; ".join(told))
    if not found.missing and not found.left_out:
        tell(text, request)


def last_recipe(data_folder: Path) -> str:
    """The recipe of the last job's first picture; empty when there is none."""
    try:
        return (data_folder / "params.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
