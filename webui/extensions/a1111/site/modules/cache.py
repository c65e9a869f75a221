"""Small facts that extensions want to find again, in one JSON file for each subject."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from webui.extensions.a1111.host import current

_lock = threading.Lock()
_known: dict[str, dict[str, Any]] = {}


def _file(subject: str) -> Any:
    name = "".join(c if c.isalnum() or c in "-_" else "_" for c in subject)
    return current().places.data / "cache" / "a1111" / f"{name}.json"


def cache(subsection: str) -> dict[str, Any]:
    """What is known of a subject; ``dump_cache`` keeps changes."""
    with _lock:
        if subsection not in _known:
            try:
                _known[subsection] = json.loads(_file(subsection).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                _known[subsection] = {}
        return _known[subsection]


def dump_cache() -> None:
    """Write everything down."""
    with _lock:
        for subject, facts in _known.items():
            file = _file(subject)
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(facts, default=str), encoding="utf-8")
            os.replace(part, file)


def cached_data_for_file(subsection: str, title: str, filename: str, func: Any) -> Any:
    """What a function says of a file; asked again when the file has changed."""
    known = cache(subsection)
    changed = os.path.getmtime(filename)
    entry = known.get(title)
    if entry and entry["mtime"] >= changed:
        return entry["value"]
    value = func()
    if value is None:
        return None
    known[title] = {"mtime": changed, "value": value}
    dump_cache()
    return value
