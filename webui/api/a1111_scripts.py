"""Scripts of A1111 folders in requests: ``script_name`` and ``alwayson_scripts``."""

from __future__ import annotations

import json
from typing import Any

from webui.api.errors import ApiError
from webui.api.schemas import ImageToImageBody, PaintingBody, SomeBody
from webui.api.script_arguments import arguments_of
from webui.extensions.a1111.runner import ScriptRunner
from webui.services.extensions.scripts import A1111, ScriptRoom
from webui.studio import Studio


def take_scripts(studio: Studio, body: SomeBody) -> tuple[SomeBody, dict[str, dict[str, Any]]]:
    """A request without the A1111 scripts and settings that it names, and what it says to them.

    Returns:
        The request, and values as requests of ours carry them; empty where it names none.
    Raises:
        ApiError: A script is named in the wrong place.
        ParamsError: Arguments that are no list.
    """
    tab = "img2img" if isinstance(body, ImageToImageBody) else "txt2img"
    scripts = studio.extensions.scripts
    if scripts is None:
        return body, {}
    body, settings = _settings(scripts, body)
    body, said = _scripts(scripts.runner(tab), body)
    said |= {"settings": json.dumps(settings)} if settings else {}
    return body, {A1111: said} if said else {}


def _settings(scripts: ScriptRoom, body: SomeBody) -> tuple[SomeBody, dict[str, Any]]:
    """A request without overrides of folders' settings, and these."""
    overrides = body.override_settings or {}
    theirs = {key: value for key, value in overrides.items() if scripts.has_setting(key)}
    left = {key: value for key, value in overrides.items() if key not in theirs}
    return (body.model_copy(update={"override_settings": left}) if theirs else body), theirs


def _scripts(runner: ScriptRunner | None, body: SomeBody) -> tuple[SomeBody, dict[str, Any]]:
    """A request without the scripts that it names, and what it says to them."""
    if runner is None:
        return body, {}
    arguments: dict[str, list[Any]] = {}
    left: dict[str, Any] = {}
    for name, entry in (body.alwayson_scripts or {}).items():
        script = runner.script(name)
        if script is None:
            left[name] = entry
        elif not script.alwayson:
            raise ApiError(
                422,
                "Cannot have a selectable script in the always on scripts params: "
                f"'{name[:80]}'. Name it in script_name.",
            )
        else:
            arguments[name.lower()] = arguments_of(name, entry)
    selected = _selected(runner, body)
    changes: dict[str, Any] = {"alwayson_scripts": left}
    if selected:
        arguments[selected.lower()] = list(body.script_args or [])
        changes |= {"script_name": None, "script_args": []}
    if not selected and not arguments:
        return body, {}
    said = {"selected": selected, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return body.model_copy(update=changes), said


def _selected(runner: ScriptRunner, body: PaintingBody) -> str:
    """The title of the script that does the job; '' when it is none of these."""
    script = runner.script(body.script_name) if body.script_name else None
    return body.script_name or "" if script is not None and not script.alwayson else ""


def titles(studio: Studio, tab: str) -> list[str]:
    """What ``GET /sdapi/v1/scripts`` lists of a tab."""
    runner = studio.extensions.scripts.runner(tab) if studio.extensions.scripts else None
    return [script.name or "" for script in runner.all_in_order] if runner else []


def infos(studio: Studio) -> list[dict[str, Any]]:
    """What ``GET /sdapi/v1/script-info`` tells."""
    return studio.extensions.scripts.infos() if studio.extensions.scripts else []
