"""Which files of a repository make up its diffusers folder; no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.basic_support import variant_of
from webui.checkpoints.folders import PIPELINES
from webui.checkpoints.scan import DIFFUSERS_INDEX

NOT_NEEDED: Final = ("safety_checker", "feature_extractor", "image_encoder")
"""Parts of our own families' folders that nothing here works with."""
_TEXTS: Final = (".json", ".txt", ".model", ".jinja")
_SAFE: Final = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class Listed:
    """A file that a hub lists.

    Attributes:
        size_bytes, sha256: None where the hub does not tell.
    """

    path: str
    size_bytes: int | None = None
    sha256: str | None = None


def folder_files(index: Any, files: Sequence[Listed]) -> list[Listed]:
    """What must be fetched, texts first: of each part its texts and one variant of its weights,
    the plain one if there is one, as safetensors if there are such.

    Args:
        index: Content of ``model_index.json``.
    Returns:
        [] when it is no folder of a model, or a part of it is not there.
    """
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        return []
    is_own = PIPELINES.fullmatch(index["_class_name"])
    skipped = NOT_NEEDED if is_own else ()
    names = [name for name, value in index.items() if _is_part(name, value)]
    texts = [file for file in files if file.path == DIFFUSERS_INDEX]
    weights: list[Listed] = []
    for name in names:
        if name in skipped:
            continue
        inside = [f for f in files if f.path.startswith(f"{name}/") and _SAFE.fullmatch(f.path)]
        if not inside:
            return []
        texts += [file for file in inside if file.path.lower().endswith(_TEXTS)]
        weights += _one_variant(inside)
    return [*texts, *weights] if texts and weights else []


def _is_part(name: str, value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and None not in value and not name.startswith("_")


def _one_variant(files: Iterable[Listed]) -> list[Listed]:
    for ending in (".safetensors", ".bin"):
        groups: dict[str, list[Listed]] = {}
        for file in files:
            if file.path.lower().endswith(ending):
                groups.setdefault(variant_of(Path(file.path)), []).append(file)
        if groups:
            return groups[min(groups)]
    return []
