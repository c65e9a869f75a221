"""Painting a finished picture anew in the middle of its own job, for extensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PIL import Image
from torch import Tensor

from webui.errors import JobCancelled
from webui.model_process.extensions import JobContext
from webui.model_process.job_listener import JobListener
from webui.model_process.job_supplies import JobSupplies
from webui.params import ImageToImage, Painting, build
from webui.pipelines.runs import run_class
from webui.pipelines.supplies import Picture

IMAGE_KEY, MASK_KEY = "e" * 64, "f" * 64
"""Keys of pictures that are in memory alone, for the length of one repainting."""
NOT_TAKEN_OVER = frozenset(
    {"drawn", "restore_faces", "refiner", "control", "extensions", "batch_size", "batch_count"}
)
"""Fields of the job's request that a repainting has at their usual values."""


def repaint(
    params: Painting,
    supplies: JobSupplies,
    listener: JobListener,
    context: JobContext,
    image: Image.Image,
    mask: Image.Image | None,
    changes: Mapping[str, Any],
) -> Image.Image:
    """See ``hookspecs.Job.repaint``.

    Args:
        params: The job's own request. supplies: Its models.
        context: Says which of the job's pictures is worked on.
        changes: Of ``inpaint``, a mapping is laid over the usual values.
    """
    seed = params.seed if context.seed is None else context.seed
    own = params.of_picture(context.index).model_copy(update={"seed": seed})
    request = _request(own, image, mask, changes)
    supplies.pictures = {IMAGE_KEY: image} if mask is None else {IMAGE_KEY: image, MASK_KEY: mask}
    collected = _Collector(listener)
    try:
        run_class(request)(request, supplies, collected).paint()
    finally:
        supplies.pictures = {}
    if not collected.images:
        raise JobCancelled("The job was interrupted.")
    return collected.images[0]


def _request(
    params: Painting, image: Image.Image, mask: Image.Image | None, changes: Mapping[str, Any]
) -> ImageToImage:
    shared = {name: getattr(params, name) for name in Painting.model_fields}
    values = {
        **{name: value for name, value in shared.items() if name not in NOT_TAKEN_OVER},
        "width": image.width // 8 * 8,
        "height": image.height // 8 * 8,
        **changes,
        "init_images": (IMAGE_KEY,),
        "inpaint": None if mask is None else {**changes.get("inpaint", {}), "mask": MASK_KEY},
    }
    request = build("img2img", values)
    assert isinstance(request, ImageToImage)
    return request


class _Collector:
    """Listens to a repainting: keeps its pictures, passes the rest on."""

    def __init__(self, listener: JobListener) -> None:
        self._listener = listener
        self.images: list[Image.Image] = []

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        self._listener.progress(batch, batches, step, steps, stage)

    def preview(self, latents: Tensor) -> None:
        self._listener.preview(latents)

    def finished(self, picture: Picture) -> None:
        self.images.append(picture.image)

    def warn(self, message: str) -> None:
        self._listener.warn(message)

    def should_stop(self) -> bool:
        return self._listener.should_stop()

    def takes_next_batch(self) -> bool:
        return not self._listener.should_stop()
