"""Weighted text: ``(more)``, ``[less]``, ``(exactly:1.3)``, ``BREAK`` and backslash escapes.

Every stretch of text carries one factor. Brackets nest, the two kinds independently of each
other, and the factors of all brackets around a stretch are multiplied from the inside out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from webui.errors import PromptSyntaxError

Piece = tuple[str, float]

BREAK: Piece = ("BREAK", -1)
"""The element that ends a chunk; only this exact pair means it."""

MORE = 1.1
"""Factor of a plain round bracket (A1111's value, part of how prompts are shared)."""
LESS = 1 / 1.1
"""Factor of a square bracket."""

# Beyond this many brackets around one stretch the factors are combined from the outside in, in one
# pass over the text. The result differs in the last digits only, and a prompt of a million
# brackets stays linear.
_EXACT_DEPTH = 64

_TOKEN = re.compile(
    r"""
      \\(?P<escaped>[()\[\]\\]?)
    | (?P<open>[(\[])
    | :\s*(?P<number>[+-]?[.\d]+)\s*\)
    | (?P<close>[)\]])
    | (?P<text>[^\\()\[\]:]+|:)
    """,
    re.VERBOSE,
)
_BREAK_WORD = re.compile(r"\bBREAK\b")


class BadWeightError(PromptSyntaxError, ValueError):
    """A weight such as ``1.2.3`` that looks like a number and is none (``position``)."""


@dataclass
class _Bracket:
    """A bracket, at a character position, and what it does to the text inside."""

    position: int
    parent: _Bracket | None
    depth: int
    factor: float = 1.0
    closed_at: int = 0
    product: float | None = None


@dataclass
class _Nest:
    """The brackets of one kind: those still open, and all that ever were, in opening order."""

    innermost: _Bracket | None = None
    all: list[_Bracket] = field(default_factory=list["_Bracket"])

    def open(self, position: int) -> None:
        depth = self.innermost.depth + 1 if self.innermost else 1
        self.innermost = _Bracket(position, self.innermost, depth)
        self.all.append(self.innermost)

    def close(self, factor: float, time: int) -> _Bracket:
        assert self.innermost is not None
        closed = self.innermost
        closed.factor, closed.closed_at = factor, time
        self.innermost = closed.parent
        return closed


def parse_attention(
    text: str, *, bad_weight: Literal["literal", "raise"] = "literal"
) -> list[Piece]:
    """Split a prompt into stretches of equal weight.

    Args:
        text: One prompt, after scheduling.
        bad_weight: What happens to ``(words:1.2.3)``, which looks like a weight and cannot be
            one. ``"raise"`` refuses it, as A1111 does. ``"literal"`` reads the brackets as plain
            text, so that ``(ubuntu:22.04.1)`` paints instead of failing; making pictures uses this.
    Returns:
        ``[(text, weight), …]``, never empty. Weights are any finite or infinite float: negative
        and zero are legal. ``("BREAK", -1)`` ends a chunk.
    Raises:
        BadWeightError: A weight with two dots, or none but dots, and ``bad_weight="raise"``.
            It is a ``PromptSyntaxError`` and a ``ValueError``.
    Source:
        A1111 1.8.0 behaviour; products accumulate in double precision from the inside out.
    """
    first = _Reading(text, frozenset(), bad_weight)
    pieces = first.pieces()
    if first.unfit:  # known only at the closing end, so the openers need a second reading
        return _Reading(text, frozenset(first.unfit), bad_weight).pieces()
    return pieces


def weigh(text: str, emphasis: str) -> list[Piece]:
    """The pieces of a text under an emphasis mode.

    Args:
        text: One prompt, after scheduling.
        emphasis: ``Original``, ``No norm``, ``Ignore`` or ``None``. ``None`` reads nothing at all:
            brackets, escapes and BREAK are ordinary characters. ``Ignore`` reads the weights and
            sets them to 1.
    """
    if emphasis == "None":
        return [(text, 1.0)]
    pieces = parse_attention(text)
    if emphasis == "Ignore":
        return [piece if piece == BREAK else (piece[0], 1.0) for piece in pieces]
    return pieces


class _Reading:
    """One pass over the text.

    ``literal`` holds the positions of brackets to read as plain text, ``unfit`` collects those
    that turn out to be: both ends of a bracket with a bad weight.
    """

    def __init__(self, text: str, literal: frozenset[int], bad_weight: str) -> None:
        self.text = text
        self.literal = literal
        self.bad_weight = bad_weight
        self.unfit: set[int] = set()
        self.texts: list[str] = []
        self.is_break: list[bool] = []
        self.owners: list[tuple[_Bracket | None, _Bracket | None]] = []
        self.round = _Nest()
        self.square = _Nest()
        self.clock = 0

    def pieces(self) -> list[Piece]:
        for token in _TOKEN.finditer(self.text):
            self._take(token)
        self._close_what_is_open()
        return _merge(list(zip(self.texts, self._weights(), strict=True)))

    def _take(self, token: re.Match[str]) -> None:
        kind, word = token.lastgroup, token.group()
        if kind == "escaped":
            self._add(token["escaped"])
        elif token.start() in self.literal:
            self._add(word)
        elif kind == "open":
            nest = self.round if word == "(" else self.square
            nest.open(token.start())
        elif kind == "number" and self.round.innermost:
            self._close_with_number(token)
        elif word == ")" and self.round.innermost:
            self._close(self.round, MORE)
        elif word == "]" and self.square.innermost:
            self._close(self.square, LESS)
        else:
            self._add_with_breaks(word)

    def _close_with_number(self, token: re.Match[str]) -> None:
        try:
            factor = float(token["number"])
        except ValueError as err:
            self._refuse(token, err)
        else:
            self._close(self.round, factor)

    def _refuse(self, token: re.Match[str], err: ValueError) -> None:
        if self.bad_weight == "raise":
            raise BadWeightError(
                f"A weight after ':' was wanted, found {token['number']!r}.",
                "Write one number such as 1.2, or put a backslash before the brackets.",
                position=token.start("number"),
                field="prompt",
            ) from err
        self.unfit |= {self._close(self.round, 1.0).position, token.start()}

    def _close(self, nest: _Nest, factor: float) -> _Bracket:
        self.clock += 1
        return nest.close(factor, self.clock)

    def _close_what_is_open(self) -> None:
        for nest, factor in ((self.round, MORE), (self.square, LESS)):
            while nest.innermost:
                self._close(nest, factor)

    def _add(self, text: str, is_break: bool = False) -> None:
        self.texts.append(text)
        self.is_break.append(is_break)
        self.owners.append((self.round.innermost, self.square.innermost))

    def _add_with_breaks(self, text: str) -> None:
        parts = _BREAK_WORD.split(text)
        last = len(parts) - 1
        for index, part in enumerate(parts):
            if index > 0:
                self._add("BREAK", is_break=True)
                part = part.lstrip()
            self._add(part.rstrip() if index < last else part)

    def _weights(self) -> list[float]:
        """The factor of every piece, in order."""
        for nest in (self.round, self.square):
            for bracket in nest.all:  # parents come before children
                above = bracket.parent.product if bracket.parent else 1.0
                assert above is not None
                bracket.product = above * bracket.factor
        known: dict[tuple[int, int], float] = {}
        weights: list[float] = []
        for owner, is_break in zip(self.owners, self.is_break, strict=True):
            key = (id(owner[0]), id(owner[1]))
            if key not in known:
                known[key] = _factor_of(*owner)
            weights.append(-known[key] if is_break else known[key])
        return weights


def _factor_of(round_: _Bracket | None, square: _Bracket | None) -> float:
    depth = (round_.depth if round_ else 0) + (square.depth if square else 0)
    if depth > _EXACT_DEPTH:
        return _product(round_) * _product(square)
    around = sorted(_chain(round_) + _chain(square), key=lambda bracket: bracket.closed_at)
    weight = 1.0
    for bracket in around:
        weight *= bracket.factor
    return weight


def _product(bracket: _Bracket | None) -> float:
    if bracket is None:
        return 1.0
    assert bracket.product is not None
    return bracket.product


def _chain(bracket: _Bracket | None) -> list[_Bracket]:
    found: list[_Bracket] = []
    while bracket:
        found.append(bracket)
        bracket = bracket.parent
    return found


def _merge(pieces: list[Piece]) -> list[Piece]:
    """Join neighbours of equal weight."""
    if not pieces:
        return [("", 1.0)]
    groups: list[tuple[list[str], float]] = []
    for text, weight in pieces:
        if groups and groups[-1][1] == weight:
            groups[-1][0].append(text)
        else:
            groups.append(([text], weight))
    return [("".join(texts), weight) for texts, weight in groups]
