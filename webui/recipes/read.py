"""The door of this room: whoever made a picture or wrote a text, its recipe as an infotext."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from PIL import Image

from webui import pictures
from webui.infotext import Infotext, parse_infotext
from webui.recipes import civitai, comfyui, fooocus, invokeai, midjourney
from webui.recipes.recipe import Recipe, load_json, mapping

_EXIF_TEXTS = (0x010E, 0x010F, 0x0110)
"""ImageDescription, Make, Model: where ComfyUI's WebP files hold ``workflow:…``, ``prompt:…``."""
_A1111_LIKE = {"Fooocus": "Fooocus", "SD.Next": "SD.Next", "ComfyUI": "ComfyUI", "f": "Forge"}
_PAIR = r"(?:Size|Seed|Steps|Tiling|Sampler|CFG scale|Model|Denoising strength): [^,\n]+"
_SHORT_LINE = re.compile(rf"{_PAIR}(?:, {_PAIR})?")
_PADDING = "aa: 1, aa: 1"
MOST_CHARACTERS = 4_000_000
"""Longer texts are no recipes."""


def read_picture(source: pictures.Source) -> Recipe | None:
    """The recipe inside a picture of any program; None when it holds none.

    Args:
        source: A path, the bytes of a file, or an opened picture (left open).
    Raises:
        LibraryError: No picture, or too large.
    """
    if isinstance(source, Image.Image):
        return _read(source)
    with pictures.open_image(source) as image:
        return _read(image)


def _read(image: Image.Image) -> Recipe | None:
    infotext, items = pictures.read_infotext(image)
    return read_items({**_exif_texts(image), **items}, infotext)


def read_items(stored: dict[str, Any], infotext: str | None) -> Recipe | None:
    """The recipe in the texts of a picture file; None when they hold none.

    Args:
        stored: By their names in the file. infotext: What it holds in A1111's place.
    """
    for found in (
        invokeai.read_stored(stored),
        _of_graphs(stored, infotext),
        _of_midjourney(str(stored.get("Description", ""))),
        read_text(infotext) if infotext else None,
    ):
        if found:
            is_novelai = stored.get("Software") == "NovelAI"
            return replace(found, program="NovelAI") if is_novelai else found
    return None


def _exif_texts(image: Image.Image) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        exif = image.getexif()
    except Exception:  # damaged EXIF data is no reason to refuse the picture
        return found
    for tag in _EXIF_TEXTS:
        key, mark, text = str(exif.get(tag, "")).partition(":")
        if mark and key.lower() in ("prompt", "workflow"):
            found[key.lower()] = text
    return found


def _of_graphs(stored: dict[str, Any], infotext: str | None) -> Recipe | None:
    """ComfyUI's graph; where a node also wrote an infotext that says more, that one counts."""
    if infotext and len(parse_infotext(infotext).params) >= 3:
        return None
    graph, workflow = load_json(stored.get("prompt")), load_json(stored.get("workflow"))
    if comfyui.is_graph(graph):
        return civitai.read_extra(mapping(graph)) or comfyui.read_graph(graph)
    return comfyui.read_workflow(workflow) if comfyui.is_workflow(workflow) else None


def _of_midjourney(text: str) -> Recipe | None:
    """Its pictures hold the prompt, and after it the number of its job."""
    prompt, mark, _ = text.partition(" Job ID:")
    return midjourney.read_midjourney(prompt) if mark else None


def read_text(text: str, native: int = 512) -> Recipe:
    """The recipe that a pasted text holds. A text that says nothing else is a prompt.

    Args:
        native: Side in pixels of the checkpoint's square pictures, for ``--ar``.
    """
    text = text.strip()
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS]
        return Recipe("A1111", text, Infotext(prompt=text))
    found = _of_json(mapping(load_json(text))) if text.startswith("{") else None
    if found:
        return found
    if invokeai.is_dream(text):
        return invokeai.read_dream(text)
    infotext = _short_line(text) or parse_infotext(text)
    if not infotext.params and midjourney.is_midjourney(text):
        return midjourney.read_midjourney(text, native)
    return Recipe(_program(infotext.params), text, infotext)


def _short_line(text: str) -> Infotext | None:
    """A line of one or two pairs is part of the prompt to A1111; the readers here write some."""
    *lines, last = text.split("\n")
    if not _SHORT_LINE.fullmatch(last):
        return None
    read = parse_infotext("\n".join([*lines, f"{last}, {_PADDING}"]))
    padding = _PADDING.split(": ")[0]
    return replace(read, params={k: v for k, v in read.params.items() if k != padding})


def _of_json(value: dict[str, Any]) -> Recipe | None:
    for inner in (value, mapping(value.get("meta"))):
        if fooocus.is_fooocus(inner):
            return fooocus.read_fooocus(inner)
        if invokeai.is_invokeai(inner):
            return invokeai.read_invokeai(inner)
        if comfyui.is_graph(inner):
            return civitai.read_extra(inner) or comfyui.read_graph(inner)
        if comfyui.is_workflow(inner):
            return comfyui.read_workflow(inner)
        if civitai.is_civitai(inner):
            return civitai.read_civitai(inner)
    graph = value.get("prompt")  # a request to ComfyUI's own API
    return comfyui.read_graph(graph) if comfyui.is_graph(graph) else None


def _program(params: dict[str, str]) -> str:
    """Who writes infotexts says so in its version, or under ``App``."""
    said = f"{params.get('App', '')} {params.get('Version', '')}".strip()
    for mark, program in _A1111_LIKE.items():
        if said.startswith(mark):
            return program
    return "Danqing" if "anqing" in said else "A1111"
