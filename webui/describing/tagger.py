"""Tags for a picture, by a WD tagger whose ONNX file OpenCV runs.

Source: the taggers' own description (SmilingWolf, "WD SwinV2 Tagger v3" and its siblings): layout
of the input, meaning of ``selected_tags.csv``, thresholds.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from webui.checkpoints.describers import NETWORK, TAGS, is_face
from webui.errors import CheckpointError

SIDE: Final = 448
"""Of the square picture that every WD tagger looks at, in pixels."""
MOST_SIDE: Final = 4096
"""Larger pictures are made smaller before they are put on a square."""
GENERAL, CHARACTER = "0", "4"
"""Categories in the list of tags; the others (ratings) say nothing of what is shown."""


@dataclass(frozen=True)
class Tag:
    """One tag the network knows; ``category`` as in its list."""

    name: str
    category: str


class Tagger:
    """A tagger that was read.

    Args:
        folder: Holds ``model.onnx`` and ``selected_tags.csv``.
    Raises:
        CheckpointError: A file cannot be read, or they do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NETWORK
        self._tags = read_tags(folder / TAGS)
        try:  # not by its path: OpenCV opens none with Chinese names on Windows
            self._network = cv2.dnn.readNetFromONNX(np.fromfile(self._path, np.uint8))
        except (cv2.error, OSError) as err:
            raise self._unusable(f"OpenCV cannot read it ({_short(err)})") from err

    def describe(self, image: Image.Image, threshold: float, character_threshold: float) -> str:
        """What is seen, between commas: characters first, then the rest, the surest first.

        Args:
            image: RGB or RGBA; transparent parts count as white.
        Raises:
            CheckpointError: The network does not work on pictures, or gives other answers.
        """
        sure = {GENERAL: threshold, CHARACTER: character_threshold}
        scores = self._scores(squared(image))
        seen = [
            (tag.category != CHARACTER, -float(score), tag.name)
            for tag, score in zip(self._tags, scores, strict=True)
            if tag.category in sure and score >= sure[tag.category]
        ]
        return ", ".join(name for _, _, name in sorted(seen))

    def _scores(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            self._network.setInput(pixels)
            scores = np.asarray(self._network.forward(), np.float32).ravel()
        except cv2.error as err:
            raise self._unusable(f"it does not take pictures as these do ({_short(err)})") from err
        if len(scores) != len(self._tags):
            raise self._unusable(f"it gives {len(scores)} answers for {len(self._tags)} tags")
        return scores

    def _unusable(self, why: str) -> CheckpointError:
        return CheckpointError(
            f"The tagger {self._path.parent.name} cannot be used: {why}.",
            f"Get {NETWORK} and {TAGS} of one WD tagger again.",
            path=str(self._path),
        )


def squared(image: Image.Image) -> NDArray[np.float32]:
    """A picture as the taggers take it: on a white square, (1, 448, 448, 3), BGR, 0–255."""
    if max(image.size) > MOST_SIDE:  # a square around a long strip would fill the memory
        image = image.copy()
        image.thumbnail((MOST_SIDE, MOST_SIDE))
    image = image.convert("RGBA")
    side = max(image.size)
    square = Image.new("RGBA", (side, side), "white")
    place = ((side - image.width) // 2, (side - image.height) // 2)
    square.alpha_composite(image, place)
    small = square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(small, np.float32)[None, :, :, ::-1])


def read_tags(path: Path) -> list[Tag]:
    """The tags of a list, in the order of the network's answers.

    Raises:
        CheckpointError: It is no list of tags.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        return [Tag(_spoken(row["name"]), row["category"].strip()) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError) as err:
        raise CheckpointError(
            f"{path.name} in {path.parent} is no list of a tagger's tags ({_short(err)}).",
            "Get it again: its columns are tag_id, name, category and count.",
            path=str(path),
        ) from err


def _spoken(name: str) -> str:
    return name if is_face(name) else name.replace("_", " ")


def _short(err: Exception) -> str:
    return " ".join(str(err).split())[:200]
