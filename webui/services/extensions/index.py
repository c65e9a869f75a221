"""The list of extensions that people can choose from, in A1111's form."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from webui.checkpoints.download.asking import none_gave
from webui.checkpoints.download.client import (
    LinkError,
    SourceError,
    ask,
    make_client,
    read_address,
    translated,
)
from webui.checkpoints.download.fetch import Network, on_own_loop
from webui.checkpoints.download.hubs import read_all
from webui.errors import JobCancelled
from webui.services.extensions.commands import MOST_SECONDS, InstallError

MOST_BYTES: Final = 16 * 2**20
MOST_ENTRIES: Final = 20_000
SECONDS: Final = 120.0
"""For the whole list."""
T = TypeVar("T")
_TEXTS: Final = ("name", "description", "added", "created_at", "commit_time")


def fetch_index(url: str, network: Network) -> dict[str, Any]:
    """The list at an address: ``about``, ``tags`` with what they mean, ``extensions``.

    Raises:
        DownloadError: It cannot be fetched. InstallError: It is no such list.
    """

    async def read(client: httpx.AsyncClient, address: str) -> bytes:
        return await read_all(client, network, address, MOST_BYTES)

    return read_index(on_own_loop(_from_any(url, network, read, SECONDS)))


def fetch_file(url: str, network: Network, file: Path, most: int, cancel: threading.Event) -> None:
    """Write what lies at an address, or at one of its mirrors, into a file.

    Raises:
        DownloadError: It cannot be fetched, or is larger than ``most`` bytes.
        JobCancelled: ``cancel`` was set. OSError: The file cannot be written.
    """

    async def read(client: httpx.AsyncClient, address: str) -> None:
        async with ask(client, address, network.rules) as answer:
            with translated(address), file.open("wb") as goal:
                async for chunk in answer.response.aiter_bytes():
                    if cancel.is_set():
                        raise JobCancelled("It was stopped.")
                    if goal.tell() + len(chunk) > most:
                        told = f"{answer.url.host} sends more than {most >> 20} MiB."
                        raise SourceError(told, "Try another source.")
                    goal.write(chunk)

    on_own_loop(_from_any(url, network, read, MOST_SECONDS))


async def _from_any(
    url: str,
    network: Network,
    read: Callable[[httpx.AsyncClient, str], Awaitable[T]],
    seconds: float,
) -> T:
    """What the address, or the first of its mirrors that gives it, answers."""
    failures: dict[str, SourceError] = {}
    async with make_client(network.rules) as client:
        for candidate in network.mirrors.candidates(str(read_address(url))):
            try:
                return await asyncio.wait_for(read(client, candidate.url), seconds)
            except asyncio.TimeoutError:
                host = httpx.URL(candidate.url).host
                failures[candidate.url] = SourceError(f"{host} does not answer in time.")
            except SourceError as err:
                failures[candidate.url] = err
    raise none_gave(failures)


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
