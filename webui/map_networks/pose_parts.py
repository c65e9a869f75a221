"""Hands and faces of bodies that were found: where they are looked for, and what is found there.

Source:
    Where: OpenPose's handDetector.cpp, and sd-webui-controlnet 1.1.455 for faces; sizes, blurs and
    thresholds: pytorch-openpose, as sd-webui-controlnet runs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from webui.map_networks.files import last_names, read_state, ready
from webui.map_networks.parts_network import FACE_PARTS, HAND_PARTS, PartsNetwork
from webui.preprocessors.maps import Pixels
from webui.preprocessors.pose_drawing import Parts, Place, Spot

Square = tuple[int, int, int]
"""Left, top, side in pixels."""
HAND_SCALES: Final = (0.5, 1.0, 1.5, 2.0)
HAND_SIDE: Final = 368
"""Pixels at which a hand is looked at, at scale 1."""
HAND_MAPS: Final = 128
"""Side of the maps that the scales' are brought to."""
HAND_SURE: Final = 0.05
FACE_SIDE: Final = 384
FACE_SURE: Final = 0.05
BEFORE, BLUR = 0.8, 3.0
"""Of a hand's picture, and of its maps; sigma."""
SMALLEST: Final = 20
"""Pixels of a square that is looked into."""
ARMS: Final = {"right": (2, 3, 4), "left": (5, 6, 7)}
"""Shoulder, elbow and wrist."""
NOSE: Final = 0
HEAD: Final = {14: 3.0, 15: 3.0, 16: 1.5, 17: 1.5}
"""Eyes and ears, and how many times as far from the nose a face reaches."""
_Grey = NDArray[np.float32]


class _PartsPose:
    """A network for parts, read into memory; ``model`` is the network.

    Args:
        path: The published file, or the same as safetensors.
    Raises:
        CheckpointError: It cannot be read. RuntimeError: It is something else.
    """

    count: int

    def __init__(self, path: Path, device: torch.device) -> None:
        self.model: Any = ready(PartsNetwork(self.count), last_names(read_state(path)), device)
        self._device = device


class HandPose(_PartsPose):
    """OpenPose's hand, ``hand_pose_model.pth``."""

    count = HAND_PARTS

    def parts(self, picture: Pixels) -> list[tuple[float, float] | None]:
        """The joints of the hand that fills a picture, in its pixels; None = not seen."""
        soft: Any = cv2.GaussianBlur(picture, (0, 0), BEFORE)
        total: _Grey = np.zeros((HAND_PARTS, HAND_MAPS, HAND_MAPS), np.float32)
        for scale in HAND_SCALES:
            side = int(scale * HAND_SIDE)
            maps = _maps(self.model, _square(soft, side), self._device)[:HAND_PARTS]
            total += np.stack([_sized(_sized(one, side), HAND_MAPS) for one in maps])
        places = [_largest_hill(certainty) for certainty in total / np.float32(len(HAND_SCALES))]
        height, width = picture.shape[:2]
        return [
            None if place is None
            else (int(place[1] * width / HAND_MAPS), int(place[0] * height / HAND_MAPS))
            for place in places
        ]  # fmt: skip


class FacePose(_PartsPose):
    """OpenPose's face, ``facenet.pth``."""

    count = FACE_PARTS

    def parts(self, picture: Pixels) -> list[tuple[float, float] | None]:
        """The marks of the face that fills a picture, in its pixels; None = not seen."""
        maps = _maps(self.model, _square(picture, FACE_SIDE), self._device)[:FACE_PARTS]
        height, width = picture.shape[:2]
        found: list[tuple[float, float] | None] = []
        for one in maps:
            large = _spread(one, height, width)
            row, column = np.unravel_index(int(large.argmax()), large.shape)
            found.append((int(column), int(row)) if large[row, column] > FACE_SURE else None)
        return found


def parts_in(network: HandPose | FacePose, picture: Pixels, square: Square) -> Parts:
    """What a network finds in a part of a picture, in the picture's pixels."""
    left, top, side = square
    found = network.parts(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return [None if one is None else Spot(one[0] + left, one[1] + top) for one in found]


def hand_squares(body: Mapping[int, Place], width: int, height: int) -> dict[str, Square]:
    """Where a body's hands are, by side: beyond the wrist, as far again as a third of the way
    from the elbow."""
    found: dict[str, Square] = {}
    for side, joints in ARMS.items():
        if not all(joint in body for joint in joints):
            continue
        shoulder, elbow, wrist = (body[joint] for joint in joints)
        x, y = (w + 0.33 * (w - e) for w, e in ((wrist.x, elbow.x), (wrist.y, elbow.y)))
        lower = math.hypot(wrist.x - elbow.x, wrist.y - elbow.y)
        upper = math.hypot(elbow.x - shoulder.x, elbow.y - shoulder.y)
        reach = 1.5 * max(lower, 0.9 * upper)
        square = _within(x - reach / 2, y - reach / 2, reach, width, height)
        if square is not None:
            found[side] = square
    return found


def face_square(body: Mapping[int, Place], width: int, height: int) -> Square | None:
    """Where a body's face is: around the nose, as wide as eyes and ears tell."""
    nose, seen = body.get(NOSE), [part for part in HEAD if part in body]
    if nose is None or not seen:
        return None
    reach = max(
        HEAD[part] * max(abs(nose.x - body[part].x), abs(nose.y - body[part].y)) for part in seen
    )
    return _within(nose.x - reach, nose.y - reach, reach * 2, width, height)


def _within(left: float, top: float, side: float, width: int, height: int) -> Square | None:
    """The square inside of the picture, from its left upper corner on; None when little is."""
    left, top = max(left, 0.0), max(top, 0.0)
    side = min(side, width - left, height - top)
    return (int(left), int(top), int(side)) if side >= SMALLEST else None


def _largest_hill(certainty: _Grey) -> tuple[int, int] | None:
    """Row and column of the highest place of the hill that holds most; None = there is none."""
    is_sure = gaussian_filter(certainty, BLUR) > HAND_SURE
    hills, count = label(is_sure, structure=np.ones((3, 3)))  # type: ignore[misc]
    if not count:
        return None
    sums = [float(certainty[hills == number].sum()) for number in range(1, count + 1)]
    within = np.where(hills == int(np.argmax(sums)) + 1, certainty, 0)
    row, column = np.unravel_index(int(within.argmax()), within.shape)
    return int(row), int(column)


def _maps(network: Any, picture: Pixels, device: torch.device) -> _Grey:
    """(parts + 1, h, w) of a picture of RGB whose sides are multiples of 8."""
    shown = np.ascontiguousarray(picture[..., ::-1]).astype(np.float32) / 256 - 0.5
    values = torch.from_numpy(shown).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return network(values.to(device))[0].float().cpu().numpy()


def _square(picture: Pixels, side: int) -> Pixels:
    how = cv2.INTER_AREA if 2 * side < sum(picture.shape[:2]) else cv2.INTER_LANCZOS4
    made: Any = cv2.resize(picture, (side, side), interpolation=how)
    return made


def _sized(values: _Grey, side: int) -> _Grey:
    how = cv2.INTER_AREA if 2 * side < sum(values.shape) else cv2.INTER_LANCZOS4
    made: Any = cv2.resize(values, (side, side), interpolation=how)
    return made


def _spread(values: _Grey, height: int, width: int) -> _Grey:
    """Enlarged so that its corners are the corners."""
    maps = torch.from_numpy(values)[None, None]
    size = (height, width)
    large = torch.nn.functional.interpolate(maps, size, mode="bilinear", align_corners=True)
    return large[0, 0].numpy()
