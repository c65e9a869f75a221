"""Prompts that are drawn anew for every picture: their grammar, read into a tree.

    {red|green|blue}            one of them            {0.5::red|2::green}     by weight
    {2$$a|b|c}  {1-3$$ and $$…}  some, joined           __colours__, __hair/*__  a line of a file
    ${c={red|blue}} … ${c}       a name for a part      \\{ \\} \\| \\$          the mark itself

Braces that hold no ``|`` and no ``$$`` are ordinary text (``{prompt}``, NovelAI's ``{{word}}``),
and a ``|`` inside ``[ ]`` belongs to A1111's alternation. What does not close is text as it stands.

Source:
    The syntax of the extension sd-dynamic-prompts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from webui.errors import PromptSyntaxError

MOST_LEVELS = 40
"""How deep choices may be nested."""
USUAL_SEPARATOR = ", "

_MARKS = re.compile(r"\\.|\$\{|[{}\[\]|]", re.DOTALL)
_BOUNDS = re.compile(r"\s*(?:(\d{0,4})(-)(\d{0,4})|(\d{1,4}))\$\$(?:([^{}$]*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_VARIABLE = re.compile(r"\s*([A-Za-z_][\w-]{0,99})\s*(?:(\?)?=(!)?|(:)|(?=\}))")
_WILDCARD = re.compile(r"__(?!\s)((?:(?!__)[^{}$#|<>\n(),:\\]){1,200})(?<!\s)__")
_ESCAPED = re.compile(r"\\([{}|$])")


@dataclass(frozen=True)
class Wildcard:
    """A line of the file (or files) of that name, which may hold ``*`` and ``?``."""

    name: str


@dataclass(frozen=True)
class Choice:
    """Some of several templates, each at most once.

    Attributes:
        options: What may come; the same place in ``weights`` says how likely, >= 0.
        low, high: How many are taken; ``high`` None = as many as there are.
        separator: Between them.
    """

    options: tuple[Template, ...]
    weights: tuple[float, ...]
    low: int = 1
    high: int | None = 1
    separator: str = USUAL_SEPARATOR


@dataclass(frozen=True)
class SetVariable:
    """Give a template a name; writes nothing.

    Attributes:
        is_drawn_once: Drawn here, instead of anew wherever the name stands.
        keeps: An older meaning of the name stays.
    """

    name: str
    value: Template
    is_drawn_once: bool
    keeps: bool


@dataclass(frozen=True)
class Variable:
    """What a name stands for; ``default`` where it was given no meaning."""

    name: str
    default: Template | None


Part = str | Wildcard | Choice | SetVariable | Variable
Template = tuple[Part, ...]


def read_template(text: str) -> Template:
    """Read a prompt. Takes time in proportion to its length.

    Returns:
        Its parts in order; a prompt that is the same for every picture is one text, as typed.
    Raises:
        PromptSyntaxError: Choices are nested deeper than ``MOST_LEVELS``.
    """
    if not any(mark in text for mark in ("{", "__")):
        return (text,)
    template = _Reader(text).read(0, len(text), 0)
    return template if any(not isinstance(part, str) for part in template) else (text,)


def is_template(text: str) -> bool:
    """True when the prompt may differ from picture to picture."""
    try:
        return any(not isinstance(part, str) for part in read_template(text))
    except PromptSyntaxError:
        return True


@dataclass(frozen=True)
class _Group:
    """A pair of braces. ``bars``: places of the ``|`` that part its options."""

    end: int
    bars: list[int]


class _Reader:
    """Reads one text, whose groups were found beforehand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._groups = _find_groups(text)

    def read(self, start: int, end: int, level: int) -> Template:
        """The parts of a stretch of the text."""
        if level > MOST_LEVELS:
            raise PromptSyntaxError(
                f"Choices {{…|…}} are nested more than {MOST_LEVELS} deep.",
                "Take some braces away, or put a part into a wildcard file.",
                field="prompt",
            )
        found: list[Part] = []
        done = position = start
        while mark := _MARKS.search(self._text, position, end):
            position = mark.end()
            group = self._groups.get(position - 1)
            if group is None or mark[0] not in ("{", "${"):
                continue
            part = self._group(mark[0], position, group, level)
            if part is not None:
                found += _plain(self._text[done : mark.start()])
                found.append(part)
                done = position = group.end + 1
        return (*found, *_plain(self._text[done:end]))

    def _group(self, mark: str, start: int, group: _Group, level: int) -> Part | None:
        """The part that a pair of braces is; None when it is text."""
        if mark == "${":
            return self._variable(start, group.end, level)
        bounds = _BOUNDS.match(self._text, start, group.end)
        if bounds is None and not group.bars:
            return None
        begin = bounds.end() if bounds else start
        edges = [begin - 1, *(bar for bar in group.bars if bar >= begin), group.end]
        options: list[Template] = []
        weights: list[float] = []
        for left, right in pairwise(edges):
            weight = _WEIGHT.match(self._text, left + 1, right)
            weights.append(float(weight[1]) if weight else 1.0)
            options.append(self.read(weight.end() if weight else left + 1, right, level + 1))
        low, high, separator = _bounds(bounds)
        return Choice(tuple(options), tuple(weights), low, high, separator)

    def _variable(self, start: int, end: int, level: int) -> Part | None:
        found = _VARIABLE.match(self._text, start, end + 1)
        if found is None:
            return None
        inside = self.read(found.end(), end, level + 1)
        if "=" in found[0]:
            return SetVariable(found[1], inside, bool(found[3]), bool(found[2]))
        return Variable(found[1], inside if found[4] else None)


def _bounds(found: re.Match[str] | None) -> tuple[int, int | None, str]:
    if found is None:
        return 1, 1, USUAL_SEPARATOR
    separator = USUAL_SEPARATOR if found[5] is None else found[5]
    if found[4]:
        return int(found[4]), int(found[4]), separator
    low = int(found[1] or 1)
    if not found[3]:
        return low, None, separator
    return min(low, int(found[3])), max(low, int(found[3])), separator


def _plain(text: str) -> list[Part]:
    """Text without groups: its wildcards, and what stands between them."""
    parts: list[Part] = []
    for index, piece in enumerate(_WILDCARD.split(text)):
        if index % 2:
            parts.append(Wildcard(piece))
        elif piece:
            parts.append(_ESCAPED.sub(r"\1", piece))
    return parts


def _find_groups(text: str) -> dict[int, _Group]:
    """Every pair of braces, by the place of its opening one, in one pass.

    A ``|`` inside square brackets that close before the brace does belongs to the brackets.
    """
    found: dict[int, _Group] = {}
    open_marks: list[tuple[str, int, list[int]]] = []
    open_braces = 0
    for mark in _MARKS.finditer(text):
        sign, place = mark[0][-1], mark.end() - 1
        if mark[0][0] == "\\":
            continue
        if sign in "{[":
            open_marks.append((sign, place, []))
            open_braces += sign == "{"
        elif sign == "]" and open_marks and open_marks[-1][0] == "[":
            open_marks.pop()
        elif sign == "|" and open_marks:
            open_marks[-1][2].append(place)
        elif sign == "}" and open_braces:
            bars: list[list[int]] = []
            while True:
                opened, start, own = open_marks.pop()
                bars.append(own)
                if opened == "{":
                    break
            open_braces -= 1
            found[start] = _Group(place, [bar for some in reversed(bars) for bar in some])
    return found
