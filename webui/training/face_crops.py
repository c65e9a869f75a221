"""Where faces lie in training pictures, and how each might be cut better; no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from webui.training.buckets import Size

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""
FAR: Final = 0.14
"""A face whose height is a smaller share of the picture's shorter side is far away: at 512 pixels
it has fewer than 72, of which a network makes little."""
OFF_CENTRE: Final = 0.27
"""A face whose middle is further from the middle of the width, as a share of it."""
ROOM: Final = 3.2
"""Side of a cut in faces' heights: head, hair and shoulders."""
FACE_AT: Final = 0.42
"""Height of the face's middle in a cut."""


@dataclass(frozen=True)
class Suggestion:
    """What is said of the faces of one picture.

    Attributes:
        code: ``good``, ``none``, ``several``, ``far`` or ``off_centre``.
        cut: A better part of the picture; None where it is good as it is, or shows no face.
    """

    code: str
    cut: tuple[int, int, int, int] | None = None


def suggest(size: Size, faces: Sequence[Box]) -> Suggestion:
    """Judge a picture by its faces.

    Args:
        size: Of the upright picture. faces: Boxes in it.
    """
    if not faces:
        return Suggestion("none")
    width = size[0]
    largest = max(faces, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    cut = around(size, largest)
    if len(faces) > 1:
        return Suggestion("several", cut)
    if (largest[3] - largest[1]) < FAR * min(size):
        return Suggestion("far", cut)
    if abs((largest[0] + largest[2]) / 2 - width / 2) > OFF_CENTRE * width:
        return Suggestion("off_centre", cut)
    return Suggestion("good")


def around(size: Size, face: Box) -> tuple[int, int, int, int]:
    """A square of the picture around a face, as large as the picture allows."""
    side = round(min(*size, ROOM * max(face[2] - face[0], face[3] - face[1])))
    left = round((face[0] + face[2]) / 2 - side / 2)
    top = round((face[1] + face[3]) / 2 - side * FACE_AT)
    left = min(max(0, left), size[0] - side)
    top = min(max(0, top), size[1] - side)
    return left, top, left + side, top + side
