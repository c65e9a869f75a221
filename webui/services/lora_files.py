"""The files of networks that prompts name, looked up for the model process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import Any

from webui.checkpoints.catalog import Catalog, Record
from webui.errors import CheckpointError
from webui.params import AnyParams, Painting
from webui.prompts.networks import HYPERNET_TYPES, LORA_TYPES, cut_networks

logger = logging.getLogger(__name__)


def lora_names(prompts: Iterable[str]) -> list[str]:
    """Names in the LoRA tags of prompts, each once, in reading order."""
    return network_names(prompts, LORA_TYPES)


def network_names(prompts: Iterable[str], types: Collection[str]) -> list[str]:
    """Names in the tags of these types, each once, in reading order."""
    mentions = [m for prompt in prompts for m in cut_networks(prompt)[1] if m.type in types]
    return [name for name in dict.fromkeys(m.name for m in mentions) if name]


def lora_files(
    params: AnyParams | Painting, catalog: Catalog, *, has_hashes: bool
) -> dict[str, Any]:
    """What the model process must know about the LoRAs of a request; see ``_files``."""
    return _files(params, LORA_TYPES, catalog.find_lora, catalog, has_hashes)


def hypernetwork_files(
    params: AnyParams | Painting, catalog: Catalog, *, has_hashes: bool
) -> dict[str, Any]:
    """What the model process must know about the hypernetworks of a request; see ``_files``."""

    def find(name: str) -> Record:
        return catalog.find("hypernetwork", name)

    return _files(params, HYPERNET_TYPES, find, catalog, has_hashes)


def _files(
    params: AnyParams | Painting,
    types: Collection[str],
    find: Callable[[str], Record],
    catalog: Catalog,
    has_hashes: bool,
) -> dict[str, Any]:
    """What the model process must know about networks of one kind.

    Args:
        has_hashes: Work out hashes that are not known yet, for recipes; a large file takes a
            second or so, once.
    Returns:
        Name as in the prompt → ``path`` and ``hash`` (its short one, or None); or ``problem`` and
        ``hint`` when there is no such file.
    """
    found: dict[str, Any] = {}
    if not isinstance(params, Painting) or params.disable_extra_networks:
        return found
    for name in network_names((*params.prompts, *_texts_of_extensions(params)), types):
        try:
            record = find(name)
            if has_hashes:
                record = catalog.hash_now(record)
            found[name] = {"path": str(record.path), "hash": record.short_hash}
        except CheckpointError as err:
            logger.info("%s", err)
            found[name] = {"problem": err.message, "hint": err.hint}
    return found


def _texts_of_extensions(params: Painting) -> list[str]:
    """What extensions may paint with besides: their fields hold prompts, too."""
    values = (value for own in params.extensions.values() for value in own.values())
    return [value for value in values if isinstance(value, str) and "<" in value]
