"""What folders bring to the page beside their scripts: JavaScript, styles, translations, flags."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from webui.extensions.a1111.fences import Fence
from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.importing import Imports

logger = logging.getLogger(__name__)


def translations(folders: Iterable[A1111Folder]) -> dict[str, dict[str, str]]:
    """Tables of texts by language; files of one name are laid together, later ones win."""
    found: dict[str, dict[str, str]] = {}
    for folder in folders:
        for file in folder.localizations:
            try:
                table = json.loads(file.read_text(encoding="utf-8-sig"))
            except (OSError, ValueError) as err:
                logger.warning("%s cannot be read: %s", file, err)
                continue
            if isinstance(table, dict):
                texts = {str(k): str(v) for k, v in table.items() if isinstance(v, str)}
                found.setdefault(file.stem, {}).update(texts)
    return found


def page_files(folders: Iterable[A1111Folder]) -> dict[str, Path]:
    """Files that the page loads, by ``<extension>/<path in its folder>``, in their order."""
    found: dict[str, Path] = {}
    for folder in folders:
        files = [*folder.javascript, *([folder.style] if folder.style.is_file() else [])]
        for file in files:
            name = f"{folder.canonical_name}/{file.relative_to(folder.path).as_posix()}"
            found[name] = file
    return found


class _Flags(argparse.ArgumentParser):
    """A parser that never ends the program, and takes no flag twice."""

    def error(self, message: str) -> Any:
        raise ValueError(message)

    def add_argument(self, *args: Any, **kwargs: Any) -> Any:
        known = self._option_string_actions
        if any(name in known for name in args):
            return next(known[name] for name in args if name in known)
        return super().add_argument(*args, **kwargs)


def extra_flags(
    folders: Iterable[A1111Folder], words: list[str], imports: Imports, fence: Fence
) -> dict[str, Any]:
    """What flags of extensions' ``preload.py`` come to.

    Args:
        words: The command line.
    Returns:
        Values by name; those of flags that the command line does not have are usual.
    """
    parser = _Flags(add_help=False, allow_abbrev=False)
    for folder in folders:
        if not folder.preload.is_file():
            continue
        with imports.within(folder.path):
            done, module = fence.call(
                folder.canonical_name, "preload.py", imports.module, folder.preload, folder.path
            )
            preload = getattr(module, "preload", None) if done else None
            if preload is not None:
                fence.call(folder.canonical_name, "preload", preload, parser)
    try:
        return vars(parser.parse_known_args(words)[0])
    except ValueError as err:
        logger.warning("A flag of an extension cannot be read: %s", err)
        return vars(parser.parse_known_args([])[0])
