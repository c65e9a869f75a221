"""The texts of a request's pictures: one drawn for each, or all combinations there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from webui.errors import ParamsError
from webui.hookspecs import MANY, MOST_DRAWN_CHARACTERS

from .drawing import Drawer
from .templates import is_template

MOST_DRAWS = 1_500_000
"""In the texts of one prompt: a few seconds."""


def one_for_each(
    texts: Sequence[str], seeds: Sequence[int], drawer: Drawer, *, is_negative: bool
) -> list[str] | None:
    """The text of every picture, drawn by its seed; None when none of them is a template.

    Prompts of two passes are drawn with the same numbers, so that one template becomes one text.

    Raises:
        ParamsError: The texts together are too long, or hold too many choices.
        PromptSyntaxError: A wildcard that holds itself.
    """
    if not any(is_template(text) for text in set(texts)):
        return None
    side = int(is_negative)
    drawn = (drawer.draw(text, seed, side) for text, seed in zip(texts, seeds, strict=True))
    return _bounded(drawn, drawer, len(texts))


def combinations(texts: Sequence[str], most: int, drawer: Drawer) -> list[str]:
    """Every text there is, once: those of the first template, then those of others.

    Raises:
        ParamsError: There are more than ``most``, or they are too long.
        PromptSyntaxError: A wildcard that holds itself.
    """
    templates = list(dict.fromkeys(texts))
    count = min(MANY, sum(drawer.count(text) for text in templates))
    if count > most:
        told = f"more than {MANY:,}" if count >= MANY else f"{count:,}"
        raise ParamsError(
            f"The prompt has {told} combinations; at most {most:,} can be painted in one job.",
            "Take some choices away, or turn off «All combinations».",
            field="prompt",
        )
    every = (one for text in templates for one in drawer.every(text))
    return _bounded(every, drawer, count)


def _bounded(texts: Iterable[str], drawer: Drawer, count: int) -> list[str]:
    """The texts, as long as they are not too much; ``count`` says how many are on their way."""
    found: list[str] = []
    length = 0
    for text in texts:
        found.append(text)
        length += len(text)
        if length > MOST_DRAWN_CHARACTERS or drawer.draws > MOST_DRAWS:
            raise ParamsError(
                f"The prompts of the {count} pictures together are too long or hold too many "
                f"choices: at most {MOST_DRAWN_CHARACTERS:,} characters and {MOST_DRAWS:,} draws "
                "go into one job.",
                "Ask for fewer pictures at once, or for prompts with less to draw.",
                field="prompt",
            )
    return found
