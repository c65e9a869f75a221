"""The fields of a unit of the Detailer: what they are called here, in recipes and by ADetailer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from webui.hookspecs import AnyField, Choice, Condition, Number, Switch, Text, Whole, Words
from webui.samplers.names import SAMPLERS

UNITS = ("", "_2")
"""What the names of a unit's fields end in."""
FACE, NONE = "face", "none"
LEFT, CENTRE, LARGE = "left to right", "centre to edge", "large to small"
MERGED, INVERTED = "Merge", "Merge and Invert"
NO_MERGE = "None"
VERSION_KEY = "ADetailer version"
ALWAYS_TOLD = frozenset(
    {
        "model", "confidence", "dilate_erode", "mask_blur", "denoising_strength", "only_masked",
        "padding",
    }
)  # fmt: skip
"""Of a unit that is on, these stand in the recipe even when they are as usual."""


@dataclass(frozen=True)
class Known:
    """One field of a unit.

    Attributes:
        field: As of the first unit. adetailer: Its name in ADetailer's API; '' = it has none.
        asked: ADetailer's switch without which its value does not count: the end of its name in
            the API, and its words in recipes.
        is_rare: Out of sight until more choices are asked for.
    """

    field: AnyField
    adetailer: str = ""
    asked: tuple[str, str] = ("", "")
    is_rare: bool = True


def _w(en: str, zh: str) -> Words:
    return Words(en=en, zh=zh)


_SIZE_IS_ASKED = ("ad_use_inpaint_width_height", "ADetailer use inpaint width height")
_AS_PICTURE = _w("0 = as the picture.", "0 为与图片相同。")

