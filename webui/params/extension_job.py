"""The request for work of an extension's own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from webui.params.extensions import ExtensionValues, picture_keys
from webui.params.without_painting import WithoutPainting


class ExtensionJob(WithoutPainting):
    """Work of an extension's own.

    Attributes:
        extension: Whose. task: Which of its ``JobKind``s.
        extensions: Its values, under its name.
    """

    kind: Literal["extension"] = "extension"
    extension: str = Field(min_length=1, max_length=80)
    task: str = Field(min_length=1, max_length=80)
    extensions: ExtensionValues = {}

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return tuple(picture_keys(self.extensions))
