"""Prompts with weights and schedules, read by the program's own parser."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from webui.extensions.a1111.host import current

ScheduledPromptConditioning = namedtuple("ScheduledPromptConditioning", ["end_at_step", "cond"])


class SdConditioning(list[str]):
    """A list of prompts with the size that they are for."""

    def __init__(
        self,
        prompts: Any,
        is_negative_prompt: bool = False,
        width: int | None = None,
        height: int | None = None,
        copy_from: Any = None,
    ) -> None:
        super().__init__(prompts)
        other = copy_from or prompts
        self.is_negative_prompt = is_negative_prompt or getattr(other, "is_negative_prompt", False)
        self.width = width or getattr(other, "width", None)
        self.height = height or getattr(other, "height", None)


def parse_prompt_attention(text: str) -> list[list[Any]]:
    """``[text, weight]`` for each part."""
    return [[part, weight] for part, weight in current().facts["parse_attention"](text)]


def get_learned_conditioning_prompt_schedules(
    prompts: list[str],
    base_steps: int,
    hires_steps: int | None = None,
    use_old_scheduling: bool = False,
) -> list[list[list[Any]]]:
    """For each prompt ``[last step, text]`` for each of its parts."""
    steps = base_steps if hires_steps is None else hires_steps
    read = current().facts["parse_schedule"]
    return [[[end, text] for end, text in read(prompt, steps)] for prompt in prompts]
