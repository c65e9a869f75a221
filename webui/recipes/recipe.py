"""A recipe of another program in A1111's words, and what could not be said in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from webui.infotext import Infotext, read_pair, write_infotext

MOST_LEFT_OUT = 40
LONGEST_VALUE = 200


@dataclass(frozen=True)
class Recipe:
    """How a picture was made.

    Attributes:
        program: Who wrote it: ``A1111``, ``ComfyUI``, ``Fooocus``, ``InvokeAI``, ``NovelAI``,
            ``Civitai``, ``Midjourney`` …
        text: The recipe as A1111 writes it.
        infotext: The same, read. A text of fewer than three pairs would be read as a prompt.
        left_out: What the infotext does not say, each as ``name: value``.
    """

    program: str
    text: str
    infotext: Infotext
    left_out: tuple[str, ...] = ()

    @property
    def has_more_than_a_prompt(self) -> bool:
        """False for a text without any setting."""
        return bool(self.infotext.params or self.infotext.negative_prompt or self.left_out)


@dataclass
class Draft:
    """A recipe that is being written."""

    prompt: str = ""
    negative_prompt: str = ""
    pairs: dict[str, Any] = field(default_factory=dict[str, Any])
    left_out: list[str] = field(default_factory=list[str])

    def put(self, key: str, value: Any) -> None:
        """A pair of the last line; what has no value is left out."""
        if is_said(value):
            self.pairs[key] = value

    def put_size(self, width: Any, height: Any) -> None:
        """Both in pixels."""
        if is_whole(width) and is_whole(height):
            self.pairs["Size"] = f"{width}x{height}"

    def add_lora(self, name: Any, weight: Any, text_weight: Any = None) -> None:
        """Named in the prompt, as A1111 does."""
        if not isinstance(name, str) or not name or name == "None":
            return
        weights = [plain_number(weight) or "1"]
        if text_weight is not None and text_weight != weight:
            weights = [plain_number(text_weight) or "1", *weights]
        self.prompt = f"{self.prompt} <lora:{stem(name)}:{':'.join(weights)}>".strip()

    def leave_out(self, name: str, value: Any) -> None:
        """Told of, if it says anything."""
        if not is_said(value):
            return
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        text = text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + " …"
        self.left_out.append(f"{name}: {text}")

    def leave_out_all(self, values: Mapping[str, Any], without: Iterable[str] = ()) -> None:
        """Everything a reader has not taken."""
        for name, value in values.items():
            if name not in without:
                self.leave_out(name, value)

    def finish(self, program: str) -> Recipe:
        """The recipe."""
        prompts = self.prompt.strip(), self.negative_prompt.strip()
        params: dict[str, str] = {}
        for key, value in self.pairs.items():
            params |= read_pair(key, str(value))
        told = list(dict.fromkeys(self.left_out))
        more = len(told) - MOST_LEFT_OUT
        told = [*told[:MOST_LEFT_OUT], f"… {more} more"] if more > 0 else told
        text = write_infotext(*prompts, self.pairs)
        return Recipe(program, text, Infotext(*prompts, params), tuple(told))


def is_said(value: Any) -> bool:
    """False for what programs write where nothing was chosen."""
    return value not in (None, "", [], {}, "None", False)


def is_whole(value: Any) -> bool:
    """A number of pixels or steps."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def plain_number(value: Any) -> str | None:
    """``1`` for 1.0, ``0.65`` for 0.6500000001; None for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return f"{round(value, 4):g}" if isinstance(value, float) else str(value)


def stem(name: str) -> str:
    """A file's name without folder and ending; both kinds of slashes."""
    name = PurePosixPath(name.replace("\\", "/")).name
    for ending in (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf"):
        name = name.removesuffix(ending)
    return name


def mapping(value: Any) -> dict[str, Any]:
    """A JSON object, or {} for anything else."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def load_json(text: Any) -> Any:
    """What a JSON text holds; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
