"""The list of extensions that people can choose from, in A1111's form."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import httpx

from webui.checkpoints.download.asking import none_gave
from webui.checkpoints.download.client import LinkError, SourceError, make_client, read_address
from webui.checkpoints.download.fetch import Network, on_own_loop
from webui.checkpoints.download.hubs import read_all
from webui.services.extensions.commands import InstallError

MOST_BYTES: Final = 16 * 2**20
MOST_ENTRIES: Final = 20_000
_TEXTS: Final = ("name", "description", "added", "created_at", "commit_time")


def fetch_index(url: str, network: Network) -> dict[str, Any]:
    """The list at an address: ``about``, ``tags`` with what they mean, ``extensions``.

    Raises:
        DownloadError: It cannot be fetched. InstallError: It is no such list.
    """
    return read_index(fetch_bytes(url, network, MOST_BYTES))


def fetch_bytes(url: str, network: Network, most: int) -> bytes:
    """What lies at an address or at one of its mirrors; see ``hubs.read_all``."""

    async def get() -> bytes:
        failures: dict[str, SourceError] = {}
        async with make_client(network.rules) as client:
            for candidate in network.mirrors.candidates(str(read_address(url))):
                try:
                    return await read_all(client, network, candidate.url, most)
                except SourceError as err:
                    failures[candidate.url] = err
        raise none_gave(failures)

    return on_own_loop(get())


def read_index(data: bytes) -> dict[str, Any]:
    """The list in plain, checked data; entries without an address are left out.

    Raises:
        InstallError: It is no such list.
    """
    try:
        told: Any = json.loads(data.decode("utf-8-sig"))
        entries = told["extensions"]
        tags = told.get("tags") or {}
        found = [_entry(one) for one in entries[:MOST_ENTRIES] if _has_address(one)]
        explained = {str(name): str(text) for name, text in tags.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise InstallError(
            "At this address is no list of extensions.", "Check the address of the list."
        ) from err
    return {"about": str(told.get("about") or ""), "tags": explained, "extensions": found}


def _has_address(one: Any) -> bool:
    return isinstance(one, dict) and isinstance(one.get("url"), str) and bool(one["url"])


def _entry(one: dict[str, Any]) -> dict[str, Any]:
    tags = one.get("tags")
    stars = one.get("stars")
    return {
        "url": one["url"][:500],
        **{key: str(one.get(key) or "")[:2000] for key in _TEXTS},
        "tags": [str(tag)[:80] for tag in tags][:30] if isinstance(tags, list) else [],
        "stars": stars if isinstance(stars, int) else 0,
    }


def plain_address(url: str) -> str:
    """An address as two spellings of it can be compared."""
    text = re.sub(r"^\w+://(www\.)?", "", url.strip().lower()).rstrip("/")
    return text.removesuffix(".git")


def zip_address(url: str) -> str:
    """Where a repository's files are to be had as a zip; '' where that is not known.

    Raises:
        LinkError: No address.
    """
    try:
        read = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as err:
        raise LinkError(f"{url[:200]!r} is no web address.", "Write it as https://…") from err
    if read.path.lower().endswith(".zip"):
        return url
    base = str(read.copy_with(query=None, fragment=None)).rstrip("/").removesuffix(".git")
    if read.host in ("github.com", "codeberg.org"):
        return f"{base}/archive/HEAD.zip"
    if read.host == "gitlab.com":
        return f"{base}/-/archive/HEAD/{base.rpartition('/')[2]}.zip"
    return ""
