"""Who has a file: all sources are asked at once, and those that answer first count."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import httpx

from webui.checkpoints.download.client import Rules, SourceError
from webui.checkpoints.download.mirrors import Candidate
from webui.checkpoints.download.transfer import Source, look
from webui.errors import DownloadError

LOOK_SECONDS: Final = 20.0
LATECOMER_SECONDS: Final = 0.7
"""How long the others may still answer once a source has."""


async def ask_all(
    client: httpx.AsyncClient,
    candidates: Sequence[Candidate],
    rules: Rules,
    size: int | None,
    sha256: str | None,
    *,
    takes_text: bool = False,
) -> tuple[list[Source], dict[str, SourceError]]:
    """The sources that have the file, in the order of their answers, and why others have not.

    Args:
        size, sha256: Of the file, where they are known.
        takes_text: It may be JSON.
    Returns:
        Sources; failures by host, at least one where there is no source.
    Raises:
        DownloadError: An address may not be asked.
    """
    tasks = {
        asyncio.ensure_future(_look(client, one, rules, size, sha256, takes_text)): one
        for one in candidates
    }
    found: list[Source] = []
    failures: dict[str, SourceError] = {}
    waiting = set(tasks)
    patience = LOOK_SECONDS
    try:
        while waiting:
            done, waiting = await asyncio.wait(
                waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for task in done:
                try:
                    found.append(task.result())
                    patience = LATECOMER_SECONDS
                except SourceError as err:
                    failures[httpx.URL(tasks[task].url).host] = err
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if not found and not failures:
        silent = SourceError("No source answers.", "Check the connection.", again_in=1)
        failures[httpx.URL(candidates[0].url).host] = silent
    return found, failures


async def _look(
    client: httpx.AsyncClient,
    candidate: Candidate,
    rules: Rules,
    size: int | None,
    sha256: str | None,
    takes_text: bool,
) -> Source:
    source = await look(client, candidate.url, rules, candidate.mirror_of, takes_text=takes_text)
    hint = "Another source may have the right one."
    if size is not None and source.size not in (None, size):
        raise SourceError(f"{source.host} has another file: {source.size} bytes, not {size}.", hint)
    if sha256 and source.sha256 and source.sha256 != sha256:
        raise SourceError(
            f"{source.host} has another file: its sha256 begins with {source.sha256[:10]}, "
            f"not with {sha256[:10]}.",
            hint,
        )
    return source if source.size is not None else replace(source, size=size)


def again_in(err: SourceError) -> float | None:
    """Seconds after which a source is worth asking once more; None = never."""
    return getattr(err, "again_in", None)


def none_gave(failures: Mapping[str, SourceError]) -> DownloadError:
    """Why nobody gives the file: the only reason as it is, several in one list."""
    errors = list(failures.values())
    if len(errors) == 1:
        return errors[0]
    locked = (e for e in errors if getattr(e, "status", None) in (401, 403))
    answered = (e for e in errors if again_in(e) is None)  # they say more than a dead line does
    first = next(locked, None) or next(answered, errors[0])
    told = " ".join(dict.fromkeys(e.message for e in errors))
    return DownloadError(f"No source gives the file. {told}", first.hint)
