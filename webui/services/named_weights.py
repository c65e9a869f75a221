"""What enlarges and restores, by the names people know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.known_weights import (
    GFPGAN,
    GFPGAN_VERSIONS,
    NamedFile,
    find_named,
    is_known,
    missing,
    named_files,
)
from webui.params import PLAIN_UPSCALERS

Opened = Literal["upscaler", "face"]
"""Kinds of files that paintings name."""


class NamedWeights:
    """Upscalers, face restorers and face detectors that are there now.

    Args:
        offered: What extensions add, by kind of list.
    """

    def __init__(
        self, catalog: Catalog, offered: Callable[[str], tuple[str, ...]] = lambda kind: ()
    ) -> None:
        self._catalog = catalog
        self._offered = offered

    def upscalers(self) -> tuple[NamedFile, ...]:
        """Upscalers that are networks; plain ones are not among them."""
        return named_files(self._catalog.upscalers(), "upscaler")

    def upscaler_names(self) -> tuple[str, ...]:
        """What enlarges pictures, by name: the plain ways first, then networks."""
        files = (file.name for file in self.upscalers())
        return (*PLAIN_UPSCALERS, *files, *self._offered("upscalers"))

    def find_upscaler(self, name: str) -> str | None:
        """The upscaler meant by a name (see ``known_weights.find_named``), as it is listed; None
        when there is none.

        Raises:
            CheckpointNotFoundError: One that people know by this name, whose file is not there.
        """
        if name in (*PLAIN_UPSCALERS, *self._offered("upscalers")):
            return name
        found = find_named(self.upscalers(), name)
        if found is None and is_known(name, "upscaler"):
            raise missing(name)
        return found.name if found else None

    def face_restorers(self) -> tuple[NamedFile, ...]:
        """Face restorers that are there."""
        return named_files(self._catalog.records("face"), "face")

    def find_face_restorer(self, name: str) -> str:
        """A face restorer as it is listed; «GFPGAN» stands for its newest version.

        Raises:
            CheckpointNotFoundError: It is not there; says which file is wanted.
        """
        files = self.face_restorers()
        if name in self._offered("face_restorers"):
            return name
        if name == GFPGAN:
            versions = (v for v in GFPGAN_VERSIONS if find_named(files, v))
            return next(versions, None) or self.find_face_restorer(GFPGAN_VERSIONS[0])
        found = find_named(files, name)
        if found is None:
            raise missing(name)
        return found.name

    def file_of(self, kind: Opened, name: str) -> Record | None:
        """The file meant by a name; None for a way that needs none, or an extension's.

        Raises:
            CheckpointNotFoundError: It is not there.
        """
        is_upscaler = kind == "upscaler"
        listed = self.find_upscaler(name) if is_upscaler else self.find_face_restorer(name)
        if listed is None:
            raise missing(name)
        files = self.upscalers() if is_upscaler else self.face_restorers()
        return next((file.record for file in files if file.name == listed), None)

    def face_detectors(self) -> tuple[NamedFile, ...]:
        """Face detectors that are there."""
        return named_files(self._catalog.records("face-detector"), "face-detector")

    def paths(self) -> dict[str, dict[str, str]]:
        """Kind → name → path of all of them; stems are names too."""
        kinds = {
            "upscaler": self.upscalers(),
            "face": self.face_restorers(),
            "face-detector": self.face_detectors(),
        }
        return {
            kind: {
                **{file.record.stem: str(file.record.path) for file in files},
                **{file.name: str(file.record.path) for file in files},
            }
            for kind, files in kinds.items()
        }
