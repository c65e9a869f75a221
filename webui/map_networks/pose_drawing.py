"""Skeletons as ControlNets were trained on them.

Source:
    Colours, widths and what lies above what: OpenPose's drawing as in lllyasviel's ControlNet and
    sd-webui-controlnet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import cv2
import numpy as np

from webui.preprocessors.maps import Pixels

HALF_WIDTH: Final = 4
"""Pixels from a limb's middle to its side, and of a joint's radius."""
DIMMED: Final = 0.6
"""Limbs are darker than joints by that."""
COLOURS: Final = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0),
    (0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255),
    (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
"""Of joints by their kind, and of limbs by their number."""
LIMBS: Final = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12),
    (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17),
)  # fmt: skip
"""Joints that are joined: nose 0, neck 1, right arm 2–4, left arm 5–7, right leg 8–10, left leg
11–13, eyes 14 and 15, ears 16 and 17. The last two help to tell bodies apart and are not drawn."""
DRAWN_LIMBS: Final = LIMBS[:17]


class Place(Protocol):
    """Where a joint is, in pixels."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


def drawn(bodies: Sequence[Mapping[int, Place]], width: int, height: int) -> Pixels:
    """The skeletons of bodies, (height, width, 3) RGB on black.

    Args:
        bodies: Joints by their kind; see ``LIMBS``.
    """
    sheet = np.zeros((height, width, 3), np.uint8)
    for body in bodies:
        for colour, (first, second) in zip(COLOURS, DRAWN_LIMBS, strict=False):
            if first in body and second in body:
                dim = tuple(int(value * DIMMED) for value in colour)
                cv2.fillConvexPoly(sheet, _limb(body[first], body[second]), dim)
    for body in bodies:
        for kind, joint in body.items():
            cv2.circle(sheet, (int(joint.x), int(joint.y)), HALF_WIDTH, COLOURS[kind], thickness=-1)
    return sheet


def _limb(one: Place, other: Place) -> Any:
    """A long ellipse from one joint to the other."""
    length = math.hypot(other.x - one.x, other.y - one.y)
    angle = math.degrees(math.atan2(one.y - other.y, one.x - other.x))
    middle = int((one.x + other.x) / 2), int((one.y + other.y) / 2)
    return cv2.ellipse2Poly(middle, (int(length / 2), HALF_WIDTH), int(angle), 0, 360, 1)
