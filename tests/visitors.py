"""Visitors of the page's routes who are whom the header ``user`` names."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from webui.access import Person


class NamedVisitors:
    """Stands in for ``webui.ui.login.Visitors``, which needs a login."""

    def of(self, connection: HTTPConnection) -> Person | None:
        """None for who does not say a name."""
        name = connection.headers.get("user")
        return Person(name) if name else None
