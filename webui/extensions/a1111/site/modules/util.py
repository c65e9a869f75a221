"""Files and small lists."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any


def natural_sort_key(s: str, regex: Any = None) -> list[Any]:
    """Numbers in a text count as numbers."""
    from .shared import natural_sort_key as key

    return key(s, regex)


def listfiles(dirname: str) -> list[str]:
    """Files of a folder, by name, hidden ones aside."""
    names = sorted(os.listdir(dirname), key=natural_sort_key) if os.path.isdir(dirname) else []
    paths = (os.path.join(dirname, name) for name in names if not name.startswith("."))
    return [path for path in paths if os.path.isfile(path)]


def walk_files(path: str, allowed_extensions: Any = None) -> Iterator[str]:
    """Every file below a folder, with one of some endings."""
    for root, _, files in os.walk(path, followlinks=True):
        for name in sorted(files, key=natural_sort_key):
            ending = os.path.splitext(name)[1].lower()
            if allowed_extensions is None or ending in allowed_extensions:
                yield os.path.join(root, name)


def ldm_print(*args: Any, **kwargs: Any) -> None:
    print(*args, **kwargs)
