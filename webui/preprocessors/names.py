"""Which preprocessors there are, what turns their knobs, and by which names people know them.

Source:
    Names, labels, ranges and usual values: sd-webui-controlnet 1.1.455.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from webui.errors import ParamsError
from webui.params import ControlUnit

NONE: Final = "none"
INPAINT: Final = "inpaint_global_harmonious"
ALL: Final = "All"


@dataclass(frozen=True)
class Knob:
    """A number that a preprocessor is told.

    Attributes:
        step: 0 = the extension names none.
    """

    label: str
    value: float
    minimum: float
    maximum: float
    step: float = 0

    def kept(self, value: float) -> float:
        """The value, or the usual one where it is out of range (-1 asks for that)."""
        return value if self.minimum <= value <= self.maximum else self.value


RESOLUTION: Final = Knob("Resolution", 512, 64, 2048, 8)


@dataclass(frozen=True)
class Preprocessor:
    """One way to make a map.

    Attributes:
        name: As it is listed and stored.
        short: The name API clients use besides; '' = the same.
        types: Kinds of control it serves. usual_for: Those for which it is chosen first.
        resolution: At which size it works; None = the picture's own.
        knobs: ``threshold_a`` and ``threshold_b``, as far as it has them.
        softens_second_pass: Its one-pixel lines act weaker in the second pass of hires fix.
        fixes_colours: Broad colours of what is painted come from the picture.
        hides_mask: The ControlNet is told that nothing is known of what is masked.
        keeps_rest: What is not masked stays the picture's own; in txt2img, as img2img sees to
            that itself.
        is_network: It is a network, whose weights lie in a file of its own
            (``checkpoints.map_networks``).
    """

    name: str
    types: tuple[str, ...] = ()
    short: str = ""
    resolution: Knob | None = RESOLUTION
    knobs: tuple[Knob, ...] = ()
    usual_for: tuple[str, ...] = field(default=())
    softens_second_pass: bool = False
    fixes_colours: bool = False
    hides_mask: bool = False
    keeps_rest: bool = False
    is_network: bool = False


PREPROCESSORS: Final = (
    Preprocessor(NONE, resolution=None),
    Preprocessor(
        "invert (from white bg & black line)",
        ("Canny", "Lineart", "Scribble", "Sketch", "MLSD"),
        short="invert",
        resolution=None,
    ),
    Preprocessor(
        "canny",
        ("Canny",),
        knobs=(Knob("Low Threshold", 100, 0, 256, 1), Knob("High Threshold", 200, 0, 256, 1)),
        usual_for=("Canny",),
        softens_second_pass=True,
    ),
    Preprocessor("depth_midas", ("Depth",), short="depth", usual_for=("Depth",), is_network=True),
    Preprocessor("depth_anything", ("Depth",), is_network=True),
    Preprocessor("depth_anything_v2", ("Depth",), is_network=True),
    Preprocessor("openpose", ("OpenPose",), usual_for=("OpenPose",), is_network=True),
    Preprocessor(
        "lineart_standard (from white bg & black line)",
        ("Lineart",),
        short="lineart_standard",
        usual_for=("Lineart",),
    ),
    Preprocessor(
        "scribble_xdog",
        ("Scribble", "Sketch"),
        knobs=(Knob("XDoG Threshold", 32, 1, 64, 0.01),),
        usual_for=("Scribble", "Sketch"),
    ),
    Preprocessor("softedge_gradient", ("SoftEdge",), usual_for=("SoftEdge",)),
    Preprocessor("threshold", (), knobs=(Knob("Binarization Threshold", 127, 0, 255, 0.01),)),
    Preprocessor(
        "blur_gaussian",
        ("Tile", "Blur"),
        knobs=(Knob("Sigma", 9.0, 0.01, 64.0, 0.01),),
        usual_for=("Blur",),
    ),
    Preprocessor(
        "tile_resample",
        ("Tile", "Blur"),
        resolution=None,
        knobs=(Knob("Down Sampling Rate", 1.0, 1.0, 8.0, 0.01),),
        usual_for=("Tile",),
    ),
    Preprocessor(
        "tile_colorfix",
        ("Tile",),
        resolution=None,
        knobs=(Knob("Variation", 8.0, 3.0, 32.0, 1.0),),
        fixes_colours=True,
    ),
    Preprocessor(
        "tile_colorfix+sharp",
        ("Tile",),
        resolution=None,
        knobs=(Knob("Variation", 8.0, 3.0, 32.0, 1.0), Knob("Sharpness", 1.0, 0.0, 2.0, 0.01)),
        fixes_colours=True,
    ),
    Preprocessor("shuffle", ("Shuffle",), usual_for=("Shuffle",)),
    Preprocessor(
        "recolor_luminance",
        ("Recolor",),
        resolution=None,
        knobs=(Knob("Gamma Correction", 1.0, 0.1, 2.0, 0.001),),
        usual_for=("Recolor",),
    ),
    Preprocessor(
        "recolor_intensity",
        ("Recolor",),
        resolution=None,
        knobs=(Knob("Gamma Correction", 1.0, 0.1, 2.0, 0.001),),
    ),
    Preprocessor(INPAINT, ("Inpaint",), short="inpaint", resolution=None, hides_mask=True),
    Preprocessor(
        "inpaint_only",
        ("Inpaint",),
        resolution=None,
        usual_for=("Inpaint",),
        hides_mask=True,
        keeps_rest=True,
    ),
)
BY_NAME: Final = {p.name: p for p in PREPROCESSORS} | {p.short: p for p in PREPROCESSORS if p.short}

NOT_RUN: Final = {
    "depth_leres": ("Depth", "res101.pth"),
    "depth_zoe": ("Depth", "ZoeD_M12_N.pt"),
    "openpose_full": ("OpenPose", "body_pose_model.pth, hand_pose_model.pth, facenet.pth"),
    "dw_openpose_full": ("OpenPose", "yolox_l.onnx, dw-ll_ucoco_384.onnx"),
    "softedge_hed": ("SoftEdge", "ControlNetHED.pth"),
    "softedge_pidinet": ("SoftEdge", "table5_pidinet.pth"),
    "scribble_hed": ("Scribble", "ControlNetHED.pth"),
    "scribble_pidinet": ("Scribble", "table5_pidinet.pth"),
    "lineart_realistic": ("Lineart", "sk_model.pth"),
    "lineart_coarse": ("Lineart", "sk_model2.pth"),
    "lineart_anime": ("Lineart", "netG.pth"),
    "lineart_anime_denoise": ("Lineart", "erika.pth"),
    "mlsd": ("MLSD", "mlsd_large_512_fp32.pth"),
    "normal_bae": ("NormalMap", "scannet.pt"),
    "seg_ofade20k": ("Segmentation", "250_16_swin_l_oneformer_ade20k_160k.pth"),
}
"""Networks of other projects, which this version does not run: kind of control, their file. Their
maps are taken as they are (``none``)."""

CONTROL_TYPES: Final = (
    "Canny", "Depth", "NormalMap", "OpenPose", "MLSD", "Lineart", "SoftEdge", "Scribble", "Sketch",
    "Segmentation", "Shuffle", "Tile", "Blur", "Inpaint", "InstructP2P", "Recolor",
)  # fmt: skip
"""Kinds of control, after which ControlNets are named."""
_FILE_WORDS: Final = {
    "NormalMap": ("normal",), "OpenPose": ("openpose",), "SoftEdge": ("softedge", "hed", "pidi"),
    "Scribble": ("scribble", "sketch"), "Sketch": ("sketch", "scribble"),
    "Segmentation": ("seg",), "Tile": ("tile", "blur"), "Blur": ("blur", "tile"),
    "InstructP2P": ("ip2p",), "Lineart": ("lineart",), "Depth": ("depth",),
}  # fmt: skip


def find(name: str) -> Preprocessor | None:
    """The preprocessor of a name, in any of its spellings; None when there is none."""
    lower = name.strip().lower() or NONE
    return next((found for known, found in BY_NAME.items() if known.lower() == lower), None)


def of_type(control_type: str) -> tuple[Preprocessor, ...]:
    """Those that serve a kind of control; all for «All»."""
    if control_type == ALL:
        return PREPROCESSORS
    return tuple(p for p in PREPROCESSORS if p.name == NONE or control_type in p.types)


def usual_for(control_type: str, usable: Sequence[Preprocessor] = PREPROCESSORS) -> Preprocessor:
    """What is chosen first for a kind of control, of those that can be used: the usual one, else
    another network for it."""
    usual = (p for p in usable if control_type in p.usual_for)
    other = (p for p in usable if control_type in p.types and p.is_network)
    return next(chain(usual, other), BY_NAME[NONE])


def suits(control_type: str, file_name: str) -> bool:
    """Whether a ControlNet is for that kind of control, by its file's name."""
    words = _FILE_WORDS.get(control_type, (control_type.lower(),))
    return any(word in file_name.lower() for word in words)


