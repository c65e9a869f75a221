"""What the program said in English, errors, advice, warnings, in the language of a page.

The rooms and the model process speak English, and job rows keep what they said; the page
translates as it shows it. ``said_zh.json`` has the Chinese of every English template, the values
of both numbered in the order of the English one (``{0}``, ``{1}``). A sentence of no template, one
of an extension for example, stays as it is. ``tests/ui/test_said.py`` compares the table with all
that is raised.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from webui.errors import WebUIError
from webui.training.notices import SENTENCES
from webui.ui.texts import CHINESE, language_of
from webui.ui.train_texts import NOTICES_ZH

FILE = Path(__file__).with_name("said_zh.json")
LONGEST = 4000
"""Characters of a sentence that is looked up; longer ones are logs of others."""
MOST_DEEP = 3
Answer = Callable[[Request, Exception], Awaitable[Response]]
_GAP = re.compile(r"\{(\w+)\}")


@cache
def chinese_templates() -> dict[str, str]:
    """The Chinese template by the English one."""
    read: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return read | {SENTENCES[code]: chinese for code, chinese in NOTICES_ZH.items()}


def in_language(sentence: str, language: str) -> str:
    """A sentence of the program in a language; values inside it that are sentences, too."""
    if language != CHINESE or not sentence or len(sentence) > LONGEST:
        return sentence
    return _chinese(sentence, MOST_DEEP)


def error_in_language(err: WebUIError, language: str) -> str:
    """What happened and what to do."""
    return f"{in_language(err.message, language)} {in_language(err.hint, language)}".strip()


def failure_in_language(error: Mapping[str, object], language: str) -> tuple[str, str]:
    """Message and hint of an error that was kept as JSON."""
    message, hint = (str(error.get(name) or "") for name in ("message", "hint"))
    return in_language(message, language), in_language(hint, language)


def error_answer(before: Answer) -> Answer:
    """What answers refused requests: those of the page hear the error that a refusal comes from in
    their language, all others are answered as before.
    """

    async def answer(request: Request, err: Exception) -> Response:
        cause = err.__cause__
        is_page = "/ui/" in request.url.path
        if isinstance(err, HTTPException) and isinstance(cause, WebUIError) and is_page:
            told = error_in_language(cause, language_of(request))
            err = HTTPException(err.status_code, told, err.headers)
        return await before(request, err)

    return answer


@lru_cache(maxsize=512)
def _chinese(sentence: str, depth: int) -> str:
    known = chinese_templates().get(sentence)
    if known is not None:
        return known
    for head, tail, pattern, chinese in _patterns():
        if not (sentence.startswith(head) and sentence.endswith(tail)):
            continue
        if found := pattern.fullmatch(sentence):
            return _filled(chinese, found, depth)
    return sentence


def _filled(chinese: str, found: re.Match[str], depth: int) -> str:
    def value(gap: re.Match[str]) -> str:
        text = found[f"v{gap[1]}"]
        return _chinese(text, depth - 1) if depth else text

    return _GAP.sub(value, chinese)


@cache
def _patterns() -> tuple[tuple[str, str, re.Pattern[str], str], ...]:
    """Beginning, end, pattern and Chinese of each template with values, the most exact first."""
    found: list[tuple[int, tuple[str, str, re.Pattern[str], str]]] = []
    for english, chinese in chinese_templates().items():
        parts = _GAP.split(english)
        if len(parts) == 1:
            continue
        gaps = [f"(?P<v{part}>.*?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
        pattern = re.compile("".join(gaps), re.DOTALL)
        found.append((sum(map(len, parts[::2])), (parts[0], parts[-1], pattern, chinese)))
    return tuple(entry for _, entry in sorted(found, key=lambda pair: -pair[0]))
