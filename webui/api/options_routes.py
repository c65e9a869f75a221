"""Reading and changing options, and the start-up flags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute

from webui.api.errors import ApiError
from webui.errors import CheckpointNotFoundError
from webui.lenient import json_safe
from webui.options import is_api_restricted, is_of_folders
from webui.settings import SECRET_FLAGS, Settings
from webui.studio import Studio

READ_ONLY = ("sd_checkpoint_hash",)
"""Told by GET /options, ignored by POST, so that what was read can be sent back whole."""


def options_routes(studio: Studio, route_class: type[APIRoute]) -> APIRouter:
    """Options and flags."""
    routes = APIRouter(route_class=route_class, tags=["options"])

    @routes.get("/sdapi/v1/options")
    def get_options() -> dict[str, Any]:
        """Every option with its present value."""
        return present_options(studio)

    @routes.post("/sdapi/v1/options")
    def set_options(values: Annotated[dict[str, Any], Body()]) -> None:
        """Change some options, all or none, and save them."""
        change_options(studio, values)

    @routes.get("/sdapi/v1/cmd-flags")
    def cmd_flags() -> dict[str, Any]:
        """Start-up flags as they were understood; passwords are left out."""
        return flags_to_show(studio.settings)

    return routes


def present_options(studio: Studio) -> dict[str, Any]:
    """All options; the checkpoint by the title under which it is listed now."""
    checkpoint = studio.current_checkpoint()
    chosen = {
        "sd_model_checkpoint": checkpoint.title if checkpoint else None,
        "sd_checkpoint_hash": (checkpoint.sha256 or "") if checkpoint else "",
    }
    return json_safe({**studio.options.as_dict(), **chosen})


def change_options(studio: Studio, values: Mapping[str, Any]) -> None:
    """Change options in memory and in config.json. A fault in one changes none.

    Raises:
        ApiError: An unknown or broken checkpoint, an unknown option, or options are frozen.
        CheckpointNotFoundError: An unknown VAE.
        ParamsError: A value that no request could be painted with.
    """
    if studio.settings_changes.is_frozen:
        raise ApiError(
            403,
            "The options were frozen at the start (--freeze-settings). Restart without that flag.",
            error="AssertionError",
            errors="changing settings is disabled",
        )
    wanted = {key: value for key, value in values.items() if _may_change(studio, key)}
    checkpoint = _checkpoint_title(studio, wanted.pop("sd_model_checkpoint", None))
    studio.settings_changes.change(wanted)
    if checkpoint is not None:
        studio.choose_checkpoint(checkpoint)


def _may_change(studio: Studio, key: str) -> bool:
    """False for keys that are quietly left alone.

    Raises:
        ApiError: No option has that key.
    """
    if key in READ_ONLY or is_api_restricted(key):
        return False
    if key not in studio.options:
        raise ApiError(
            422,
            f"No option is called {key!r}; nothing was changed. GET /sdapi/v1/options lists them.",
            error="KeyError",
            errors=repr(key),
        )
    return not (is_of_folders(key) and studio.settings.flags.get("hide_ui_dir_config"))


def _checkpoint_title(studio: Studio, alias: Any) -> str | None:
    """The title of the checkpoint meant, None when none is.

    Raises:
        ApiError: There is none of that name, or it cannot be used.
    """
    if alias is None:
        return None
    try:
        record = studio.catalog.find_checkpoint(str(alias))
    except CheckpointNotFoundError as err:
        raise ApiError(
            404,
            f"model {alias!r} not found; nothing was changed. {err}",
            error="RuntimeError",
            errors=f"model {alias!r} not found",
        ) from err
    if record.problem:
        raise ApiError(
            422,
            f"model {alias!r} cannot be used; nothing was changed. {record.problem}",
            error="RuntimeError",
            errors=record.problem,
        )
    return record.title


def flags_to_show(settings: Settings) -> dict[str, Any]:
    """The flags under A1111's names, with the folders that are really used and no passwords."""
    shown = {key: _plain(value) for key, value in settings.flags.items() if key not in SECRET_FLAGS}
    return {
        **shown,
        **dict.fromkeys(SECRET_FLAGS),
        "api": settings.api,
        "nowebui": not settings.page,
        "port": settings.port,
        "data_dir": str(settings.folders.data),
        "models_dir": str(settings.folders.models[0]),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else json_safe(value)
