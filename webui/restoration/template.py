"""Where a face's landmarks lie in the square that face restorers work on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
SIDE: Final = 512
TEMPLATE: Final = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
"""Mean landmarks of FFHQ faces at 512 pixels. Source: the template all three restorers publish."""


def alignment(landmarks: Array, template: Array = TEMPLATE) -> Array:
    """The similarity that brings landmarks closest to the template, least squares.

    Args:
        landmarks: (5, 2).
    Returns:
        (2, 3) matrix for ``cv2.warpAffine``: picture to template.
    Source:
        Umeyama 1991, "Least-squares estimation of transformation parameters", without mirroring.
    """
    centre, goal = landmarks.mean(0), template.mean(0)
    points, goals = landmarks - centre, template - goal
    size = float((points**2).sum())
    if size < 1e-9:
        points, size = np.array([[-1.0, 0], [1, 0], [0, 0], [0, 0], [0, 0]]), 2.0
    a = float((points * goals).sum()) / size
    b = float((points[:, 0] * goals[:, 1] - points[:, 1] * goals[:, 0]).sum()) / size
    turn = np.array([[a, -b], [b, a]])
    return np.hstack([turn, (goal - turn @ centre)[:, None]])


def misfit(landmarks: Array) -> float:
    """Root mean square distance in template pixels between aligned landmarks and the template.

    About 5 for an upright face seen from the front; 20 and more when a detector looked at a face
    that lies on its side and guessed.
    """
    matrix = alignment(landmarks)
    placed = landmarks @ matrix[:, :2].T + matrix[:, 2]
    return float(np.sqrt(((placed - TEMPLATE) ** 2).sum(1).mean()))
