"""What can be asked for. A params object is complete: it alone reproduces its pictures.

Everything is resolved (seeds drawn, styles merged, names made canonical, options filled in)
before a params object is stored with its job, so no later change of a setting alters it.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from webui.errors import ParamsError
from webui.params.base import (
    MAX_PROMPT_CHARACTERS,
    MAX_SEED,
    Finite,
    Fraction,
    Output,
    Params,
    PictureKey,
    Prompt,
)
from webui.params.control import (
    CONTROL_MODES,
    CONTROL_PASSES,
    CONTROL_RESIZE_MODES,
    MAX_CONTROL_UNITS,
    ControlResizeMode,
    ControlUnit,
)
from webui.params.extension_job import ExtensionJob
from webui.params.extensions import ExtensionValues
from webui.params.file_tools import (
    BakeLoras,
    ConvertModel,
    ExtractLora,
    FileTool,
    MergeCheckpoints,
    MergeLoras,
    WeightedLora,
)
from webui.params.image_to_image import (
    MASKED_CONTENTS,
    RESIZE_MODES,
    ImageToImage,
    Inpaint,
    Loopback,
    MaskedContent,
    Outpaint,
    ResizeMode,
    SdUpscale,
    SoftInpainting,
)
from webui.params.painting import (
    DrawnTexts,
    FaceRestoration,
    Painting,
    Refiner,
    Sampling,
    TiledDiffusion,
)
from webui.params.plots import MAX_CELLS, Label, Plot
from webui.params.text_to_image import (
    LATENT_UPSCALE_MODES,
    PLAIN_UPSCALERS,
    Hires,
    TextToImage,
)
from webui.params.training import TrainingOptions, TrainLora
from webui.params.without_painting import (
    CaptionPictures,
    Describing,
    Extras,
    FetchWeights,
    FindFaces,
    Interrogate,
    MakeMap,
    RefusedFace,
    Repairs,
    RestoreVideo,
    WithoutPainting,
)

__all__ = [
    "CONTROL_MODES",
    "CONTROL_PASSES",
    "CONTROL_RESIZE_MODES",
    "FILE_TOOL_KINDS",
    "LATENT_UPSCALE_MODES",
    "MASKED_CONTENTS",
    "MAX_CELLS",
    "MAX_CONTROL_UNITS",
    "MAX_PROMPT_CHARACTERS",
    "MAX_SEED",
    "PLAIN_UPSCALERS",
    "RESIZE_MODES",
    "AnyFileTool",
    "AnyParams",
    "BakeLoras",
    "CaptionPictures",
    "ControlResizeMode",
    "ControlUnit",
    "ConvertModel",
    "Describing",
    "DrawnTexts",
    "ExtensionJob",
    "ExtensionValues",
    "ExtractLora",
    "Extras",
    "FaceRestoration",
    "FetchWeights",
    "FileTool",
    "FindFaces",
    "Finite",
    "Fraction",
    "Hires",
    "ImageToImage",
    "Inpaint",
    "Interrogate",
    "Label",
    "Loopback",
    "MakeMap",
    "MaskedContent",
    "MergeCheckpoints",
    "MergeLoras",
    "Outpaint",
    "Output",
    "Painting",
    "Params",
    "PictureKey",
    "Plot",
    "Prompt",
    "Refiner",
    "RefusedFace",
    "Repairs",
    "ResizeMode",
    "RestoreVideo",
    "Sampling",
    "SdUpscale",
    "SoftInpainting",
    "TextToImage",
    "TiledDiffusion",
    "TrainLora",
    "TrainingOptions",
    "WeightedLora",
    "WithoutPainting",
    "build",
    "from_json",
    "params_error",
]

AnyFileTool = MergeCheckpoints | ConvertModel | ExtractLora | MergeLoras | BakeLoras
AnyParams = (
    TextToImage
    | ImageToImage
    | Extras
    | RestoreVideo
    | FetchWeights
    | FindFaces
    | CaptionPictures
    | Interrogate
    | MakeMap
    | AnyFileTool
    | TrainLora
    | Plot
    | ExtensionJob
)
_KINDS: dict[str, type[AnyParams]] = {
    "txt2img": TextToImage,
    "img2img": ImageToImage,
    "extras": Extras,
    "restore-video": RestoreVideo,
    "fetch-weights": FetchWeights,
    "find-faces": FindFaces,
    "caption-pictures": CaptionPictures,
    "interrogate": Interrogate,
    "make-map": MakeMap,
    "merge-checkpoints": MergeCheckpoints,
    "convert-model": ConvertModel,
    "extract-lora": ExtractLora,
    "merge-loras": MergeLoras,
    "bake-loras": BakeLoras,
    "train-lora": TrainLora,
    "plot": Plot,
    "extension": ExtensionJob,
}
FILE_TOOL_KINDS = tuple(kind for kind, made in _KINDS.items() if issubclass(made, FileTool))


def build(kind: str, values: dict[str, Any]) -> AnyParams:
    """Make and check a params object.

    Args:
        kind: The request's kind, such as ``txt2img``.
        values: Field values by name; missing ones take their defaults.
    Raises:
        ParamsError: An unknown kind, an unknown field or a value out of range (``field``).
    """
    if kind not in _KINDS:
        raise ParamsError(
            f"No kind of job is called {kind!r}.",
            f"Known kinds: {', '.join(_KINDS)}.",
            field="kind",
        )
    try:
        return _KINDS[kind].model_validate({**values, "kind": kind})
    except ValidationError as err:
        raise params_error(err) from err


def from_json(text: str) -> AnyParams:
    """Read a params object back from a job row.

    Raises:
        ParamsError: The text is not a request this version knows.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as err:
        raise ParamsError("The stored request is not readable JSON.", "Ask for it again.") from err
    return build(values.pop("kind", "txt2img"), values)


def params_error(err: ValidationError) -> ParamsError:
    """Say in one sentence what pydantic found wrong, with the first field at fault."""
    first = err.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    value = first.get("input")
    shown = (
        repr(value) if len(repr(value)) <= 80 else f"{type(value).__name__} of {len(str(value))}"
    )
    if first["type"] == "value_error":
        return ParamsError(str(first.get("ctx", {}).get("error")), field=field)
    if first["type"] == "missing":
        return ParamsError(f"{field} is missing.", "Give it a value.", field=field)
    rule = first["msg"][0].lower() + first["msg"][1:]
    return ParamsError(
        f"{field or 'The request'} was {shown}; {rule}.",
        "Change that value and try again.",
        field=field,
    )
