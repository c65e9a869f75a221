"""What the forms of all painting tabs share: names, defaults, reading, writing, checking."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, ClassVar

import gradio as gr
from pydantic import ValidationError

from webui.errors import ParamsError
from webui.params import TiledDiffusion, params_error
from webui.services.plots.plans import Owned
from webui.ui import control_panel, extension_panels, plots
from webui.ui.script_fields import ScriptFields
from webui.ui.wiring import Values, draws_for_guests

NO_SCRIPT = "None"

PAINTING_DEFAULTS: dict[str, Any] = {
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
    "has_refiner": False,
    "refiner_checkpoint": "",
    "refiner_switch_at": 0.8,
    "has_tiles": False,
    "tile_method": "Mixture of Diffusers",
    "tile_width": 768,
    "tile_height": 768,
    "tile_overlap": 128,
    "tile_batch": 1,
    "combinatorial": False,
    "script": NO_SCRIPT,
    "plot": "",
    "control": "",
    "extensions": "",
}


@dataclass(frozen=True)
class FilesThere:
    """What the menus of files and scripts list at this moment.

    Attributes:
        checkpoints: Titles of the usable ones.
        upscalers: Names of all that enlarge pictures: the plain ways, then networks.
        plans: What makes many pictures of one request.
        language: Of the page that shows them; '' = it is being built.
    """

    checkpoints: Sequence[str]
    upscalers: Sequence[str]
    plans: Sequence[Owned] = ()
    language: str = ""


@dataclass(frozen=True)
class PaintingForm:
    """Components under the names of their defaults; each tab adds its own fields.

    Attributes:
        tab: As requests call it.
        defaults: Every field's value on a fresh page, by field name; also its type.

    Args:
        of_scripts: Fields of A1111 scripts; those of plain values are fields of the form, too.
    """

    tab: ClassVar[str] = ""
    defaults: ClassVar[Mapping[str, Any]] = PAINTING_DEFAULTS

    of_scripts: InitVar[ScriptFields | None] = field(default=None, kw_only=True)
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
    has_refiner: gr.Checkbox
    refiner_checkpoint: gr.Dropdown
    refiner_switch_at: gr.Slider
    has_tiles: gr.Checkbox
    tile_method: gr.Dropdown
    tile_width: gr.Slider
    tile_height: gr.Slider
    tile_overlap: gr.Slider
    tile_batch: gr.Slider
    combinatorial: gr.Checkbox
    script: gr.Dropdown
    plot: gr.HTML
    control: gr.HTML
    extensions: gr.HTML

    def __post_init__(self, of_scripts: ScriptFields | None) -> None:
        vars(self)["_scripts"] = of_scripts or ScriptFields()
        vars(self)["_is_for_guests"] = draws_for_guests()

    @property
    def scripts(self) -> ScriptFields:
        """The fields of A1111 scripts."""
        return vars(self)["_scripts"]

    def file_menus(self, there: FilesThere) -> dict[gr.Dropdown, list[Any]]:
        """What the form's menus of files and scripts offer while these are there."""
        own = plots.without_plans(self.script.choices)
        is_for_guests: bool = vars(self)["_is_for_guests"]
        plans = [one for one in there.plans if one.is_built_in or not is_for_guests]
        return {
            self.refiner_checkpoint: [*there.checkpoints],
            self.script: [*own, *plots.entries(plans, self.tab, there.language)],
        }

    def by_name(self) -> dict[str, Any]:
        """Every component under its field name."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return own | self.scripts.by_name()

    def usual(self) -> dict[str, Any]:
        """Every field's value on a fresh page."""
        return {**self.defaults, **self.scripts.usual()}

    def components(self) -> list[Any]:
        """All components, for an event's ``takes`` or ``gives``."""
        return list(self.by_name().values())

    def read(self, values: Values) -> dict[str, Any]:
        """Field values by name, out of what Gradio handed to a handler."""
        own = {name: values[part] for name, part in self.by_name().items() if part in values}
        return {**own, **self.scripts.read(values)}

    def write(self, values: Mapping[str, Any]) -> dict[Any, Any]:
        """Changes that put values into the form; unknown names and a wrong type are left out."""
        parts, values = self.by_name(), plots.of_older(values)
        own = {
            parts[name]: gr.update(value=value)
            for name, value in values.items()
            if name in parts and name in self.defaults and _is_like(value, self.defaults[name])
        }
        return {**own, **self.scripts.write(values)}


