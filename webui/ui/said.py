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
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from webui.errors import WebUIError
from webui.training.notices import SENTENCES
from webui.ui.extension_texts import PROBLEMS_ZH
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
    return read | PROBLEMS_ZH | {SENTENCES[code]: text for code, text in NOTICES_ZH.items()}


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
    found = _template_of(sentence)
    if found is None:
        return _of_a_name(sentence, depth)
    template, values = found
    told = {n: _value(text, depth) for n, text in values.items()}
    return _GAP.sub(lambda gap: told[gap[1]], template.chinese)


def _template_of(sentence: str) -> tuple[_Template, dict[str, str]] | None:
    """The most exact template of a sentence, and its values; one whose first value swallows whole
    sentences only where there is no other."""
    last = None
    for template in _templates():
        values = template.values_in(sentence)
        if values is None:
            continue
        if template.texts[0] or ". " not in values[template.names[0]]:
            return template, values
        last = last or (template, values)
    return last


def _of_a_name(sentence: str, depth: int) -> str:
    """What is said of a name that stands before it, as of one file among several: ``a.png: …``."""
    name, colon, rest = sentence.partition(": ")
    told = _value(rest, depth) if colon else rest
    return sentence if told == rest else f"{name}：{told}"


def _value(text: str, depth: int) -> str:
    """A value inside a sentence: a sentence itself or several, a list of parts that are known, or
    a name."""
    own = text.strip()
    if not depth or not own:
        return text
    parts = [chinese_templates().get(part) for part in own.split(", ")]
    if all(parts):
        return "、".join(filter(None, parts))
    sentences = [f"{one.rstrip('.')}." for one in own.split(". ")]
    each = [_chinese(one, depth - 1) for one in sentences]
    if len(each) > 1 and not set(each) & set(sentences):
        return "".join(each)
    told = _chinese(own, depth - 1)
    if told == own:  # a sentence whose full stop the one around it has taken
        told = _chinese(f"{own}.", depth - 1).removesuffix("。")
    return text if told == f"{own}." else told


@dataclass(frozen=True)
class _Template:
    """An English template with values, cut at its gaps.

    Attributes:
        texts: What stands before, between and behind the values.
        names: Of the values, one fewer.
        chinese: The Chinese template.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...]
    chinese: str

    def values_in(self, sentence: str) -> dict[str, str] | None:
        """The values of a sentence of this template by name, each as short as can be; None for
        other sentences. Time grows in proportion to the sentence."""
        head, *between, tail = self.texts
        if not (sentence.startswith(head) and sentence.endswith(tail)):
            return None
        place, end = len(head), len(sentence) - len(tail)
        found: list[str] = []
        for text in between:
            at = sentence.find(text, place, max(place, end))
            if at < 0:
                return None
            found.append(sentence[place:at])
            place = at + len(text)
        if place > end:
            return None
        return dict(zip(self.names, [*found, sentence[place:end]], strict=True))


@cache
def _templates() -> tuple[_Template, ...]:
    """Those with values, the most exact first."""
    found: list[_Template] = []
    for english, chinese in chinese_templates().items():
        parts = _GAP.split(english)
        if len(parts) > 1 and any(parts[::2]):  # one of a value alone says nothing itself
            found.append(_Template(tuple(parts[::2]), tuple(parts[1::2]), chinese))
    return tuple(sorted(found, key=lambda one: -sum(map(len, one.texts))))
