"""Wildcards and choices in prompts: drawn for every picture of a request, before it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from webui.errors import ParamsError
from webui.prompts.drawing import MANY, Drawer, FindValues
from webui.prompts.templates import is_template
from webui.samplers.steps import image_seeds

MOST_COMBINATIONS = 1000
"""Pictures of one job that paints all combinations."""
MOST_CHARACTERS = 16_000_000
"""Of all texts of a job, which lie in its row."""
MOST_DRAWS = 3_000_000
"""In all texts of a job: a few seconds."""


def wildcard_folders(data: Path, programs: tuple[Path, ...]) -> list[Path]:
    """Where wildcard files may lie: ours, then those of A1111's extensions, here and in the
    folders of other programs.

    Args:
        data: The data folder. programs: Folders of other programs that are used here, too.
    """
    folders = [data / "wildcards"]
    for place in (data, *programs):
        folders += [
            place / "extensions" / "sd-dynamic-prompts" / "wildcards",
            place / "extensions" / "stable-diffusion-webui-wildcards" / "wildcards",
        ]
    return [*folders, *(place / "wildcards" for place in programs)]


def combined(values: Mapping[str, Any], find: FindValues) -> dict[str, Any]:
    """A request that paints every combination of its prompt's choices once.

    Args:
        values: Of a ``Painting``, by field name.
    Returns:
        What changes: as many batches of one picture as there are combinations.
    Raises:
        ParamsError: There are more than ``MOST_COMBINATIONS``.
        PromptSyntaxError: A wildcard holds itself.
    """
    count = Drawer(find).count(values["prompt"])
    if count > MOST_COMBINATIONS:
        told = f"more than {MANY:,}" if count >= MANY else f"{count:,}"
        raise ParamsError(
            f"The prompt has {told} combinations; at most {MOST_COMBINATIONS:,} can be painted "
            "in one job.",
            "Take some choices away, or turn off «All combinations».",
            field="prompt",
        )
    return {"batch_size": 1, "batch_count": count}


def drawn_texts(
    values: Mapping[str, Any], count: int, find: FindValues, *, is_combinatorial: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """Draw the texts of every picture.

    The prompt and the prompt of a second pass are drawn with the same numbers: where they are the
    same template, they become the same text.

    Args:
        values: Of a ``Painting``, by field name, seeds chosen.
        count: Pictures of the request.
        is_combinatorial: Picture after picture has the next combination of the prompt, instead of
            one that its seed chooses.
    Returns:
        What changes; nothing when no text is a template. And the wildcards that hold nothing.
    Raises:
        ParamsError: The texts together are too long.
        PromptSyntaxError: A wildcard holds itself.
    """
    hires = values.get("hires")
    texts = {
        "prompts": values["prompt"],
        "negative_prompts": values["negative_prompt"],
        "hires_prompts": hires.prompt if hires else "",
        "hires_negative_prompts": hires.negative_prompt if hires else "",
    }
    templates = {name: text for name, text in texts.items() if is_template(text)}
    if not templates:
        return {}, []
    seeds, _ = image_seeds(values["seed"], values["subseed"], values["subseed_strength"], count)
    drawer = Drawer(find)
    lists: dict[str, Any] = {}
    length = 0
    for name, text in templates.items():
        side = int("negative" in name)
        every = drawer.every(text) if is_combinatorial and name == "prompts" else None
        drawn = islice(every, count) if every else (drawer.draw(text, s, side) for s in seeds)
        lists[name] = []
        for one in drawn:
            lists[name].append(one)
            length += len(one)
            if length > MOST_CHARACTERS or drawer.draws > MOST_DRAWS:
                raise _too_much(count)
    changes: dict[str, Any] = {
        "drawn": {
            "template": templates.get("prompts", ""),
            "negative_template": templates.get("negative_prompts", ""),
            **lists,
        }
    }
    if "prompts" in lists:
        changes["prompt"] = lists["prompts"][0]
    if "negative_prompts" in lists:
        changes["negative_prompt"] = lists["negative_prompts"][0]
    return changes, list(drawer.missing)


def _too_much(count: int) -> ParamsError:
    return ParamsError(
        f"The prompts of the {count} pictures together are too long or hold too many choices: at "
        f"most {MOST_CHARACTERS:,} characters and {MOST_DRAWS:,} draws go into one job.",
        "Ask for fewer pictures at once, or for prompts with less to draw.",
        field="prompt",
    )
