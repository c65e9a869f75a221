"""Skeletons as ControlNets were trained on them.

Source:
    Colours, widths and what lies above what: OpenPose's drawing as in lllyasviel's ControlNet and
    sd-webui-controlnet; OpenPose's JSON (doc/02_output.md) as the latter takes it.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


FINGERS: Final = tuple((0 if number % 4 == 0 else number, number + 1) for number in range(20))
"""Joints of a hand that are joined: the wrist 0, then four of each finger."""
HAND_WIDTH: Final = 2
HAND_JOINT: Final = (0, 0, 255)
FACE_MARK, FACE_RADIUS = (255, 255, 255), 3
BODY_JOINTS: Final = len(COLOURS)
FARTHEST: Final = 1 << 15
"""Pixels from a canvas's corner."""


class Place(Protocol):
    """Where a joint is, in pixels."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


@dataclass(frozen=True)
class Spot:
    """A place."""

    x: float
    y: float


Parts = Sequence[Place | None]
"""The joints of a hand or the marks of a face, in their order; None = not seen."""


@dataclass(frozen=True)
class Person:
    """What is known of one person.

    Attributes:
        body: Joints by their kind; see ``LIMBS``.
        hands: Each with 21 joints. face: 70 marks.
    """

    body: Mapping[int, Place] = field(default_factory=dict[int, Place])
    left_hand: Parts = ()
    right_hand: Parts = ()
    face: Parts = ()


def drawn(people: Sequence[Person], width: int, height: int) -> Pixels:
    """The skeletons of people, (height, width, 3) RGB on black: of each first the body, then
    hands and face."""
    sheet = np.zeros((height, width, 3), np.uint8)
    for person in people:
        for colour, (first, second) in zip(COLOURS, DRAWN_LIMBS, strict=False):
            if first in person.body and second in person.body:
                dim = tuple(int(value * DIMMED) for value in colour)
                cv2.fillConvexPoly(sheet, _limb(person.body[first], person.body[second]), dim)
    for person in people:
        for kind, joint in person.body.items():
            cv2.circle(sheet, _pixel(joint), HALF_WIDTH, COLOURS[kind], thickness=-1)
        for hand in (person.left_hand, person.right_hand):
            _draw_hand(sheet, hand)
        for mark in person.face:
            if mark is not None:
                cv2.circle(sheet, _pixel(mark), FACE_RADIUS, FACE_MARK, thickness=-1)
    return sheet


def _draw_hand(sheet: Pixels, hand: Parts) -> None:
    """Its bones in the colours of the rainbow, its joints above them."""
    for number, (first, second) in enumerate(FINGERS):
        one, other = (hand[i] if i < len(hand) else None for i in (first, second))
        if one is not None and other is not None:
            hue = colorsys.hsv_to_rgb(number / len(FINGERS), 1.0, 1.0)
            colour = tuple(int(value * 255) for value in hue)
            cv2.line(sheet, _pixel(one), _pixel(other), colour, thickness=HAND_WIDTH)
    for joint in hand:
        if joint is not None:
            cv2.circle(sheet, _pixel(joint), HALF_WIDTH, HAND_JOINT, thickness=-1)


def _pixel(place: Place) -> tuple[int, int]:
    return int(place.x), int(place.y)


def people_in(told: Sequence[Mapping[str, Any]], width: int, height: int) -> list[Person]:
    """People as OpenPose's JSON tells them: x, y and certainty of each joint, one after the
    other; in pixels, or as shares of the canvas where none is larger than 1.

    Raises:
        ValueError: Numbers are missing, or far off.
    """
    people: list[Person] = []
    for one in told:
        body, left, right, face = (
            _joints(one.get(f"{name}_keypoints_2d"), width, height)
            for name in ("pose", "hand_left", "hand_right", "face")
        )
        joints = enumerate(body[:BODY_JOINTS])
        people.append(Person({n: j for n, j in joints if j is not None}, left, right, face))
    return people


def _joints(numbers: Any, width: int, height: int) -> list[Place | None]:
    numbers = numbers or []
    if len(numbers) % 3:
        raise ValueError(f"{len(numbers)} numbers are no whole number of joints")
    rows = [numbers[i : i + 3] for i in range(0, len(numbers), 3)]
    if any(abs(value) > FARTHEST for row in rows for value in row):
        raise ValueError(f"a joint lies farther than {FARTHEST} pixels off")
    seen = [certainty > 0 for _, _, certainty in rows]
    is_share = all(abs(x) <= 1 and abs(y) <= 1 for x, y, _ in rows)
    across, down = (width, height) if is_share else (1, 1)
    return [
        Spot(x * across, y * down) if is_there else None
        for (x, y, _), is_there in zip(rows, seen, strict=True)
    ]


def as_json(people: Sequence[Person], width: int, height: int) -> dict[str, Any]:
    """The opposite of ``people_in``, in shares of the canvas."""

    def numbers(parts: Parts) -> list[float] | None:
        told: list[float] = []
        for one in parts:
            told += [0.0, 0.0, 0.0] if one is None else [one.x / width, one.y / height, 1.0]
        return told or None

    return {
        "people": [
            {
                "pose_keypoints_2d": numbers([p.body.get(n) for n in range(BODY_JOINTS)]),
                "face_keypoints_2d": numbers(p.face),
                "hand_left_keypoints_2d": numbers(p.left_hand),
                "hand_right_keypoints_2d": numbers(p.right_hand),
            }
            for p in people
        ],
        "canvas_height": height,
        "canvas_width": width,
    }


def _limb(one: Place, other: Place) -> Any:
    """A long ellipse from one joint to the other."""
    length = math.hypot(other.x - one.x, other.y - one.y)
    angle = math.degrees(math.atan2(one.y - other.y, one.x - other.x))
    middle = int((one.x + other.x) / 2), int((one.y + other.y) / 2)
    return cv2.ellipse2Poly(middle, (int(length / 2), HALF_WIDTH), int(angle), 0, 360, 1)
