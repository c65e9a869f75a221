"""What a hub told of a model, put beside its file as A1111 does; never over what is there."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Final

from PIL import Image

from webui.checkpoints.download.client import make_client
from webui.checkpoints.download.fetch import Network, on_own_loop
from webui.checkpoints.download.hubs import MOST_PICTURE_BYTES, Notes, read_all
from webui.checkpoints.headers import read_header
from webui.checkpoints.labels import BADGES
from webui.checkpoints.records import Record
from webui.checkpoints.rules import describe
from webui.checkpoints.sidecars import (
    NOTES,
    Beside,
    beside,
    helper_family,
    write_notes,
    write_preview,
)
from webui.errors import WebUIError

logger = logging.getLogger(__name__)
PREVIEW_PIXELS: Final = 768
MOST_PIXELS: Final = 60_000_000


def write_beside(path: Path, kind: str, notes: Notes, network: Network) -> None:
    """Put notes and a preview picture beside a file. A failure is logged: the model is there.

    Args:
        kind: As in the catalog; '' = what the file says of itself.
    """
    try:
        info = path.stat()
        kind = kind or describe(read_header(path)).kind
        record = Record(kind, path.name, path, info.st_size, info.st_mtime_ns)
        if not Path(beside(record, NOTES)).exists():
            write_notes(record, _values(notes))
        if notes.preview and not Beside().preview(record):
            write_preview(record, _picture(on_own_loop(_get(notes.preview, network))))
    except (WebUIError, OSError, ValueError, Image.DecompressionBombError):
        logger.warning("Notes or picture of %s were not stored.", path.name, exc_info=True)


def _values(notes: Notes) -> dict[str, str | float]:
    family = helper_family({"baseModel": notes.base})
    values: dict[str, str | float] = {
        "description": notes.description,
        "activation": notes.words,
        "notes": notes.page,
        "sd_version": BADGES.get(family, ""),
    }
    return {name: value for name, value in values.items() if value}


async def _get(url: str, network: Network) -> bytes:
    async with make_client(network.rules) as client:
        return await read_all(client, network, url, MOST_PICTURE_BYTES)


def _picture(data: bytes) -> bytes:
    """Any picture as a PNG of a card's size."""
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF")) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError("the preview picture is far too large")
        image.thumbnail((PREVIEW_PIXELS, PREVIEW_PIXELS))
        packed = io.BytesIO()
        image.convert("RGB").save(packed, "PNG")
    return packed.getvalue()
