"""One photograph, from old and small to clear: all repairs in their order.

Scratches, colours, enlarging (one network or two blended), then faces, which are pasted into the
enlarged picture; cropping last. Every step is left out unless the settings ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from webui.params import Repairs
from webui.restoration.colour import repair_colours
from webui.restoration.detect import Detector, Face, centre_face, find_faces
from webui.restoration.faces import (
    FaceRestorer,
    Pass,
    RestoredFace,
    restore_aligned,
    restore_faces,
)
from webui.restoration.pixels import Pixels, as_grey, blended, is_neutral, resized
from webui.restoration.scratches import find_scratches, repair_scratches
from webui.restoration.upscalers import check_size

NO_UPSCALER = "None"
NO_FACE = (
    "No face was found, so none was restored. A face must be at least about 24 pixels high; a "
    "picture that is one cropped face needs «aligned input»."
)
"""What a watcher is told when faces were to be restored and there are none."""


class PixelUpscaler(Protocol):
    """An upscaler that keeps 16 bits and alpha; see ``NetworkUpscaler``."""

    def enlarge_pixels(
        self,
        pixels: Pixels,
        width: int,
        height: int,
        *,
        should_stop: Callable[[], bool],
        on_tile: Callable[[int, int], None],
    ) -> Pixels: ...


class Tools(Protocol):
    """Where a restoration gets its networks. Asked only for what the settings need."""

    def upscaler(self, name: str, denoising: float) -> PixelUpscaler:
        """Raises: CheckpointNotFoundError, ParamsError: none of that name."""
        ...

    def restorer(self, name: str, weight: float) -> FaceRestorer:
        """Raises: CheckpointNotFoundError: none of that name."""
        ...

    def detector(self) -> Detector:
        """Raises: CheckpointError: none is there."""
        ...


class Watcher(Protocol):
    """Whoever waits: hears what is done, may stop it, is told what to know."""

    def stage(self, name: str, done: int, total: int) -> None: ...

    def should_stop(self) -> bool: ...

    def warn(self, message: str) -> None: ...


@dataclass(frozen=True)
class Restored:
    """A finished photograph and its faces, boxes in pixels of the original."""

    pixels: Pixels
    faces: tuple[RestoredFace, ...] = ()


def restore(
    pixels: Pixels,
    settings: Repairs,
    tools: Tools,
    watcher: Watcher,
    *,
    refused: Sequence[int] = (),
    scratch_mask: Image.Image | None = None,
) -> Restored:
    """Repair one photograph.

    Args:
        pixels: RGB or RGBA, 8 or 16 bits; unchanged.
        refused: Numbers of faces that shall stay as they are.
        scratch_mask: White = repair; None = found by itself. Used when scratches are repaired.
    Returns:
        The picture at the depth of the input; every face that was found.
    Raises:
        Interrupted: The watcher stopped the work.
        CheckpointError: Weights are missing or cannot be used.
        ParamsError: An unknown upscaler, or a result that would be too large.
    """
    passes = face_passes(settings, tools)
    detector = tools.detector() if passes and not settings.is_aligned else None
    repaired = _repaired(pixels, settings, watcher, scratch_mask)
    enlarged = _enlarged(repaired, settings, tools, watcher)
    faces: tuple[RestoredFace, ...] = ()
    if passes and detector is not None:
        if enlarged is repaired or enlarged is pixels:
            enlarged = enlarged.copy()
        faces = _with_faces(repaired, enlarged, settings, passes, detector, watcher, refused)
    elif passes:
        enlarged, face = restore_aligned(enlarged, passes, refused=refused)
        faces = (face,)
    if settings.keep_grey and is_neutral(pixels):
        enlarged = as_grey(enlarged)
    return Restored(_cropped(enlarged, settings), faces)


def face_passes(settings: Repairs, tools: Tools) -> list[Pass]:
    """The face restorers that are asked for, in A1111's order."""
    asked = (
        (settings.gfpgan_model, settings.gfpgan_visibility),
        ("RestoreFormer", settings.restoreformer_visibility),
        ("CodeFormer", settings.codeformer_visibility),
    )
    return [
        Pass(tools.restorer(name, settings.codeformer_weight), visibility)
        for name, visibility in asked
        if visibility > 0
    ]


def _repaired(
    pixels: Pixels, settings: Repairs, watcher: Watcher, scratch_mask: Image.Image | None
) -> Pixels:
    if settings.scratch_repair > 0 or scratch_mask is not None:
        watcher.stage("scratches", 0, 1)
        if scratch_mask is not None:
            size = (pixels.shape[1], pixels.shape[0])
            mask = np.asarray(scratch_mask.convert("L").resize(size, Image.Resampling.NEAREST))
        else:
            mask = find_scratches(pixels, settings.scratch_repair)
        pixels = repair_scratches(pixels, mask, should_stop=watcher.should_stop)
    if settings.colour_repair > 0:
        watcher.stage("colours", 0, 1)
        pixels = repair_colours(pixels, settings.colour_repair)
    return pixels


