"""The PNG Info tab: drop a picture, see its recipe, send it to a tab that paints."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from webui.recipes import Recipe, read_picture
from webui.ui import cards, pasting, plots, sending
from webui.ui.texts import label, language_of, say
from webui.ui.wiring import Values, wire

if TYPE_CHECKING:
    from webui.studio import Studio


@dataclass(frozen=True)
class PngInfo:
    """The tab's components; ``text`` holds the recipe as read."""

    picture: gr.Image
    targets: dict[str, gr.Button]
    info: gr.HTML
    text: gr.State

    def gives(self) -> list[Any]:
        """What showing a recipe changes."""
        return [self.info, *self.targets.values(), self.text]


def draw(_studio: Studio) -> PngInfo:
    """Picture at the left, recipe at the right."""
    with gr.Row(elem_classes="dq-page dq-pnginfo"):
        with gr.Column(min_width=260):
            picture = gr.Image(
                type="filepath", image_mode=None,  # None: the file as it came, recipe included
                label=label("drop_picture"), sources=["upload", "clipboard"],
                elem_id="dq-png-picture", height=420,
            )  # fmt: skip
            with gr.Row(elem_classes="dq-sends"):
                targets = sending.draw_buttons("png_info", without=("png_info",))
        with gr.Column(min_width=260):
            info = gr.HTML("", elem_id="dq-png-info")
    return PngInfo(picture, targets, info, gr.State(""))


def connect(parts: PngInfo, studio: Studio) -> None:
    """A new picture is read at once."""

    def show(values: Values, request: gr.Request) -> dict:
        path = values[parts.picture]
        recipe = read_picture(Path(path)) if path else None
        keys = studio.extensions.recipe_keys()
        if recipe is not None:
            keys |= plots.sheet_keys(recipe.infotext.params, studio.plots.plans)
        return present(parts, recipe, bool(path), language_of(request), keys)

    wire(parts.picture.change, show, [parts.picture], parts.gives())


def present(
    parts: PngInfo,
    recipe: Recipe | None,
    has_picture: bool,
    language: str,
    of_extensions: Set[str] = frozenset(),
) -> dict[Any, Any]:
    """The recipe as a table and as A1111 writes it.

    Args:
        of_extensions: Recipe keys that fields of extensions have.
    """
    text = recipe.text if recipe else ""
    return {
        parts.text: text,
        parts.info: render(recipe, has_picture, language, of_extensions),
        **{
            button: gr.update(interactive=bool(text) if key == "txt2img" else has_picture)
            for key, button in parts.targets.items()
        },
    }


def render(
    recipe: Recipe | None, has_picture: bool, language: str, of_extensions: Set[str] = frozenset()
) -> str:
    """HTML for a recipe, or for its absence."""
    if recipe is None:
        key = "png_info_none" if has_picture else "png_info_empty"
        return f'<div class="dq-card dq-empty dq-low"><p>{cards.esc(say(key, language))}</p></div>'
    read = recipe.infotext
    facts: list[tuple[str, object]] = [(say("prompt", language), read.prompt)]
    if read.negative_prompt:
        facts.append((say("negative_prompt", language), read.negative_prompt))
    facts += joined_sizes(read.params)
    raw = cards.heading(say("png_info_raw", language)) + cards.infotext_view(recipe.text, language)
    return cards.facts_table(facts) + _origin(recipe, language, of_extensions) + raw


def _origin(recipe: Recipe, language: str, of_extensions: Set[str]) -> str:
    """Whose recipe it is, and what of it has no place here."""
    said = f"<p>{cards.esc(say('recipe_of', language, program=recipe.program))}</p>"
    left = pasting.left_out(recipe, of_extensions)
    lost = "".join(f"<li>{cards.esc(line)}</li>" for line in left)
    if lost:
        said += cards.heading(say("recipe_left_out", language)) + f'<ul class="dq-lost">{lost}</ul>'
    return f'<div class="dq-soft">{said}</div>'


def joined_sizes(params: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of a recipe, with ``Size-1`` and ``Size-2`` shown as one ``Size``."""
    pairs = []
    for key, value in params.items():
        base = key[:-2]
        if key.endswith("-1") and f"{base}-2" in params:
            pairs.append((base, f"{value}×{params[f'{base}-2']}"))
        elif not (key.endswith("-2") and f"{base}-1" in params):
            pairs.append((key, value))
    return pairs
