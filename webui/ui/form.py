"""The fields of txt2img as one named set: drawn once, read and written by name only."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import gradio as gr

from webui.errors import ParamsError
from webui.params import LATENT_UPSCALE_MODES, PLAIN_UPSCALERS, Hires
from webui.resolve import TextToImageRequest
from webui.ui.wiring import Values

SAME_SAMPLER, SAME_SCHEDULE = "Use same sampler", "Use same scheduler"
UPSCALERS = (*LATENT_UPSCALE_MODES, *PLAIN_UPSCALERS)

DEFAULTS: dict[str, Any] = {
    "prompt": "",
    "negative_prompt": "",
    "styles": [],
    "overrides": [],
    "sampler": "DPM++ 2M",
    "schedule": "Automatic",
    "steps": 20,
    "width": 512,
    "height": 512,
    "batch_count": 1,
    "batch_size": 1,
    "cfg_scale": 7.0,
    "seed": "-1",
    "has_extra": False,
    "subseed": "-1",
    "subseed_strength": 0.0,
    "seed_resize_from_w": 0,
    "seed_resize_from_h": 0,
    "tiling": False,
    "has_hires": False,
    "hires_upscaler": "Latent",
    "hires_steps": 0,
    "hires_denoising": 0.7,
    "hires_scale": 2.0,
    "hires_resize_x": 0,
    "hires_resize_y": 0,
    "hires_sampler": SAME_SAMPLER,
    "hires_schedule": SAME_SCHEDULE,
    "hires_prompt": "",
    "hires_negative": "",
}


@dataclass(frozen=True)
class Form:
    """The components, under the names of DEFAULTS."""

    prompt: gr.Textbox
    negative_prompt: gr.Textbox
    styles: gr.Dropdown
    overrides: gr.Dropdown
    sampler: gr.Dropdown
    schedule: gr.Dropdown
    steps: gr.Slider
    width: gr.Slider
    height: gr.Slider
    batch_count: gr.Slider
    batch_size: gr.Slider
    cfg_scale: gr.Slider
    seed: gr.Textbox
    has_extra: gr.Checkbox
    subseed: gr.Textbox
    subseed_strength: gr.Slider
    seed_resize_from_w: gr.Slider
    seed_resize_from_h: gr.Slider
    tiling: gr.Checkbox
    has_hires: gr.Checkbox
    hires_upscaler: gr.Dropdown
    hires_steps: gr.Slider
    hires_denoising: gr.Slider
    hires_scale: gr.Slider
    hires_resize_x: gr.Slider
    hires_resize_y: gr.Slider
    hires_sampler: gr.Dropdown
    hires_schedule: gr.Dropdown
    hires_prompt: gr.Textbox
    hires_negative: gr.Textbox

    def by_name(self) -> dict[str, Any]:
        """Every component under its field name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def components(self) -> list[Any]:
        """All components, for an event's ``takes`` or ``gives``."""
        return list(self.by_name().values())

    def read(self, values: Values) -> dict[str, Any]:
        """Field values by name, out of what Gradio handed to a handler."""
        return {name: values[part] for name, part in self.by_name().items() if part in values}

    def write(self, values: dict[str, Any]) -> dict[Any, Any]:
        """Changes that put values into the form; unknown names and a wrong type are left out."""
        parts = self.by_name()
        return {
            parts[name]: gr.update(value=value)
            for name, value in values.items()
            if name in parts and _is_like(value, DEFAULTS[name])
        }


