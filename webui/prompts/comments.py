"""Notes inside a prompt: from ``#`` to the end of the line. There is no escape for ``#``."""

from __future__ import annotations

import re

_WHOLE_LINE = re.compile(r"(?:\A|\n)#[^\n]*(?:\n|\Z)")
_REST_OF_LINE = re.compile(r"#[^\n]*(?:\n|\Z)")


def cut_comments(text: str) -> str:
    """Remove comments.

    A line that begins with ``#`` goes together with one of its line ends; a ``#`` further on
    takes the rest of its line. Either leaves one ``\\n`` in its place, also at the very end, as in
    A1111.
    """
    if "#" not in text:
        return text
    return _REST_OF_LINE.sub("\n", _WHOLE_LINE.sub("\n", text))