KNOWN: tuple[Known, ...] = (
    Known(Choice(name="model", label=_w("Find", "检测"), choices=(FACE, NONE),
                 words=(_w("Faces", "人脸"), _w("Nothing", "无")), infotext="ADetailer model"),
          "ad_model", is_rare=False),
    Known(Text(name="prompt", label=_w("Prompt", "提示词"), lines=2, infotext="ADetailer prompt",
               help=_w("Empty = the picture's. [SEP] between the prompts of several faces, [SKIP] "
                     "for a face that stays, [PROMPT] for the picture's own.",
                     "留空则使用图片的提示词。[SEP] 分隔多张人脸的提示词，[SKIP] 跳过该人脸，"
                     "[PROMPT] 代表图片的提示词。")),
          "ad_prompt", is_rare=False),
    Known(Text(name="negative_prompt", label=_w("Negative prompt", "反向提示词"), lines=2,
               infotext="ADetailer negative prompt"), "ad_negative_prompt", is_rare=False),
    Known(Number(name="denoising_strength", label=_w("Denoising strength", "重绘幅度"), default=0.4,
                 infotext="ADetailer denoising strength"),
          "ad_denoising_strength", is_rare=False),
    Known(Number(name="confidence", label=_w("Confidence", "置信度"), default=0.3,
                 infotext="ADetailer confidence",
                 help=_w("Faces the detector is less sure of are left alone. The detectors have a "
                       "limit of their own: YuNet 0.8, CenterFace 0.5.",
                       "低于该值的人脸不处理。检测器自身的下限：YuNet 0.8，CenterFace 0.5。")),
          "ad_confidence", is_rare=False),
    Known(Choice(name="order", label=_w("Order", "顺序"), choices=(LEFT, CENTRE, LARGE),
                 words=(_w("Left to right", "从左到右"), _w("Centre to edge", "从中心到边缘"),
                        _w("Large to small", "从大到小")), infotext="ADetailer order")),
    Known(Whole(name="top_k", label=_w("Only the largest", "只处理最大的几张"), maximum=10,
                help=_w("0 = all.", "0 为全部。"), infotext="ADetailer mask only top k"),
          "ad_mask_k"),
    Known(Number(name="min_share", label=_w("Smallest share of the picture", "最小面积占比"),
                 step=0.001, infotext="ADetailer mask min ratio"), "ad_mask_min_ratio"),
    Known(Number(name="max_share", label=_w("Largest share of the picture", "最大面积占比"),
                 default=1.0, step=0.001, infotext="ADetailer mask max ratio"),
          "ad_mask_max_ratio"),
    Known(Whole(name="dilate_erode", label=_w("Grow or shrink the mask", "蒙版膨胀／收缩"),
                minimum=-128, maximum=128, default=4, infotext="ADetailer dilate erode",
                help=_w("In pixels; below 0 it shrinks.", "单位为像素；负值为收缩。")),
          "ad_dilate_erode"),
    Known(Whole(name="x_offset", label=_w("Move the mask right", "蒙版右移"), minimum=-200,
                maximum=200, infotext="ADetailer x offset"), "ad_x_offset"),
    Known(Whole(name="y_offset", label=_w("Move the mask up", "蒙版上移"), minimum=-200,
                maximum=200, infotext="ADetailer y offset"), "ad_y_offset"),
    Known(Choice(name="merge", label=_w("Several faces", "多张人脸"),
                 choices=(NO_MERGE, MERGED, INVERTED),
                 words=(_w("One after another", "逐一处理"), _w("All at once", "合并处理"),
                        _w("All but them", "处理人脸以外部分")),
                 infotext="ADetailer mask merge invert"), "ad_mask_merge_invert"),
    Known(Whole(name="mask_blur", label=_w("Mask blur", "蒙版模糊"), maximum=64, default=4,
                infotext="ADetailer mask blur"), "ad_mask_blur"),
    Known(Switch(name="only_masked", label=_w("Paint the face alone, at full resolution",
                                            "仅以全分辨率重绘人脸区域"),
                 default=True, infotext="ADetailer inpaint only masked"),
          "ad_inpaint_only_masked"),
    Known(Whole(name="padding", label=_w("Surroundings, pixels", "周边像素"), maximum=256,
                default=32, step=4, infotext="ADetailer inpaint padding"),
          "ad_inpaint_only_masked_padding"),
    Known(Whole(name="width", label=_w("Width", "宽度"), maximum=2048, step=8, help=_AS_PICTURE,
                infotext="ADetailer inpaint width"), "ad_inpaint_width", _SIZE_IS_ASKED),
    Known(Whole(name="height", label=_w("Height", "高度"), maximum=2048, step=8, help=_AS_PICTURE,
                infotext="ADetailer inpaint height"), "ad_inpaint_height", _SIZE_IS_ASKED),
    Known(Whole(name="steps", label=_w("Steps", "步数"), maximum=150, help=_AS_PICTURE,
                infotext="ADetailer steps"),
          "ad_steps", ("ad_use_steps", "ADetailer use separate steps")),
    Known(Number(name="cfg_scale", label=_w("CFG scale", "CFG 强度"), maximum=30.0, step=0.5,
                 help=_AS_PICTURE, infotext="ADetailer CFG scale"),
          "ad_cfg_scale", ("ad_use_cfg_scale", "ADetailer use separate CFG scale")),
    Known(Choice(name="sampler", label=_w("Sampler", "采样器"),
                 choices=("", *(info.name for info in SAMPLERS)),
                 words=(_w("As the picture", "与图片相同"),), infotext="ADetailer sampler"),
          "ad_sampler", ("ad_use_sampler", "ADetailer use separate sampler")),
)  # fmt: skip
"""In the order the page shows them."""


def recipe_key(key: str, ending: str) -> str:
    """A recipe's key for a unit's field: ADetailer writes ``2nd`` behind those of its second."""
    return f"{key} 2nd" if ending else key


def unit_fields(ending: str) -> Iterable[AnyField]:
    """All fields of a unit, as the page shows them."""
    is_on = Condition(field="model" + ending, values=(FACE,))
    more = Switch(
        name="more" + ending, label=Words(en="More choices", zh="更多选项"), visible_if=is_on
    )
    switched = False
    for known in KNOWN:
        if known.is_rare and not switched:
            switched = True
            yield more
        yield _of_unit(known, ending, is_on)


def _of_unit(known: Known, ending: str, is_on: Condition) -> AnyField:
    one = known.field
    sight = Condition(field="more" + ending, values=(True,)) if known.is_rare else is_on
    change: dict[str, Any] = {
        "name": one.name + ending,
        "infotext": recipe_key(one.infotext, ending),
        "visible_if": None if one.name == "model" else sight,
    }
    if one.name == "model" and ending:
        change |= {"default": NONE, "label": Words(en="Then find", zh="然后检测")}
    return one.model_copy(update=change)


def unit_values(values: Mapping[str, Any], ending: str) -> dict[str, Any]:
    """A unit's values, under the names of the first one's."""
    return {known.field.name: values[known.field.name + ending] for known in KNOWN}
