"""The header that names a file, whatever its name holds."""

from __future__ import annotations

import re
from urllib.parse import quote

_PLAIN = re.compile(r"[^A-Za-z0-9 ._()-]")


def content_disposition(how: str, name: str) -> str:
    """``inline`` or ``attachment`` and the file's name, for old and new clients (RFC 6266).

    No name, with quotation marks or line breaks in it, makes another parameter or header.
    """
    plain = _PLAIN.sub("_", name) or "file"
    return f"{how}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