# Enlarging


def goal_size(width: int, height: int, settings: Repairs) -> tuple[int, int]:
    """Size after enlarging, before cropping; the input's own when no upscaler is chosen.

    Source:
        A1111's upscaling step (http-api.md 4): factor, or the larger of both ratios, so that the
        target is covered; rounded down to ``multiple_of``, never below it.
    """
    if settings.upscaler_1 == NO_UPSCALER:
        return width, height
    if settings.resize_mode == "to":
        factor = max(settings.upscaling_resize_w / width, settings.upscaling_resize_h / height)
        if not settings.upscaling_crop:
            factor = min(settings.upscaling_resize_w / width, settings.upscaling_resize_h / height)
            factor = max(factor, 1 / min(width, height))
    else:
        factor = settings.upscaling_resize
    if settings.max_side and max(width, height) * factor > settings.max_side:
        factor = settings.max_side / max(width, height)
    # A hair more: 300 × (100 / 300) shall be 100 in floating point, too.
    sides = (int(side * factor + 1e-6) for side in (width, height))
    step = settings.multiple_of
    wide, high = (max(step, side // step * step) for side in sides)
    check_size(wide, high)
    return wide, high


def _enlarged(pixels: Pixels, settings: Repairs, tools: Tools, watcher: Watcher) -> Pixels:
    """At the goal size; the very same array when there is nothing to do."""
    if settings.upscaler_1 == NO_UPSCALER:
        return pixels
    width, height = goal_size(pixels.shape[1], pixels.shape[0], settings)

    def run(name: str, stage: str) -> Pixels:
        if name == NO_UPSCALER:
            return resized(pixels, width, height)
        upscaler = tools.upscaler(name, settings.upscaler_denoising)
        return upscaler.enlarge_pixels(
            pixels, width, height, should_stop=watcher.should_stop,
            on_tile=lambda done, total: watcher.stage(stage, done, total),
        )  # fmt: skip

    first = run(settings.upscaler_1, "upscaling")
    share = settings.extras_upscaler_2_visibility
    if share > 0 and settings.upscaler_2 != NO_UPSCALER:
        return blended(first, run(settings.upscaler_2, "upscaling"), share)
    return first


def _cropped(pixels: Pixels, settings: Repairs) -> Pixels:
    """Exactly the size asked for: cut from the middle, black where the picture does not reach."""
    if settings.resize_mode != "to" or not settings.upscaling_crop:
        return pixels
    if settings.upscaler_1 == NO_UPSCALER:
        return pixels
    width, height = settings.upscaling_resize_w, settings.upscaling_resize_h
    if (pixels.shape[1], pixels.shape[0]) == (width, height):
        return pixels
    canvas = np.zeros((height, width, pixels.shape[2]), pixels.dtype)
    x, y = width // 2 - pixels.shape[1] // 2, height // 2 - pixels.shape[0] // 2
    left, top = max(0, x), max(0, y)
    part = pixels[max(0, -y) :, max(0, -x) :][: height - top, : width - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return canvas


# Faces


def _with_faces(
    original: Pixels,
    enlarged: Pixels,
    settings: Repairs,
    passes: Sequence[Pass],
    detector: Detector,
    watcher: Watcher,
    refused: Sequence[int],
) -> tuple[RestoredFace, ...]:
    """Restore the faces of a picture inside its enlarged version, in place."""
    watcher.stage("finding faces", 0, 1)
    found = find_faces(
        original, detector, all_directions=settings.all_directions,
        should_stop=watcher.should_stop,
    )  # fmt: skip
    if settings.only_centre_face:
        found = centre_face(found, original.shape[1], original.shape[0])
    if not found:
        watcher.warn(NO_FACE)
    source, faces = original, found
    if settings.upscale_first:
        source, faces = enlarged.copy(), [_grown(face, original, enlarged) for face in found]
    done = restore_faces(
        source, enlarged, faces, passes, refused=refused,
        should_stop=watcher.should_stop,
        on_face=lambda number, total: watcher.stage("faces", number, total),
    )  # fmt: skip
    return tuple(replace(result, box=face.box) for result, face in zip(done, found, strict=True))


def _grown(face: Face, original: Pixels, enlarged: Pixels) -> Face:
    factors = np.array(
        [enlarged.shape[1] / original.shape[1], enlarged.shape[0] / original.shape[0]]
    )
    left, top, right, bottom = np.tile(factors, 2) * np.array(face.box)
    landmarks = (face.landmarks + 0.5) * factors - 0.5
    box = (float(left), float(top), float(right), float(bottom))
    return replace(face, box=box, landmarks=landmarks)
