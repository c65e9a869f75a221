"""Bytes from one source into the unfinished file: in parallel ranges where the server gives them.

What a server says is compared with what it sends: a range that begins elsewhere, another size, a
body that ends early, a web page in place of the file. Where ranges turn out to be a lie, the file
is read in one piece.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from webui.checkpoints.download.client import (
    Answer,
    Rules,
    SourceError,
    ask,
    bare,
    translated,
    whole_number,
)
from webui.checkpoints.download.part_file import PartFile

CONNECTIONS: Final = 4
SEGMENT_BYTES: Final = 16 << 20
CHUNK_BYTES: Final = 256 << 10
FIRST_PAUSE_SECONDS: Final = 0.5
"""Before the second attempt; twice as long before each further one."""
MOST_FAILURES: Final = 5
"""In a row, without ``PROGRESS_BYTES`` between them."""
PROGRESS_BYTES: Final = 64 << 10
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_PAGE: Final = re.compile(rb"\s*(<!doctype html|<html|<\?xml)", re.IGNORECASE)
_PAGES: Final = ("text/html", "application/xhtml", "text/xml")
_JSON: Final = "application/json"


class NoRangesError(SourceError):
    """The server does not give parts of the file, or not those it was asked for."""


@dataclass(frozen=True)
class Source:
    """What a source told when it was asked for the first byte.

    Attributes:
        url: Where the file is asked for. final: Where the redirects led.
        host: Shown to people. mirror_of: See ``telling.State``.
        size, sha256, etag: As told; None where nothing was. seconds: Until it answered.
        has_ranges: It gives parts of the file.
        file_name: From Content-Disposition; ''.
        takes_text: The file may be JSON.
    """

    url: str
    final: str
    host: str
    mirror_of: str = ""
    size: int | None = None
    sha256: str | None = None
    etag: str | None = None
    has_ranges: bool = False
    seconds: float = 0.0
    file_name: str = ""
    takes_text: bool = False

    def identity(self, sha256: str | None) -> dict[str, Any]:
        """Equal for the same file; from another source only where its hash is known."""
        if sha256:
            return {"size": self.size, "sha256": sha256}
        return {"size": self.size, "etag": self.etag, "url": bare(self.url)}


async def look(
    client: httpx.AsyncClient,
    url: str,
    rules: Rules,
    mirror_of: str = "",
    *,
    takes_text: bool = False,
) -> Source:
    """Ask a source for the first byte, to learn what it has.

    Args:
        takes_text: The file may be JSON.
    Raises:
        SourceError: It does not have the file.
        DownloadError: It may not be asked.
    """
    began = asyncio.get_running_loop().time()
    async with ask(client, url, rules, {"Range": "bytes=0-0"}) as answer:
        headers = answer.response.headers
        refuse_pages(answer, takes_text=takes_text)
        told = _told_range(answer.response)
        has_ranges = told is not None and told[0] == 0
        size = told[2] if told else _length(headers)
        if answer.response.status_code == 416:
            raise SourceError(f"{answer.url.host} has an empty file.", "Try another source.")
        etag = headers.get("etag", "")
        return Source(
            url=url,
            final=str(answer.url),
            host=httpx.URL(url).host,
            mirror_of=mirror_of,
            size=size if size is not None else answer.linked_size,
            sha256=answer.linked_sha256,
            etag=etag if etag and not etag.startswith("W/") else None,
            has_ranges=has_ranges and size is not None,
            seconds=asyncio.get_running_loop().time() - began,
            file_name=headers.get("content-disposition", ""),
            takes_text=takes_text,
        )


def _length(headers: httpx.Headers) -> int | None:
    length = headers.get("content-length", "")
    is_plain = headers.get("content-encoding", "identity") == "identity"
    return whole_number(length) if is_plain else None


def _told_range(response: httpx.Response) -> tuple[int, int, int | None] | None:
    """First byte, end, and size of the whole, of a partial answer."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", "").strip())
    if response.status_code != 206 or not found:
        return None
    total = None if found[3] == "*" else int(found[3])
    return int(found[1]), int(found[2]) + 1, total


def refuse_pages(answer: Answer, *, takes_text: bool = False) -> None:
    """A web page is not a file of weights.

    Args:
        takes_text: The file may be JSON.
    Raises:
        SourceError: The answer is a page, or a message for programs.
    """
    kind = answer.response.headers.get("content-type", "").lower()
    if kind.startswith(_PAGES if takes_text else (*_PAGES, _JSON)):
        raise _page(answer.url.host)


def _page(host: str) -> SourceError:
    return SourceError(
        f"{host} sent a web page in place of the file.",
        "Open the link in a browser: perhaps one must log in or agree to something there, or a "
        "login page of the network is in between. A key for the site is stored in the Models tab.",
    )


