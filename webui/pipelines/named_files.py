"""The files that tags in prompts name, asked for once, and what is told of them, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from webui.errors import CheckpointError

File = TypeVar("File")


class ToldOnce:
    """Passes every message on, each once."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._said: set[str] = set()

    def __call__(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._warn(message)


class NamedFiles(Generic[File]):
    """The files of one kind of tag.

    Args:
        tag: Its name, for messages.
        shelf: Gives the file of a name, or raises CheckpointError; asked once for each name.
        tell: Told why a file is not there.
    """

    def __init__(self, tag: str, shelf: Callable[[str], File], tell: Callable[[str], None]) -> None:
        self._tag = tag
        self._shelf = shelf
        self._tell = tell
        self._files: dict[str, File | None] = {}

    def get(self, name: str) -> File | None:
        """The file of that name; None when there is none that can be read."""
        if name not in self._files:
            self._files[name] = None
            try:
                self._files[name] = self._shelf(name)
            except CheckpointError as err:
                self._tell(f"<{self._tag}:{name}> was left out. {err}")
        return self._files[name]
