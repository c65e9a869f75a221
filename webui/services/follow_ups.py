"""What comes next from a finished picture: variations of it, and a larger version.

A follow-up depends on its parent alone: prompt, model, sampler and all knobs are those of the
job that made it, whatever the settings say by now. It is a complete request, as every other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from webui.errors import LibraryError
from webui.params import (
    AnyParams,
    Extras,
    Hires,
    ImageToImage,
    Painting,
    SdUpscale,
    TextToImage,
    WithoutPainting,
    build,
)
from webui.samplers.steps import image_seeds
from webui.services.resolve import draw_seed

if TYPE_CHECKING:
    from webui.library.library import SavedPicture
    from webui.studio import Studio

SUBTLE = 0.4
"""Denoising strength of a subtle variation: the composition stays, details differ."""
STRONG = 0.7
"""Denoising strength of a strong variation: colours and rough shapes stay, much else differs."""
ENLARGE_STRENGTH = 0.3
"""Denoising strength of enlarged tiles: with more, each becomes a picture of its own."""
ENLARGE_SCALE = 2.0
ENLARGE_OVERLAP = 64
"""Pixels that neighbouring tiles share, at most; a quarter of small tiles."""

_FROM_TXT2IMG = frozenset(Painting.model_fields)
_WAYS_OF_WORKING = frozenset({"inpaint", "outpaint", "sd_upscale", "loopback", "resize_mode"})
_FROM_IMG2IMG = frozenset(ImageToImage.model_fields) - _WAYS_OF_WORKING - {"kind"}


@dataclass(frozen=True)
class Parent:
    """A finished picture, and how it was made.

    Attributes:
        params: The request of its job.
        index: Its number in the job, from 0.
        key: Its file among the kept inputs.
        width, height: Its own size in pixels.
        seed: Its own seed.
    """

    params: TextToImage | ImageToImage
    index: int
    key: str
    width: int
    height: int
    seed: int


def parent_of(studio: Studio, picture: SavedPicture) -> Parent:
    """Keep a finished picture's file as an input and gather how it was made.

    Raises:
        LibraryError: It is a grid, or its file is gone.
        JobNotFoundError, ParamsError: Its job is gone, or was asked for by another version.
    """
    if picture.kind != "image":
        raise LibraryError(
            "A grid of several pictures has no recipe of its own.",
            "Choose one of its pictures.",
            path=str(picture.path),
        )
    params = studio.params_of(studio.jobs.get(picture.job_id))
    if isinstance(params, WithoutPainting):
        raise LibraryError(
            "A restored picture has no prompt that could be painted once more.",
            "Send it to img2img and write one there.",
            path=str(picture.path),
        )
    key = studio.inputs.keep(studio.library.open(picture.id))
    seed = params.seed if picture.seed is None else picture.seed
    params = params.of_picture(picture.index)
    return Parent(params, picture.index, key, picture.width, picture.height, seed)


def vary(parent: Parent, strength: float, *, count: int = 1, user: str = "") -> ImageToImage:
    """Pictures like the parent: its own pixels, noised to ``strength`` and painted again.

    Args:
        strength: ``SUBTLE``, ``STRONG`` or any other denoising strength, 0–1.
        count: How many, each with its own new seed, in batches as the parent was painted.
        user: Who asks.
    Raises:
        ParamsError: The strength or the parent's size is out of range.
    """
    batch_size = math.gcd(count, parent.params.batch_size)
    return _from_picture(
        parent,
        width=_whole_cells(parent.width),
        height=_whole_cells(parent.height),
        denoising_strength=strength,
        seed=draw_seed(-1),
        batch_size=batch_size,
        batch_count=count // batch_size,
        user=user,
    )


def enlarge(parent: Parent, hires: Hires | None = None, *, user: str = "") -> AnyParams:
    """The parent, larger.

    The first pass of txt2img gets the second pass it did not have ("upscale this one"), with
    its own seed: the result is what hires fix would have given. Every other picture (of img2img,
    or large already) is doubled and repainted in tiles of the size it was painted at, so memory
    does not grow with it.

    Args:
        hires: The second pass; None = its defaults. Not used for other pictures.
        user: Who asks.
    """
    params = parent.params
    if is_first_pass(parent):
        assert isinstance(params, TextToImage)
        second_pass = {
            "hires": hires or Hires(),
            "first_pass_image": parent.key,
            "seed": parent.seed,
            "subseed": _subseed(parent),
            "batch_size": 1,
            "batch_count": 1,
            "user": user,
        }
        return build("txt2img", {**dict(params), **second_pass})
    tile = min(params.width, parent.width), min(params.height, parent.height)
    overlap = min(ENLARGE_OVERLAP, min(tile) // 4)
    return _from_picture(
        parent,
        width=_whole_cells(tile[0]),
        height=_whole_cells(tile[1]),
        denoising_strength=ENLARGE_STRENGTH,
        seed=parent.seed,
        sd_upscale=SdUpscale(scale=ENLARGE_SCALE, overlap=overlap),
        batch_size=1,
        batch_count=1,
        user=user,
    )


def is_first_pass(parent: Parent) -> bool:
    """True for a picture of txt2img that had no second pass."""
    params = parent.params
    size = (parent.width, parent.height)
    is_txt2img = isinstance(params, TextToImage) and params.hires is None
    return is_txt2img and size == (params.width, params.height)


def again(params: AnyParams, index: int, seed: int | None) -> AnyParams:
    """The request for one picture of a job alone, which gives the same picture; the whole job
    where its pictures depend on each other.

    Args:
        index: Its number in the job, from 0. seed: Its own; None = it has none.
    """
    if isinstance(params, WithoutPainting) or params.image_count == 1 or seed is None:
        return params
    if isinstance(params, ImageToImage) and (params.loopback or params.sd_upscale):
        return params
    seeds = image_seeds(params.seed, params.subseed, params.subseed_strength, index + 1)
    values = {
        **dict(params.of_picture(index)),
        "seed": seed,
        "subseed": seeds[1][-1],
        "batch_size": 1,
        "batch_count": 1,
    }
    if isinstance(params, ImageToImage):
        values["init_images"] = (input_of(params, index),)
    return build(params.kind, values)


def input_of(params: AnyParams, index: int) -> str | None:
    """Key of the picture that a job's picture of this number was made from; None without one."""
    if isinstance(params, TextToImage):
        return params.first_pass_image
    if isinstance(params, Extras):
        return params.images[index] if index < len(params.images) else None
    if isinstance(params, WithoutPainting):
        return None
    inputs = params.init_images
    return inputs[index % params.batch_size if len(inputs) > 1 else 0]


def _from_picture(parent: Parent, **values: Any) -> ImageToImage:
    """An img2img request that begins with the parent and keeps all it was painted with."""
    params = parent.params
    kept = _FROM_IMG2IMG if isinstance(params, ImageToImage) else _FROM_TXT2IMG
    plain = {"subseed_strength": 0.0, "seed_resize_from_w": 0, "seed_resize_from_h": 0}
    made = build(
        "img2img",
        {
            **{name: getattr(params, name) for name in kept},
            **plain,
            "init_images": (parent.key,),
            **values,
        },
    )
    assert isinstance(made, ImageToImage)
    return made


def _subseed(parent: Parent) -> int:
    """The parent's own variation seed."""
    params = parent.params
    count = parent.index + 1
    return image_seeds(params.seed, params.subseed, params.subseed_strength, count)[1][-1]


def _whole_cells(pixels: int) -> int:
    """The nearest length that can be painted: a multiple of 8, at least 64."""
    return max(64, round(pixels / 8) * 8)
