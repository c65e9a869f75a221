"""Prompts that change while painting: ``[before:after:when]`` and ``[one|other]``.

The text is read once, left to right, with a stack of open brackets. A bracket pair that fits an
edit or an alternation is one; a round or square pair that fits neither stays in the text (it may
be emphasis) while the edits inside it are still followed. Where the original grammar leaves a
choice, the edit wins.

Text is kept as spans of the source and every part is moved at most once, so a megabyte of
brackets takes time in proportion to its length, and nothing here recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Union

Schedule = list[tuple[int, str]]
"""``[(end_step, text), …]``: ascending end steps, the last one is the step count of the pass."""

_TOKEN = re.compile(r"[^\\\[\]():|]+|\\.|[\[\]():|]")
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")

_Span = tuple[int, int]  # a stretch of the source, end exclusive
_Part = Union[_Span, "_Parts", "_Edit", "_Alternation"]
_Parts = list[_Part]


@dataclass
class _Edit:
    before: _Parts
    after: _Parts
    last_step: int  # the last step that still shows `before`


@dataclass
class _Alternation:
    members: list[_Parts]


@dataclass
class _Frame:
    """An open bracket: the parts read so far, cut at the colons and bars on its own level."""

    opener: str
    start: int
    segments: list[_Parts] = field(default_factory=lambda: [[]])
    separators: list[_Span] = field(default_factory=list[_Span])
    colons: int = 0
    bars: int = 0


class _UnreadableError(Exception):
    """The text fits no reading; it is then painted as it stands."""


def schedule_prompt(
    text: str, steps: int, hires_steps: int | None = None, old_timelines: bool = False
) -> Schedule:
    """List the texts a prompt goes through during one pass.

    Args:
        text: The prompt, without extra network tags.
        steps: Steps of the first pass, >= 1, counted as the sampler counts (second-order
            samplers: twice the steps asked for).
        hires_steps: Steps of the hires pass, when that is the pass; None for the first pass.
        old_timelines: Count as before A1111 1.6: a `when` below 1 is a fraction, anything else
            a step, and both passes use ``steps``.
    Returns:
        ``[(end_step, text), …]``, one entry at least; equal neighbours are kept. Text that cannot
        be read (a stray ``|``, a backslash at the end) is one entry, unchanged.
    Source:
        A1111 1.6 to 1.10.
    """
    timeline = _Timeline.of_pass(steps, hires_steps, old_timelines)
    try:
        parts = _Reading(text, timeline).parts()
    except _UnreadableError:
        return [(timeline.steps, text)]
    shared: dict[str, str] = {}  # an alternation repeats its texts; keep each once
    schedule: Schedule = []
    for step in sorted(timeline.boundaries):
        shown = "".join(_shown_at(step, parts, text))
        schedule.append((step, shared.setdefault(shown, shown)))
    return schedule


def text_at(schedule: Schedule, call_index: int) -> str:
    """The text for one call of the network.

    Args:
        schedule: From :func:`schedule_prompt`.
        call_index: Calls made before in this pass, from 0. An edit at 5 therefore keeps its first
            text for six calls, as in A1111.
    Returns:
        The first entry with ``call_index <= end_step``. Past the end (adaptive samplers) it is the
        first entry of all.
    """
    for end_step, text in schedule:
        if call_index <= end_step:
            return text
    return schedule[0][1]


@dataclass
class _Timeline:
    """How a written `when` becomes a step of this pass, and the steps where texts change."""

    steps: int
    first_step: int
    first_fraction: float
    is_old: bool
    boundaries: set[int]

    @classmethod
    def of_pass(cls, steps: int, hires_steps: int | None, old_timelines: bool) -> _Timeline:
        if hires_steps is None or old_timelines:
            return cls(steps, 0, 0.0, old_timelines, {steps})
        return cls(hires_steps, steps, 1.0, False, {hires_steps})

    def place(self, when: str) -> int:
        """The last step before the change, below 1 when it is already done at the start."""
        value = float(when)
        if self.is_old:
            value = value * self.steps if value < 1 else value
        elif "." in when:
            value = (value - self.first_fraction) * self.steps
        else:
            value -= self.first_step
        step = int(max(-1.0, min(float(self.steps), value)))  # clamped first: 1e999 is infinite
        if step >= 1:
            self.boundaries.add(step)
        return step

    def every_step(self) -> None:
        self.boundaries.update(range(1, self.steps + 1))


class _Reading:
    """One pass over the text; ``stack[0]`` is the level outside all brackets."""

    def __init__(self, text: str, timeline: _Timeline) -> None:
        self.text = text
        self.timeline = timeline
        self.stack = [_Frame("", 0)]

    def parts(self) -> _Parts:
        position = 0
        for token in _TOKEN.finditer(self.text):
            if token.start() != position:
                break
            position = token.end()
            self._take(token.group(), token.span())
        if position != len(self.text):
            raise _UnreadableError("a backslash with nothing after it")
        self._spill()
        return self.stack[0].segments[0]

    def _take(self, word: str, span: _Span) -> None:
        if word in ("(", "["):
            self.stack.append(_Frame(word, span[0]))
        elif word in (")", "]"):
            self._close(word, span)
        elif word in (":", "|"):
            self._separate(word, span)
        else:
            _append(self.stack[-1].segments[-1], span)

    def _separate(self, word: str, span: _Span) -> None:
        frame = self.stack[-1]
        if len(self.stack) == 1:
            if word == "|":
                raise _UnreadableError("a bar outside brackets")
            _append(frame.segments[-1], span)
            return
        frame.colons += word == ":"
        frame.bars += word == "|"
        frame.separators.append(span)
        frame.segments.append([])

    def _close(self, closer: str, span: _Span) -> None:
        frame = self.stack[-1]
        part = None
        if frame.opener + closer in ("()", "[]"):
            part = self._construct(frame, span)
        if part is None:
            # A bracket that is plain text can stand in no other bracket, so all open ones are too.
            self._spill()
            _append(self.stack[0].segments[0], span)
            return
        self.stack.pop()
        _append(self.stack[-1].segments[-1], part)

    def _construct(self, frame: _Frame, closer: _Span) -> _Part | None:
        """What a complete bracket pair is; None when it is plain text."""
        if frame.bars:
            return self._alternation(frame)
        if frame.colons <= (1 if frame.opener == "(" else 0):
            return _as_written(frame, closer)
        return self._edit(frame) if frame.opener == "[" else None

    def _alternation(self, frame: _Frame) -> _Alternation | None:
        if frame.opener == "(" or frame.colons:
            return None
        self.timeline.every_step()
        return _Alternation(frame.segments)

    def _edit(self, frame: _Frame) -> _Edit | None:
        if frame.colons > 2:
            return None
        *texts, last = frame.segments
        if len(last) != 1 or not isinstance(last[0], tuple):
            return None
        when = _WHEN.fullmatch(self.text, *last[0])
        if when is None:
            return None
        before = texts[0] if len(texts) == 2 else []
        return _Edit(before, texts[-1], self.timeline.place(when[1]))

    def _spill(self) -> None:
        """Turn every open bracket into plain text, keeping what was understood inside."""
        root, *opened = self.stack
        for frame in opened:
            if frame.bars:
                raise _UnreadableError("a bar outside brackets")
            for part in _with_separators(frame):
                _append(root.segments[0], part)
        self.stack = [root]


def _append(parts: _Parts, part: _Part) -> None:
    """Add a part, joining neighbouring spans (changes ``parts`` in place)."""
    last = parts[-1] if parts else None
    if isinstance(part, tuple) and isinstance(last, tuple) and last[1] == part[0]:
        parts[-1] = (last[0], part[1])
    else:
        parts.append(part)


def _with_separators(frame: _Frame) -> Iterator[_Part]:
    yield (frame.start, frame.start + 1)
    yield from frame.segments[0]
    for separator, segment in zip(frame.separators, frame.segments[1:], strict=True):
        yield separator
        yield from segment


def _as_written(frame: _Frame, closer: _Span) -> _Part:
    """A bracket pair that stays in the text: one span when nothing in it changes."""
    parts: _Parts = []
    for part in _with_separators(frame):
        _append(parts, part)
    _append(parts, closer)
    return parts[0] if len(parts) == 1 else parts


def _shown_at(step: int, parts: _Parts, text: str) -> Iterator[str]:
    """The stretches of text shown at a step, in order."""
    waiting = [iter(parts)]
    while waiting:
        part = next(waiting[-1], None)
        if part is None:
            waiting.pop()
        elif isinstance(part, tuple):
            yield text[part[0] : part[1]]
        else:
            waiting.append(iter(_choose(step, part)))


def _choose(step: int, part: _Parts | _Edit | _Alternation) -> _Parts:
    if isinstance(part, _Edit):
        return part.before if step <= part.last_step else part.after
    if isinstance(part, _Alternation):
        return part.members[(step - 1) % len(part.members)]
    return part
