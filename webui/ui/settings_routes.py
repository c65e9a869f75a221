"""What the Settings tab asks: every setting with its sentence, changes, steps back.

Options and start values of form fields go the same way: both are ``Option``s here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from webui.errors import WebUIError
from webui.options import OPTION_BY_KEY, Option
from webui.ui.option_texts import text_of
from webui.ui.settings_tab import GROUPS, MODEL_PLACES, group_of, shown
from webui.ui.start_fields import StartField, checked_starts, fields_of, usable_values
from webui.ui.texts import CHINESE, language_of, say, value_name

if TYPE_CHECKING:
    from webui.studio import Studio
    from webui.ui.painting_tab import PaintingTab

NEVER_KEPT = {"Cache-Control": "no-store"}
MOST_NAMED = 3
"""Settings whose names are told after a change; more are counted."""


class Wanted(BaseModel):
    """New values by the name of a setting; null takes back to the default."""

    values: dict[str, Any] = Field(max_length=2000)


class Step(BaseModel):
    """−1 takes the last change back, 1 makes it again."""

    by: int = Field(ge=-1, le=1)


def make_settings_routes(studio: Studio, tabs: Sequence[PaintingTab]) -> APIRouter:
    """``GET /settings`` tells all of them, ``POST /settings`` changes some, ``POST
    /settings/step`` goes back or forth.

    Args:
        tabs: The painting tabs, whose fields may have start values.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/settings")
    def settings(request: Request) -> JSONResponse:
        language = language_of(request)
        groups = [*_option_groups(studio, language), *_start_groups(studio, tabs, language)]
        return _answer({"groups": groups, **_state(studio, tabs)})

    @router.post("/settings")
    def change(wanted: Wanted, request: Request) -> JSONResponse:
        fields = [field for parts in tabs for field in fields_of(parts, studio)]
        starts = {name: value for name, value in wanted.values.items() if "/" in name}
        options = {name: value for name, value in wanted.values.items() if name not in starts}
        _refuse_unknown(options, studio)
        changed = _fenced(
            lambda: studio.settings_changes.change(options, checked_starts(fields, starts))
        )
        return _told(changed, "settings_applied", fields, request)

    @router.post("/settings/step")
    def step(step: Step, request: Request) -> JSONResponse:
        fields = [field for parts in tabs for field in fields_of(parts, studio)]
        changed = _fenced(lambda: studio.settings_changes.step(step.by))
        key = "settings_undone" if step.by < 0 else "settings_redone"
        return _told(changed, key, fields, request)

    def _told(
        changed: list[str], key: str, fields: Sequence[StartField], request: Request
    ) -> JSONResponse:
        language = language_of(request)
        labels = _labels(studio, fields, language)
        names = ", ".join(labels.get(name, name) for name in changed[:MOST_NAMED])
        more = len(changed) - MOST_NAMED
        names += say("settings_and_more", language, count=more) if more > 0 else ""
        said = say(key, language, names=names) if changed else say("settings_same", language)
        problems = studio.refresh_models() if MODEL_PLACES in changed else []
        return _answer({"said": said, "problems": problems, **_state(studio, tabs)})

    return router


def _answer(content: dict[str, Any]) -> JSONResponse:
    return JSONResponse(content, headers=NEVER_KEPT)


def _fenced(deed: Callable[[], list[str]]) -> list[str]:
    try:
        return deed()
    except WebUIError as err:
        raise HTTPException(err.http_status, str(err)) from err


def _shown(studio: Studio) -> list[Option]:
    return shown(hides_folders=bool(studio.settings.flags.get("hide_ui_dir_config")))


def _refuse_unknown(options: Mapping[str, Any], studio: Studio) -> None:
    known = {option.key for option in _shown(studio)}
    for key in options:
        if key not in known:
            raise HTTPException(422, f"No setting of this page is called {key!r}.")


def _state(studio: Studio, tabs: Sequence[PaintingTab]) -> dict[str, Any]:
    """The present values, and which way the history goes on."""
    values: dict[str, Any] = {o.key: studio.options[o.key] for o in _shown(studio)}
    for parts in tabs:
        own = usable_values(parts, studio)
        values |= {f"{parts.tab}/{name}": value for name, value in own.items()}
    changes = studio.settings_changes
    return {
        "values": values, "undo": changes.can_step(-1), "redo": changes.can_step(1),
        "frozen": changes.is_frozen,
    }  # fmt: skip


def _option_groups(studio: Studio, language: str) -> list[dict[str, Any]]:
    options = _shown(studio)
    groups = {group: [o for o in options if group_of(o.key) == group] for group in GROUPS}
    return [
        {
            "title": say(group, language),
            "items": [_option_item(o, language) for o in own],
        }
        for group, own in groups.items()
        if own
    ]


def _start_groups(
    studio: Studio, tabs: Sequence[PaintingTab], language: str
) -> list[dict[str, Any]]:
    place = int(language == CHINESE)
    return [
        {
            "title": say("settings_start", language, tab=say(f"tab_{parts.tab}", language)),
            "note": say("settings_start_note", language),
            "items": [
                _item(f.option, f.label[place], "", [names[place] for names in f.names])
                for f in fields_of(parts, studio)
            ],
        }
        for parts in tabs
    ]


def _option_item(option: Option, language: str) -> dict[str, Any]:
    names = [value_name(choice, language) for choice in option.choices]
    return _item(option, _label(option, language), text_of(option).told(language), names)


def _item(option: Option, label: str, sentence: str, names: Sequence[str]) -> dict[str, Any]:
    """One setting as the page draws it."""
    return {
        "key": option.key, "label": label, "says": sentence, "kind": _kind(option),
        "default": option.default, "choices": list(option.choices), "names": list(names),
        "minimum": option.minimum, "maximum": option.maximum,
        "whole": isinstance(option.default, int),
    }  # fmt: skip


def _kind(option: Option) -> str:
    default = option.default
    if isinstance(default, bool):
        return "switch"
    if isinstance(default, list):
        return "several" if option.choices else "list"
    if option.choices:
        return "choice"
    return "number" if isinstance(default, (int, float)) else "text"


def _label(option: Option, language: str) -> str:
    return text_of(option).chinese_label if language == CHINESE else option.label


def _labels(studio: Studio, fields: Sequence[StartField], language: str) -> dict[str, str]:
    place = int(language == CHINESE)
    labels = {option.key: _label(option, language) for option in OPTION_BY_KEY.values()}
    return labels | {field.option.key: field.label[place] for field in fields}
