"""The buttons below the stage: folder, save, and the places a picture can be sent to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.errors import LibraryError
from webui.settings import is_loopback
from webui.ui import pasting
from webui.ui.painting_tab import fill_form
from webui.ui.png_info import PngInfo
from webui.ui.results import SendTarget, connect_target, shown_picture
from webui.ui.texts import language_of, say
from webui.ui.txt2img import Txt2Img
from webui.ui.wiring import Values, tell, wire

if TYPE_CHECKING:
    from webui.library.library import SavedPicture
    from webui.studio import Studio


def connect(painting: Txt2Img, info: PngInfo, tabs: gr.Tabs, studio: Studio) -> None:
    """Wire the row, the paste button and "Send to txt2img" of PNG Info."""
    _connect_files(painting, studio)
    for target in send_targets(painting, info, tabs, studio):
        connect_target(painting.results, studio, target)
    _connect_pasting(painting, info, tabs, studio)


def send_targets(
    painting: Txt2Img, info: PngInfo, tabs: gr.Tabs, studio: Studio
) -> list[SendTarget]:
    """Where a picture can go. A tab that takes pictures adds its entry here."""

    def to_txt2img(picture: SavedPicture) -> dict[Any, Any]:
        return fill_form(painting, pasting.paste(picture.infotext, studio), studio)

    def to_png_info(picture: SavedPicture) -> dict[Any, Any]:
        return {info.picture: str(picture.path), tabs: gr.Tabs(selected="png_info")}

    return [
        SendTarget("txt2img", "send_to_txt2img", painting.form.components(), to_txt2img),
        SendTarget("png_info", "send_to_png_info", [info.picture, tabs], to_png_info),
    ]


def _connect_files(painting: Txt2Img, studio: Studio) -> None:
    parts = painting.results

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
    """True when the person sits at the machine that paints: both ends are loopback."""
    client = request.client.host if request.client else ""
    return is_loopback(host) and is_loopback(client)


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


def _connect_pasting(painting: Txt2Img, info: PngInfo, tabs: gr.Tabs, studio: Studio) -> None:
    form = painting.form

    def paste(values: Values, request: gr.Request) -> dict:
        language = language_of(request)
        text = values[form.prompt] or last_recipe(studio.settings.folders.data)
        if not pasting.has_recipe(text):
            raise LibraryError(say("nothing_to_paste", language))
        found = pasting.paste(text, studio)
        _tell_pasted(found, "pasted", request)
        return fill_form(painting, found, studio)

    def send(values: Values, request: gr.Request) -> dict:
        found = pasting.paste(values[info.text], studio)
        _tell_pasted(found, "sent", request)
        return {**fill_form(painting, found, studio), tabs: gr.Tabs(selected="txt2img")}

    wire(painting.buttons.paste.click, paste, [form.prompt], form.components())
    wire(info.send.click, send, [info.text], [*form.components(), tabs])


def _tell_pasted(found: pasting.Pasted, text: str, request: gr.Request) -> None:
    """That it was read, and which of its models this machine does not have."""
    if found.missing:
        tell("pasted_without", request, names=", ".join(found.missing))
    else:
        tell(text, request)


def last_recipe(data_folder: Path) -> str:
    """The recipe of the last job's first picture; empty when there is none."""
    try:
        return (data_folder / "params.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
