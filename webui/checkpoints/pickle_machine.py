"""Follow a pickle's instructions without doing what they say; no torch, nothing imported or called.

A pickle is a program for a small stack machine that may name any function and call it. Here a
name stays a name and a call becomes a note of what would have been called with what. Only what
describes tensors is made real (``Trusted``). Every step is counted, every length is checked
against what is there, and nothing is followed recursively, so a hostile file costs as little as
an honest one.

Source: opcodes as in Python's ``pickletools``.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

MAX_STEPS: Final = 2_000_000
"""A full checkpoint with its optimiser takes about a hundred thousand. What an instruction copies
counts too: few of them can copy one large thing again and again."""
CHARACTERS_PER_STEP: Final = 32
"""So much copied text counts as one step."""
MAX_INTEGER_BYTES: Final = 64
MAX_KEY_NUMBER: Final = 1 << 31
MAX_KEY_LENGTH: Final = 10_000
"""Long texts that are equal are compared from end to end at every look-up."""
_LINE_BYTES: Final = 1 << 16
_OLD_MODULES: Final = {"__builtin__": "builtins", "copy_reg": "copyreg", "cPickle": "pickle"}
"""Python 2's names, which every unpickler turns into today's."""


class PickleError(ValueError):
    """The instructions are damaged, or ask for more than any weights file does."""


class Bytes(Protocol):
    """What holds the instructions: bytes or a map of the file."""

    def __getitem__(self, place: slice, /) -> bytes: ...
    def __len__(self) -> int: ...
    def find(self, sub: bytes, start: int, end: int, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Name:
    """A class or function the pickle named; ``full`` has its module in front."""

    full: str


@dataclass(slots=True, eq=False)
class Leftover:
    """Stands in for an object: what was called to make it, with what, and its state."""

    made_by: Any
    arguments: Any = ()
    state: Any = None
    items: list[Any] = field(default_factory=list[Any])


class Trusted(Protocol):
    """What the machine may make real."""

    def named(self, full: str) -> Any:
        """What stands for a name: ``Name`` itself, or a value of the reader's own.

        Raises:
            PickleError: Never; names that may not be used are remembered by the reader.
        """
        ...

    def called(self, function: Name, arguments: tuple[Any, ...]) -> Any:
        """The result of a call, ``Leftover`` where it means nothing here."""
        ...

    def stored(self, key: Any) -> Any:
        """What lies outside the pickle under this key (a storage)."""
        ...


def follow(data: Bytes, start: int, end: int, trusted: Trusted) -> tuple[Any, int]:
    """Follow one pickle.

    Args:
        data: It begins at ``start`` and ends before ``end`` at the latest.
    Returns:
        The object it describes, and where it ended.
    Raises:
        PickleError: Damaged, or longer than any weights file's.
    """
    machine = _Machine(data, start, end, trusted)
    return machine.run(), machine.at


class _Machine:
    def __init__(self, data: Bytes, start: int, end: int, trusted: Trusted) -> None:
        self._data, self.at, self._end, self._trusted = data, start, end, trusted
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}
        self._spent = 0

    def run(self) -> Any:
        while True:
            code = self._take(1)
            if code == b".":
                return self._pop()
            step = _STEPS.get(code)
            if step is None:
                raise PickleError(f"it has the unknown instruction {code!r}")
            step(self)
            self._spend(1)

    def _spend(self, steps: int) -> None:
        """Count what an instruction costs; called before anything is copied."""
        self._spent += steps
        if self._spent > MAX_STEPS:
            raise PickleError(f"it has more than {MAX_STEPS} instructions, with what they copy")

    # Reading

    def _take(self, count: int) -> bytes:
        begin, self.at = self.at, self.at + count
        if self.at > self._end:
            raise PickleError("it ends too early")
        return self._data[begin : self.at]

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self.at, min(self._end, self.at + _LINE_BYTES))
        if end < 0:
            raise PickleError("a line in it has no end")
        line = self._data[self.at : end]
        self.at = end + 1
        return line

    def _number(self, bytes_: int) -> int:
        return int.from_bytes(self._take(bytes_), "little")

    # The stack

    def _pop(self) -> Any:
        if not self._stack:
            raise PickleError("it takes more than it has put there")
        return self._stack.pop()

    def _last(self) -> Any:
        if not self._stack:
            raise PickleError("it uses what it has not put there")
        return self._stack[-1]

    def _since_mark(self) -> list[Any]:
        if not self._below:
            raise PickleError("it uses a mark it has not set")
        found, self._stack = self._stack, self._below.pop()
        return found

    def push(self, value: Any) -> None:
        self._stack.append(value)

    # Steps

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._since_mark()

    def pop_mark(self) -> None:
        self._since_mark()

    def line_number(self) -> None:
        line = self._line()
        fixed = {b"00": False, b"01": True}
        if line in fixed:
            return self.push(fixed[line])
        if len(line) > 2 * MAX_INTEGER_BYTES:
            raise PickleError("it has a number too large for any use")
        self.push(int(line.rstrip(b"L")))

    def long_number(self, size_bytes: int) -> None:
        count = self._number(size_bytes)
        if count > MAX_INTEGER_BYTES:
            raise PickleError("it has a number too large for any use")
        self.push(int.from_bytes(self._take(count), "little", signed=True))

    def packed_number(self, form: str) -> None:
        self.push(struct.unpack(form, self._take(struct.calcsize(form)))[0])

    def text(self, size_bytes: int) -> None:
        raw = self._take(self._number(size_bytes))
        self.push(raw.decode("utf-8", "backslashreplace"))

    def raw(self, size_bytes: int) -> None:
        self.push(self._take(self._number(size_bytes)))

    def quoted(self) -> None:
        line = self._line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise PickleError("a text in it has no quotes")
        self.push(codecs.escape_decode(line[1:-1])[0].decode("utf-8", "backslashreplace"))

    def get(self, key: int) -> None:
        if key not in self._memo:
            raise PickleError("it fetches what it has not kept")
        self.push(self._memo[key])

    def put(self, key: int) -> None:
        self._memo[key] = self._last()

    def append(self) -> None:
        value = self._pop()
        self._extend(self._last(), [value])

    def appends(self) -> None:
        values = self._since_mark()
        self._extend(self._last(), values)

    def _extend(self, target: Any, values: list[Any]) -> None:
        if isinstance(target, Leftover):
            target.items.extend(values)
        elif isinstance(target, list):
            target.extend(values)
        else:
            raise PickleError("it adds to something that is no list")

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._set(self._last(), [key, value])

    def set_items(self) -> None:
        values = self._since_mark()
        self._set(self._last(), values)

    def _set(self, target: Any, pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise PickleError("a dictionary in it has a key without a value")
        if isinstance(target, dict):
            for key, value in zip(pairs[::2], pairs[1::2], strict=True):
                target[plain_key(key)] = value
        elif isinstance(target, Leftover):
            target.items.extend(pairs)
        else:
            raise PickleError("it adds to something that is no dictionary")

    def tuple_of(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self.push(tuple(reversed(values)))

    def dictionary(self) -> None:
        values = self._since_mark()
        made: dict[Any, Any] = {}
        self._set(made, values)
        self.push(made)

    def name(self) -> None:
        module, name = self._line(), self._line()
        self._named(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))

    def name_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        if isinstance(name, str) and isinstance(module, str):
            self._named(module, name)
        else:
            self._named("a module", "whose name is only worked out while it is read")

    def _named(self, module: str, name: str) -> None:
        self._spend((len(module) + len(name)) // CHARACTERS_PER_STEP)
        self.push(self._trusted.named(f"{_OLD_MODULES.get(module, module)}.{name}"))

    def registered(self, size_bytes: int) -> None:
        self._named("copyreg", f"extension number {self._number(size_bytes)}")

    def call(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def call_with_names(self) -> None:
        names, arguments, function = self._pop(), self._pop(), self._pop()
        if isinstance(names, dict) and names and isinstance(arguments, tuple):
            self._spend(len(arguments))
            arguments = (*arguments, names)
        self._call(function, arguments)

    def make_named(self) -> None:
        """INST: the class stands in the instructions, its arguments on the stack."""
        module, name = self._line(), self._line()
        arguments = tuple(self._since_mark())
        self._named(module.decode("utf-8", "replace"), name.decode("utf-8", "replace"))
        self._call(self._pop(), arguments)

    def make_from_stack(self) -> None:
        """OBJ: class and arguments lie on the stack."""
        values = self._since_mark()
        if not values:
            raise PickleError("it makes an object of no class")
        self._call(values[0], tuple(values[1:]))

    def _call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            arguments = (arguments,)
        self._spend(len(arguments))
        self._spend(sum(len(a) for a in arguments if isinstance(a, list | tuple | dict)))
        if isinstance(function, Name):
            self.push(self._trusted.called(function, arguments))
        else:
            self.push(Leftover(function, arguments))

    def build(self) -> None:
        state, target = self._pop(), self._last()
        if isinstance(target, Name):
            raise PickleError("a function was given a state")
        if isinstance(target, Leftover):
            target.state = state  # of dictionaries and tensors a state means nothing

    def stored(self) -> None:
        self.push(self._trusted.stored(self._pop()))

    def line_stored(self) -> None:
        raise PickleError("it names outside data in an unknown way")

    def skip(self, size_bytes: int) -> None:
        self._take(size_bytes)

    def line_float(self) -> None:
        self.push(float(self._line()))

    def line_text(self) -> None:
        line = self._line().decode("raw-unicode-escape")
        self.push(line.encode("utf-8", "backslashreplace").decode())  # halves of characters

    def line_get(self) -> None:
        self.get(_index(self._line()))

    def line_put(self) -> None:
        self.put(_index(self._line()))

    def number_get(self, size_bytes: int) -> None:
        self.get(self._number(size_bytes))

    def number_put(self, size_bytes: int) -> None:
        self.put(self._number(size_bytes))

    def memoize(self) -> None:
        self.put(len(self._memo))

    def duplicate(self) -> None:
        self.push(self._last())

    def list_of_mark(self) -> None:
        self.push(self._since_mark())

    def tuple_of_mark(self) -> None:
        self.push(tuple(self._since_mark()))


def _index(line: bytes) -> int:
    if not line.isdigit() or len(line) > 18:
        raise PickleError("it keeps something under a strange number")
    return int(line)


def plain_key(key: Any) -> Any:
    """A dictionary's key that can be compared safely: texts and small whole numbers as they are,
    all else as text. Python compares numbers by value, so chosen ones could be made to collide,
    and nested tuples without an end.

    Raises:
        PickleError: It is longer than any name.
    """
    if isinstance(key, str | bytes) and len(key) > MAX_KEY_LENGTH:
        raise PickleError("a name in it is too long for any use")
    if isinstance(key, str) or key is None or isinstance(key, bool):
        return key
    if isinstance(key, int) and abs(key) < MAX_KEY_NUMBER:
        return key
    if isinstance(key, bytes):
        return repr(key[:200])
    if isinstance(key, int | float):
        return repr(key)
    return key.full if isinstance(key, Name) else f"a key at {id(key)}"


_Step = Callable[[_Machine], None]


def _constant(value: Any) -> _Step:
    return lambda machine: machine.push(value)


def _with(step: Callable[[_Machine, Any], None], value: Any) -> _Step:
    return lambda machine: step(machine, value)


_STEPS: Final[Mapping[bytes, _Step]] = {
    b"(": _Machine.mark, b"0": _Machine.pop, b"1": _Machine.pop_mark,
    b"2": _Machine.duplicate,
    b"N": _constant(None), b"\x88": _constant(True), b"\x89": _constant(False),
    b")": _constant(()), b"]": lambda m: m.push([]), b"}": lambda m: m.push({}),
    b"\x8f": lambda m: m.push([]),
    b"I": _Machine.line_number, b"L": _Machine.line_number, b"F": _Machine.line_float,
    b"J": _with(_Machine.packed_number, "<i"), b"K": _with(_Machine.packed_number, "<B"),
    b"M": _with(_Machine.packed_number, "<H"), b"G": _with(_Machine.packed_number, ">d"),
    b"\x8a": _with(_Machine.long_number, 1), b"\x8b": _with(_Machine.long_number, 4),
    b"S": _Machine.quoted, b"V": _Machine.line_text,
    b"T": _with(_Machine.text, 4), b"U": _with(_Machine.text, 1), b"X": _with(_Machine.text, 4),
    b"\x8c": _with(_Machine.text, 1), b"\x8d": _with(_Machine.text, 8),
    b"B": _with(_Machine.raw, 4), b"C": _with(_Machine.raw, 1), b"\x8e": _with(_Machine.raw, 8),
    b"\x96": _with(_Machine.raw, 8),
    b"g": _Machine.line_get, b"h": _with(_Machine.number_get, 1),
    b"j": _with(_Machine.number_get, 4),
    b"p": _Machine.line_put, b"q": _with(_Machine.number_put, 1),
    b"r": _with(_Machine.number_put, 4), b"\x94": _Machine.memoize,
    b"a": _Machine.append, b"e": _Machine.appends, b"\x90": _Machine.appends,
    b"s": _Machine.set_item, b"u": _Machine.set_items,
    b"l": _Machine.list_of_mark, b"\x91": _Machine.list_of_mark, b"d": _Machine.dictionary,
    b"t": _Machine.tuple_of_mark, b"\x85": _with(_Machine.tuple_of, 1),
    b"\x86": _with(_Machine.tuple_of, 2), b"\x87": _with(_Machine.tuple_of, 3),
    b"c": _Machine.name, b"\x93": _Machine.name_from_stack,
    b"\x82": _with(_Machine.registered, 1), b"\x83": _with(_Machine.registered, 2),
    b"\x84": _with(_Machine.registered, 4),
    b"R": _Machine.call, b"\x81": _Machine.call, b"\x92": _Machine.call_with_names,
    b"i": _Machine.make_named, b"o": _Machine.make_from_stack, b"b": _Machine.build,
    b"Q": _Machine.stored, b"P": _Machine.line_stored,
    b"\x80": _with(_Machine.skip, 1), b"\x95": _with(_Machine.skip, 8),
}  # fmt: skip
"""Instruction → what it does. Two are missing: buffers outside the pickle have no use here."""
