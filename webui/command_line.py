"""How a line of flags falls into words: one rule for the launcher and the program it starts.

Standard library only: the launcher reads it before anything is installed.
"""

from __future__ import annotations

import os
import shlex


def split_flags(text: str, is_windows: bool = os.name == "nt") -> list[str]:
    """Split COMMANDLINE_ARGS as a shell does; on Windows a backslash is part of a path.

    Raises:
        ValueError: A quotation mark is not closed.
    """
    lexer = shlex.shlex(text, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    if is_windows:
        lexer.escape, lexer.quotes = "", '"'
    return list(lexer)
