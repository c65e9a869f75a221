"""Finding faces and their five landmarks, by YuNet or CenterFace, both run by OpenCV."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from webui.errors import CheckpointError
from webui.networks.tiles import Span, spans
from webui.progress import Interrupted
from webui.restoration.pixels import Pixels, to_eight
from webui.restoration.template import alignment, misfit

Array = NDArray[Any]
OVERVIEW_PIXELS: Final = 600_000
"""Area the whole picture is looked at in: large faces."""
CLOSE_PIXELS: Final = 4_000_000
"""Area it is looked at in windows: small faces."""
WINDOW: Final = 1024
WINDOW_OVERLAP: Final = 224
SMALLEST_LOOK: Final = 480
"""Pictures whose longer side is shorter are enlarged to it first."""
SAME_FACE: Final = 0.35
"""Boxes that share more of their joint area are one face."""
YUNET_SCORE: Final = 0.8
"""Below it YuNet sees faces in carpets (platform notes: one false hit at 0.79)."""
CENTERFACE_SCORE: Final = 0.5
GOOD_FIT: Final = 9.0
"""Landmarks that lie so close to the template, in its pixels, are taken as they are."""
CLOSE_LOOK: Final = 288
"""Side in pixels of the square in which a doubtful face is looked at again."""
_STRIDE: Final = 4  # CenterFace answers for every fourth pixel
_MULTIPLE: Final = 32


@dataclass(frozen=True)
class Face:
    """One face in a picture.

    Attributes:
        box: (left, top, right, bottom) in pixels; may lie partly outside.
        landmarks: (5, 2) x, y: the eye and the mouth corner at the left of an upright picture
            come before those at the right; order eye, eye, nose, mouth, mouth.
        score: How certain the detector is, 0–1.
    """

    box: tuple[float, float, float, float]
    landmarks: Array
    score: float

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def side(self) -> float:
        """Longer side of the box in pixels."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


class Detector(Protocol):
    """Finds upright or moderately tilted faces in one small picture."""

    @property
    def name(self) -> str: ...

    def look(self, picture: Array) -> list[Face]:
        """Faces in an (h, w, 3) RGB uint8 picture, in its own pixels, unsorted."""
        ...


class YuNet:
    """OpenCV's small detector, 232 KB; accurate landmarks.

    Args:
        path: ``face_detection_yunet_2023mar.onnx``.
    Raises:
        CheckpointError: OpenCV cannot read the file.
    """

    name = "YuNet"

    def __init__(self, path: Path) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(str(path), "", (320, 320), YUNET_SCORE, 0.3, 5000)
        except (cv2.error, AttributeError) as err:
            raise _unusable(path, err) from err

    def look(self, picture: Array) -> list[Face]:
        """See ``Detector``."""
        height, width = picture.shape[:2]
        self._net.setInputSize((width, height))
        _, rows = self._net.detect(np.ascontiguousarray(picture[:, :, ::-1]))
        return [] if rows is None else [_from_yunet(row) for row in rows]


def _from_yunet(row: Array) -> Face:
    left, top, width, height = (float(v) for v in row[:4])
    landmarks = row[4:14].reshape(5, 2).astype(np.float64)
    return Face((left, top, left + width, top + height), landmarks, float(row[14]))


class CenterFace:
    """A detector without anchors, 7 MB: a map of face centres with sizes and landmarks.

    Args:
        path: ``centerface.onnx``.
    Raises:
        CheckpointError: OpenCV cannot read the file.
    Source:
        Xu et al. 2019, "CenterFace: Joint Face Detection and Alignment Using Face as Point",
        arXiv 1911.03599; meaning of the four outputs.
    """

    name = "CenterFace"
    _OUTPUTS = ("537", "538", "539", "540")  # heat, log size, offset, landmarks

    def __init__(self, path: Path) -> None:
        try:
            self._net = cv2.dnn.readNetFromONNX(str(path))
        except cv2.error as err:
            raise _unusable(path, err) from err

    def look(self, picture: Array) -> list[Face]:
        """See ``Detector``."""
        height, width = picture.shape[:2]
        padded = np.zeros((_up(height), _up(width), 3), np.uint8)
        padded[:height, :width] = picture
        self._net.setInput(cv2.dnn.blobFromImage(padded))
        heat, size, offset, landmarks = (a[0] for a in self._net.forward(self._OUTPUTS))
        rows, columns = np.nonzero(heat[0] > CENTERFACE_SCORE)
        return [
            _from_centre(heat, size, offset, landmarks, int(row), int(column))
            for row, column in zip(rows, columns, strict=True)
        ]


