"""Every route of an application, however deep it was mounted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


def api_routes(app: FastAPI) -> list[tuple[str, str]]:
    """(method, path) of every route that the API's own description lists."""
    paths = app.openapi()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def all_routes(app: Any) -> Iterator[tuple[str, str]]:
    """(method, path) of everything an application serves itself, included routers' routes too;
    mounted applications are not looked into."""
    for route in app.routes:
        contexts = getattr(route, "effective_route_contexts", None)
        for one in contexts() if contexts else (route,):
            methods = getattr(one, "methods", None) or ()
            yield from ((method, one.path) for method in methods if method in METHODS)


def filled(path: str) -> str:
    """A path with something in the place of its parameters."""
    return re.sub(r"\{[^}]*\}", "1", path)
