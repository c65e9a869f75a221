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
POSE: Final = "openpose"
"""The text in a map's PNG file that tells whose skeletons it shows, as JSON."""
BODY, HAND, FACE = "openpose", "openpose_hand", "openpose_face"
"""OpenPose's networks."""


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
        networks: That make its maps, whose weights lie in files of their own
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
    networks: tuple[str, ...] = ()

    @property
    def is_network(self) -> bool:
        """Its maps are made by networks."""
        return bool(self.networks)


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
    Preprocessor(
        "depth_midas", ("Depth",), short="depth", usual_for=("Depth",), networks=("depth_midas",)
    ),
    Preprocessor("depth_anything", ("Depth",), networks=("depth_anything",)),
    Preprocessor("depth_anything_v2", ("Depth",), networks=("depth_anything_v2",)),
    Preprocessor(
        "openpose_full", ("OpenPose",), usual_for=("OpenPose",), networks=(BODY, HAND, FACE)
    ),
    Preprocessor("openpose", ("OpenPose",), usual_for=("OpenPose",), networks=(BODY,)),
    Preprocessor("openpose_hand", ("OpenPose",), networks=(BODY, HAND)),
    Preprocessor("openpose_face", ("OpenPose",), networks=(BODY, FACE)),
    Preprocessor("openpose_faceonly", ("OpenPose",), networks=(BODY, FACE)),
    Preprocessor(
        "lineart_standard (from white bg & black line)",
        ("Lineart",),
        short="lineart_standard",
        usual_for=("Lineart",),
    ),
    Preprocessor("lineart_realistic", ("Lineart",), short="lineart", networks=("lineart",)),
    Preprocessor("lineart_coarse", ("Lineart",), networks=("lineart_coarse",)),
    Preprocessor("lineart_anime", ("Lineart",), networks=("lineart_anime",)),
    Preprocessor(
        "scribble_pidinet",
        ("Scribble", "Sketch"),
        short="pidinet_scribble",
        usual_for=("Scribble", "Sketch"),
        networks=("pidinet",),
    ),
    Preprocessor("scribble_hed", ("Scribble", "Sketch"), networks=("hed",)),
    Preprocessor(
        "scribble_xdog",
        ("Scribble", "Sketch"),
        knobs=(Knob("XDoG Threshold", 32, 1, 64, 0.01),),
        usual_for=("Scribble", "Sketch"),
    ),
    Preprocessor(
        "softedge_pidinet",
        ("SoftEdge",),
        short="pidinet",
        usual_for=("SoftEdge",),
        networks=("pidinet",),
    ),
    Preprocessor("softedge_pidisafe", ("SoftEdge",), short="pidinet_safe", networks=("pidinet",)),
    Preprocessor("softedge_hed", ("SoftEdge",), short="hed", networks=("hed",)),
    Preprocessor("softedge_hedsafe", ("SoftEdge",), short="hed_safe", networks=("hed",)),
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
    "dw_openpose_full": ("OpenPose", "yolox_l.onnx, dw-ll_ucoco_384.onnx"),
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
