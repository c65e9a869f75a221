"""The styles; chosen and kept by the program."""

from __future__ import annotations

from typing import NamedTuple

from .shared import StyleList as StyleDatabase

__all__ = ["PromptStyle", "StyleDatabase"]


class PromptStyle(NamedTuple):
    """A style."""

    name: str
    prompt: str | None
    negative_prompt: str | None
    path: str | None = None
