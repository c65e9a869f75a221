"""A face's way: aligned to the restorers' template, restored, pasted back; and how much it changed.

Restorers were trained on faces of 512×512 whose eyes, nose and mouth corners lie where FFHQ's
lie on average. A face is turned and scaled there by a similarity, restored, and brought back
through the inverse into the picture, which may meanwhile be enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from webui.errors import CheckpointError
from webui.progress import Interrupted
from webui.restoration.detect import Face
from webui.restoration.networks import Shelf, load_network, read_tensors
from webui.restoration.pixels import Pixels, highest, resized, to_image
from webui.restoration.template import SIDE, TEMPLATE, alignment

Array = NDArray[Any]
OUTSIDE: Final = (0.53, 0.52, 0.52)
"""What lies beyond the photograph's edge in an aligned face. Source: published inference code of
GFPGAN and CodeFormer (135, 133, 132 of 255)."""
MASK_EDGE: Final = 16
"""Pixels at the rim of the aligned face that are never pasted."""
MASK_SOFTNESS: Final = 64
"""Pixels over which the pasted face fades in."""


class FaceRestorer(Protocol):
    """Makes one aligned face clear."""

    @property
    def name(self) -> str: ...

    def restore(self, face: Array) -> Array:
        """(512, 512, 3) float32 RGB in [0, 1] to the same; the input stays unchanged."""
        ...


class NetworkRestorer:
    """GFPGAN, RestoreFormer or CodeFormer.

    Args:
        name: As people choose it.
        network: spandrel's descriptor, float32.
        weight: CodeFormer's fidelity: 0 = strongest effect, 1 = most faithful; others ignore it.
    """

    def __init__(self, name: str, network: Any, weight: float = 0.5) -> None:
        self._name = name
        self._network = network
        self._weight = weight

    @property
    def name(self) -> str:
        """See ``FaceRestorer``."""
        return self._name

    @torch.inference_mode()
    def restore(self, face: Array) -> Array:
        """See ``FaceRestorer``.

        Raises:
            CheckpointError: The network calculated values that are no numbers.
        """
        values = torch.from_numpy(np.ascontiguousarray(face)).permute(2, 0, 1)[
            None
        ]  # (1,3,512,512)
        values = values.to(self._network.device).mul(2).sub(1)
        answer = self._network.model(values, **self._options())[0]
        answer = answer[0] if answer.ndim == 4 else answer
        if not bool(torch.isfinite(answer).all()):
            raise CheckpointError(
                f"{self._name} calculated values that are no numbers.",
                "The file may be damaged: download it again.",
            )
        restored = answer.float().clamp(-1, 1).add(1).div(2)
        return np.ascontiguousarray(restored.permute(1, 2, 0).cpu().numpy())

    def _options(self) -> dict[str, Any]:
        """What each network's call takes beside the picture."""
        kind = self._network.architecture.id
        if kind == "GFPGAN":  # its stored noise, so that a repeated job repeats its picture
            return {"randomize_noise": False, "return_rgb": False}
        return {"weight": self._weight} if kind == "CodeFormer" else {}


def load_restorer(name: str, path: Path, shelf: Shelf, *, weight: float = 0.5) -> NetworkRestorer:
    """A face restorer from its weights.

    Raises:
        CheckpointError: The file cannot be used, or holds no face restorer.
    """

    def make() -> Any:
        network = load_network(path, read_tensors(path), shelf.device)
        if network.purpose != "FaceSR":
            raise CheckpointError(
                f"A face restorer was wanted; {path.name} holds {network.architecture.name} "
                f"({network.purpose}).",
                "Choose GFPGAN, RestoreFormer or CodeFormer.",
                path=str(path),
            )
        return network

    changed = path.stat().st_mtime_ns if path.exists() else 0
    return NetworkRestorer(name, shelf.get(("face", str(path), changed), make), weight)


# Alignment


def aligned(pixels: Pixels, matrix: Array) -> Array:
    """The (512, 512, 3) float32 RGB face in [0, 1] that a matrix cuts out of a picture.

    A face larger than 512 pixels is made smaller first, so that nothing flickers.
    """
    scale = float(np.hypot(*matrix[:, 0]))
    box = _reach(matrix, pixels.shape[1], pixels.shape[0])
    part = pixels[box[1] : box[3], box[0] : box[2], :3]
    shrink = min(1.0, scale * 1.5)
    shift = np.array([[1, 0, box[0]], [0, 1, box[1]], [0, 0, 1.0]])
    if shrink < 1 and part.size:
        size = max(1, round(part.shape[1] * shrink)), max(1, round(part.shape[0] * shrink))
        grow = np.diag([part.shape[1] / size[0], part.shape[0] / size[1], 1.0])
        # Pixel centres lie at halves: x of the small one is (x + 0.5) · factor − 0.5.
        grow[0, 2], grow[1, 2] = (grow[0, 0] - 1) / 2, (grow[1, 1] - 1) / 2
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
        shift = shift @ grow
    values = part.astype(np.float32) / highest(pixels)
    warp = np.vstack([matrix, [0, 0, 1]]) @ shift
    face = cv2.warpAffine(
        values, warp[:2], (SIDE, SIDE), flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_CONSTANT, borderValue=OUTSIDE,
    )  # fmt: skip
    return np.clip(face, 0, 1)


