"""What a fresh page begins with, as settings: every field of the painting forms that may have a
start value, with the name, the choices and the range that its component has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradio.i18n import I18nData

from webui.errors import ParamsError
from webui.option_values import checked
from webui.options import Option
from webui.services.forms.start_values import FIELDS, start_values
from webui.ui.quicksettings import files_there
from webui.ui.texts import TEXTS

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import PaintingTab

Choices = list[tuple[Any, Any]]
"""What a menu shows, and what it means by that."""


@dataclass(frozen=True)
class StartField:
    """A field as a setting: its option is named ``txt2img/steps``.

    Attributes:
        names: What its menu shows for each choice, English and Chinese.
        label: English and Chinese.
    """

    option: Option
    label: tuple[str, str]
    names: tuple[tuple[str, str], ...] = ()


def fields_of(parts: PaintingTab, studio: Studio) -> list[StartField]:
    """The fields of a tab, with the choices of this moment."""
    form, first = parts.form, first_values(parts, studio)
    menus = {part: _pairs(c) for part, c in form.file_menus(files_there(studio)).items()}
    found: list[StartField] = []
    for name, part in form.by_name().items():
        if name in FIELDS[parts.tab]:
            has_choices = not getattr(part, "allow_custom_value", False)
            choices = menus.get(part, getattr(part, "choices", None)) if has_choices else None
            found.append(_field(parts.tab, name, part, first[name], choices or []))
    return found


def first_values(parts: PaintingTab, studio: Studio) -> dict[str, Any]:
    """What every field begins with where no start value is kept: also its type."""
    native = studio.native_size(studio.current_checkpoint())
    usual = {"width": native, "height": native, "tiling": bool(studio.options["tiling"])}
    return {**parts.form.defaults, **usual}


def usable_values(parts: PaintingTab, studio: Studio) -> dict[str, Any]:
    """The start values that are kept and fit their fields; people may write what they like into
    the file."""
    kept = start_values(studio.settings.folders.data, parts.tab)
    return fitting(parts, studio, kept) if kept else {}


def fitting(parts: PaintingTab, studio: Studio, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of values by field name, those that their fields take, as they take them. A menu that is
    given what it does not list could not be asked with. Names without such a field stay."""
    fields = {field.option.key: field.option for field in fields_of(parts, studio)}
    found: dict[str, Any] = {}
    for name, value in values.items():
        option = fields.get(f"{parts.tab}/{name}")
        try:
            found[name] = value if option is None or value is None else checked(option, value)
        except ParamsError:
            continue
    return found


def _field(tab: str, name: str, part: Any, default: Any, choices: Choices) -> StartField:
    option = Option(
        f"{tab}/{name}", default, "", tuple(value for _, value in choices),
        minimum=getattr(part, "minimum", None), maximum=getattr(part, "maximum", None),
    )  # fmt: skip
    return StartField(option, _both(part.label), tuple(_both(shown) for shown, _ in choices))


def _pairs(choices: Sequence[Any]) -> Choices:
    return [choice if isinstance(choice, tuple) else (choice, choice) for choice in choices]


def _both(text: Any) -> tuple[str, str]:
    """A component's text in both languages."""
    if isinstance(text, I18nData):
        return TEXTS[text.key]
    return str(text), str(text)


def checked_starts(fields: Sequence[StartField], values: Mapping[str, Any]) -> dict[str, Any]:
    """Start values as their fields take them; None stays, it takes a start value away.

    Raises:
        ParamsError: A value that its field does not take, or a name that is none of a field.
    """
    options = {field.option.key: field.option for field in fields}
    for key in values:
        if key not in options:
            raise ParamsError(f"No field is called {key!r}.", "Open the settings again.", field=key)
    return {k: v if v is None else checked(options[k], v) for k, v in values.items()}
