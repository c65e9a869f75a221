"""From a template to the text of one picture: drawn by its seed, or the next of all there are.

The numbers come from a generator of our own, so that a seed gives the same text for ever,
whichever Python runs it. As long as the files of wildcards stay as they are; the text that came
out is therefore kept in the request and in the recipe.

Source:
    SplitMix64: Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, permutations

from webui.errors import PromptSyntaxError
from webui.hookspecs import MANY
from webui.params import MAX_PROMPT_CHARACTERS

from .templates import (
    Choice,
    Part,
    Template,
    Variable,
    Wildcard,
    read_template,
)

MOST_DRAWS = 20_000
MOST_LEVELS = 60
_MASK = 2**64 - 1
_IN_A_ROW = 8


@dataclass(frozen=True)
class Values:
    """What a wildcard may become: texts that may be templates, and how likely each is (>= 0)."""

    texts: Sequence[str]
    weights: Sequence[float]

    @cached_property
    def sums(self) -> list[float]:
        """Weights added up; all alike when none is above 0."""
        # accumulate adds one by one; sum() rounds otherwise from Python 3.12 on
        return list(accumulate(self.weights if any(self.weights) else [1.0] * len(self.texts)))


FindValues = Callable[[str], Values | None]
"""What stands in the files of that name; None when there is nothing."""
Meanings = Mapping[str, Template]
"""What variables stand for."""
Above = tuple[str, ...]
"""What a part stands inside of, the outermost first: names of wildcards and ``$variables``, and an
empty text for a choice."""


class Numbers:
    """An endless row of numbers that belongs to a seed.

    Args:
        seed: Of the picture.
        side: 0 for the prompt, 1 for the negative prompt: rows of their own.
    """

    def __init__(self, seed: int, side: int = 0) -> None:
        self._state = (seed * 2 + side) & _MASK
        self._state = self._next()

    def _next(self) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def share(self) -> float:
        """A number in [0, 1), a multiple of 2**-53."""
        return (self._next() >> 11) * 2.0**-53

    def pick(self, sums: Sequence[float]) -> int:
        """A place, by weights that were added up (the last sum above 0)."""
        place = bisect_right(sums, self.share() * sums[-1])
        return min(place, len(sums) - 1)

    def pick_several(self, weights: Sequence[float], count: int) -> list[int]:
        """That many different places, one after the other by weight; fewer when fewer have one."""
        places = [i for i, weight in enumerate(weights) if weight > 0] or list(range(len(weights)))
        count = min(count, len(places))
        taken: dict[int, None] = {}
        sums: list[float] = []
        misses = _IN_A_ROW
        while len(taken) < count:
            if misses == _IN_A_ROW:  # most of what is left in the sums was taken
                places = [place for place in places if place not in taken]
                sums, misses = list(accumulate(weights[i] or 1.0 for i in places)), 0
            place = places[self.pick(sums)]
            misses = misses + 1 if place in taken else 0
            taken[place] = None
        return list(taken)


@dataclass
class Drawer:
    """Draws texts.

    Args:
        find: Where wildcards are looked up.

    Attributes:
        missing: Names of wildcards that were met and hold nothing; they stay as typed.
        draws: How often something was drawn so far.
    """

    find: FindValues
    missing: dict[str, None] = field(default_factory=dict[str, None])
    draws: int = 0

    def draw(self, text: str, seed: int, side: int = 0) -> str:
        """The text of the picture with that seed.

        Raises:
            PromptSyntaxError: A wildcard that holds itself, or a text without an end.
        """
        drawn = _Draw(self, Numbers(seed, side))
        found = drawn.text(read_template(text), {}, ())
        self.draws += drawn.draws
        return found

    def every(self, text: str) -> Iterator[str]:
        """All texts there are, one after the other; the last choice changes fastest.

        Raises:
            PromptSyntaxError: As for ``draw``.
        """
        for found, _ in _Every(self).texts(read_template(text), {}, ()):
            yield found

    def count(self, text: str) -> int:
        """How many texts there are, at most ``MANY``.

        Raises:
            PromptSyntaxError: As for ``draw``.
        """
        return min(MANY, _Count(self).of(read_template(text), {}, ()))

    def values(self, name: str) -> Values | None:
        """What a wildcard holds; one that holds nothing is noted as missing."""
        found = self.find(name)
        if found is None or not found.texts:
            self.missing[name] = None
            return None
        return found

    def options(self, choice: Choice) -> tuple[Sequence[Template | str], Sequence[float], str]:
        """What a choice takes from. ``{2$$__name__}`` takes from the lines of the wildcard, whose
        name is told for the search for circles."""
        only = choice.options[0]
        if len(choice.options) == 1 and len(only) == 1 and isinstance(only[0], Wildcard):
            values = self.values(only[0].name)
            if values is not None:
                return values.texts, values.weights, only[0].name
        return choice.options, choice.weights, ""


def _read(value: Template | str) -> Template:
    return read_template(value) if isinstance(value, str) else value


def _deeper(above: Above, name: str = "") -> Above:
    """What one is inside of, with one more.

    Raises:
        PromptSyntaxError: It is inside itself, or too deep inside.
    """
    if name and name in above:
        names = [each for each in (*above[above.index(name) :], name) if each]
        circle = " → ".join(n if n.startswith("$") else f"__{n}__" for n in names)
        raise PromptSyntaxError(
            f"A wildcard leads back to itself: {circle}.",
            "Take one of these out of the file of the one before it.",
            field="prompt",
        )
    if len(above) >= MOST_LEVELS:
        raise PromptSyntaxError(
            f"Wildcards and choices are nested more than {MOST_LEVELS} deep.",
            "Let fewer of them name others.",
            field="prompt",
        )
    return (*above, name)


def _bounds(choice: Choice, count: int) -> tuple[int, int]:
    """How few and how many of that many options are taken."""
    high = count if choice.high is None else min(choice.high, count)
    return min(choice.low, high), high


class _Draw:
    """One text on its way."""

    def __init__(self, drawer: Drawer, numbers: Numbers) -> None:
        self._drawer = drawer
        self._numbers = numbers
        self.draws = 0

    def text(self, template: Template, meanings: dict[str, Template], above: Above) -> str:
        found = "".join([self._part(part, meanings, above) for part in template])
        if len(found) > MAX_PROMPT_CHARACTERS:
            raise _endless()
        return found

    def _part(self, part: Part, meanings: dict[str, Template], above: Above) -> str:
        if isinstance(part, str):
            return part
        self.draws += 1
        if self.draws > MOST_DRAWS:
            raise _endless()
        if isinstance(part, Wildcard):
            return self._wildcard(part, meanings, above)
        if isinstance(part, Choice):
            return self._choice(part, meanings, above)
        if isinstance(part, Variable):
            return _meaning(part, meanings, above, lambda t, a: self.text(t, meanings, a))
        if not (part.keeps and part.name in meanings):
            if part.is_drawn_once:
                meanings[part.name] = (self.text(part.value, meanings, _deeper(above)),)
            else:
                meanings[part.name] = part.value
        return ""

    def _wildcard(self, part: Wildcard, meanings: dict[str, Template], above: Above) -> str:
        values = self._drawer.values(part.name)
        if values is None:
            return f"__{part.name}__"
        inside = _deeper(above, part.name)
        line = values.texts[self._numbers.pick(values.sums)]
        return self.text(read_template(line), meanings, inside)

    def _choice(self, choice: Choice, meanings: dict[str, Template], above: Above) -> str:
        options, weights, name = self._drawer.options(choice)
        low, high = _bounds(choice, len(options))
        count = low + int(self._numbers.share() * (high - low + 1)) if low < high else low
        inside = _deeper(above, name)
        chosen = self._numbers.pick_several(weights, count)
        texts = [self.text(_read(options[place]), meanings, inside) for place in chosen]
        return choice.separator.join(texts)


def _meaning(
    part: Variable,
    meanings: Meanings,
    above: Above,
    read: Callable[[Template, Above], str],
) -> str:
    """The text of a variable; as typed where it means nothing."""
    value = meanings.get(part.name, part.default)
    if value is None:
        return f"${{{part.name}}}"
    return read(_read(value), _deeper(above, f"${part.name}"))


def _endless() -> PromptSyntaxError:
    return PromptSyntaxError(
        f"The prompt that came out of the wildcards is longer than {MAX_PROMPT_CHARACTERS:,} "
        "characters.",
        "Let fewer of them name others, or take fewer of them at once.",
        field="prompt",
    )


class _Every:
    """All texts of templates, without holding them all."""

    def __init__(self, drawer: Drawer) -> None:
        self._drawer = drawer

    def texts(
        self, template: Template, meanings: Meanings, above: Above
    ) -> Iterator[tuple[str, Meanings]]:
        """Each text, and what variables mean behind it."""
        if not template:
            yield "", meanings
            return
        running = [self._part(template[0], meanings, above)]
        before: list[str] = []
        while running:
            found = next(running[-1], None)
            if found is None:
                running.pop()
                if before:
                    before.pop()
            elif len(running) == len(template):
                yield "".join(before) + found[0], found[1]
            else:
                before.append(found[0])
                running.append(self._part(template[len(running)], found[1], above))

    def _part(self, part: Part, meanings: Meanings, above: Above) -> Iterator[tuple[str, Meanings]]:
        if isinstance(part, str):
            yield part, meanings
        elif isinstance(part, Wildcard):
            values = self._drawer.values(part.name)
            if values is None:
                yield f"__{part.name}__", meanings
                return
            inside = _deeper(above, part.name)
            for line in values.texts:
                yield from self.texts(read_template(line), meanings, inside)
        elif isinstance(part, Choice):
            yield from self._choice(part, meanings, above)
        elif isinstance(part, Variable):
            value = meanings.get(part.name, part.default)
            if value is None:
                yield f"${{{part.name}}}", meanings
                return
            yield from self.texts(_read(value), meanings, _deeper(above, f"${part.name}"))
        elif part.keeps and part.name in meanings:
            yield "", meanings
        elif part.is_drawn_once:
            for text, _ in self.texts(part.value, meanings, _deeper(above)):
                yield "", {**meanings, part.name: (text,)}
        else:
            yield "", {**meanings, part.name: part.value}

    def _choice(
        self, choice: Choice, meanings: Meanings, above: Above
    ) -> Iterator[tuple[str, Meanings]]:
        options, _, name = self._drawer.options(choice)
        inside = _deeper(above, name)
        low, high = _bounds(choice, len(options))
        for count in range(low, high + 1):
            for places in permutations(range(len(options)), count):
                chosen: list[Part] = []
                for place in places:
                    chosen += [choice.separator] if chosen else []
                    chosen += _read(options[place]) or ("",)
                yield from self.texts(tuple(chosen), meanings, inside)


class _Count:
    """How many texts there are, without making them; each wildcard is looked through once."""

    def __init__(self, drawer: Drawer) -> None:
        self._drawer = drawer
        self._known: dict[str, int] = {}

    def of(self, template: Template, meanings: dict[str, int], above: Above) -> int:
        count = 1
        for part in template:
            count = min(MANY, count * self._part(part, meanings, above))
        return count

    def _part(self, part: Part, meanings: dict[str, int], above: Above) -> int:
        if isinstance(part, str):
            return 1
        if isinstance(part, Wildcard):
            return self._wildcard(part.name, meanings, above)
        if isinstance(part, Choice):
            return self._choice(part, meanings, above)
        if isinstance(part, Variable):
            if part.name in meanings:
                return meanings[part.name]
            return self.of(part.default, meanings, _deeper(above)) if part.default else 1
        if part.keeps and part.name in meanings:
            return 1
        count = self.of(part.value, meanings, _deeper(above))
        meanings[part.name] = 1 if part.is_drawn_once else count
        return count if part.is_drawn_once else 1

    def _wildcard(self, name: str, meanings: dict[str, int], above: Above) -> int:
        inside = _deeper(above, name)
        if name not in self._known:
            values = self._drawer.values(name)
            counts = (
                [self._value(text, meanings, inside) for text in values.texts] if values else [1]
            )
            self._known[name] = min(MANY, sum(counts))
        return self._known[name]

    def _value(self, value: Template | str, meanings: dict[str, int], above: Above) -> int:
        if isinstance(value, str) and not ("{" in value or "__" in value):
            return 1
        return self.of(_read(value), dict(meanings), above)

    def _choice(self, choice: Choice, meanings: dict[str, int], above: Above) -> int:
        options, _, name = self._drawer.options(choice)
        inside = _deeper(above, name)
        counts = [self._value(option, meanings, inside) for option in options]
        low, high = _bounds(choice, len(options))
        if high == 1:
            return min(MANY, sum(counts) + (low == 0))
        if max(counts) == 1:
            return min(MANY, sum(_orders(len(options), taken) for taken in range(low, high + 1)))
        if len(options) * high > 100_000:
            return MANY
        return min(MANY, _ordered_picks(counts, low, high))


def _orders(count: int, taken: int) -> int:
    """Ways to take that many of so many, in order; ``MANY`` or more is not told apart."""
    ways = 1
    for left in range(count, count - taken, -1):
        ways *= left
        if ways >= MANY:
            return MANY
    return ways


def _ordered_picks(counts: Sequence[int], low: int, high: int) -> int:
    """Ways to take ``low`` to ``high`` options in order, each of which comes in several texts."""
    ways = [1] + [0] * high  # unordered, by how many were taken
    for count in counts:
        for taken in range(high, 0, -1):
            ways[taken] += ways[taken - 1] * count
    return sum(math.factorial(taken) * ways[taken] for taken in range(low, high + 1))
