"""Scripts: what they derive from and how they find each other."""

from __future__ import annotations

from typing import Any

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard
from webui.extensions.a1111.runner import ScriptRunner
from webui.extensions.a1111.script import (
    AlwaysVisible,
    MaskBlendArgs,
    OnComponent,
    PostprocessBatchListArgs,
    PostprocessImageArgs,
    PostProcessMaskOverlayArgs,
    PostSampleArgs,
    Script,
    ScriptBuiltinUI,
)
from webui.extensions.a1111.script import ScriptClass as ScriptClassData

__all__ = [
    "AlwaysVisible", "MaskBlendArgs", "OnComponent", "PostProcessMaskOverlayArgs",
    "PostSampleArgs", "PostprocessBatchListArgs", "PostprocessImageArgs", "Script",
    "ScriptBuiltinUI", "ScriptClassData", "ScriptRunner", "basedir", "list_files_with_name",
    "list_scripts",
]  # fmt: skip

paste_field_names: list[str] = []


def basedir() -> str:
    """The folder of the extension that asks."""
    return str(current().basedir())


def list_scripts(
    scriptdirname: str, extension: str, *, include_extensions: bool = True
) -> list[Any]:
    """Files of that ending in a folder of that name, of all extensions."""
    found: list[Any] = []
    for loaded in current().folders.values():
        place = loaded.folder.path / scriptdirname
        if include_extensions and place.is_dir():
            found += [f for f in sorted(place.iterdir()) if f.suffix == extension]
    return found


def list_files_with_name(filename: str) -> list[str]:
    """Files of that name that lie in extensions' folders."""
    paths = (loaded.folder.path / filename for loaded in current().folders.values())
    return [str(path) for path in paths if path.is_file()]


def __getattr__(name: str) -> Any:
    if name in ("scripts_txt2img", "scripts_img2img", "scripts_current"):
        tab = "img2img" if name == "scripts_img2img" else "txt2img"
        return current().runners.get(tab) or ScriptRunner(current().fence)
    if name == "scripts_data":
        return current().classes
    if name == "scripts_postproc":
        return current().extras_steps()
    raise AttributeError(f"module 'modules.scripts' has no attribute {name!r}")


guard(__name__)
