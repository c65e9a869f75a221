"""From the fields of the merger and the tools to requests. No Gradio here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from webui.errors import ParamsError
from webui.params import AnyFileTool, build
from webui.services.file_tools import with_known_names
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.studio import Studio

NO_VAE = "None"
LORA_ROWS = 4
CONVERTIBLE = ("checkpoint", "vae", "lora", "embedding", "upscaler")


def make_request(
    tool: str, form: Mapping[str, Any], studio: Studio, language: str, *, user: str
) -> AnyFileTool:
    """The request of a button.

    Args:
        tool: ``merge``, ``convert``, ``extract`` or ``loras``.
        form: Values of its fields by name.
    Raises:
        ParamsError: Something is missing or out of range.
        CheckpointNotFoundError: A file is not there any more.
    """
    told = {name: value for name, value in form.items() if value is not None}
    kind, values = _READERS[tool](told, language)
    params = build(kind, {**values, "user": user})
    assert isinstance(params, AnyFileTool)
    return with_known_names(params, studio.catalog)


def _merge(form: Mapping[str, Any], language: str) -> tuple[str, dict[str, Any]]:
    values = {key: value for key, value in form.items() if key != "format"}
    return "merge-checkpoints", {**values, "primary": _chosen(form, "primary", language)}


def _convert(form: Mapping[str, Any], language: str) -> tuple[str, dict[str, Any]]:
    values = {**form, "name": _chosen(form, "name", language)}
    if values["model_kind"] != "checkpoint":
        values |= {"pruning": "disabled", "layout": "single-file"}
    return "convert-model", values


def _extract(form: Mapping[str, Any], language: str) -> tuple[str, dict[str, Any]]:
    tuned, original = (_chosen(form, name, language) for name in ("model_tuned", "model_org"))
    ranks = {name: int(form[name]) for name in ("dim", "conv_dim")}
    return "extract-lora", {**form, **ranks, "model_tuned": tuned, "model_org": original}


def _loras(form: Mapping[str, Any], language: str) -> tuple[str, dict[str, Any]]:
    rows = [(form.get(f"lora_{n}"), form.get(f"weight_{n}", 1.0)) for n in range(LORA_ROWS)]
    loras = [{"name": name, "weight": weight} for name, weight in rows if name]
    if not loras:
        raise ParamsError(say("loras_none_chosen", language), field="loras")
    common = {"loras": loras, "custom_name": form.get("custom_name", "")}
    if form.get("into"):
        precision = form["precision"]
        return "bake-loras", {**common, "checkpoint_name": form["into"], "precision": precision}
    precision = "fp16" if form["precision"] == "keep" else form["precision"]
    return "merge-loras", {**common, "dim": int(form["dim"]), "precision": precision}


def _chosen(form: Mapping[str, Any], field: str, language: str) -> str:
    if not form.get(field):
        raise ParamsError(say("info_choose", language), field=field)
    return form[field]


_READERS = {"merge": _merge, "convert": _convert, "extract": _extract, "loras": _loras}


def file_choices(studio: Studio, kind: str) -> list[tuple[str, str]]:
    """Files of a kind for a menu: title, name; broken ones too, to be looked at."""
    return [
        (record.title if kind == "checkpoint" else record.name, record.name)
        for record in studio.catalog.records(kind)
        if record.path.exists()
    ]
