"""The fields of img2img as one named set, and the request they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import gradio as gr
from pydantic import ValidationError

from webui.errors import ParamsError
from webui.params import Loopback, Outpaint, SdUpscale, SoftInpainting, params_error
from webui.services.resolve import ImageToImageRequest, InpaintRequest
from webui.ui import canvas
from webui.ui.painting_form import (
    PAINTING_DEFAULTS,
    FilesThere,
    PaintingForm,
    number,
    painting_values,
)
from webui.ui.texts import label, named, say

if TYPE_CHECKING:
    from webui.library.inputs import Inputs

MODES = ("img2img", "sketch", "inpaint", "inpaint_sketch", "inpaint_upload", "batch")
INPAINT_MODES = ("inpaint", "inpaint_sketch", "inpaint_upload")
CANVASES = {
    "img2img": "picture", "sketch": "sketch", "inpaint": "inpaint",
    "inpaint_sketch": "inpaint_sketch", "inpaint_upload": "inpaint_upload",
}  # fmt: skip
"""The field that holds each mode's picture."""
MASK_UPLOAD = "mask_upload"
UPLOAD, FOLDER = "Upload", "From directory"
"""Where a batch takes its pictures from."""
RESIZE_TO, RESIZE_BY = "Resize to", "Resize by"
INPAINT_MASKED, INPAINT_NOT_MASKED = "Inpaint masked", "Inpaint not masked"
WHOLE_PICTURE, ONLY_MASKED = "Whole picture", "Only masked"
AS_IN_SETTINGS = "As in settings"
"""The upscaler that the settings choose."""
LOOPBACK, OUTPAINTING, SD_UPSCALE = "Loopback", "Outpainting", "SD upscale"
WITHOUT_MASK = (OUTPAINTING, SD_UPSCALE)
"""Scripts that do not go together with inpainting."""
SIDES = ("left", "right", "up", "down")
CURVES = {"Aggressive": "curve_aggressive", "Linear": "curve_linear", "Lazy": "curve_lazy"}
"""Denoising curves of loopback, and the keys of their texts."""
INTERROGATIONS = {
    "None": "interrogation_none", "CLIP": "interrogation_clip",
    "DeepBooru": "interrogation_tags",
}  # fmt: skip
"""What loopback adds to its prompts, and the keys of their texts."""
MATCHED_NOISE = "matched noise"
OUTPAINT_CONTENTS = {
    "continue": "content_continue", MATCHED_NOISE: "content_matched", "fill": "content_fill",
    "original": "content_original", "latent noise": "content_noise",
    "latent nothing": "content_nothing",
}  # fmt: skip
"""What the new part of a grown picture begins with, and the keys of their texts."""

DEFAULTS: dict[str, Any] = {
    **PAINTING_DEFAULTS,
    "mode": "img2img",
    "picture": "",
    "sketch": "",
    "inpaint": "",
    "inpaint_sketch": "",
    "inpaint_upload": "",
    "mask_upload": "",
    "resize_mode": "Just resize",
    "size_rule": RESIZE_TO,
    "resize_scale": 1.0,
    "resize_upscaler": AS_IN_SETTINGS,
    "denoising": 0.75,
    "image_cfg": 1.5,
    "mask_blur": 4,
    "mask_mode": INPAINT_MASKED,
    "mask_content": "original",
    "inpaint_area": WHOLE_PICTURE,
    "padding": 32,
    "has_soft": False,
    "soft_bias": 1.0,
    "soft_preservation": 0.5,
    "soft_contrast": 4.0,
    "soft_influence": 0.0,
    "soft_threshold": 0.5,
    "soft_difference": 2.0,
    "loops": 4,
    "final_denoising": 0.5,
    "loop_curve": "Linear",
    "loop_interrogation": "None",
    "outpaint_sides": [],
    "outpaint_pixels": 128,
    "outpaint_blur": 24,
    "outpaint_content": "continue",
    "outpaint_noise_q": 1.0,
    "outpaint_color": 0.05,
    "upscaler": "Lanczos",
    "upscale_scale": 2.0,
    "upscale_overlap": 64,
    "batch_source": UPLOAD,
    "batch_files": "[]",
    "batch_input_dir": "",
    "batch_output_dir": "",
    "batch_mask_dir": "",
    "has_png_info": False,
    "png_info_fields": ["Prompt", "Negative prompt", "Seed"],
    "png_info_dir": "",
}


