"""What the launcher says, in English or Chinese, and the one error it raises on purpose."""

from __future__ import annotations

import locale
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from webui.launcher.chinese import CHINESE


def speaks_chinese(environ: Mapping[str, str] | None = None) -> bool:
    """True when the person's system is set to Chinese (LANGUAGE, LC_ALL, LC_MESSAGES, LANG)."""
    environ = os.environ if environ is None else environ
    for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if environ.get(name):
            return environ[name].lower().startswith("zh")
    return os.name == "nt" and _windows_language().startswith(("zh", "chinese"))


def _windows_language() -> str:
    # "" takes over the system's setting; "C" would answer nothing.
    locale.setlocale(locale.LC_CTYPE, "")
    return str(locale.getlocale(locale.LC_CTYPE)[0] or "").lower()


@lru_cache(maxsize=1)
def _is_chinese_here() -> bool:
    return speaks_chinese()


def tell(template: str, **values: Any) -> str:
    """A sentence in the person's language; ``template`` is the English one with {fields}."""
    return (CHINESE.get(template, template) if _is_chinese_here() else template).format(**values)


def say(template: str = "", **values: Any) -> None:
    """Print a sentence at once, also where output goes to a file or another program."""
    print(tell(template, **values) if template else "", flush=True)


class LaunchError(Exception):
    """Something a person must know or do before the program can run.

    Args:
        message: What was wanted and what was found; an English template of words.tell.
        hint: What to do, likewise.
        values: Fields of both.
    """

    def __init__(self, message: str, hint: str = "", **values: Any) -> None:
        self.message = tell(message, **values)
        self.hint = tell(hint, **values) if hint else ""
        super().__init__(self.message)
