"""What a ControlNet is told: one unit of up to three."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from webui.params.base import Fraction, Params, PictureKey

MAX_CONTROL_UNITS = 3
CONTROL_MODES = ("Balanced", "My prompt is more important", "ControlNet is more important")
CONTROL_RESIZE_MODES = ("Just Resize", "Crop and Resize", "Resize and Fill")
CONTROL_PASSES = ("Both", "Low res only", "High res only")
"""A1111's ControlNet extension's words, in its order."""
ControlMode = Literal["Balanced", "My prompt is more important", "ControlNet is more important"]
ControlResizeMode = Literal["Just Resize", "Crop and Resize", "Resize and Fill"]
ControlPass = Literal["Both", "Low res only", "High res only"]


class ControlUnit(Params):
    """One picture that guides the painting, through one ControlNet.

    Attributes:
        model: Catalog name of the ControlNet.
        module: The preprocessor that makes the map out of the picture; ``none`` = it is one.
        image: None = the picture that img2img repaints.
        mask: White = repaint, for the inpaint preprocessor (None = that of img2img); with any
            other it is taken for the map, as people draw scribbles.
        weight: How strongly it acts; 0 = not at all.
        guidance_start, guidance_end: Between which shares of the steps it acts.
        control_mode: Which counts more: the two modes that are not balanced weaken its outer
            layers, and the last lets it act on the prompt alone, not on the negative one.
        resize_mode: How the map is brought to the picture's size.
        processor_res: Length in pixels of the shorter side the preprocessor works at; -1 in a
            wish = its usual value, as with the next two.
        threshold_a, threshold_b: The preprocessor's two knobs, see ``preprocessors.names``.
        pixel_perfect: Have it work at the size that is painted instead.
        low_vram: Its network waits in main memory between its turns.
        hr_option: In which pass of hires fix it acts.
        save_detected_map: Hand its map back with the pictures, through the API.
    """

    model: str = Field(min_length=1)
    module: str = "none"
    image: PictureKey | None = None
    mask: PictureKey | None = None
    weight: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] = 1.0
    guidance_start: Fraction = 0.0
    guidance_end: Fraction = 1.0
    control_mode: ControlMode = "Balanced"
    resize_mode: ControlResizeMode = "Crop and Resize"
    processor_res: int = Field(default=-1, ge=-1, le=4096)
    threshold_a: Annotated[float, Field(ge=-1, le=4096, allow_inf_nan=False)] = -1
    threshold_b: Annotated[float, Field(ge=-1, le=4096, allow_inf_nan=False)] = -1
    pixel_perfect: bool = False
    low_vram: bool = False
    hr_option: ControlPass = "Both"
    save_detected_map: bool = True

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> ControlUnit:
        if self.guidance_start > self.guidance_end:
            raise ValueError(
                f"A ControlNet was to begin at {self.guidance_start} and to end at "
                f"{self.guidance_end}. Let it begin before it ends."
            )
        return self

    @property
    def input_keys(self) -> tuple[str, ...]:
        """Its own pictures."""
        return tuple(key for key in (self.image, self.mask) if key is not None)
