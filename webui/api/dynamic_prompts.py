"""What clients of A1111's extension «Dynamic Prompts» send, in our words: what it asks for are
fields of our own requests, whichever extension draws prompts here."""

from __future__ import annotations

from typing import Any

from webui.api.schemas import PaintingBody
from webui.api.scripts import DYNAMIC_PROMPTS, alwayson_arguments, script_entry

_ALIKE = (
    "is_enabled", "is_combinatorial", "disable_negative_prompt", "min_attention", "max_attention",
    "magic_length", "magic_creativity", "magic_model", "magic_blocklist",
)  # fmt: skip
"""Arguments that are followed, or that only say more about one that is told by itself."""


def is_combinatorial(body: PaintingBody) -> bool:
    """True where one picture of every combination is asked for.

    Raises:
        ParamsError: An argument that cannot be read.
    """
    arguments = alwayson_arguments(body, DYNAMIC_PROMPTS)
    return bool(arguments["is_enabled"] and arguments["is_combinatorial"])


def dynamic_overrides(body: PaintingBody) -> dict[str, Any]:
    """Options that the script changes for its request. Raises as ``is_combinatorial``."""
    is_enabled = alwayson_arguments(body, DYNAMIC_PROMPTS)["is_enabled"]
    return {} if is_enabled else {"dynamic_prompts": False}


def dynamic_notes(body: PaintingBody, *, has_drawing: bool) -> list[str]:
    """What the script was asked for and cannot be followed. Raises as ``is_combinatorial``.

    Args:
        has_drawing: Some extension draws prompts.
    """
    arguments = alwayson_arguments(body, DYNAMIC_PROMPTS)
    if not arguments["is_enabled"]:
        return []
    if not has_drawing and script_entry(body, DYNAMIC_PROMPTS)[1]:
        return ["dynamic prompts: the extension is switched off; prompts stay as they are."]
    return [
        f"dynamic prompts: «{argument.label}» is not there here; it was left out."
        for argument in DYNAMIC_PROMPTS.arguments
        if argument.name not in _ALIKE and arguments[argument.name] != argument.value
    ]
