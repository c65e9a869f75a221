"""Extensions in requests: ``alwayson_scripts`` under their names, and how lists describe them.

    "alwayson_scripts": {"cfg_rescale": {"args": {"strength": 0.5}}}
    "alwayson_scripts": {"cfg_rescale": {"args": [true, 0.5]}}

An object switches an extension on and names its fields; a list has the switch first where the form
has one, then the fields in their order, as the page of A1111 has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webui.api.lenient import read_bool
from webui.api.schemas import ImageToImageBody, PaintingBody
from webui.errors import ParamsError
from webui.extension_forms import Choice, Form, Number, Whole
from webui.studio import Studio

ENABLED = "enabled"


def extension_forms(studio: Studio, tab: str) -> dict[str, Form]:
    """Forms of a tab by their extensions' names."""
    return {
        known.name: known.forms[tab] for known in studio.extensions.loaded() if tab in known.forms
    }


def extension_wishes(studio: Studio, body: PaintingBody) -> dict[str, dict[str, Any]]:
    """The extensions that a request switches on, with what it says of their fields.

    Raises:
        ParamsError: Arguments that cannot be read.
    """
    forms = extension_forms(studio, "img2img" if isinstance(body, ImageToImageBody) else "txt2img")
    found: dict[str, dict[str, Any]] = {}
    for name, entry in (body.alwayson_scripts or {}).items():
        form = forms.get(name.lower())
        if form is not None:
            values = _values(name, form, entry)
            if values.pop(ENABLED, True):
                found[name.lower()] = values
    return found


def _values(name: str, form: Form, entry: Any) -> dict[str, Any]:
    field = f"alwayson_scripts.{name[:80]}.args"
    arguments = entry.get("args", {}) if isinstance(entry, Mapping) else None
    if isinstance(arguments, Mapping):
        values = {str(key): value for key, value in arguments.items()}
    elif isinstance(arguments, list):
        names = [*([ENABLED] if form.has_switch else []), *(one.name for one in form.fields)]
        if len(arguments) > len(names):
            raise ParamsError(
                f"{field} has {len(arguments)} entries; {name} takes {len(names)}: "
                f"{', '.join(names)}.",
                "GET /sdapi/v1/script-info describes them.", field=field,
            )  # fmt: skip
        pairs = zip(names, arguments, strict=False)
        values = {key: value for key, value in pairs if value is not None}
    else:
        raise ParamsError(
            f"{field} was {str(entry)[:80]!r}; a list or an object is needed.", field=field
        )
    try:
        return {**values, **({ENABLED: read_bool(values[ENABLED])} if ENABLED in values else {})}
    except ValueError as err:
        raise ParamsError(f"{field}: {ENABLED} cannot be read: {err}.", field=field) from err


def extension_titles(studio: Studio) -> dict[str, list[str]]:
    """What GET /sdapi/v1/scripts lists of them, by tab."""
    return {tab: list(extension_forms(studio, tab)) for tab in ("txt2img", "img2img")}


def extension_infos(studio: Studio) -> list[dict[str, Any]]:
    """What GET /sdapi/v1/script-info tells of them."""
    return [
        {
            "name": name,
            "is_alwayson": True,
            "is_img2img": tab == "img2img",
            "args": _arguments(form),
        }
        for tab in ("txt2img", "img2img")
        for name, form in extension_forms(studio, tab).items()
    ]


def _arguments(form: Form) -> list[dict[str, Any]]:
    switch = {"label": ENABLED, "value": form.is_on, "minimum": None, "maximum": None,
              "step": None, "choices": None}  # fmt: skip
    return [
        *([switch] if form.has_switch else []),
        *(
            {
                "label": one.label.en or one.name,
                "value": one.usual,
                "minimum": one.minimum if isinstance(one, (Whole, Number)) else None,
                "maximum": one.maximum if isinstance(one, (Whole, Number)) else None,
                "step": one.step if isinstance(one, (Whole, Number)) else None,
                "choices": list(one.choices) if isinstance(one, Choice) else None,
            }
            for one in form.fields
        ),
    ]
