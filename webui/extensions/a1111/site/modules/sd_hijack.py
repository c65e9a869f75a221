"""``model_hijack``, of which only the lists are here: nothing is hijacked."""

from __future__ import annotations

from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import PatchRefused, guard


class StableDiffusionModelHijack:
    """What scripts ask of A1111's text encoder."""

    comments: list[str] = []
    extra_generation_params: dict[str, Any] = {}
    optimization_method = None

    def get_prompt_lengths(self, text: str) -> tuple[int, int]:
        """Tokens of a prompt and the capacity of its chunks."""
        count = current().facts.get("count_tokens")
        return count(text) if count else (len(text.split()), 75)

    def __getattr__(self, name: str) -> Any:
        raise PatchRefused(f"It needs model_hijack.{name}, the inside of A1111's models")


model_hijack = StableDiffusionModelHijack()

guard(__name__)
