"""A finished job in A1111's words: base64 pictures, the request echoed, the ``info`` text."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from webui import PROGRAM_VERSION
from webui.api.progress import timestamp
from webui.api.schemas import ImageToImageBody, PaintingBody
from webui.jobs.store import Job
from webui.lenient import json_safe
from webui.library.grid import make_grid
from webui.params import ImageToImage, Painting, Plot, TextToImage
from webui.pictures import encode
from webui.samplers.steps import image_seeds
from webui.studio import Studio


def answer_of(
    studio: Studio,
    job: Job,
    params: Painting,
    body: PaintingBody,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """What a generation answers.

    Args:
        job: Ended; an interrupted one answers with the pictures it has.
        params: What was painted.
        body: What was asked for; echoed.
        notes: What was asked for and could not be followed; listed under ``warnings``.
    Raises:
        LibraryError: A picture's file is gone.
    """
    pictures = [p for p in studio.library.images_of(job.id) if p.kind == "image"]
    pictures.sort(key=lambda picture: picture.index)
    files = [studio.library.open(picture.id) for picture in pictures]
    infotexts = [picture.infotext for picture in pictures]
    options = {**studio.options.as_dict(), **(body.override_settings or {})}
    has_grid = bool(files) and body.value("save_images") and _wants_grid(options, len(files))
    if has_grid:
        files.insert(0, grid_file(files, params, infotexts[0]))
        infotexts.insert(0, infotexts[0])
    info = info_of(job, params, body, infotexts, first=int(has_grid))
    maps = studio.control_maps.take(job.id)
    if not options["control_net_no_detectmap"]:
        files += maps
    return _answer(body, files, {**info, "warnings": _warnings(studio, job, notes)})


def plot_answer(
    studio: Studio,
    job: Job,
    params: Painting,
    body: PaintingBody,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """As ``answer_of``, of a plot: its sheets, then the pictures of its cells if it wants them.

    What ``info`` tells of one picture is told of the first cell; its lists go over all cells.
    """
    whole, cells = studio.params_of(job), studio.plots.cells(job)
    assert isinstance(whole, Plot), "only plots are answered so"
    painted = [p for cell in cells if isinstance(p := studio.params_of(cell), Painting)]
    sheets = sorted(studio.library.images_of(job.id), key=lambda picture: picture.index)
    shown = [*sheets]
    if whole.include_lone_images:
        shown += [p for cell in cells for p in studio.library.images_of(cell.id)]
    done = next((cell for cell in cells if cell.state == "done"), cells[0])
    info = info_of(done, painted[0], body, [p.infotext for p in shown], first=len(sheets))
    each = [info_of(done, one, body, (), first=0) for one in painted]
    lists = ("all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds")
    merged = {name: [value for one in each for value in one[name]] for name in lists}
    files = [studio.library.open(picture.id) for picture in shown]
    return _answer(body, files, {**info, **merged, "warnings": _warnings(studio, job, notes)})


def _warnings(studio: Studio, job: Job, notes: Sequence[str]) -> list[str]:
    """What could not be followed, as who asked may read it."""
    return [studio.guests.told(job.user, text) for text in (*notes, *job.warnings)]


def _answer(body: PaintingBody, files: Sequence[bytes], info: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [_base64(file) for file in files] if body.value("send_images") else [],
        "parameters": json_safe(_echo(body)),
        "info": json.dumps(json_safe(info), ensure_ascii=False),
    }


def _echo(body: PaintingBody) -> dict[str, Any]:
    """The request with its defaults; its pictures only if it wants them back."""
    if isinstance(body, ImageToImageBody) and not body.value("include_init_images"):
        body = body.model_copy(update={"init_images": None, "mask": None})
    return body.model_dump()


def _wants_grid(options: Mapping[str, Any], count: int) -> bool:
    return bool(options["return_grid"]) and (count > 1 or not options["grid_only_if_multiple"])


def grid_file(files: Sequence[bytes], params: Painting, infotext: str) -> bytes:
    """All pictures on one sheet, as a file in the request's format."""
    output = params.output
    images = [Image.open(io.BytesIO(file)) for file in files]
    sheet = make_grid(images, output.grid_rows, params.batch_size).convert("RGB")
    return encode(
        sheet,
        format=output.format,
        infotext=infotext if output.embed_infotext else None,
        quality=output.quality,
        lossless=output.lossless,
    )


def _base64(file: bytes) -> str:
    return base64.b64encode(file).decode("ascii")


def info_of(
    job: Job, params: Painting, body: PaintingBody, infotexts: Sequence[str], *, first: int
) -> dict[str, Any]:
    """The content of ``info``; prompts and seeds are listed for all pictures asked for.

    Args:
        infotexts: Of the pictures there are, the grid's first if there is one.
        first: Index of the first picture that is no grid.
    """
    seeds, subseeds = image_seeds(
        params.seed, params.subseed, params.subseed_strength, params.image_count
    )
    result = job.result or {}
    each = [params.of_picture(index) for index in range(params.image_count)]
    return {
        "prompt": params.prompt,
        "all_prompts": [one.prompt for one in each],
        "negative_prompt": params.negative_prompt,
        "all_negative_prompts": [one.negative_prompt for one in each],
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": subseeds[0],
        "all_subseeds": subseeds,
        "subseed_strength": params.subseed_strength,
        "width": params.width,
        "height": params.height,
        "sampler_name": params.sampler,
        "cfg_scale": params.cfg_scale,
        "steps": params.steps,
        "batch_size": params.batch_size,
        "restore_faces": bool(result.get("face_restoration_model")),
        "face_restoration_model": result.get("face_restoration_model"),
        "sd_model_name": result.get("sd_model_name"),
        "sd_model_hash": result.get("sd_model_hash"),
        "sd_vae_name": result.get("sd_vae_name"),
        "sd_vae_hash": result.get("sd_vae_hash"),
        "seed_resize_from_w": body.value("seed_resize_from_w"),
        "seed_resize_from_h": body.value("seed_resize_from_h"),
        "denoising_strength": _denoising(params, body),
        "extra_generation_params": result.get("extra_generation_params") or {},
        "index_of_first_image": first,
        "infotexts": list(infotexts),
        "styles": list(params.styles),
        "job_timestamp": timestamp(job.started_at or job.created_at),
        "clip_skip": params.clip_skip,
        "is_using_inpainting_conditioning": bool(result.get("is_using_inpainting_conditioning")),
        "version": PROGRAM_VERSION,
    }


def _denoising(params: Painting, body: PaintingBody) -> float | None:
    if isinstance(params, ImageToImage):
        return params.denoising_strength
    hires = params.hires if isinstance(params, TextToImage) else None
    return hires.denoising_strength if hires else body.denoising_strength
