"""What a picture was made with beside the models whose hashes its recipe tells: upscalers, face
restorers and extensions, kept by the library in ``made_on`` so that a replay can compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointError
from webui.infotext import parse_infotext
from webui.params import LATENT_UPSCALE_MODES
from webui.services.named_weights import NamedWeights, Opened

FILES, EXTENSIONS = "files", "extensions"
"""Keys of ``made_on``: short hashes by the names people know, what is in extensions by theirs."""
_NAMED_IN: Mapping[str, Opened] = {
    "Hires upscaler": "upscaler",
    "SD upscale upscaler": "upscaler",
    "Face restoration": "face",
}


@dataclass(frozen=True)
class MadeWith:
    """Tells for a new picture what made it, and for an old one what is here now.

    Attributes:
        contents: What is in extensions; see ``ExtensionRoom.contents``.
    """

    catalog: Catalog
    weights: NamedWeights
    contents: Callable[[Iterable[str] | None], dict[str, str]]

    def of(self, infotext: str, acting: Iterable[str]) -> dict[str, Any]:
        """What to keep of a picture that was just painted; what made no picture is not named.

        Args:
            acting: Extensions that acted on its request.
        """
        found: dict[str, str] = {}
        for kind, name in names_in(parse_infotext(infotext).params):
            try:
                record = self.weights.file_of(kind, name)
                digest = self.catalog.hash_now(record).short_hash if record else None
            except CheckpointError:  # it went while it was painted with
                continue
            found |= {name: digest} if digest else {}
        told = {FILES: found, EXTENSIONS: self.contents(acting)}
        return {key: facts for key, facts in told.items() if facts}


def names_in(params: Mapping[str, str]) -> Iterator[tuple[Opened, str]]:
    """Upscalers and face restorers that a recipe names, but for ways that are no files."""
    for key, kind in _NAMED_IN.items():
        name = params.get(key, "")
        if name not in ("", "None", *LATENT_UPSCALE_MODES):
            yield kind, name