def _reach(matrix: Array, width: int, height: int) -> tuple[int, int, int, int]:
    """The part of a picture that the aligned face covers, with a margin: left, top, right,
    bottom, inside the picture and at least one pixel large."""
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [SIDE, 0, 1], [0, SIDE, 1], [SIDE, SIDE, 1.0]]) @ back.T
    margin = 4 + 4 / max(float(np.hypot(*matrix[:, 0])), 1e-6)
    low, high = corners.min(0) - margin, corners.max(0) + margin
    left, top = (int(np.clip(np.floor(low[i]), 0, (width, height)[i] - 1)) for i in (0, 1))
    right, bottom = (
        int(np.clip(np.ceil(high[i]), (left, top)[i] + 1, (width, height)[i])) for i in (0, 1)
    )
    return left, top, right, bottom


def soft_mask() -> Array:
    """(512, 512) float32: 1 over the face, fading to 0 towards the rim, round at the corners."""
    line = np.minimum(np.arange(SIDE) + 0.5, SIDE - np.arange(SIDE) - 0.5) - MASK_EDGE
    inwards = np.clip(line / MASK_SOFTNESS, 0, 1)
    out = 1 - inwards
    distance = np.sqrt(out[:, None] ** 2 + out[None, :] ** 2)
    share = np.clip(1 - distance, 0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)