def module_of(unit: ControlUnit) -> Preprocessor:
    """A unit's preprocessor.

    Raises:
        ParamsError: There is none of that name.
    """
    found = find(unit.module)
    if found is not None:
        return found
    lacks = NOT_RUN.get(unit.module.strip().lower())
    if lacks is not None:
        kind, file = lacks
        instead = ", ".join(p.name for p in of_type(kind))
        raise ParamsError(
            f"{unit.module} is a network of its own ({file}), which this version does not run.",
            f"Choose one of: {instead}; or make the map elsewhere and give it with none.",
            field="control.module",
        )
    raise ParamsError(
        f"No preprocessor is called {unit.module!r}.",
        f"There are: {', '.join(p.name for p in PREPROCESSORS)}.",
        field="control.module",
    )


def complete(unit: ControlUnit) -> ControlUnit:
    """The unit with its preprocessor under its own name and all knobs within their ranges.

    Raises:
        ParamsError: No preprocessor has that name.
    """
    module = module_of(unit)
    values = [unit.threshold_a, unit.threshold_b]
    knobs = [knob.kept(value) for knob, value in zip(module.knobs, values, strict=False)]
    resolution = module.resolution
    return unit.model_copy(
        update={
            "module": module.name,
            "processor_res": -1 if resolution is None else int(resolution.kept(unit.processor_res)),
            "threshold_a": knobs[0] if knobs else -1,
            "threshold_b": knobs[1] if len(knobs) > 1 else -1,
        }
    )
