"""From a picture to the skeletons in it: OpenPose's body.

Source:
    Cao et al. 2017, arXiv 1611.08050, sec. 2.3–2.4; sizes, thresholds and the order of joints and
    limbs: pytorch-openpose, as sd-webui-controlnet runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from webui.map_networks.files import last_names, read_state, ready
from webui.map_networks.pose_network import PARTS, BodyPoseNetwork
from webui.preprocessors.maps import Pixels
from webui.preprocessors.pose_drawing import LIMBS

Maps = NDArray[np.float32]
HEIGHT: Final = 184
"""Pixels to which a picture's height is brought: half of the 368 it was trained with."""
LONGEST: Final = 2048
"""Pixels of the longer side at most."""
CELL: Final = 8
GREY: Final = 128
"""Around pictures whose sides are no multiples of 8."""
SURE: Final = 0.1
"""Of a joint."""
BLUR: Final = 3.0
"""Of the maps in which joints are looked for, in pixels of the picture."""
ALONG: Final = 0.05
"""How well a limb's direction must be met at a point, and at how many of ten of them."""
POINTS, MOST_POINTS = 10, 0.8
FEWEST_JOINTS: Final = 4
LEAST_SCORE: Final = 0.4
"""A body's, for each of its joints."""
CHANNELS: Final = (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26)
"""Where the directions of each limb begin: its x, then its y."""


@dataclass(frozen=True)
class Joint:
    """A place that may be a joint, in pixels."""

    x: float
    y: float
    score: float


@dataclass(frozen=True)
class Link:
    """Two joints that may be one limb, by their numbers among their kind."""

    first: int
    second: int
    score: float


Body = dict[int, Joint]
"""Joints by their kind."""


class BodyPose:
    """OpenPose's body, read into memory; ``model`` is the network.

    Args:
        path: ``body_pose_model.pth``, or the same as safetensors.
    Raises:
        CheckpointError: It cannot be read. RuntimeError: It is something else.
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        self.model: Any = ready(BodyPoseNetwork(), last_names(read_state(path)), device)
        self._device = device

    def bodies(self, picture: Pixels) -> list[Body]:
        """The bodies in a picture."""
        height, width = picture.shape[:2]
        limbs, joints = self._maps(picture)
        limbs, joints = (_enlarged(maps, width, height) for maps in (limbs, joints))
        return bodies_in(limbs, joints)

    def _maps(self, picture: Pixels) -> tuple[Maps, Maps]:
        """(h, w, C) maps of limbs and joints, of the size at which it works."""
        height, width = picture.shape[:2]
        factor = min(HEIGHT / height, LONGEST / width)
        size = max(1, round(width * factor)), max(1, round(height * factor))
        how = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
        small: Any = cv2.resize(picture[..., ::-1], size, interpolation=how)
        more = (-size[1]) % CELL, (-size[0]) % CELL
        framed = np.pad(small, ((0, more[0]), (0, more[1]), (0, 0)), constant_values=GREY)
        values = torch.from_numpy(framed.astype(np.float32)).permute(2, 0, 1)[None] / 256 - 0.5
        with torch.inference_mode():
            found = self.model(values.to(self._device))
        limbs, joints = (_inside(maps[0].cpu().numpy(), size[1], size[0]) for maps in found)
        return limbs, joints


def _inside(maps: Maps, height: int, width: int) -> Maps:
    """(H, W, C) without what belongs to the frame alone."""
    size = maps.shape[2] * CELL, maps.shape[1] * CELL
    return _enlarged(maps.transpose(1, 2, 0), *size)[:height, :width]


def _enlarged(maps: Maps, width: int, height: int) -> Maps:
    large = cv2.resize(maps, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.float32)


def bodies_in(limbs: Maps, joints: Maps) -> list[Body]:
    """The bodies that maps tell of.

    Args:
        limbs: (H, W, 38) directions, x and y of each limb. joints: (H, W, 18 or more) certainty.
    """
    found = [joints_in(joints[..., part]) for part in range(PARTS)]
    links: list[list[Link]] = []
    for (first, second), channel in zip(LIMBS, CHANNELS, strict=True):
        direction = limbs[..., channel : channel + 2]
        links.append(links_between(found[first], found[second], direction))
    return _assembled(found, links)


def joints_in(certainty: Maps) -> list[Joint]:
    """The places where a map (H, W) is highest among its neighbours."""
    smooth = gaussian_filter(certainty, BLUR)
    around = np.pad(smooth, 1)
    neighbours = (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:])
    is_top = smooth > SURE
    for other in neighbours:
        is_top &= smooth >= other
    return [
        Joint(float(x), float(y), float(certainty[y, x]))
        for y, x in zip(*np.nonzero(is_top), strict=True)
    ]


def links_between(first: Sequence[Joint], second: Sequence[Joint], direction: Maps) -> list[Link]:
    """Which joints of two kinds are joined, each with one other at most, the likeliest first.

    Args:
        direction: (H, W, 2).
    """
    maybe = [
        Link(i, j, score)
        for i, one in enumerate(first)
        for j, other in enumerate(second)
        if (score := _score(one, other, direction)) > 0
    ]
    taken: list[Link] = []
    for link in sorted(maybe, key=lambda link: -link.score):
        if all(link.first != other.first and link.second != other.second for other in taken):
            taken.append(link)
    return taken


def _score(one: Joint, other: Joint, direction: Maps) -> float:
    """How well the directions between two joints lead from one to the other; 0 = not well enough.
    Longer than half the picture's height costs."""
    across, down = other.x - one.x, other.y - one.y
    length = max(0.001, float(np.hypot(across, down)))
    columns = np.rint(np.linspace(one.x, other.x, POINTS)).astype(int)
    rows = np.rint(np.linspace(one.y, other.y, POINTS)).astype(int)
    met = direction[rows, columns] @ np.array([across, down], np.float32) / length
    score = float(met.mean()) + min(0.5 * direction.shape[0] / length - 1, 0)
    return score if int((met > ALONG).sum()) > MOST_POINTS * POINTS else 0.0


class _Assembly:
    """A body that grows limb by limb; ``joints`` are numbers among their kind, by kind."""

    def __init__(self) -> None:
        self.joints: dict[int, int] = {}
        self.score = 0.0


def _assembled(found: Sequence[Sequence[Joint]], links: Sequence[Sequence[Link]]) -> list[Body]:
    """Bodies of joints that limbs join. Two bodies that a limb joins become one where they have no
    joint of the same kind."""
    bodies: list[_Assembly] = []
    for number, ((first, second), ways) in enumerate(zip(LIMBS, links, strict=True)):
        for link in ways:
            ends = {first: link.first, second: link.second}
            holding = [b for b in bodies if any(b.joints.get(k) == i for k, i in ends.items())]
            if not holding and number < PARTS - 1:  # ears and shoulders alone begin no body
                holding = [_Assembly()]
                bodies += holding
            if not holding:
                continue
            body = holding[0]
            if len(holding) > 1 and not body.joints.keys() & holding[1].joints.keys():
                body.joints |= holding[1].joints
                body.score += holding[1].score + link.score
                bodies.remove(holding[1])
                continue
            new = {kind: i for kind, i in ends.items() if kind not in body.joints}
            body.joints |= new
            body.score += sum(found[kind][i].score for kind, i in new.items())
            body.score += link.score if new else 0
    return [
        {kind: found[kind][i] for kind, i in sorted(body.joints.items())}
        for body in bodies
        if len(body.joints) >= FEWEST_JOINTS and body.score / len(body.joints) >= LEAST_SCORE
    ]
