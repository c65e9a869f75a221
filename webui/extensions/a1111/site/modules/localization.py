"""Translations that extensions bring: flat tables of texts, by language."""

from __future__ import annotations

import json
from typing import Any

from webui.extensions.a1111.pieces import translations


def list_localizations(dirname: str | None = None) -> None:
    """The program looks by itself."""


def localization_js(current_localization_name: str) -> str:
    """The table of a language, as the page's script has it."""
    from webui.extensions.a1111.host import current

    folders = [loaded.folder for loaded in current().folders.values()]
    table = translations(folders).get(current_localization_name, {})
    return f"window.localization = {json.dumps(table, ensure_ascii=False)}"


def __getattr__(name: str) -> Any:
    if name == "localizations":
        from webui.extensions.a1111.host import current

        found: dict[str, list[str]] = {}
        for loaded in current().folders.values():
            for file in loaded.folder.localizations:
                found.setdefault(file.stem, []).append(str(file))
        return found
    raise AttributeError(f"module 'modules.localization' has no attribute {name!r}")