@dataclass(frozen=True)
class Img2ImgForm(PaintingForm):
    """The components, under the names of DEFAULTS."""

    tab: ClassVar[str] = "img2img"
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS

    mode: gr.Radio
    picture: gr.HTML
    sketch: gr.HTML
    inpaint: gr.HTML
    inpaint_sketch: gr.HTML
    inpaint_upload: gr.HTML
    mask_upload: gr.HTML
    resize_mode: gr.Radio
    size_rule: gr.Radio
    resize_scale: gr.Slider
    resize_upscaler: gr.Dropdown
    denoising: gr.Slider
    image_cfg: gr.Slider
    mask_blur: gr.Slider
    mask_mode: gr.Radio
    mask_content: gr.Radio
    inpaint_area: gr.Radio
    padding: gr.Slider
    has_soft: gr.Checkbox
    soft_bias: gr.Slider
    soft_preservation: gr.Slider
    soft_contrast: gr.Slider
    soft_influence: gr.Slider
    soft_threshold: gr.Slider
    soft_difference: gr.Slider
    loops: gr.Slider
    final_denoising: gr.Slider
    loop_curve: gr.Dropdown
    loop_interrogation: gr.Dropdown
    outpaint_sides: gr.CheckboxGroup
    outpaint_pixels: gr.Slider
    outpaint_blur: gr.Slider
    outpaint_content: gr.Dropdown
    outpaint_noise_q: gr.Slider
    outpaint_color: gr.Slider
    upscaler: gr.Dropdown
    upscale_scale: gr.Slider
    upscale_overlap: gr.Slider
    batch_source: gr.Radio
    batch_files: gr.Textbox
    batch_input_dir: gr.Textbox
    batch_output_dir: gr.Textbox
    batch_mask_dir: gr.Textbox
    has_png_info: gr.Checkbox
    png_info_fields: gr.CheckboxGroup
    png_info_dir: gr.Textbox

    def file_menus(self, there: FilesThere) -> dict[gr.Dropdown, list[Any]]:
        """See ``PaintingForm``."""
        return {
            **super().file_menus(there),
            self.resize_upscaler: upscaler_choices(there.upscalers),
            self.upscaler: named(there.upscalers),
        }

    def canvas(self, mode: str) -> gr.HTML:
        """The canvas of a mode.

        Raises:
            KeyError: That mode has none.
        """
        return getattr(self, CANVASES[mode])


def upscaler_choices(names: Sequence[str]) -> list[Any]:
    """Entries of the menu for an input that is enlarged."""
    return [(label("as_in_settings"), AS_IN_SETTINGS), *named(names)]


def has_mask(form: Mapping[str, Any]) -> bool:
    """True where a mask is in play: three sub-tabs, and a batch with a folder of masks."""
    is_folder = form["mode"] == "batch" and form["batch_source"] == FOLDER
    return form["mode"] in INPAINT_MODES or (is_folder and bool(form["batch_mask_dir"]))


@dataclass(frozen=True)
class Source:
    """What a request begins with.

    Attributes:
        init: Key of the picture. mask: Key of its mask, white = repaint; None = no inpainting.
        size: The picture's width and height.
    """

    init: str
    size: tuple[int, int]
    mask: str | None = None


def source_of(form: Mapping[str, Any], inputs: Inputs, language: str) -> Source:
    """What stands on the canvas of the chosen mode, made ready to paint from.

    Raises:
        ParamsError: There is no picture, or nothing was drawn where a mask is needed.
        LibraryError: A kept picture is not there any more.
    """
    mode = form["mode"]
    drawing = canvas.read(form[CANVASES[mode]])
    if drawing is None:
        raise ParamsError(
            say("no_input", language), say("no_input_hint", language), field="init_images"
        )
    size = inputs.image(drawing.picture).size
    if mode in ("img2img", "sketch"):
        return Source(canvas.keep_composite(inputs, drawing), size)
    if mode == "inpaint_upload":
        return Source(drawing.picture, size, _uploaded_mask(form, language))
    mask = canvas.keep_mask(inputs, drawing, is_soft=bool(form["has_soft"]))
    if mask is None:
        raise ParamsError(say("no_mask", language), say("no_mask_hint", language), field="mask")
    has_colours = mode == "inpaint_sketch"
    init = canvas.keep_composite(inputs, drawing) if has_colours else drawing.picture
    return Source(init, size, mask)


