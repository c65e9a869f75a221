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

_SAYS_SO = re.compile(r"(Fooocus|SD\.Next|ComfyUI|Danqing)|f\d")
"""How ``App`` or ``Version`` begin; Forge's versions are ``f2.0.1v1.10.1-…``."""
_PAIR = r"(?:Size|Seed|Steps|Tiling|Sampler|CFG scale|Model|Denoising strength): [^,\n]+"
_SHORT_LINE = re.compile(rf"{_PAIR}(?:, {_PAIR})?")
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
    return read_items(items, infotext)


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
    # to A1111 one or two pairs are part of the prompt; the readers here write lines of so few
    is_short = _SHORT_LINE.fullmatch(text.rpartition("\n")[2])
    infotext = parse_infotext(text, min_pairs=1) if is_short else parse_infotext(text)
    if not infotext.params and midjourney.is_midjourney(text):
        return midjourney.read_midjourney(text, native)
    return Recipe(_program(infotext.params), text, infotext)


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
    found = _SAYS_SO.match(f"{params.get('App', '')} {params.get('Version', '')}".strip())
    return (found[1] or "Forge") if found else "A1111"
