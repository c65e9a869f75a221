"""Files for jobs that make weights files out of others: by the names people know."""

from __future__ import annotations

from typing import Any, TypeVar

from webui.checkpoints.catalog import Catalog, Record
from webui.checkpoints.download.naming import Places, folder_of
from webui.errors import CheckpointError
from webui.params import (
    BakeLoras,
    ConvertModel,
    ExtractLora,
    FileTool,
    MergeCheckpoints,
    MergeLoras,
)

SomeTool = TypeVar("SomeTool", bound=FileTool)


def with_known_names(params: SomeTool, catalog: Catalog) -> SomeTool:
    """The request with every file under its name in the catalog.

    Raises:
        CheckpointNotFoundError: No such file.
        CheckpointError: It is known to be unusable.
    """
    records = [find_file(catalog, kind, name) for kind, name in params.files]
    for record in records:
        if record.problem and not record.path.exists():
            raise CheckpointError(record.problem, "Press Refresh.", path=str(record.path))
    return params.model_copy(update=_renamed(params, [r.name for r in records]))


def _renamed(params: FileTool, names: list[str]) -> dict[str, Any]:
    """Fields that hold names, with these in the order of ``params.files``."""
    if isinstance(params, MergeCheckpoints):
        fields = ["primary"]
        fields += ["secondary"] * params.needs_secondary + ["tertiary"] * params.needs_tertiary
        fields += ["bake_in_vae"] * (params.bake_in_vae != "None")
        return dict(zip(fields, names, strict=True))
    if isinstance(params, ConvertModel):
        return {"name": names[0]}
    if isinstance(params, ExtractLora):
        return {"model_tuned": names[0], "model_org": names[1]}
    first: dict[str, Any] = {}
    if isinstance(params, BakeLoras):
        first["checkpoint_name"] = names.pop(0)
    assert isinstance(params, BakeLoras | MergeLoras)
    loras = zip(params.loras, names, strict=True)
    return {**first, "loras": tuple(x.model_copy(update={"name": n}) for x, n in loras)}


def find_file(catalog: Catalog, kind: str, name: str) -> Record:
    """A file of any kind by any name people use for it.

    Raises:
        CheckpointNotFoundError: None has that name.
    """
    if kind == "checkpoint":
        return catalog.find_checkpoint(name)
    if kind == "vae":
        return catalog.find_vae(name)
    try:
        return catalog.find(kind, name)
    except CheckpointError:
        if kind != "lora":
            raise
        return catalog.find_lora(name)


def file_tool_message(params: FileTool, catalog: Catalog, folders: Places) -> dict[str, Any]:
    """What the model process must know for such a job.

    Raises:
        CheckpointNotFoundError: A file has gone since the job was asked for.
    """
    records = [find_file(catalog, kind, name) for kind, name in params.files]
    kind = params.model_kind if isinstance(params, ConvertModel) else params.makes
    return {
        "folder": str(folder_of(kind, folders)),
        "files": [
            {
                "path": str(r.path), "name": r.name, "model_name": r.model_name, "sha256": r.sha256,
            }
            for r in records
        ],
    }  # fmt: skip
