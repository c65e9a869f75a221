"""The Detailer: every face of a finished picture is painted once more, by itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from webui.errors import CheckpointError, JobCancelled
from webui.hookspecs import Job, hook
from webui.progress import Interrupted
from webui.restoration.detect import Detector, find_faces, open_detector

from .fields import ALWAYS_TOLD, FACE, KNOWN, UNITS, VERSION_KEY, recipe_key, unit_values
from .masks import chosen_boxes, masks_of, prompt_of

VERSION = "danqing 1.0"
_HAS_FACE = "has face"
"""Of a job's state: whether a face was found, by the number of a picture that was looked at."""


@hook
def picture_finished(image: Image.Image, index: int, seed: int, job: Job) -> Image.Image | None:
    """Repaint the faces, unit after unit; what is done stays when the person stops."""
    units = [unit_values(job.values, ending) for ending in UNITS]
    units = [unit for unit in units if unit["model"] == FACE]
    detector = _detector(job) if units else None
    if detector is None:
        return None
    for unit in units:
        image = _detailed(image, unit, detector, index, seed, job)
    return image


@hook
def after_job(job: Job) -> None:
    """Say where there was nothing to do: without it, nobody knows why a picture is as it was."""
    has_face = job.state.get(_HAS_FACE, {})
    faceless, looked = list(has_face.values()).count(False), len(has_face)
    if faceless:
        job.warn(f"The Detailer found no face in {faceless} of {looked} pictures.")


def _detector(job: Job) -> Detector | None:
    """The detector of this job; None, said once, when there is none or it cannot be used."""
    if "detector" not in job.state:
        path = job.file("detector")
        try:
            job.state["detector"] = open_detector(_named(path))
        except CheckpointError as err:
            job.state["detector"] = None
            job.warn(f"Faces were not repainted. {err}")
    return job.state["detector"]


def _named(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    return {"YuNet" if "yunet" in path.name.lower() else "CenterFace": str(path)}


def _detailed(
    image: Image.Image, unit: Mapping[str, Any], detector: Detector, index: int, seed: int, job: Job
) -> Image.Image:
    try:
        faces = find_faces(np.asarray(image), detector, should_stop=job.should_stop)
    except Interrupted:
        return image
    boxes = chosen_boxes(faces, unit, image.width, image.height)
    has_face = job.state.setdefault(_HAS_FACE, {})
    has_face[index] = has_face.get(index, False) or bool(boxes)
    own = job.params.of_picture(index)
    for number, mask in enumerate(masks_of(boxes, unit, image.width, image.height)):
        prompt = prompt_of(unit["prompt"], number, own.prompt)
        negative = prompt_of(unit["negative_prompt"], number, own.negative_prompt)
        if prompt is None or negative is None:
            continue
        changes = {**_changes(unit, own, image), "seed": seed + number}
        try:
            if job.should_stop():
                break
            image = job.repaint(image, mask, prompt=prompt, negative_prompt=negative, **changes)
        except (JobCancelled, Interrupted):
            break
    return image


def _changes(unit: Mapping[str, Any], own: Any, image: Image.Image) -> dict[str, Any]:
    """What a repainting has otherwise than the picture's own painting."""
    size = (own.width, own.height) if unit["only_masked"] else image.size
    wanted = (unit["width"] or size[0], unit["height"] or size[1])
    chosen = {name: unit[name] for name in ("steps", "cfg_scale", "sampler") if unit[name]}
    blur = unit["mask_blur"]
    return {
        **chosen,
        "width": max(64, wanted[0] // 8 * 8),
        "height": max(64, wanted[1] // 8 * 8),
        "denoising_strength": unit["denoising_strength"],
        "inpaint": {
            "blur_x": blur,
            "blur_y": blur,
            "only_masked": unit["only_masked"],
            "padding": unit["padding"],
        },
    }


@hook
def infotext_written(pairs: dict[str, Any], job: Job) -> dict[str, Any]:
    """Of units that are on, what differs from the usual and what ADetailer always tells."""
    told = dict(pairs)
    for ending in UNITS:
        unit = unit_values(job.values, ending)
        for known in KNOWN:
            one, key = known.field, recipe_key(known.field.infotext, ending)
            value = unit[one.name]
            is_told = unit["model"] == FACE and (one.name in ALWAYS_TOLD or value != one.usual)
            told[key] = value if is_told else None
            if known.asked[1] and is_told:
                told[recipe_key(known.asked[1], ending)] = True
    return {**told, VERSION_KEY: VERSION}
