"""What an axis of the plot can change, under A1111's names, and how a value changes a request.

Source:
    Names, their order (the API counts them) and what they mean: A1111 1.10's X/Y/Z plot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal

from webui.hookspecs import AxisChoice, NameKind, Names, ParamsError, TabName, Words

from .axis_values import numbers, split_values, truth

NOTHING = "Nothing"
SEEDS = ("Seed", "Var. seed")
MAX_ORDERED = 6
"""Parts of a prompt that are put into every order: 720 orders."""
Kind = Literal["none", "int", "float", "text", "bool", "order", "size"]


@dataclass
class Cell:
    """A request, and what axes have changed of it so far."""

    request: Any
    changes: dict[str, Any] = field(default_factory=dict[str, Any])

    def get(self, name: str) -> Any:
        """A field as it is now."""
        return self.changes.get(name, getattr(self.request, name, None))

    def change(self, changes: Mapping[str, Any]) -> None:
        """Change fields; of those with parts the parts that are named."""
        for name, value in changes.items():
            before = self.changes.get(name)
            if isinstance(before, dict) and isinstance(value, dict):
                value = {**before, **value}
            self.changes[name] = value


Change = Callable[[Cell, Any, Sequence[Any]], Mapping[str, Any]]
"""From a cell, a value and all values of the axis to what differs."""
Meant = Callable[[Names, str], Any]
"""From what was written to the value."""


@dataclass(frozen=True)
class AxisKind:
    """One thing that can differ from cell to cell.

    Attributes:
        label: A1111's name. zh: In Chinese.
        kind: How values are read.
        tabs: Kinds of requests it is for.
        values, names: What its values can be chosen from, as of an ``AxisChoice``.
        meant: Makes values of what was written; None = they are names of the kind ``names``, or
            texts.
        shows_name: Labels of cells name the axis, too.
        is_file: Labels leave folders out.
    """

    label: str
    zh: str
    change: Change
    kind: Kind = "text"
    tabs: tuple[TabName, ...] = ("txt2img", "img2img")
    values: tuple[str, ...] = ()
    names: NameKind | Literal[""] = ""
    meant: Meant | None = None
    shows_name: bool = True
    is_file: bool = False

    @property
    def choice(self) -> AxisChoice:
        """As fields list it."""
        return AxisChoice(
            name=self.label, words=Words(en=self.label, zh=self.zh), tabs=self.tabs,
            values=self.values, names=self.names, is_numbers=self.kind in ("int", "float"),
            is_offered=self.change is not _refused,
        )  # fmt: skip

    def read(self, values: str) -> list[Any]:
        """The values people wrote.

        Raises:
            ParamsError: One that cannot be read, or none at all.
        """
        if self.kind == "none":
            return [None]
        found = self._read_entries(split_values(values))
        if not found:
            raise ParamsError(
                f"The axis «{self.label}» has no values.",
                "Write some with commas between them, or choose Nothing.", field="values",
            )  # fmt: skip
        return found

    def _read_entries(self, entries: list[str]) -> list[Any]:
        if self.kind in ("int", "float"):
            return list(numbers(entries, self.label, is_whole=self.kind == "int"))
        if self.kind == "bool":
            return [truth(entry, self.label) for entry in entries if entry]
        if self.kind == "size":
            return [_size(entry) for entry in entries if entry]
        if self.kind == "order":
            if len(entries) > MAX_ORDERED:
                raise ParamsError(
                    f"{len(entries)} parts can stand in {len(entries)}! orders; at most "
                    f"{MAX_ORDERED} parts are put into every order.", field="values",
                )  # fmt: skip
            return list(itertools.permutations(filter(None, entries))) if any(entries) else []
        return entries if any(entries) else []

    def found(self, names: Names, value: Any) -> Any:
        """What is meant by a value that was read.

        Raises:
            ParamsError, CheckpointNotFoundError: There is nothing of that name.
        """
        if self.meant is not None:
            return self.meant(names, value)
        return names.find(self.names, value) if self.names else value

    def show(self, value: Any) -> str:
        """A value as the label of a row or column."""
        if self.kind == "none":
            return ""
        if self.kind == "order":
            return ", ".join(value)
        if self.kind == "size":
            value = f"{value[0]}x{value[1]}"
        elif self.kind == "float":
            value = f"{value:.8f}".rstrip("0").rstrip(".")
        elif self.is_file:
            value = PurePath(str(value).replace("\\", "/")).name
        return f"{self.label}: {value}" if self.shows_name and not self.is_file else str(value)


def _size(entry: str) -> tuple[int, int]:
    width, _, height = entry.lower().replace("×", "x").partition("x")
    try:
        return int(width), int(height)
    except ValueError as err:
        raise ParamsError(
            f"The axis «Size» was given {entry[:80]!r}; sizes such as 512x768 are needed.",
            field="values",
        ) from err


# How values change requests


def _field(name: str) -> Change:
    return lambda cell, value, values: {name: value}


def _override(key: str) -> Change:
    return lambda cell, value, values: {"overrides": {key: value}}


def _as_found(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    """What is meant by the value are changes."""
    return value


def _hires(name: str, axis: str) -> Change:
    def change(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
        if cell.request.hires is None:
            raise ParamsError(
                f"The axis «{axis}» changes the second pass, and Hires. fix is off.",
                "Turn Hires. fix on, or choose another axis.", field="hires",
            )  # fmt: skip
        return {"hires": {name: value}}

    return change


def _replace(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    """Prompt S/R: the first value is searched for, each in its turn replaces it."""
    searched = str(values[0])
    texts = {name: cell.get(name) for name in ("prompt", "negative_prompt")}
    if not any(searched in text for text in texts.values()):
        raise ParamsError(
            f"Prompt S/R looks for {searched[:80]!r}, which is in neither prompt.",
            "The first value must stand in the prompt exactly so.", field="values",
        )  # fmt: skip
    return {name: text.replace(searched, value) for name, text in texts.items()}


def _reorder(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    """Prompt order: the parts change places; what stands between them stays."""
    prompt, places = cell.get("prompt"), []
    for part in value:
        at = prompt.find(part)
        if at < 0:
            raise ParamsError(
                f"Prompt order moves {part[:80]!r}, which is not in the prompt.", field="values"
            )
        places.append((at, part))
    pieces, rest = [], prompt
    for (_, part), put in zip(sorted(places), value, strict=True):
        before, _, rest = rest.partition(part)
        pieces += [before, put]
    return {"prompt": "".join([*pieces, rest])}


def _add_styles(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    more = tuple(style.strip() for style in str(value).split(",") if style.strip())
    return {"styles": (*cell.get("styles"), *more)}


def _denoising(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    if cell.request.kind == "img2img":
        return {"denoising_strength": value}
    return _hires("denoising_strength", "Denoising")(cell, value, values)


def _mask_weight(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    return {"inpaint": {"conditioning_weight": value}} if cell.request.inpaint else {}


def _resize(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    return {"width": value[0], "height": value[1]}


def _refused(cell: Cell, value: Any, values: Sequence[Any]) -> Mapping[str, Any]:
    raise ParamsError(
        "Token merging is not done here, so it can be no axis.", "Choose another axis.",
        field="axis",
    )  # fmt: skip


# What is meant by what was written


def _sampler(names: Names, text: str) -> Mapping[str, Any]:
    """A sampler; one with its schedule behind it brings that, too."""
    found = names.find("sampler", text)
    has_schedule = text.startswith(f"{found} ")
    return {"sampler": text, "schedule": None} if has_schedule else {"sampler": found}


def _refiner(names: Names, text: str) -> str | None:
    is_none = text.strip().lower() in ("", "none")
    return None if is_none else names.find("checkpoint", text)


def _restorer(names: Names, text: str) -> Mapping[str, Any]:
    word = text.strip().lower()
    there = {name.lower(): name for name in names.all("face_restorer")}
    model = {"codeformer": "CodeFormer", "gfpgan": "GFPGAN", **there}.get(word)
    if model is None:
        return {"restore_faces": word in ("true", "yes", "y", "1")}
    return {"restore_faces": True, "overrides": {"face_restoration_model": model}}


def _one_of(known: Sequence[str], axis: str) -> Meant:
    def found(names: Names, text: str) -> str:
        for name in known:
            if name.lower() == text.strip().lower():
                return name
        raise ParamsError(
            f"The axis «{axis}» was given {text[:80]!r}.", f"Known: {', '.join(known)}.",
            field="values",
        )  # fmt: skip

    return found


_SWITCH = ("True", "False")
_FP8 = ("Disable", "Enable for SDXL", "Enable")
_RNG = ("GPU", "CPU", "NV")
_T: tuple[TabName, ...] = ("txt2img",)
_I: tuple[TabName, ...] = ("img2img",)

KINDS: tuple[AxisKind, ...] = (
    AxisKind(NOTHING, "无", lambda cell, value, values: {}, "none"),
    AxisKind("Seed", "种子", _field("seed"), "int"),
    AxisKind("Var. seed", "变异种子", _field("subseed"), "int"),
    AxisKind("Var. strength", "变异强度", _field("subseed_strength"), "float"),
    AxisKind("Steps", "迭代步数", _field("steps"), "int"),
    AxisKind("Hires steps", "高清修复步数", _hires("steps", "Hires steps"), "int", _T),
    AxisKind("CFG Scale", "提示词引导系数", _field("cfg_scale"), "float"),
    AxisKind("Image CFG Scale", "图像引导系数", _field("image_cfg_scale"), "float", _I),
    AxisKind("Prompt S/R", "提示词查找替换", _replace, shows_name=False),
    AxisKind("Prompt order", "提示词顺序", _reorder, "order"),
    AxisKind("Sampler", "采样方法", _as_found, names="sampler", meant=_sampler, shows_name=False),
    AxisKind(
        "Hires sampler", "高清修复采样方法", _hires("sampler", "Hires sampler"), tabs=_T,
        names="sampler", shows_name=False,
    ),
    AxisKind("Checkpoint name", "模型", _field("checkpoint"), names="checkpoint", is_file=True),
    AxisKind(
        "Negative Guidance minimum sigma", "反向引导最小 sigma", _field("s_min_uncond"), "float"
    ),
    AxisKind("Sigma Churn", "Sigma churn", _field("s_churn"), "float"),
    AxisKind("Sigma min", "最小 sigma", _field("s_tmin"), "float"),
    AxisKind("Sigma max", "最大 sigma", _field("s_tmax"), "float"),
    AxisKind("Sigma noise", "Sigma 噪声", _field("s_noise"), "float"),
    AxisKind("Schedule type", "调度类型", _field("schedule"), names="schedule"),
    AxisKind("Schedule min sigma", "调度最小 sigma", _override("sigma_min"), "float"),
    AxisKind("Schedule max sigma", "调度最大 sigma", _override("sigma_max"), "float"),
    AxisKind("Schedule rho", "调度 rho", _override("rho"), "float"),
    AxisKind("Beta schedule alpha", "Beta 调度 α", _override("beta_dist_alpha"), "float"),
    AxisKind("Beta schedule beta", "Beta 调度 β", _override("beta_dist_beta"), "float"),
    AxisKind("Eta", "Eta", _field("eta"), "float"),
    AxisKind("Clip skip", "Clip 跳过层", _field("clip_skip"), "int"),
    AxisKind("Denoising", "重绘幅度", _denoising, "float"),
    AxisKind(
        "Initial noise multiplier", "初始噪声倍率", _field("initial_noise_multiplier"), "float", _I
    ),
    AxisKind("Extra noise", "额外噪声", _override("img2img_extra_noise"), "float"),
    AxisKind(
        "Hires upscaler", "高清修复放大算法", _hires("upscaler", "Hires upscaler"), tabs=_T,
        names="hires_upscaler",
    ),
    AxisKind("Cond. Image Mask Weight", "蒙版条件强度", _mask_weight, "float", _I),
    AxisKind("VAE", "VAE", _field("vae"), values=("Automatic", "None"), names="vae"),
    AxisKind("Styles", "预设样式", _add_styles, names="style"),
    AxisKind("UniPC Order", "UniPC 阶数", _override("uni_pc_order"), "int"),
    AxisKind(
        "Face restore", "面部修复", _as_found, values=("None",), names="face_restorer",
        meant=_restorer, shows_name=False,
    ),
    AxisKind("Token merging ratio", "", _refused, "float"),
    AxisKind("Token merging ratio high-res", "", _refused, "float"),
    AxisKind(
        "Always discard next-to-last sigma", "舍弃倒数第二个 sigma",
        _override("always_discard_next_to_last_sigma"), "bool", values=_SWITCH,
    ),
    AxisKind(
        "SGM noise multiplier", "SGM 噪声倍率", _override("sgm_noise_multiplier"), "bool",
        values=_SWITCH,
    ),
    AxisKind(
        "Refiner checkpoint", "Refiner 模型", _field("refiner_checkpoint"), values=("None",),
        names="checkpoint", meant=_refiner, is_file=True,
    ),
    AxisKind("Refiner switch at", "Refiner 切换时机", _field("refiner_switch_at"), "float"),
    AxisKind(
        "RNG source", "随机数来源", _override("randn_source"), values=_RNG,
        meant=_one_of(_RNG, "RNG source"),
    ),
    AxisKind(
        "FP8 mode", "FP8 模式", _override("fp8_storage"), values=_FP8,
        meant=_one_of(_FP8, "FP8 mode"),
    ),
    AxisKind("Size", "尺寸", _resize, "size"),
)  # fmt: skip
CHOICES = tuple(kind.choice for kind in KINDS)


def find_kind(label: str, tab: str) -> AxisKind:
    """An axis by its name.

    Raises:
        ParamsError: There is none of that name for this kind of request.
    """
    for kind in KINDS:
        if kind.label == label and tab in kind.tabs:
            return kind
    known = ", ".join(one.name for one in CHOICES if one.is_offered and tab in one.tabs)
    raise ParamsError(
        f"No axis of {tab} is called {label[:80]!r}.", f"Known: {known}.", field="axis"
    )
