"""Prompts that extensions draw anew for every picture of a request, before it is stored.

What is drawn and how is theirs (``hookspecs.draw_prompts``); that each picture has its own text,
how many pictures there are then, and that the job keeps both is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from webui.errors import ParamsError
from webui.hookspecs import MOST_DRAWN_CHARACTERS
from webui.samplers.steps import image_seeds

MOST_COMBINATIONS = 1000
"""Pictures of one job that paints all combinations."""
Draw = Callable[[Sequence[str], str, Sequence[int], int], Sequence[str]]
"""The first four arguments of ``hookspecs.draw_prompts``, to its answer; the very same texts where
nobody draws."""


def nobody_draws(
    texts: Sequence[str], which: str, seeds: Sequence[int], combinations: int
) -> Sequence[str]:
    """A ``Draw`` that leaves everything as it is."""
    return texts


def drawn_texts(
    values: Mapping[str, Any], count: int, draw: Draw, *, is_combinatorial: bool = False
) -> dict[str, Any]:
    """Have the texts of every picture drawn.

    Args:
        values: Of a ``Painting``, by field name, seeds chosen.
        count: Pictures of the request.
        is_combinatorial: One picture of every combination of the prompt, instead of ``count`` ones
            whose seeds choose.
    Returns:
        What changes; nothing where nobody draws.
    Raises:
        ParamsError: Who draws refuses it, or the texts together are too long.
    """
    hires = values.get("hires")
    texts = {
        "prompts": values["prompt"],
        "negative_prompts": values["negative_prompt"],
        "hires_prompts": hires.prompt if hires else "",
        "hires_negative_prompts": hires.negative_prompt if hires else "",
    }
    changes: dict[str, Any] = {}
    lists: dict[str, Sequence[str]] = {}
    if is_combinatorial:
        every = _asked(values, count, draw, "prompts", texts["prompts"], MOST_COMBINATIONS)
        if every is not None:
            count = len(every)
            changes = {"batch_size": 1, "batch_count": count}
            if list(every) != [texts["prompts"]]:
                lists["prompts"] = every
    for name, text in texts.items():
        first = name.removeprefix("hires_")
        if text and name not in lists and not (is_combinatorial and name == "prompts"):
            same = first != name and text == texts[first]
            found = lists.get(first) if same else _asked(values, count, draw, name, text)
            if found is not None:
                lists[name] = found
    if not lists:
        return changes
    if sum(len(text) for found in lists.values() for text in found) > MOST_DRAWN_CHARACTERS:
        raise ParamsError(
            f"The prompts of the {count} pictures together are too long: at most "
            f"{MOST_DRAWN_CHARACTERS:,} characters go into one job.",
            "Ask for fewer pictures at once.",
            field="prompt",
        )
    return {**changes, **_kept(texts, lists)}


def _asked(
    values: Mapping[str, Any], count: int, draw: Draw, name: str, text: str, combinations: int = 0
) -> Sequence[str] | None:
    """One text for each picture, or all combinations; None where nobody draws this prompt."""
    most = max(count, combinations)
    seeds, _ = image_seeds(values["seed"], values["subseed"], values["subseed_strength"], most)
    alike = (text,) * count
    found = draw(alike, name.removesuffix("s"), seeds, combinations)
    return None if found is alike else found


def _kept(texts: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """What the job keeps: what was drawn from, what came of it, and the first picture's prompts."""
    templates = {name: text for name, text in texts.items() if name in lists}
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
    return changes
