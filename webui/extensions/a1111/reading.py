"""A1111 folders among the program's extensions, and their settings as fields of ours."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from webui.extension_forms import AnyField, Choice, Number, Switch, Text, Whole, Words
from webui.extensions.a1111.folder import A1111Folder, is_a1111_folder
from webui.extensions.a1111.options import OptionInfo
from webui.extensions.folders import Extension, fingerprint, sources

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_MARKUP = re.compile(r"<[^>]+>")
LARGEST = 1_000_000


def read_a1111(path: Path) -> Extension | None:
    """A folder of A1111's as one of our extensions; None when it is none."""
    if not is_a1111_folder(path):
        return None
    folder = A1111Folder(path)
    beside = [*folder.javascript, *folder.localizations, folder.style, path / "metadata.ini"]
    files = [*sources(path), *beside]
    return Extension(path.name.lower(), path, "a1111", prints=fingerprint(files))


def setting_field(key: str, info: OptionInfo) -> AnyField | None:
    """A setting as a field that our pages draw; None where no field of ours fits."""
    if info.do_not_save:
        return None
    given: Any = info.component_args() if callable(info.component_args) else info.component_args
    args: dict[str, Any] = dict(given or {})
    told = _MARKUP.sub("", f"{info.comment_before} {info.comment_after}").strip()
    if _is_list(info.default):
        choices = ", ".join(_text_of(choice) for choice in args.get("choices") or ())
        told, args = f"{told} {choices}".strip(), {}
    return field_of(setting_name(key), info.label or key, field_value(info.default), args, told)


def setting_name(key: str) -> str:
    """The name of a setting's field: its key, in small letters and told apart where it has
    others."""
    if _NAME.fullmatch(key):
        return key
    mark = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    return f"o_{re.sub('[^a-z0-9_]', '_', key.lower())[:30]}_{mark}"


def field_value(value: Any) -> Any:
    """A setting's value as its field has it: lists as their parts, with commas between them."""
    return ", ".join(map(str, value)) if _is_list(value) else value


def option_value(info: OptionInfo, value: Any) -> Any:
    """The value of a setting's field as scripts read it."""
    if not _is_list(info.default):
        return value
    return [part.strip() for part in str(value).split(",") if part.strip()]


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def field_of(
    name: str, label: str, value: Any, args: Mapping[str, Any], told: str = ""
) -> AnyField | None:
    """A field of ours for a value.

    Args:
        args: ``choices``, ``minimum``, ``maximum``, ``step``, ``lines``, where there are such.
        told: What more is said of it.
    """
    words: dict[str, Any] = {"name": name, "label": Words(en=label), "help": Words(en=told)}
    choices = [_text_of(choice) for choice in args.get("choices") or ()]
    if choices and not _is_list(value):
        usual = str(value) if str(value) in choices else choices[0]
        return Choice(choices=tuple(dict.fromkeys(choices)), default=usual, **words)
    if isinstance(value, bool):
        return Switch(default=value, **words)
    if isinstance(value, (int, float)):
        return _number(value, args, words)
    if isinstance(value, str) or value is None:
        return Text(default=value or "", lines=int(args.get("lines") or 1), **words)
    return None


def _number(value: float, args: Mapping[str, Any], words: dict[str, Any]) -> AnyField:
    low, high = args.get("minimum"), args.get("maximum")
    step = args.get("step") or (1 if isinstance(value, int) else 0.01)
    low = min(0, value) if low is None else min(low, value)
    high = max(LARGEST, value) if high is None else max(high, value)
    if all(float(one).is_integer() for one in (value, low, high, step)):
        whole = {"default": int(value), "minimum": int(low), "maximum": int(high)}
        return Whole(**whole, step=max(1, int(step)), **words)
    return Number(default=value, minimum=low, maximum=high, step=step, **words)


def _text_of(choice: Any) -> str:
    """A choice's value: Gradio's choices may be pairs of a label and a value."""
    return str(choice[1] if isinstance(choice, (list, tuple)) and len(choice) > 1 else choice)
