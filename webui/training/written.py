"""Reads what people wrote, as TOML, JSON or lines, and says what is wrong with it; no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import tomlkit
from tomlkit.exceptions import TOMLKitError

from webui.errors import ParamsError

TOML_HINT: Final = (
    "Text must stand in quotation marks; a backslash in it must be doubled, or write /."
)


def read_text(path: Path, field: str) -> str:
    """The text of a file.

    Args:
        field: The option that names it.
    Raises:
        ParamsError: It is not there, or no UTF-8 text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as err:
        message = f'{field}: the file "{path}" cannot be read: it does not exist.'
        raise ParamsError(message, field=field) from err
    except OSError as err:
        message = f'{field}: the file "{path}" cannot be read: {err.strerror or err}.'
        raise ParamsError(message, field=field) from err
    except UnicodeDecodeError as err:
        raise _unreadable(path, field, err) from err


def read_values(path: Path, field: str) -> Any:
    """What a ``.json`` file holds, or any other, which is TOML.

    Raises:
        ParamsError: As ``read_text`` and ``parse_toml``.
    """
    text = read_text(path, field)
    if path.suffix.lower() != ".json":
        return parse_toml(text, f'{field}: "{path.name}" is not readable', field)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as err:
        raise _unreadable(path, field, err) from err


def parse_toml(text: str, complaint: str, field: str) -> dict[str, Any]:
    """The values of a TOML text.

    Args:
        complaint: Begins the sentence about what is wrong.
    Raises:
        ParamsError: It is no TOML; says in which line.
    """
    try:
        return tomlkit.parse(text).unwrap()
    except (TOMLKitError, RecursionError) as err:
        raise ParamsError(f"{complaint}: {err}.", TOML_HINT, field=field) from err


def _unreadable(path: Path, field: str, err: Exception) -> ParamsError:
    return ParamsError(f'{field}: "{path.name}" is not readable: {err}.', field=field)
