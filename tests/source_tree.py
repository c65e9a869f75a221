"""Reads the project's own source: which module imports what, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def modules() -> dict[str, Path]:
    """Every module of ours by its dotted name: ``webui.*``, ``app``, ``launch``."""
    files = [PROJECT / "app.py", PROJECT / "launch.py"]
    files += sorted((PROJECT / "webui").rglob("*.py"))
    return {_dotted(file): file for file in files if file.is_file()}


def _dotted(file: Path) -> str:
    parts = list(file.relative_to(PROJECT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache(maxsize=1)
def imports() -> dict[str, frozenset[str]]:
    """What each module imports, also inside functions, as full dotted names.

    ``from a import b`` counts as ``a.b`` where that is a module of ours, else as ``a``. Imports
    for type checkers only are left out.
    """
    ours = modules()
    found: dict[str, frozenset[str]] = {}
    for name, file in ours.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        found[name] = frozenset(_imported(tree, package, ours))
    return found


def _imported(tree: ast.AST, package: str, ours: dict[str, Path]) -> Iterator[str]:
    for node in _running_code(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            for alias in node.names:
                full = f"{base}.{alias.name}"
                yield full if full in ours else base


def _running_code(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for other in node.orelse:
                yield from _running_code(other)
            continue
        yield node
        yield from _running_code(node)


def reachable(start: str) -> dict[str, str]:
    """Every module and package that importing ``start`` can bring in, each with its importer."""
    importer = {start: ""}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        for other in imports().get(name, frozenset()):
            if other not in importer:
                importer[other] = name
                waiting.append(other)
    return importer


def chain(importer: dict[str, str], name: str) -> str:
    """How ``name`` was reached: 'a -> b -> name'."""
    names = [name]
    while importer[names[0]]:
        names.insert(0, importer[names[0]])
    return " -> ".join(names)
