"""Block weights: a LoRA that acts more in some levels of the U-Net than in others.

Source: the words and lists of the extension "LoRA Block Weight" for A1111 (``lbw=…``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from webui.errors import PromptSyntaxError
from webui.networks.lora.names import original_unet_names

BASE: Final = "BASE"
"""The text encoder."""


def _numbered(word: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{word}{number:02d}" for number in numbers)


_MIDDLE: Final = ("M00",)
LISTS: Final[Mapping[int, tuple[str, ...]]] = {
    17: (
        BASE, *_numbered("IN", (1, 2, 4, 5, 7, 8)), *_MIDDLE, *_numbered("OUT", range(3, 12)),
    ),
    26: (BASE, *_numbered("IN", range(12)), *_MIDDLE, *_numbered("OUT", range(12))),
    12: (BASE, *_numbered("IN", (4, 5, 7, 8)), *_MIDDLE, *_numbered("OUT", range(6))),
    20: (BASE, *_numbered("IN", range(9)), *_MIDDLE, *_numbered("OUT", range(9))),
}  # fmt: skip
"""How many numbers are given → the blocks they are for: SD 1.x with attention only, all of SD
1.x, the same two of SDXL."""

PRESETS: Final[Mapping[str, str]] = {
    "NONE": "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "ALL": "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1",
    "INS": "1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    "IND": "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "INALL": "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0",
    "MIDD": "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0",
    "OUTD": "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0",
    "OUTS": "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1",
    "OUTALL": "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1",
}


def read_blocks(text: str) -> dict[str, float]:
    """Read what stands behind ``lbw=``: a preset's name, or 12, 17, 20 or 26 numbers.

    Returns:
        Block (``BASE``, ``IN04``, ``M00`` …) → factor; blocks that have no place in the list
        are not there.
    Raises:
        PromptSyntaxError: No such preset, or another count, or something that is no number.
    """
    parts = PRESETS.get(text.strip(), text).split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError as err:
        raise _wrong(text) from err
    if len(numbers) not in LISTS or not all(abs(number) < 1e6 for number in numbers):
        raise _wrong(text)
    return dict(zip(LISTS[len(numbers)], numbers, strict=True))


def _wrong(text: str) -> PromptSyntaxError:
    return PromptSyntaxError(
        f"Block weights were wanted behind lbw=, found {text!r}.",
        f"Write {', '.join(PRESETS)}, or {', '.join(map(str, sorted(LISTS)))} numbers.",
        field="prompt",
    )


def block_of_layers(unet_layers: Iterable[str]) -> dict[str, str]:
    """The block of each U-Net layer that is in one: dotted path → ``IN04``, ``M00``, ``OUT11``."""
    found = {}
    for path, name in original_unet_names(unet_layers).items():
        root, _, rest = name.partition(".")
        number = rest.partition(".")[0]
        if root == "middle_block":
            found[path] = "M00"
        elif root in ("input_blocks", "output_blocks"):
            word = "IN" if root == "input_blocks" else "OUT"
            found[path] = f"{word}{int(number):02d}"
    return found
