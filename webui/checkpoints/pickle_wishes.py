"""What a refused pickle wanted to do, in plain words; no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Final

from webui.checkpoints.pickle_machine import Leftover, Name

SHOWN_CHARACTERS: Final = 100
SHOWN_PARTS: Final = 4
SHOWN_DEPTH: Final = 4
SHOWN_WISHES: Final = 5
SHOWN_CALL: Final = 300
LOOKED_AT: Final = 1000
"""Calls put into words at most; a file may repeat one a million times."""

DEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "run_program": (
        "os.system", "posix.system", "nt.system", "os.popen", "posix.popen", "nt.popen",
        "os.exec", "os.spawn", "os.posix_spawn", "posix.exec", "posix.posix_spawn", "nt.exec",
        "nt.spawn", "os.startfile", "nt.startfile", "subprocess.", "_posixsubprocess.", "pty.",
        "commands.", "popen2.", "asyncio.subprocess.", "torch.utils.cpp_extension.",
    ),
    "run_code": (
        "builtins.eval", "builtins.exec", "builtins.compile", "builtins.execfile", "runpy.",
        "code.", "codeop.", "types.", "marshal.", "timeit.", "cProfile.", "profile.", "pdb.",
        "bdb.", "trace.", "doctest.", "numpy.testing.", "torch.utils._config_module.",
        "torch.distributed.", "torch.jit.", "torch.fx.",
    ),
    "load_module": (
        "builtins.__import__", "importlib.", "imp.", "pkgutil.", "pydoc.", "zipimport.", "ctypes.",
        "distutils.", "setuptools.", "pip.",
    ),
    "load_files": (
        "torch.hub.", "torch.load", "torch.serialization.", "pickle.", "_pickle.", "dill.",
        "cloudpickle.", "joblib.", "numpy.load", "shelve.", "pandas.", "torch.package.",
    ),
    "use_network": (
        "socket.", "_socket.", "ssl.", "urllib.", "urllib2.", "http.", "requests.", "httpx.",
        "aiohttp.", "ftplib.", "smtplib.", "telnetlib.", "webbrowser.", "xmlrpc.",
    ),
    "use_files": (
        "builtins.open", "io.", "_io.", "os.", "posix.", "nt.", "shutil.", "pathlib.", "tempfile.",
        "glob.", "sys.", "signal.", "platform.", "linecache.", "fileinput.", "codecs.open",
    ),
    "take_detour": (
        "builtins.getattr", "builtins.setattr", "builtins.delattr", "builtins.globals",
        "builtins.locals", "builtins.vars", "builtins.dir", "builtins.map", "builtins.filter",
        "builtins.apply", "builtins.type", "builtins.super", "builtins.input",
        "builtins.breakpoint", "operator.", "functools.", "itertools.", "inspect.", "copyreg.",
        "a module.", "codecs.", "base64.", "binascii.", "zlib.",
    ),
}  # fmt: skip
"""A deed → beginnings of names that do it; the first that fits counts."""
OTHER_DEED: Final = "use_stranger"
WORDS: Final[Mapping[str, str]] = {
    "run_program": "run a program",
    "run_code": "run Python code",
    "load_module": "load a Python module",
    "load_files": "load further files that may hold code",
    "use_network": "go to the network",
    "use_files": "read or change files, or the system",
    "take_detour": "reach something dangerous by a detour",
    OTHER_DEED: "use what has no place in a weights file",
}
"""What the deeds are called."""


def deed_of(full: str) -> str:
    """What calling something of this name comes to."""
    for deed, beginnings in DEEDS.items():
        if full.startswith(beginnings):
            return deed
    return OTHER_DEED


class Wishes:
    """Names that were refused, as ``spelt``, and the calls that were asked of them."""

    def __init__(self) -> None:
        self.first = ""
        self._calls: dict[str, dict[str, None]] = {deed: {} for deed in WORDS}
        self._uncalled: dict[str, None] = {}
        self._looked_at = 0

    def __bool__(self) -> bool:
        return bool(self.first)

    def name(self, full: str) -> None:
        """A name was asked for."""
        self.first = self.first or full
        if len(self._uncalled) < SHOWN_WISHES:
            self._uncalled[full] = None

    def call(self, full: str, arguments: tuple[Any, ...]) -> None:
        """It was to be called."""
        self._uncalled.pop(full, None)
        calls = self._calls[deed_of(full)]
        self._looked_at += 1
        if len(calls) < SHOWN_WISHES and self._looked_at <= LOOKED_AT:
            call = _call(full, arguments, 0)
            calls[call if len(call) <= SHOWN_CALL else call[:SHOWN_CALL] + "…"] = None

    def listed(self) -> list[dict[str, str]]:
        """What it wanted, the worst first and calls before names: the ``deed`` and the ``call`` as
        Python would say it."""
        calls = [
            {"deed": deed, "call": call} for deed, calls in self._calls.items() for call in calls
        ]
        names = [{"deed": deed_of(full), "call": full} for full in self._uncalled]
        return (calls + names)[:SHOWN_WISHES]

    def sentence(self) -> str:
        """``It wanted to run a program: os.system('…'); …``"""
        told = "; ".join(f"{WORDS[wish['deed']]}: {wish['call']}" for wish in self.listed())
        return f"It wanted to {told}."


def _call(full: str, arguments: Any, depth: int) -> str:
    return f"{full}({_parts(arguments, depth)})"


def _parts(values: Collection[Any], depth: int) -> str:
    shown = [_shown(value, depth + 1) for value in islice(values, SHOWN_PARTS)]
    return ", ".join(shown + ["…"] * (len(values) > SHOWN_PARTS))


def _shown(value: Any, depth: int) -> str:
    """A value as Python would write it, shortened; nothing of it is asked, only our own kinds."""
    if isinstance(value, Name):
        return value.full
    if isinstance(value, str | bytes):
        text = repr(value[:SHOWN_CHARACTERS])
        return text + "…" if len(value) > SHOWN_CHARACTERS else text
    if value is None or isinstance(value, bool | int | float):
        return repr(value)[:SHOWN_CHARACTERS]
    if depth > SHOWN_DEPTH:
        return "…"
    if isinstance(value, Leftover):
        made_by = value.made_by
        name = made_by.full if isinstance(made_by, Name) else _shown(made_by, depth + 1)
        return _call(name, value.arguments, depth)
    if isinstance(value, dict):
        items = islice(value.items(), SHOWN_PARTS)
        pairs = [f"{_shown(k, depth + 1)}: {_shown(v, depth + 1)}" for k, v in items]
        return "{" + ", ".join(pairs + ["…"] * (len(value) > SHOWN_PARTS)) + "}"
    if isinstance(value, list | tuple):
        inner = _parts(value, depth)
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return "…"
