"""Faces that were found in restored photographs: one small record a job, crops as kept inputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from webui.library.files import write_whole
from webui.library.inputs import Inputs

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundFace:
    """One face as a door shows it.

    Attributes:
        image: Number of the picture in its job. number: Of the face in it, from left to right.
        box: left, top, right, bottom in pixels of the input picture.
        score: Of the detector, 0–1.
        distance: How far the restored face went from the original: 0 = same, 1 = unrelated.
        is_pasted: False when the person refused it.
        before, after: Keys of the crops; ``Inputs.path`` leads to the files.
    """

    image: int
    number: int
    box: tuple[float, float, float, float]
    score: float
    distance: float
    is_pasted: bool
    before: str
    after: str


class FoundFaces:
    """Remembers the faces of each job.

    Args:
        folder: For the records, made when needed. inputs: Where crops are kept.
    """

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self._folder = folder
        self._inputs = inputs

    def keep(self, job_id: int, image: int, faces: list[Mapping[str, Any]]) -> None:
        """Remember the faces of one picture, in place of earlier ones of the same picture.

        Args:
            faces: As in the worker's ``faces`` message; ``before`` and ``after`` are files.
        Raises:
            LibraryError: A crop cannot be kept. OSError: The record cannot be written.
        """
        new = [
            FoundFace(
                image=image,
                number=face["number"],
                box=tuple(face["box"]),
                score=face["score"],
                distance=face["distance"],
                is_pasted=face["is_pasted"],
                before=self._inputs.keep(face["before"]),
                after=self._inputs.keep(face["after"]),
            )
            for face in faces
        ]
        kept = [face for face in self.of(job_id) if face.image != image]
        rows = [asdict(face) for face in sorted([*kept, *new], key=lambda f: (f.image, f.number))]
        write_whole(self._file(job_id), json.dumps(rows).encode())

    def of(self, job_id: int) -> list[FoundFace]:
        """All faces of a job, by picture and number; [] when none were found."""
        try:
            rows = json.loads(self._file(job_id).read_bytes())
            return [FoundFace(**{**row, "box": tuple(row["box"])}) for row in rows]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as err:
            logger.warning("The faces of job %d cannot be read: %s", job_id, err)
            return []

    def texts(self) -> Iterator[str]:
        """Every record as JSON.

        Raises:
            OSError: One cannot be read.
        """
        for path in self._folder.glob("*.json"):
            yield path.read_text("utf-8")

    def _file(self, job_id: int) -> Path:
        return self._folder / f"{job_id}.json"