def _uploaded_mask(form: Mapping[str, Any], language: str) -> str:
    mask = canvas.read(form[MASK_UPLOAD])
    if mask is None:
        raise ParamsError(
            say("no_mask", language), say("no_mask_upload_hint", language), field="mask"
        )
    return mask.picture


def make_request(
    form: Mapping[str, Any],
    source: Source,
    *,
    top_row: dict[str, Any],
    overrides: dict[str, Any],
    user: str,
) -> ImageToImageRequest:
    """Turn what the form holds into a request; further arguments as ``painting_values``.

    Raises:
        ParamsError: A field holds no number, or one out of its range.
    """
    values = painting_values(form, top_row=top_row, overrides=overrides, user=user)
    if form["size_rule"] == RESIZE_BY:
        values["width"], values["height"] = scaled(source.size, _number(form, "resize_scale"))
    script = form["script"]
    try:
        return ImageToImageRequest(
            **values,
            init_images=(source.init,),
            resize_mode=form["resize_mode"],
            denoising_strength=_number(form, "denoising"),
            image_cfg_scale=_number(form, "image_cfg"),
            upscaler=_resize_upscaler(form),
            inpaint=_inpaint(form, source.mask) if source.mask else None,
            outpaint=_outpaint(form) if script == OUTPAINTING else None,
            sd_upscale=_sd_upscale(form) if script == SD_UPSCALE else None,
            loopback=_loopback(form) if script == LOOPBACK else None,
        )
    except ValidationError as err:
        raise params_error(err) from err


def _resize_upscaler(form: Mapping[str, Any]) -> str | None:
    name = form["resize_upscaler"]
    return None if name in (None, "", AS_IN_SETTINGS) else name


def scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """A picture's size times a factor, in whole steps of 8, at least 64."""
    across, down = (max(64, int(side * scale + 4) // 8 * 8) for side in size)
    return across, down


def _inpaint(form: Mapping[str, Any], mask: str) -> InpaintRequest:
    blur = _number(form, "mask_blur")
    return InpaintRequest(
        mask=mask,
        blur_x=blur,
        blur_y=blur,
        is_inverted=form["mask_mode"] == INPAINT_NOT_MASKED,
        content=form["mask_content"],
        only_masked=form["inpaint_area"] == ONLY_MASKED,
        padding=_number(form, "padding"),
        round_mask=not form["has_soft"],
        soft=_soft(form) if form["has_soft"] else None,
    )


def _soft(form: Mapping[str, Any]) -> SoftInpainting:
    return SoftInpainting(
        schedule_bias=_number(form, "soft_bias"),
        preservation_strength=_number(form, "soft_preservation"),
        transition_contrast_boost=_number(form, "soft_contrast"),
        mask_influence=_number(form, "soft_influence"),
        difference_threshold=_number(form, "soft_threshold"),
        difference_contrast=_number(form, "soft_difference"),
    )


def _outpaint(form: Mapping[str, Any]) -> Outpaint:
    pixels, sides = _number(form, "outpaint_pixels"), form["outpaint_sides"] or []
    return Outpaint(
        **{side: pixels if side in sides else 0 for side in SIDES},
        blur=_number(form, "outpaint_blur"),
        content=form["outpaint_content"],
        noise_q=_number(form, "outpaint_noise_q"),
        color_variation=_number(form, "outpaint_color"),
    )


def _sd_upscale(form: Mapping[str, Any]) -> SdUpscale:
    return SdUpscale(
        upscaler=form["upscaler"] or "None",
        scale=_number(form, "upscale_scale"),
        overlap=_number(form, "upscale_overlap"),
    )


def _loopback(form: Mapping[str, Any]) -> Loopback:
    return Loopback(
        loops=_number(form, "loops"),
        final_denoising_strength=_number(form, "final_denoising"),
        curve=form["loop_curve"],
        interrogation=form["loop_interrogation"],
    )


def _number(form: Mapping[str, Any], name: str) -> Any:
    return number(form, name, DEFAULTS)