def paste(background: Pixels, face: Array, matrix: Array, *, strength: float = 1.0) -> None:
    """Put a restored face into a picture, in place.

    Args:
        background: Changed where the mask is above 0, nowhere else; alpha stays.
        face: (512, 512, 3) float32 in [0, 1]. matrix: Background to template.
        strength: 0–1, share of the restored face at the middle of the mask.
    """
    if strength <= 0:
        return
    left, top, right, bottom = _reach(matrix, background.shape[1], background.shape[0])
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1.0]])
    warp = (np.vstack([matrix, [0, 0, 1]]) @ shift)[:2]
    size, flags = (right - left, bottom - top), cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    scale = float(np.hypot(*matrix[:, 0]))
    face = _softened(face, scale)
    drawn = cv2.warpAffine(face, warp, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(
        soft_mask(), warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )  # 0 outside
    share = (mask * strength)[..., None]
    part = background[top:bottom, left:right, :3]
    white = highest(background)
    mixed = part.astype(np.float32) * (1 - share) + np.clip(drawn, 0, 1) * white * share
    np.copyto(part, np.rint(mixed).astype(background.dtype), where=share > 0)


def _softened(face: Array, scale: float) -> Array:
    """Before a face is made smaller than it is, what is finer than a pixel goes.

    Args:
        scale: Template pixels for one pixel of the picture.
    """
    if scale <= 1.25:
        return face
    sigma = 0.25 * scale
    return cv2.GaussianBlur(face, (0, 0), sigma)


# Identity


_ZONES: Final = {
    "eyes": (150, 190, 362, 290),
    "nose": (200, 230, 312, 345),
    "mouth": (175, 335, 337, 410),
    "whole": (128, 150, 384, 440),
}
"""Parts of the template: left, top, right, bottom."""


def identity_distance(before: Array, after: Array) -> float:
    """How far a restored face has gone from the one it was made of: 0 = same, 1 = unrelated.

    Both faces are made grey and as coarse as an old photograph (64 pixels), so that gained
    sharpness counts little; then shapes of light and dark are compared over eyes, nose, mouth
    and the whole: 1 − the mean zero-mean normalised cross-correlation. A measure of change for
    the eye, no biometric proof: it knows one picture of a person, not the person.

    Args:
        before, after: (512, 512, 3) float32 in [0, 1], aligned alike.
    """
    first, second = (_coarse(face) for face in (before, after))
    likeness = [
        _correlation(
            first[t // 8 : b // 8, l // 8 : r // 8], second[t // 8 : b // 8, l // 8 : r // 8]
        )
        for l, t, r, b in _ZONES.values()  # noqa: E741
    ]
    return float(np.clip(1 - np.mean(likeness), 0, 1))


def _coarse(face: Array) -> Array:
    grey = face @ np.array([0.299, 0.587, 0.114], np.float32)
    return cv2.resize(grey, (SIDE // 8, SIDE // 8), interpolation=cv2.INTER_AREA)


def _correlation(first: Array, second: Array) -> float:
    """Zero-mean normalised cross-correlation; flat parts count as equal to flat parts."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    flat = 1e-3 * first.size
    return (float((a * b).sum()) + flat * 1e-3) / (size + flat * 1e-3)


# A whole picture


@dataclass(frozen=True)
class RestoredFace:
    """What became of one face.

    Attributes:
        number: From 0, from left to right: what a person refuses it by.
        box: (left, top, right, bottom) in pixels of the picture it was found in.
        score: Of the detector.
        before, after: 512×512 pictures; ``after`` at full strength.
        distance: See ``identity_distance``.
        is_pasted: False when the person refused it.
    """

    number: int
    box: tuple[float, float, float, float]
    score: float
    before: Image.Image
    after: Image.Image
    distance: float
    is_pasted: bool


@dataclass(frozen=True)
class Pass:
    """One restorer's turn: GFPGAN first and CodeFormer on top, for example.

    Attributes:
        strength: 0–1, how much of its result counts.
    """

    restorer: FaceRestorer
    strength: float = 1.0


def restore_faces(
    pixels: Pixels,
    background: Pixels,
    faces: Sequence[Face],
    passes: Sequence[Pass],
    *,
    refused: Sequence[int] = (),
    should_stop: Callable[[], bool] = lambda: False,
    on_face: Callable[[int, int], None] = lambda done, total: None,
) -> list[RestoredFace]:
    """Restore faces and paste them into the background, in place.

    Args:
        pixels: The picture the faces were found in; unchanged.
        background: The same picture at any size; changed under the faces.
        passes: Restorers one after another.
        refused: Numbers of faces that stay as they are (they are restored and shown all the same).
        should_stop: Asked before each face. on_face: Told (done, total).
    Raises:
        Interrupted: ``should_stop`` said so; faces that were done are in the background.
    """
    across = background.shape[1] / pixels.shape[1]
    down = background.shape[0] / pixels.shape[0]
    results = []
    for number, face in enumerate(faces):
        if should_stop():
            raise Interrupted
        matrix = alignment(face.landmarks)
        before = aligned(pixels, matrix)
        shown = full = before
        for turn in passes:
            full = turn.restorer.restore(shown)
            shown = shown + (full - shown) * np.float32(turn.strength)
        is_pasted = number not in refused
        if is_pasted:
            # With one pass the background itself shows through; with more, the last one is mixed.
            single = len(passes) == 1
            goal = alignment(_grown(face.landmarks, across, down))
            strength = passes[0].strength if single else max(p.strength for p in passes)
            paste(background, full if single else _unmixed(before, shown, strength), goal,
                  strength=strength)  # fmt: skip
        results.append(
            _result(number, face, before, full if len(passes) == 1 else shown, is_pasted)
        )
        on_face(number + 1, len(faces))
    return results


def _unmixed(before: Array, mixed: Array, strength: float) -> Array:
    """The face which, at that strength over ``before``, gives ``mixed``."""
    if strength <= 0:
        return mixed
    return np.clip(before + (mixed - before) / np.float32(strength), 0, 1)


def _grown(landmarks: Array, across: float, down: float) -> Array:
    """Landmarks in an enlarged picture; pixel centres lie at halves."""
    factors = np.array([across, down])
    return (landmarks + 0.5) * factors - 0.5


def _result(number: int, face: Face, before: Array, after: Array, is_pasted: bool) -> RestoredFace:
    return RestoredFace(
        number=number,
        box=face.box,
        score=face.score,
        before=_as_image(before),
        after=_as_image(after),
        distance=identity_distance(before, after),
        is_pasted=is_pasted,
    )


def _as_image(face: Array) -> Image.Image:
    return to_image(np.rint(np.clip(face, 0, 1) * 255).astype(np.uint8))


def restore_aligned(
    pixels: Pixels, passes: Sequence[Pass], *, refused: Sequence[int] = ()
) -> tuple[Pixels, RestoredFace]:
    """Restore a picture that is itself one aligned face.

    Args:
        pixels: Any size; it is brought to 512×512 for the restorer and back. Unchanged.
    Returns:
        A new picture of the same size and depth, alpha kept; and what became of the face.
    """
    white = highest(pixels)
    before = resized(pixels[..., :3], SIDE, SIDE).astype(np.float32) / white
    shown = full = before
    for turn in passes:
        full = turn.restorer.restore(shown)
        shown = shown + (full - shown) * np.float32(turn.strength)
    is_pasted = 0 not in refused
    result = pixels.copy()
    if is_pasted:
        drawn = np.rint(np.clip(shown, 0, 1) * white).astype(pixels.dtype)
        result[..., :3] = resized(drawn, pixels.shape[1], pixels.shape[0])
    face = Face((0.0, 0.0, float(pixels.shape[1]), float(pixels.shape[0])), TEMPLATE, 1.0)
    return result, _result(0, face, before, full if len(passes) == 1 else shown, is_pasted)