def _is_like(value: Any, default: Any) -> bool:
    """True when a stored value fits a field (a draft may come from another version)."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, (int, float, str)) and not isinstance(value, bool)
    return isinstance(value, type(default))


def number(form: Mapping[str, Any], name: str, defaults: Mapping[str, Any]) -> Any:
    """A number field's value, whole where the default is whole; the default when it is empty.

    Raises:
        ParamsError: The field holds no number.
    """
    value, default = form[name], defaults[name]
    if value in (None, ""):
        return default
    try:
        return type(default)(float(value))
    except (TypeError, ValueError, OverflowError) as err:
        raise ParamsError(
            f"{name} was {value!r}; a number is needed.", "Correct it and try again.", field=name
        ) from err


def corrections(form: Mapping[str, Any]) -> dict[str, Any]:
    """What must differ before the form can be asked for: sizes in steps of 8, seeds as numbers.

    Returns:
        New values by field name, only of fields that change; a number that cannot be read is
        left for ``painting_values`` to refuse.
    """
    changed: dict[str, Any] = {}
    for name in ("width", "height"):
        try:
            size = number(form, name, PAINTING_DEFAULTS)
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


def painting_values(
    form: Mapping[str, Any], *, top_row: dict[str, Any], overrides: dict[str, Any], user: str
) -> dict[str, Any]:
    """What the shared fields say, as arguments of a ``PaintingRequest``.

    Args:
        form: Values by field name; an emptied number field takes its default.
        top_row: What this page's top row shows, by option key; overrides win over it.
        overrides: Option values for this job only.
        user: Who asks.
    Raises:
        ParamsError: A number field holds no number, or the refiner has no checkpoint.
    """
    extra = form["has_extra"]

    def value(name: str) -> Any:
        return number(form, name, PAINTING_DEFAULTS)

    return {
        "prompt": form["prompt"] or "",
        "negative_prompt": form["negative_prompt"] or "",
        "styles": tuple(form["styles"] or ()),
        "sampler": form["sampler"],
        "schedule": form["schedule"],
        "steps": value("steps"),
        "width": value("width"),
        "height": value("height"),
        "batch_count": value("batch_count"),
        "batch_size": value("batch_size"),
        "cfg_scale": value("cfg_scale"),
        "seed": form["seed"],
        "subseed": form["subseed"] if extra else -1,
        "subseed_strength": value("subseed_strength") if extra else 0.0,
        "seed_resize_from_w": value("seed_resize_from_w") if extra else 0,
        "seed_resize_from_h": value("seed_resize_from_h") if extra else 0,
        "tiling": bool(form["tiling"]),
        "refiner_checkpoint": _refiner_checkpoint(form),
        "refiner_switch_at": value("refiner_switch_at"),
        "tiled_diffusion": _tiled_diffusion(form) if form["has_tiles"] else None,
        "combinatorial": bool(form["combinatorial"]),
        "control": control_panel.read(form),
        "extensions": extension_panels.read(form),
        "user": user,
        "overrides": {**top_row, **overrides},
    }


def _tiled_diffusion(form: Mapping[str, Any]) -> TiledDiffusion:
    def value(name: str) -> Any:
        return number(form, name, PAINTING_DEFAULTS)

    try:
        return TiledDiffusion(
            tile_width=value("tile_width") // 8 * 8,
            tile_height=value("tile_height") // 8 * 8,
            overlap=value("tile_overlap") // 8 * 8,
            method=form["tile_method"],
            batch_size=value("tile_batch"),
        )
    except ValidationError as err:
        raise params_error(err) from err


def _refiner_checkpoint(form: Mapping[str, Any]) -> str | None:
    if not form["has_refiner"]:
        return None
    if not form["refiner_checkpoint"]:
        raise ParamsError(
            "The refiner is turned on, but no checkpoint is chosen for it.",
            "Choose a refiner checkpoint, or turn the refiner off.",
            field="refiner_checkpoint",
        )
    return form["refiner_checkpoint"]


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