def _up(side: int) -> int:
    return -(-side // _MULTIPLE) * _MULTIPLE


def _from_centre(
    heat: Array, size: Array, offset: Array, landmarks: Array, row: int, column: int
) -> Face:
    """One peak of the heat map as a face; channels are (vertical, horizontal) in turn."""
    high, wide = np.exp(size[:, row, column]) * _STRIDE
    top = (row + offset[0, row, column] + 0.5) * _STRIDE - high / 2
    left = (column + offset[1, row, column] + 0.5) * _STRIDE - wide / 2
    points = landmarks[:, row, column].reshape(5, 2)
    places = np.stack([points[:, 1] * wide + left, points[:, 0] * high + top], 1)
    box = (float(left), float(top), float(left + wide), float(top + high))
    return Face(box, places.astype(np.float64), float(heat[0, row, column]))


def _unusable(path: Path, err: Exception) -> CheckpointError:
    return CheckpointError(
        f"OpenCV cannot read the face detector {path.name}: {str(err).strip()[:200]}",
        "Fetch it again.",
        path=str(path),
    )


def open_detector(files: dict[str, str]) -> Detector:
    """YuNet when its file is there, else CenterFace.

    Args:
        files: Detector name → path.
    Raises:
        CheckpointError: Neither is there, or the file cannot be read.
    """
    if "YuNet" in files:
        return YuNet(Path(files["YuNet"]))
    if "CenterFace" in files:
        return CenterFace(Path(files["CenterFace"]))
    raise CheckpointError(
        "Faces are to be found, but no face detector is in models/facedetection.",
        "Get CenterFace (7 MB) in the Models tab, or put face_detection_yunet_2023mar.onnx there.",
        wanted="CenterFace",
    )


_LOOKING = threading.Lock()


def find_faces(
    pixels: Pixels,
    detector: Detector,
    *,
    all_directions: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Face]:
    """All faces of a picture, from left to right.

    The picture is looked at as a whole for large faces and in windows for small ones.

    Args:
        pixels: RGB or RGBA, any size and depth.
        all_directions: Always look at the quarter turns too; otherwise only when no face is
            upright (a photograph that lies on its side). Takes four times as long.
        should_stop: Asked before each direction.
    Raises:
        Interrupted: ``should_stop`` said so.
    """
    picture = to_eight(pixels[..., :3])
    found: list[Face] = []
    for quarter_turns in range(4):
        if should_stop():
            raise Interrupted
        if found and quarter_turns and not all_directions:
            break
        view = np.ascontiguousarray(np.rot90(picture, quarter_turns))
        with _LOOKING:  # OpenCV's networks keep their input
            faces = [f for f in _in_all_sizes(view, detector) if _is_plausible(f)]
        found += [_turned_back(face, quarter_turns, picture.shape) for face in faces]
    with _LOOKING:
        settled = [_settled(face, picture, detector) for face in _each_once(found)]
    return sorted(settled, key=lambda face: face.centre)


def _settled(face: Face, picture: Array, detector: Detector) -> Face:
    """A face with landmarks that fit: one whose landmarks look guessed, since it lies on its side
    or is much tilted, is looked at again in four directions, and once more exactly upright."""
    if misfit(face.landmarks) <= GOOD_FIT:
        return face
    looks = [_looked_at_again(face, picture, detector, angle) for angle in (0, 90, 180, 270)]
    best = min([face, *filter(None, looks)], key=lambda f: misfit(f.landmarks))
    matrix = alignment(best.landmarks)
    angle = float(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
    upright = _looked_at_again(face, picture, detector, angle)
    return min([best, *filter(None, [upright])], key=lambda f: misfit(f.landmarks))


def _looked_at_again(face: Face, picture: Array, detector: Detector, angle: float) -> Face | None:
    """The same face, seen in a square of its own after a turn by ``angle`` degrees (the sense of
    ``template.alignment``); None when the detector sees none there."""
    scale = CLOSE_LOOK / (2.4 * face.side)
    turn, half = np.radians(angle), CLOSE_LOOK / 2
    rotation = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = np.hstack([rotation, (half - rotation @ np.array(face.centre))[:, None]])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square = cv2.warpAffine(
        picture, matrix, (CLOSE_LOOK, CLOSE_LOOK), flags=how, borderMode=cv2.BORDER_REPLICATE
    )
    near = [f for f in detector.look(square) if np.hypot(*np.subtract(f.centre, half)) < half / 2]
    if not near:
        return None
    seen = max(near, key=lambda f: f.score)
    back = cv2.invertAffineTransform(matrix)
    landmarks = seen.landmarks @ back[:, :2].T + back[:, 2]
    return replace(face, landmarks=landmarks, score=max(face.score, seen.score))


def _in_all_sizes(picture: Array, detector: Detector) -> Iterator[Face]:
    height, width = picture.shape[:2]
    area = height * width
    overview = min(max(1.0, SMALLEST_LOOK / max(height, width)), (OVERVIEW_PIXELS / area) ** 0.5)
    close = min(max(1.0, SMALLEST_LOOK / max(height, width)), (CLOSE_PIXELS / area) ** 0.5)
    for scale in {overview, close}:
        small = _scaled(picture, scale)
        for rows, columns in _windows(small.shape[0], small.shape[1]):
            part = small[rows.start : rows.stop, columns.start : columns.stop]
            for face in detector.look(part):
                if not _is_cut(face, rows, columns, small.shape):
                    yield _moved(face, columns.start, rows.start, 1 / scale)


def _scaled(picture: Array, scale: float) -> Array:
    if scale == 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(picture, size, interpolation=how)


def _windows(height: int, width: int) -> Iterator[tuple[Span, Span]]:
    for rows in spans(height, WINDOW, WINDOW_OVERLAP):
        for columns in spans(width, WINDOW, WINDOW_OVERLAP):
            yield rows, columns


def _is_cut(face: Face, rows: Span, columns: Span, shape: Sequence[int]) -> bool:
    """True for a face at an inner edge of a window: another window, or the overview, has it
    whole."""
    left, top, right, bottom = face.box
    return (
        (columns.start > 0 and left < 2)
        or (rows.start > 0 and top < 2)
        or (columns.stop < shape[1] and right > columns.length - 2)
        or (rows.stop < shape[0] and bottom > rows.length - 2)
    )


def _moved(face: Face, x: float, y: float, factor: float) -> Face:
    left, top, right, bottom = face.box
    box = ((left + x) * factor, (top + y) * factor, (right + x) * factor, (bottom + y) * factor)
    return replace(face, box=box, landmarks=(face.landmarks + np.array([x, y])) * factor)


def _turned_back(face: Face, quarter_turns: int, shape: Sequence[int]) -> Face:
    """A face found in ``np.rot90(picture, quarter_turns)``, in the picture's own pixels."""
    height, width = shape[:2]

    def back(points: Array) -> Array:
        x, y = points[:, 0], points[:, 1]
        if quarter_turns == 1:
            return np.stack([width - y, x], 1)
        if quarter_turns == 2:
            return np.stack([width - x, height - y], 1)
        return np.stack([y, height - x], 1) if quarter_turns == 3 else points

    corners = back(np.array(face.box, np.float64).reshape(2, 2))
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    box = (float(left), float(top), float(right), float(bottom))
    return replace(face, box=box, landmarks=back(face.landmarks))


def _is_plausible(face: Face) -> bool:
    """True when the landmarks make up a face: two eyes well apart and a mouth below them.

    Detectors that see a lying face upright put the landmarks into a heap.
    """
    eyes, mouth = face.landmarks[:2], face.landmarks[3:]
    across = eyes[1] - eyes[0]
    apart = float(np.hypot(*across))
    if apart < 0.2 * min(face.box[2] - face.box[0], face.box[3] - face.box[1]):
        return False
    down = mouth.mean(0) - eyes.mean(0)
    straight = (across[0] * down[1] - across[1] * down[0]) / apart  # distance eyes to mouth
    return bool(straight > 0.4 * apart)


def _each_once(faces: list[Face]) -> list[Face]:
    """Of several finds of one face the most certain."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: f.score, reverse=True):
        if all(_shared(face.box, other.box) <= SAME_FACE for other in kept):
            kept.append(face)
    return kept


def _shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Share of two boxes' joint area that both cover; a box inside another counts as covered."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    both = width * height
    return max(both / (sum(areas) - both), 0.9 * both / max(min(areas), 1e-9) - 0.45)


def centre_face(faces: Sequence[Face], width: int, height: int) -> list[Face]:
    """The one face nearest to the middle of the picture; [] when there is none."""

    def distance(face: Face) -> float:
        x, y = face.centre
        return (x - width / 2) ** 2 + (y - height / 2) ** 2

    return [min(faces, key=distance)] if faces else []
