"""Reading and changing options, and the start-up flags."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body
from fastapi.routing import APIRoute

from webui.api.errors import ApiError
from webui.api.lenient import json_safe, read_bool, read_float, read_int
from webui.errors import CheckpointNotFoundError, ParamsError
from webui.options import OPTION_BY_KEY, OPTION_DEFAULTS, Option, is_api_restricted
from webui.services.resolve import TextToImageRequest, resolve
from webui.settings import Settings
from webui.studio import Studio

READ_ONLY = ("sd_checkpoint_hash",)
"""Told by GET /options, ignored by POST, so that what was read can be sent back whole."""
SECRET_FLAGS = ("api_auth", "gradio_auth", "gradio_auth_path")
NO_VAE_FILE = ("Automatic", "None")


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

    A value that is the present one is not looked at, so that what was read can be sent back
    whole even where it has become wrong since (a VAE whose file is gone).

    Raises:
        ApiError: An unknown or broken checkpoint, an unknown option, or options are frozen.
        CheckpointNotFoundError: An unknown VAE.
        ParamsError: A value that no request could be painted with.
    """
    if studio.settings.flags.get("freeze_settings"):
        raise ApiError(
            500,
            "The options were frozen at the start (--freeze-settings). Restart without that flag.",
            error="AssertionError",
            errors="changing settings is disabled",
        )
    wanted = {key: value for key, value in values.items() if _may_change(studio, key)}
    checkpoint = _checkpoint_title(studio, wanted.pop("sd_model_checkpoint", None))
    checked = {
        key: checked_value(key, value)
        for key, value in wanted.items()
        if not _is_present(studio, key, value)
    }
    if checked.get("sd_vae", "None") not in NO_VAE_FILE:
        studio.catalog.find_vae(checked["sd_vae"])
    _check_that_one_can_paint(checked)
    for key, value in checked.items():
        studio.options.set(key, value)
    if checkpoint is not None:
        studio.choose_checkpoint(checkpoint)
    studio.options.save()


def _may_change(studio: Studio, key: str) -> bool:
    """False for keys that are quietly left alone.

    Raises:
        ApiError: No option has that key.
    """
    if key in READ_ONLY or is_api_restricted(key):
        return False
    if key not in studio.options:
        raise ApiError(
            500,
            f"No option is called {key!r}; nothing was changed. GET /sdapi/v1/options lists them.",
            error="KeyError",
            errors=repr(key),
        )
    is_path = key.startswith("outdir_") or key.endswith("filename_pattern")
    return not (is_path and studio.settings.flags.get("hide_ui_dir_config"))


def _is_present(studio: Studio, key: str, value: Any) -> bool:
    present = studio.options[key]
    return type(value) is type(present) and value == present


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
            500,
            f"model {alias!r} not found; nothing was changed. {err}",
            error="RuntimeError",
            errors=f"model {alias!r} not found",
        ) from err
    if record.problem:
        raise ApiError(
            500,
            f"model {alias!r} cannot be used; nothing was changed. {record.problem}",
            error="RuntimeError",
            errors=record.problem,
        )
    return record.title


def checked_value(key: str, value: Any) -> Any:
    """The value in the type of the option's default and in its range; null means the default.

    Raises:
        ParamsError: It cannot be read as that type, is none of the choices, or out of range.
    """
    typed = _typed_value(key, value)
    option = OPTION_BY_KEY.get(key)
    if option is None:
        return typed
    if option.choices:
        return _one_of(key, typed, option.choices)
    if isinstance(typed, (int, float)) and not isinstance(typed, bool):
        _check_range(option, typed)
    return typed


def _check_range(option: Option, value: float) -> None:
    low, high = option.minimum, option.maximum
    is_low_enough = high is None or value <= high
    is_high_enough = low is None or value >= low
    if math.isfinite(value) and is_low_enough and is_high_enough:
        return
    start = "" if low is None else f" from {low:g}"
    end = (" up" if start else "") if high is None else f" to {high:g}"
    raise ParamsError(
        f"The option {option.key} was {value}; a number{start}{end} is needed.",
        f"Its default is {option.default!r}. Nothing was changed.",
        field=option.key,
    )


def _one_of(key: str, value: Any, choices: Sequence[Any]) -> Any:
    """The choice that was meant; capitals do not matter."""
    for choice in choices:
        if str(value).lower() == str(choice).lower():
            return choice
    raise ParamsError(
        f"The option {key} was {str(value)[:80]!r}, which is unknown.",
        f"Choose one of: {', '.join(map(str, choices))}. Nothing was changed.",
        field=key,
    )


def _typed_value(key: str, value: Any) -> Any:
    default = OPTION_DEFAULTS.get(key)
    if value is None or default is None:
        return default if value is None else json_safe(value)
    try:
        if isinstance(default, bool):
            return read_bool(value)
        if isinstance(default, int):
            number = read_float(value)
            return read_int(value) if number is None or number.is_integer() else number
        if isinstance(default, float):
            return read_float(value)
        if isinstance(value, type(default)):
            return json_safe(value)
    except ValueError as err:
        raise _wrong_type(key, value, default) from err
    raise _wrong_type(key, value, default)


def _wrong_type(key: str, value: Any, default: Any) -> ParamsError:
    return ParamsError(
        f"The option {key} was given {str(value)[:80]!r}; {type(default).__name__} is needed.",
        f"Its default is {default!r}. Nothing was changed.",
        field=key,
    )


def _check_that_one_can_paint(changes: Mapping[str, Any]) -> None:
    """Refuse values that would make every later request fail.

    Raises:
        ParamsError: From resolving a plain request with these options.
    """
    resolve(
        TextToImageRequest(),
        {**OPTION_DEFAULTS, **changes},
        find_checkpoint=lambda alias: alias or "any",
        styles={},
    )


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
