"""Element ids of the painting tabs: the same parts, each tab under its own ids."""

from __future__ import annotations

_PREFIXES = {"txt2img": "dq", "img2img": "dq-i2i", "restore": "dq-rst", "png_info": "dq-png",
             "train": "dq-trn"}  # fmt: skip


def elem_id(tab: str, name: str) -> str:
    """The id of a part in a tab; page.js and style.css know the same prefixes.

    Args:
        tab: ``txt2img``, ``img2img``, ``restore``, ``png_info`` or ``train``.
        name: The part, in kebab-case.
    Raises:
        KeyError: No painting tab has that name.
    """
    return f"{_PREFIXES[tab]}-{name}"
