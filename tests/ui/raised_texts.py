"""Every sentence for people that the program raises or warns with, read out of its source.

A text with values becomes a template with numbers: ``f"{name} is gone."`` is ``{0} is gone.``
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import webui
from webui.errors import WebUIError

ROOT = Path(webui.__file__).parent
ELSEWHERE = ("api", "launcher", "extensions/a1111/site", "train_command.py",
             "models_command.py", "doctor.py", "command_line.py",
             "hookspecs.py", "hook_types.py")  # fmt: skip
"""What speaks to terminals and programs, in English."""
WARNERS = ("warn", "_warn", "add_warning", "_with_warning", "_tell", "_say")
ENDINGS = ("Ending", "_error")
"""Take message and hint as errors do: why the model process ended, a kind of error that is chosen
elsewhere."""
PARTS = ("Rung", "PickleError")
"""What they are given first is told inside of sentences."""
DAMAGES = ("_damaged", "Foreign")
"""All they are given is told: what is wrong with a file, and what to do."""
PROBLEMS = ("Problem",)
"""Of a training that has not begun: the field at fault, and what is wrong with it."""
TELLERS = ("unread_packages", "nearest", "misfit", "_network_or_reason")
"""Functions that answer with a sentence about what is wrong."""
LISTS = ("notices", "bad", "told", "said")
"""Lists of sentences, by their names."""
APPENDS = tuple(f"{name}.append" for name in LISTS)
REASONS = ("WITHOUT_EFFECT", "NOT_USED")
"""Tables of the reasons that training tells inside of a sentence."""
Known = dict[str, list[ast.expr]]
SLOT = "\0"


def raised_texts() -> set[str]:
    """All templates that hold a word of their own, and those that are said inside of others."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in sorted(ROOT.rglob("*.py"))}
    errors = _error_names(trees.values())
    constants = {
        name: values
        for tree in trees.values()
        for name, values in _assigned(tree.body).items()
        if name.isupper()
    }
    found: set[str] = set()
    for path, tree in trees.items():
        if not path.relative_to(ROOT).as_posix().startswith(ELSEWHERE):
            known = {**constants, **_assigned(ast.walk(tree))}
            for expression in _said(tree, errors):
                found |= {_numbered(text) for text in _read(expression, known)}
                found |= {_numbered(text) for text in _parts(expression, known) if " " in text}
            found |= {_numbered(text) for text in _appended(tree, known)}
    found |= set(_reasons(trees[ROOT / "training" / "config.py"]))
    return {
        text
        for text in found
        if " " in text
        and any(len(word) > 2 and word.isalpha() for word in re.split(r"[\s.,:;()]+", text))
    }


def _error_names(trees: Iterable[ast.Module]) -> set[str]:
    names = {WebUIError.__name__}
    classes = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
    for _ in range(6):
        names |= {c.name for c in classes if names & {ast.unparse(base) for base in c.bases}}
    return names


def _assigned(nodes: Iterable[ast.AST]) -> Known:
    """What each name is given somewhere."""
    known: Known = {}
    for node in nodes:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.expr):
            known.setdefault(target.id, []).append(value)
    return known


def _said(tree: ast.Module, errors: set[str]) -> Iterator[ast.expr]:
    """The expressions that become sentences for people."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name in TELLERS:
            answers = (one.value for one in ast.walk(node) if isinstance(one, ast.Return))
            yield from filter(None, answers)
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
        if name in errors or name in ENDINGS:
            yield from node.args[:2]
            yield from (k.value for k in node.keywords if k.arg in ("message", "hint"))
        elif name in WARNERS:
            yield from node.args[-1:]
        elif name in PARTS:
            yield from node.args[:1]
        elif name in DAMAGES:
            yield from node.args
        elif name in PROBLEMS:
            yield from node.args[1:2]


def _appended(tree: ast.Module, known: Known) -> Iterator[str]:
    """What becomes an entry of a list of sentences: words of one end otherwise."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(APPENDS):
            read = _read(node.args[0], known)
            yield from (text for text in read if text.rstrip(SLOT).endswith("."))


def _reasons(tree: ast.Module) -> Iterator[str]:
    """The sentences of the tables of reasons."""
    for node in tree.body:
        name = getattr(getattr(node, "target", None), "id", "")
        if isinstance(node, ast.AnnAssign) and node.value and name in REASONS:
            values = (part for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            yield from (str(part.value) for part in values if " " in str(part.value))


def _parts(node: ast.expr, known: Known) -> Iterator[str]:
    """What stands as a value inside of a text, and is a text itself."""
    whole = known.get(node.id, []) if isinstance(node, ast.Name) else [node]
    for value in (value for text in whole for value in ast.walk(text)):
        if isinstance(value, ast.FormattedValue):
            yield from _read(value.value, known)


def _read(node: ast.expr, known: Known) -> Iterator[str]:
    """The texts that an expression can be, values as ``SLOT``."""
    if isinstance(node, ast.Constant):
        yield node.value if isinstance(node.value, str) else SLOT
    elif isinstance(node, ast.JoinedStr):
        yield "".join(v.value if isinstance(v, ast.Constant) else SLOT for v in node.values)  # type: ignore[misc]
    elif isinstance(node, ast.IfExp):
        yield from _read(node.body, known)
        yield from _read(node.orelse, known)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [list(_read(side, known)) for side in (node.left, node.right)]
        yield from ("".join(pair) for pair in itertools.product(*sides))
    elif isinstance(node, ast.Name) and node.id in known:
        for value in known[node.id]:
            yield from _read(value, {})
    else:
        yield SLOT


def _numbered(text: str) -> str:
    numbers = itertools.count()
    text = text.strip()
    return "".join(f"{{{next(numbers)}}}" if sign == SLOT else sign for sign in text)
