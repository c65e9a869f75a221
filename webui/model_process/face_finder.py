"""Runs jobs of kind find-faces: where faces lie in the pictures of a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webui.errors import LibraryError
from webui.model_process.restorer import JobWeights
from webui.params import FindFaces
from webui.progress import Interrupted, Progress
from webui.restoration.detect import find_faces
from webui.restoration.pixels import read_pixels


def faces_in(params: FindFaces, weights: JobWeights, progress: Progress) -> dict[str, Any]:
    """Look at every picture.

    Returns:
        ``faces``: file name → boxes (left, top, right, bottom) in the upright picture; those that
        cannot be read are left out.
    Raises:
        CheckpointError: There is no face detector.
        LibraryError: No picture can be read.
    """
    detector = weights.detector()
    found: dict[str, list[list[float]]] = {}
    progress.step(0, len(params.pictures))
    for number, name in enumerate(params.pictures):
        try:
            pixels = read_pixels(Path(name).read_bytes())
            faces = find_faces(pixels, detector, should_stop=progress.is_interrupted)
            found[Path(name).name] = [[float(edge) for edge in face.box] for face in faces]
        except Interrupted:
            break
        except (LibraryError, OSError):
            continue
        progress.step(number + 1, len(params.pictures))
    return {"faces": found}