def _is_like(value: Any, default: Any) -> bool:
    """True when a stored value fits a field (a draft may come from another version)."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float, str)) and not isinstance(value, bool)
    return isinstance(value, type(default))


def corrections(form: dict[str, Any]) -> dict[str, Any]:
    """What must differ before the form can be asked for: sizes in steps of 8, seeds as numbers.

    Returns:
        New values by field name, only of fields that change; a number that cannot be read is
        left for ``make_request`` to refuse.
    """
    changed: dict[str, Any] = {}
    for name in ("width", "height"):
        try:
            size = _number(form, name)
        except ParamsError:
            continue
        if size % 8:
            changed[name] = (size + 4) // 8 * 8
    for name in ("seed", "subseed"):
        if not _is_seed(form[name]):
            changed[name] = "-1"
    return changed


def _is_seed(text: Any) -> bool:
    """True for a whole number, and for nothing: both mean what they say."""
    try:
        int(text or -1)
    except (TypeError, ValueError):
        return False
    return True


def make_request(
    form: dict[str, Any], *, top_row: dict[str, Any], overrides: dict[str, Any], user: str
) -> TextToImageRequest:
    """Turn what the form holds into a request.

    Args:
        form: Values by field name; an emptied number field takes its default.
        top_row: What this page's top row shows, by option key; overrides win over it.
        overrides: Option values for this job only.
        user: Who asks.
    Raises:
        ParamsError: A number field holds no number.
    """
    extra = form["has_extra"]
    overrides = {**top_row, **overrides}
    return TextToImageRequest(
        prompt=form["prompt"] or "",
        negative_prompt=form["negative_prompt"] or "",
        styles=tuple(form["styles"] or ()),
        sampler=form["sampler"],
        schedule=form["schedule"],
        steps=_number(form, "steps"),
        width=_number(form, "width"),
        height=_number(form, "height"),
        batch_count=_number(form, "batch_count"),
        batch_size=_number(form, "batch_size"),
        cfg_scale=_number(form, "cfg_scale"),
        seed=form["seed"],
        subseed=form["subseed"] if extra else -1,
        subseed_strength=_number(form, "subseed_strength") if extra else 0.0,
        seed_resize_from_w=_number(form, "seed_resize_from_w") if extra else 0,
        seed_resize_from_h=_number(form, "seed_resize_from_h") if extra else 0,
        tiling=bool(form["tiling"]),
        hires=_make_hires(form) if form["has_hires"] else None,
        user=user,
        overrides=overrides,
    )


def _make_hires(form: dict[str, Any]) -> Hires:
    sampler, schedule = form["hires_sampler"], form["hires_schedule"]
    try:
        return Hires(
            upscaler=form["hires_upscaler"] or "Latent",
            steps=_number(form, "hires_steps"),
            denoising_strength=_number(form, "hires_denoising"),
            scale=_number(form, "hires_scale"),
            resize_x=_number(form, "hires_resize_x"),
            resize_y=_number(form, "hires_resize_y"),
            sampler=None if sampler in (None, SAME_SAMPLER) else sampler,
            schedule=None if schedule in (None, SAME_SCHEDULE) else schedule,
            prompt=form["hires_prompt"] or "",
            negative_prompt=form["hires_negative"] or "",
        )
    except ValueError as err:
        raise ParamsError(
            "A value of Hires. fix cannot be used.", "Put its sliders back into their range.",
            field="hires",
        ) from err  # fmt: skip


def _number(form: dict[str, Any], name: str) -> Any:
    """A number field's value, whole where the default is whole."""
    value, default = form[name], DEFAULTS[name]
    if value in (None, ""):
        return default
    try:
        return type(default)(float(value))
    except (TypeError, ValueError, OverflowError) as err:
        raise ParamsError(
            f"{name} was {value!r}; a number is needed.", "Correct it and try again.", field=name
        ) from err


def target_size(form: dict[str, Any]) -> tuple[int, int]:
    """The size after Hires. fix, for the line that shows it; multiples of 8.

    One given side keeps the aspect; both given are taken as they are; none: scale times the size.
    """
    width, height = _number(form, "width"), _number(form, "height")
    to_width, to_height = _number(form, "hires_resize_x"), _number(form, "hires_resize_y")
    if not to_width and not to_height:
        scale = _number(form, "hires_scale")
        to_width, to_height = int(width * scale), int(height * scale)
    elif not to_height:
        to_height = to_width * height // max(1, width)
    elif not to_width:
        to_width = to_height * width // max(1, height)
    return to_width // 8 * 8, to_height // 8 * 8


ASPECTS: tuple[tuple[str, int, int], ...] = (
    ("1:1", 1, 1), ("3:4", 3, 4), ("4:3", 4, 3), ("2:3", 2, 3), ("3:2", 3, 2), ("9:16", 9, 16),
    ("16:9", 16, 9),
)  # fmt: skip


def aspect_size(aspect: str, native: int) -> tuple[int, int]:
    """Width and height of an aspect with about native × native pixels, multiples of 8.

    Raises:
        KeyError: No preset of that name.
    """
    across, down = {name: (a, d) for name, a, d in ASPECTS}[aspect]
    width = native * (across / down) ** 0.5
    return max(64, round(width / 8) * 8), max(64, round(native * native / width / 8) * 8)
