"""What a plot's axis can change, under A1111's names, and how a value changes a request.

Source:
    Names, their order (the API counts them) and what they mean: A1111 1.10's X/Y/Z plot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.params import LATENT_UPSCALE_MODES
from webui.prompts.styles import StyleFiles
from webui.samplers.names import SAMPLERS, SCHEDULES, find_sampler, find_schedule
from webui.services.named_weights import NamedWeights
from webui.services.plots.axis_values import numbers, split_values, truth
from webui.services.resolve import (
    AnyRequest,
    ImageToImageRequest,
    TextToImageRequest,
    known_sampler,
)

NOTHING = "Nothing"
SEEDS = ("Seed", "Var. seed")
MAX_ORDERED = 6
"""Parts of a prompt that are put into every order: 720 orders."""
Kind = Literal["none", "int", "float", "text", "bool", "order", "size"]
Apply = Callable[["Names", AnyRequest, Any, Sequence[Any]], AnyRequest]
Choices = Callable[["Names"], Sequence[str]]
"""What a menu of values offers."""


@dataclass(frozen=True)
class Names:
    """Where the files and styles are found that axes name."""

    catalog: Catalog
    weights: NamedWeights
    styles: StyleFiles


@dataclass(frozen=True)
class Axis:
    """One thing that can differ from cell to cell.

    Attributes:
        label: A1111's name. apply: (names, request, value, all values) to the changed request.
        kind: How values are read.
        tabs: Kinds of requests it is for.
        choices: What its values can be, where that is a list; None = anything.
        shows_name: Labels of cells name the axis, too.
        is_file: Labels leave folders out.
    """

    label: str
    apply: Apply
    kind: Kind = "text"
    tabs: tuple[str, ...] = ("txt2img", "img2img")
    choices: Choices | None = None
    shows_name: bool = True
    is_file: bool = False

    def read(self, values: str | Sequence[str]) -> list[Any]:
        """The values people wrote, or chose from the menu.

        Raises:
            ParamsError: One that cannot be read, or none at all.
        """
        if self.kind == "none":
            return [None]
        entries = split_values(values) if isinstance(values, str) else [str(v) for v in values]
        found = self._read_entries(entries)
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


def _changed(request: AnyRequest, **values: Any) -> AnyRequest:
    return request.model_copy(update=values)


def _field(name: str) -> Apply:
    return lambda names, request, value, values: _changed(request, **{name: value})


def _override(key: str) -> Apply:
    def apply(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
        return _changed(request, overrides={**request.overrides, key: value})

    return apply


def _hires(name: str, axis: str) -> Apply:
    def apply(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
        assert isinstance(request, TextToImageRequest), "these axes are txt2img's alone"
        if request.hires is None:
            raise ParamsError(
                f"The axis «{axis}» changes the second pass, and Hires. fix is off.",
                "Turn Hires. fix on, or choose another axis.", field="hires",
            )  # fmt: skip
        return _changed(request, hires=request.hires.model_copy(update={name: value}))

    return apply


def _named(
    find: Callable[[Names, str], str],
    apply: Apply,
) -> Apply:
    """As ``apply``, with the name that is meant by what was written."""

    def found(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
        return apply(names, request, find(names, str(value)), values)

    return found


def _checkpoint(names: Names, text: str) -> str:
    record = names.catalog.closest_checkpoint(text)
    return record.name if record else names.catalog.find_checkpoint(text).name


def _refiner(names: Names, text: str) -> str | None:
    return None if text.strip().lower() in ("", "none") else _checkpoint(names, text)


def _vae(names: Names, text: str) -> str:
    """«Automatic», «None», or the shortest name that holds the text."""
    wanted = text.strip().lower()
    if wanted in ("auto", "automatic"):
        return "Automatic"
    if wanted in ("", "none"):
        return "None"
    fitting = [record.name for record in names.catalog.vaes() if wanted in record.name.lower()]
    return min(fitting, key=len) if fitting else names.catalog.find_vae(text).name


def _sampler(names: Names, text: str) -> str:
    info = find_sampler(text)
    return info.name if info else known_sampler(text, None).sampler


def _apply_sampler(
    names: Names, request: AnyRequest, value: Any, values: Sequence[Any]
) -> AnyRequest:
    """A sampler; one with its schedule behind it brings that, too."""
    info = find_sampler(str(value))
    if info is not None:
        return _changed(request, sampler=info.name)
    found = known_sampler(str(value), None)
    return _changed(request, sampler=found.sampler, schedule=found.schedule_label)


def _schedule(names: Names, text: str) -> str:
    for info in SCHEDULES:
        if text.strip().lower() in (info.label.lower(), info.name):
            return info.label
    found = find_schedule(text)
    if found is None:
        known = ", ".join(info.label for info in SCHEDULES)
        raise ParamsError(
            f"No schedule is called {text[:80]!r}.", f"Known: {known}.", field="values"
        )
    return found.label


def _hires_upscaler(names: Names, text: str) -> str:
    for mode in LATENT_UPSCALE_MODES:
        if mode.lower() == text.strip().lower():
            return mode
    found = names.weights.find_upscaler(text)
    if found is None:
        raise CheckpointNotFoundError(
            f"No upscaler is called {text[:80]!r}.",
            f"There are: {', '.join(_hires_upscalers(names))}.",
        )
    return found


def _one_of(known: Sequence[str], axis: str) -> Callable[[Names, str], str]:
    def find(names: Names, text: str) -> str:
        for name in known:
            if name.lower() == text.strip().lower():
                return name
        raise ParamsError(
            f"The axis «{axis}» was given {text[:80]!r}.", f"Known: {', '.join(known)}.",
            field="values",
        )  # fmt: skip

    return find


def _replace(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    """Prompt S/R: the first value is searched for, each in its turn replaces it."""
    searched = str(values[0])
    texts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    if not any(searched in text for text in texts.values()):
        raise ParamsError(
            f"Prompt S/R looks for {searched[:80]!r}, which is in neither prompt.",
            "The first value must stand in the prompt exactly so.", field="values",
        )  # fmt: skip
    return _changed(request, **{k: text.replace(searched, value) for k, text in texts.items()})


def _reorder(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    """Prompt order: the parts change places; what stands between them stays."""
    prompt, places = request.prompt, []
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
    return _changed(request, prompt="".join([*pieces, rest]))


def _add_styles(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    more = tuple(style.strip() for style in str(value).split(",") if style.strip())
    return _changed(request, styles=(*request.styles, *more))


def _denoising(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    if isinstance(request, ImageToImageRequest):
        return _changed(request, denoising_strength=value)
    return _hires("denoising_strength", "Denoising")(names, request, value, values)


def _mask_weight(
    names: Names, request: AnyRequest, value: Any, values: Sequence[Any]
) -> AnyRequest:
    inpaint = getattr(request, "inpaint", None)
    if inpaint is None:
        return request
    return _changed(request, inpaint=inpaint.model_copy(update={"conditioning_weight": value}))


def _restore(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    word = str(value).strip().lower()
    restorers = {file.name.lower(): file.name for file in names.weights.face_restorers()}
    model = {"codeformer": "CodeFormer", "gfpgan": "GFPGAN", **restorers}.get(word)
    if model is None:
        is_on = word in ("true", "yes", "y", "1")
        return _changed(request, restore_faces=is_on)
    overrides = {**request.overrides, "face_restoration_model": model}
    return _changed(request, restore_faces=True, overrides=overrides)


def _resize(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    return _changed(request, width=value[0], height=value[1])


def _refused(names: Names, request: AnyRequest, value: Any, values: Sequence[Any]) -> AnyRequest:
    raise ParamsError(
        "Token merging is not done here, so it can be no axis.", "Choose another axis.",
        field="axis",
    )  # fmt: skip


# What menus offer


def _checkpoints(names: Names) -> Sequence[str]:
    usable = (record.title for record in names.catalog.checkpoints() if not record.problem)
    return sorted(usable, key=str.casefold)


def _vaes(names: Names) -> Sequence[str]:
    return ["Automatic", "None", *(record.name for record in names.catalog.vaes())]


def _samplers(names: Names) -> Sequence[str]:
    return [info.name for info in SAMPLERS]


def _schedules(names: Names) -> Sequence[str]:
    return [info.label for info in SCHEDULES]


def _hires_upscalers(names: Names) -> Sequence[str]:
    return [*LATENT_UPSCALE_MODES, *names.weights.upscaler_names()]


def _face_choices(names: Names) -> Sequence[str]:
    return ["None", *(file.name for file in names.weights.face_restorers())]


def _fixed(*known: str) -> Choices:
    return lambda names: known


_SWITCH = _fixed("True", "False")
_FP8 = ("Disable", "Enable for SDXL", "Enable")
_RNG = ("GPU", "CPU", "NV")
_T, _I = ("txt2img",), ("img2img",)

AXES: tuple[Axis, ...] = (
    Axis(NOTHING, lambda names, request, value, values: request, "none"),
    Axis("Seed", _field("seed"), "int"),
    Axis("Var. seed", _field("subseed"), "int"),
    Axis("Var. strength", _field("subseed_strength"), "float"),
    Axis("Steps", _field("steps"), "int"),
    Axis("Hires steps", _hires("steps", "Hires steps"), "int", _T),
    Axis("CFG Scale", _field("cfg_scale"), "float"),
    Axis("Image CFG Scale", _field("image_cfg_scale"), "float", _I),
    Axis("Prompt S/R", _replace, shows_name=False),
    Axis("Prompt order", _reorder, "order"),
    Axis("Sampler", _apply_sampler, choices=_samplers, shows_name=False),
    Axis(
        "Hires sampler", _named(_sampler, _hires("sampler", "Hires sampler")), tabs=_T,
        choices=_samplers, shows_name=False,
    ),
    Axis(
        "Checkpoint name", _named(_checkpoint, _field("checkpoint")), choices=_checkpoints,
        is_file=True,
    ),
    Axis("Negative Guidance minimum sigma", _field("s_min_uncond"), "float"),
    Axis("Sigma Churn", _field("s_churn"), "float"),
    Axis("Sigma min", _field("s_tmin"), "float"),
    Axis("Sigma max", _field("s_tmax"), "float"),
    Axis("Sigma noise", _field("s_noise"), "float"),
    Axis("Schedule type", _named(_schedule, _field("schedule")), choices=_schedules),
    Axis("Schedule min sigma", _override("sigma_min"), "float"),
    Axis("Schedule max sigma", _override("sigma_max"), "float"),
    Axis("Schedule rho", _override("rho"), "float"),
    Axis("Beta schedule alpha", _override("beta_dist_alpha"), "float"),
    Axis("Beta schedule beta", _override("beta_dist_beta"), "float"),
    Axis("Eta", _field("eta"), "float"),
    Axis("Clip skip", _field("clip_skip"), "int"),
    Axis("Denoising", _denoising, "float"),
    Axis("Initial noise multiplier", _field("initial_noise_multiplier"), "float", _I),
    Axis("Extra noise", _override("img2img_extra_noise"), "float"),
    Axis(
        "Hires upscaler", _named(_hires_upscaler, _hires("upscaler", "Hires upscaler")), tabs=_T,
        choices=_hires_upscalers,
    ),
    Axis("Cond. Image Mask Weight", _mask_weight, "float", _I),
    Axis("VAE", _named(_vae, _field("vae")), choices=_vaes),
    Axis("Styles", _add_styles, choices=lambda names: list(names.styles.by_name())),
    Axis("UniPC Order", _override("uni_pc_order"), "int"),
    Axis("Face restore", _restore, choices=_face_choices, shows_name=False),
    Axis("Token merging ratio", _refused, "float"),
    Axis("Token merging ratio high-res", _refused, "float"),
    Axis(
        "Always discard next-to-last sigma", _override("always_discard_next_to_last_sigma"),
        "bool", choices=_SWITCH,
    ),
    Axis("SGM noise multiplier", _override("sgm_noise_multiplier"), "bool", choices=_SWITCH),
    Axis(
        "Refiner checkpoint", _named(_refiner, _field("refiner_checkpoint")),  # type: ignore[arg-type]
        choices=lambda names: ["None", *_checkpoints(names)], is_file=True,
    ),
    Axis("Refiner switch at", _field("refiner_switch_at"), "float"),
    Axis(
        "RNG source", _named(_one_of(_RNG, "RNG source"), _override("randn_source")),
        choices=_fixed(*_RNG),
    ),
    Axis(
        "FP8 mode", _named(_one_of(_FP8, "FP8 mode"), _override("fp8_storage")),
        choices=_fixed(*_FP8),
    ),
    Axis("Size", _resize, "size"),
)  # fmt: skip
NOT_OFFERED = tuple(axis.label for axis in AXES if axis.apply is _refused)
"""Axes that the API counts and nobody can use."""


def axes_of(tab: str) -> tuple[Axis, ...]:
    """All axes of a kind of request, in the order in which A1111's API counts them."""
    return tuple(axis for axis in AXES if tab in axis.tabs)


def find_axis(label: str, tab: str) -> Axis:
    """An axis by its name, capitals aside; an empty name is Nothing.

    Raises:
        ParamsError: There is none of that name for this kind of request.
    """
    wanted = (label or NOTHING).strip().lower()
    for axis in axes_of(tab):
        if axis.label.lower() == wanted:
            return axis
    known = ", ".join(axis.label for axis in axes_of(tab) if axis.label not in NOT_OFFERED)
    raise ParamsError(
        f"No axis of {tab} is called {label[:80]!r}.", f"Known: {known}.", field="axis"
    )


def axis_choices(names: Names, tab: str) -> Mapping[str, Sequence[str] | None]:
    """Every axis people can choose, and what its menu offers."""
    return {
        axis.label: list(axis.choices(names)) if axis.choices else None
        for axis in axes_of(tab)
        if axis.label not in NOT_OFFERED
    }
