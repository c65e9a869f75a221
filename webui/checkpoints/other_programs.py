"""Where A1111, Forge, ComfyUI and lora-scripts keep their models; no torch.

Files are used where they lie: nothing is moved, copied or written there. A place is the folder of
such a program, its folder of models, or ComfyUI's ``extra_model_paths.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from webui.checkpoints.scan import KIND_FOLDERS, Root, model_roots
from webui.errors import SettingsError

COMFY_FILE: Final = "extra_model_paths.yaml"
LORA_SCRIPTS: Final = (("checkpoint", "sd-models"), ("lora", "output"))
"""Folders of lora-scripts: what is trained upon, and what came out."""
CONTROLNET_EXTENSION: Final = Path("extensions", "sd-webui-controlnet", "models")
"""Where the ControlNet extension of A1111 keeps its own."""
ANSWERS: Final = "base_path", "is_default"
"""Keys of a YAML section that name no kind of model."""


def roots_of_all(places: Iterable[str | Path]) -> tuple[list[Root], list[SettingsError]]:
    """The folders of several places, and what is wrong with those that cannot be used."""
    roots: list[Root] = []
    problems: list[SettingsError] = []
    for place in places:
        try:
            roots += roots_of(Path(place).expanduser())
        except SettingsError as err:
            problems.append(err)
    return roots, problems


def roots_of(place: Path) -> list[Root]:
    """The folders of models of one place, in the order in which they are looked through.

    Raises:
        SettingsError: It is not there, holds no models, or is a file that cannot be understood.
    """
    if place.is_file():
        return _roots_of_yaml(place)
    if not place.is_dir():
        raise SettingsError(
            f"Models were to be used from {place}, but there is no such folder or file.",
            "Give the folder of A1111, ComfyUI or lora-scripts, or an extra_model_paths.yaml.",
        )
    roots = [*model_roots(place), *model_roots(place / "models")]
    roots += [(kind, str(place / name)) for kind, name in LORA_SCRIPTS if _is_trainer(place)]
    if (place / CONTROLNET_EXTENSION).is_dir():
        roots.append(("controlnet", str(place / CONTROLNET_EXTENSION)))
    if (place / COMFY_FILE).is_file():
        roots += _roots_of_yaml(place / COMFY_FILE)
    if not roots:
        raise SettingsError(
            f"Models were to be used from {place}, but no folder of models lies in it.",
            "Give the folder that holds models/ (A1111, ComfyUI), or sd-models/ (lora-scripts).",
        )
    return list(dict.fromkeys(roots))


def _is_trainer(place: Path) -> bool:
    return (place / "sd-models").is_dir()


def _roots_of_yaml(file: Path) -> list[Root]:
    """ComfyUI's file: sections of kind → folder (or several, one a line), relative to the
    section's ``base_path``, else to the file. A section that ``is_default`` comes first."""
    first: list[Root] = []
    roots: list[Root] = []
    for name, section in _sections(file).items():
        base = _text(file, name, "base_path", section.get("base_path", ""))
        folder = file.parent / os.path.expandvars(os.path.expanduser(base))
        found = [
            (kind, os.path.normpath(folder / line.strip()))
            for key, value in section.items()
            if key not in ANSWERS and (kind := _kind(key))
            for line in _text(file, name, key, value).splitlines()
            if line.strip()
        ]
        (first if section.get("is_default") is True else roots).extend(found)
    return first + roots


def _kind(key: str) -> str:
    """What lies in a folder by ComfyUI's name for it; '' for what is not used here."""
    return next((kind for kind, names in KIND_FOLDERS.items() if key.lower() in names), "")


def _sections(file: Path) -> dict[str, Mapping[str, Any]]:
    import yaml

    try:
        content = yaml.safe_load(file.read_text("utf-8-sig"))
    except OSError as err:
        raise SettingsError(
            f"{file} cannot be read: {err.strerror or err}.", "Check the file's permissions."
        ) from err
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as err:
        raise SettingsError(f"{file} is not valid YAML: {_where(err)}.", _HOW) from err
    sections = content if isinstance(content, dict) else {}
    if content is not None and not isinstance(content, dict):
        raise SettingsError(f"{file} holds no sections.", _HOW)
    for name, section in sections.items():
        if section is not None and not isinstance(section, dict):
            raise SettingsError(f"Section {name!r} of {file} is {section!r}.", _HOW)
    return {str(name): _with_names(section or {}) for name, section in sections.items()}


_HOW: Final = (
    "Write it as ComfyUI's example does: a name with a colon, and below it, indented, lines such "
    "as «base_path: /where/it/is» and «loras: models/Lora»."
)


def _with_names(section: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): value for key, value in section.items()}


def _where(err: Exception) -> str:
    """A YAML fault in one line."""
    mark = getattr(err, "problem_mark", None)
    problem = getattr(err, "problem", None) or str(err).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)


def _text(file: Path, section: str, key: str, value: object) -> str:
    """A value that must be text; nothing written counts as empty."""
    if value is None or isinstance(value, str):
        return value or ""
    raise SettingsError(f"{key!r} of {section!r} in {file} is {value!r}, not a folder.", _HOW)