@dataclass
class _Segment:
    """A stretch that one connection fetches; ``at`` is how far it is."""

    at: int
    end: int
    failures: int = 0


@dataclass
class Transfer:
    """One source being read into the unfinished file.

    Attributes:
        on_bytes: Told how many came. on_wait: Told how many seconds are waited.
    """

    client: httpx.AsyncClient
    source: Source
    part: PartFile
    rules: Rules
    on_bytes: Callable[[int], None]
    on_wait: Callable[[float], None]
    connections: int = CONNECTIONS
    _final: str = field(init=False)

    def __post_init__(self) -> None:
        self._final = self.source.final

    async def run(self) -> None:
        """Fetch all that is missing.

        Raises:
            SourceError: This source fails again and again, or gives something else.
            DownloadError: The disk is full.
        """
        if self.source.has_ranges and self.source.size is not None:
            try:
                return await self._in_ranges(self.source.size)
            except NoRangesError:
                self.part.empty()
        await self._in_one_piece()

    # In ranges

    async def _in_ranges(self, size: int) -> None:
        self._waiting = [
            _Segment(at, min(at + SEGMENT_BYTES, end))
            for start, end in self.part.gaps(size)
            for at in range(start, end, SEGMENT_BYTES)
        ][::-1]
        count = max(1, min(self.connections, len(self._waiting)))
        tasks = [asyncio.ensure_future(self._fetch_segments()) for _ in range(count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch_segments(self) -> None:
        while self._waiting:
            segment = self._waiting.pop()
            while segment.at < segment.end:
                began = segment.at
                try:
                    await self._read_range(segment)
                except NoRangesError:
                    raise
                except SourceError as err:
                    await self._be_patient(segment, err, segment.at - began)

    async def _be_patient(self, segment: _Segment, err: SourceError, came: int) -> None:
        """Wait before the next attempt; longer each time.

        Raises:
            SourceError: There is no sense in another attempt.
        """
        status = getattr(err, "status", None)
        if status in (400, 401, 403, 404, 410) and self._final != self.source.url:
            self._final = self.source.url  # the address behind the redirect has run out
        elif getattr(err, "again_in", None) is None:
            raise err
        segment.failures = 1 if came >= PROGRESS_BYTES else segment.failures + 1
        if segment.failures >= MOST_FAILURES:
            raise err
        pause = FIRST_PAUSE_SECONDS * 2 ** (segment.failures - 1)
        await self._wait(max(getattr(err, "again_in", 0), pause))

    async def _wait(self, seconds: float) -> None:
        self.on_wait(seconds)
        await asyncio.sleep(seconds)
        self.on_wait(0)

    async def _read_range(self, segment: _Segment) -> None:
        headers = {"Range": f"bytes={segment.at}-{segment.end - 1}"}
        if self.source.etag:
            headers["If-Range"] = self.source.etag
        async with ask(self.client, self._final, self.rules, headers) as answer:
            told = _told_range(answer.response)
            if told is None or told[0] != segment.at:
                raise NoRangesError(f"{answer.url.host} gives other parts than it is asked for.")
            if told[2] not in (None, self.source.size):
                raise SourceError(f"{answer.url.host} has another file now.", "Begin again.")
            with translated(self._final):
                async for chunk in answer.response.aiter_raw(CHUNK_BYTES):
                    self._take(segment, chunk)
                    if segment.at >= segment.end:
                        return
        raise SourceError(
            f"{answer.url.host} ended before all of the part had come.", "Try again.", again_in=0
        )

    def _take(self, segment: _Segment, chunk: bytes) -> None:
        chunk = chunk[: segment.end - segment.at]
        if segment.at == 0 and _PAGE.match(chunk):
            raise _page(self.source.host)
        self.part.write(segment.at, chunk)
        segment.at += len(chunk)
        self.on_bytes(len(chunk))

    # In one piece

    async def _in_one_piece(self) -> None:
        whole = _Segment(0, self.source.size or 1 << 62)
        while True:
            whole.at = 0
            self.part.empty()
            try:
                return await self._read_whole(whole)
            except SourceError as err:
                await self._be_patient(whole, err, 0)

    async def _read_whole(self, whole: _Segment) -> None:
        async with ask(self.client, self._final, self.rules) as answer:
            refuse_pages(answer, takes_text=self.source.takes_text)
            length = _length(answer.response.headers)
            with translated(self._final):
                async for chunk in answer.response.aiter_bytes(CHUNK_BYTES):
                    self._take(whole, chunk)
        known = self.source.size if length is None else length
        if known is not None and whole.at != known:
            raise SourceError(
                f"{answer.url.host} sent {whole.at} of {known} bytes.", "Try again.", again_in=0
            )
