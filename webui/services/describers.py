"""What puts pictures into words: which taggers and captioners are there, and which is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from webui.checkpoints.describers import (
    Describer,
    DescriberKind,
    find_describers,
    missing_describer,
)
from webui.errors import CheckpointNotFoundError
from webui.params import AnyParams, Describing, ImageToImage, Painting
from webui.settings import Folders

OF_API: dict[str, DescriberKind] = {"clip": "captioner", "deepdanbooru": "tagger"}
"""What A1111's API calls them."""
OF_EXTENSIONS = Path()
"""Stands for the folder of a tagger that an extension brings."""


def describers(folders: Folders, offered: Sequence[str] = ()) -> tuple[Describer, ...]:
    """Those that are there now.

    Args:
        offered: Names of taggers that extensions bring.
    """
    found = find_describers((folders.own_models, *folders.models))
    return (*found, *(Describer(name, "tagger", OF_EXTENSIONS) for name in offered))


def first_of(folders: Folders, kind: DescriberKind) -> Describer:
    """The first of a kind.

    Raises:
        CheckpointNotFoundError: There is none; says which files are wanted where.
    """
    found = next((one for one in describers(folders) if one.kind == kind), None)
    if found is None:
        raise missing_describer(kind)
    return found


def describer_of_loops(params: AnyParams | Painting, folders: Folders) -> dict[str, str] | None:
    """What the model process is told of the describer that loops are to ask; None where they ask
    none.

    Raises:
        CheckpointNotFoundError: It is not there; names the files.
    """
    loopback = params.loopback if isinstance(params, ImageToImage) else None
    if loopback is None or loopback.interrogation == "None":
        return None
    found = first_of(folders, "captioner" if loopback.interrogation == "CLIP" else "tagger")
    return {"kind": found.kind, "folder": str(found.folder)}


def describer_message(
    params: Describing, folders: Folders, offered: Sequence[str] = ()
) -> dict[str, str]:
    """What the model process is told of the describer that a job names.

    Args:
        offered: As for ``describers``.
    Raises:
        CheckpointNotFoundError: It is not there any more.
    """
    there = describers(folders, offered)
    found = next((one for one in there if one.name == params.describer), None)
    if found is None:
        raise CheckpointNotFoundError(
            f'No tagger or captioner is called "{params.describer}".',
            f"There are: {', '.join(one.name for one in there) or 'none'}.",
            wanted=params.describer,
        )
    if found.folder == OF_EXTENSIONS:
        return {"kind": "extension", "name": found.name}
    return {"kind": found.kind, "folder": str(found.folder)}
