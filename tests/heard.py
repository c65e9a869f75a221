"""What the model process says, kept for tests to read."""

from __future__ import annotations

from typing import Any


class Heard:
    """Stands where the wire is; keeps the messages."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind]
