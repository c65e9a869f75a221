"""One file, from asking who has it to lying in its folder under its name.

Sources are asked all at once; the one that answers first is read, the others follow when it
fails. What came is checked (size, hash, that it is weights, that a pickle asks for nothing but
tensors) before the file gets its name; nothing that is there is ever written over.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import shutil
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from webui.checkpoints.download.asking import again_in, ask_all, none_gave
from webui.checkpoints.download.client import (
    MAX_WAIT_SECONDS,
    Rules,
    SourceError,
    make_client,
    read_address,
)
from webui.checkpoints.download.mirrors import Candidate, Mirrors
from webui.checkpoints.download.naming import (
    ENDINGS,
    KINDS,
    Places,
    check_ending,
    disposition_name,
    fits,
    folder_of,
    safe_name,
)
from webui.checkpoints.download.part_file import PartFile, disk_full, part_bytes
from webui.checkpoints.download.placing import check_same, give_name
from webui.checkpoints.download.telling import Speedometer, State, Watcher
from webui.checkpoints.download.transfer import (
    CONNECTIONS,
    FIRST_PAUSE_SECONDS,
    Source,
    Transfer,
)
from webui.checkpoints.hashes import sha256_of_file
from webui.checkpoints.headers import Header, read_header
from webui.checkpoints.rules import describe
from webui.errors import CheckpointError, DownloadError, JobCancelled

logger = logging.getLogger(__name__)
T = TypeVar("T")
PART_FOLDER: Final = ".downloads"
"""Below the models folder: what has not come whole yet."""
SPARE_BYTES: Final = 64 << 20
"""Kept free on the disk."""
ROUNDS: Final = 4
TICK_SECONDS: Final = 0.2
SAVE_SECONDS: Final = 2.0
_SAY_KIND: Final = (
    "Choose what it is (in the command: --to KIND). It is kept, so that takes a moment."
)


class UnknownKindError(DownloadError):
    """The file is here, but a person must say what it is."""

    code = "unknown_kind"


@dataclass(frozen=True)
class FolderPart:
    """One file of a folder.

    Attributes:
        path: In the folder, with "/".
        urls, sha256, size_bytes: As ``Wanted`` has them.
    """

    path: str
    urls: tuple[str, ...]
    sha256: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class Wanted:
    """A file that shall come, or a folder of them (see ``folder.get``).

    Attributes:
        urls: Places that have the same file; any will do.
        kind: As in the catalog (``checkpoint``, ``lora`` …); '' = find out from the file.
        name: What it shall be called; '' = as the server says.
        folder: Name of the folder below the models folder, where it is not the kind's usual one.
        sha256, size_bytes: Of the published file; None where they are not known.
        parts: The files of a folder, in the order in which they are fetched; () = it is a file.
    """

    urls: tuple[str, ...]
    kind: str = ""
    name: str = ""
    folder: str = ""
    sha256: str | None = None
    size_bytes: int | None = None
    parts: tuple[FolderPart, ...] = ()

    @property
    def part_name(self) -> str:
        """Name of the unfinished file: the same for the same wish."""
        told = "\n".join(part.urls[0] for part in self.parts) or self.sha256 or self.urls[0]
        return hashlib.sha256(told.encode()).hexdigest()[:20] + ".part"

    @property
    def is_text(self) -> bool:
        """Whether it is no file of weights, as some files of folders are."""
        return bool(self.name) and not self.name.lower().endswith(ENDINGS)


@dataclass(frozen=True)
class Network:
    """How files are asked for.

    Attributes:
        connections: How many parts of a file are fetched at once.
    """

    rules: Rules
    mirrors: Mirrors
    connections: int = CONNECTIONS


def part_path(wanted: Wanted, places: Places) -> Path:
    """Where the unfinished file lies."""
    return places.own_models / PART_FOLDER / wanted.part_name


def kept_bytes(wanted: Wanted, places: Places) -> int:
    """How much has come of a file that is not being fetched; 0 when nothing has."""
    return part_bytes(part_path(wanted, places)) if wanted.urls else 0


def discard_part(wanted: Wanted, places: Places) -> None:
    """Throw away what has come of a file so far.

    Raises:
        DownloadError: It is being fetched.
    """
    if wanted.urls and part_path(wanted, places).exists():
        PartFile(part_path(wanted, places)).discard()


def download(wanted: Wanted, places: Places, network: Network, watcher: Watcher) -> Path:
    """Get a file; goes on where an earlier attempt ended.

    Blocks; everything runs in this thread, but for hashing.

    Returns:
        Where it lies; at once when the very file is there already.
    Raises:
        DownloadError: No source gives it, it is not what it should be, the disk is full, or
            another file of that name is there.
        CheckpointError: It holds no weights, or more than weights.
        JobCancelled: The watcher asked to stop; what has come is kept.
    """
    for url in wanted.urls:
        read_address(url)
    here = _already_here(wanted, places, watcher)
    if here is not None:
        return here
    return on_own_loop(_Fetch(wanted, places, network, watcher).run())


def on_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run on a loop that waits for nobody at its end; Ctrl+C unwinds the work first.

    (``asyncio.run`` would wait for a name server that does not answer.)
    """
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()


def download_to(
    wanted: Wanted, place: Path, places: Places, network: Network, watcher: Watcher
) -> None:
    """Get a file of a folder to where it belongs in it; see ``download``."""
    for url in wanted.urls:
        read_address(url)
    on_own_loop(_Fetch(wanted, places, network, watcher, place).run())


def usual_place(wanted: Wanted, places: Places) -> Path:
    """Where something of that kind and name lies."""
    return folder_of(wanted.kind, places, wanted.folder) / wanted.name


def _already_here(wanted: Wanted, places: Places, watcher: Watcher) -> Path | None:
    """The file, if it lies where it belongs.

    Raises:
        DownloadError: Another one of that name does.
    """
    if not (wanted.name and wanted.kind):
        return None
    target = usual_place(wanted, places)
    if not target.exists():
        return None
    check_same(target, wanted.sha256, watcher)
    return target


class _Fetch:
    """One download under way.

    Args:
        place: Where the file shall lie; None = where its kind and name belong.
    """

    def __init__(
        self, wanted: Wanted, places: Places, network: Network, watcher: Watcher,
        place: Path | None = None,
    ) -> None:  # fmt: skip
        self._wanted, self._places, self._network = wanted, places, network
        self._watcher = watcher
        self._place = place
        self._speed = Speedometer()
        self._stage: Any = "asking"
        self._source: Source | None = None
        self._part: PartFile | None = None
        self._wait_until = 0.0
        self._saved_at = time.monotonic()

    async def run(self) -> Path:
        """Do it, looking up every now and then."""
        work = asyncio.ensure_future(self._work())
        try:
            while not (await asyncio.wait({work}, timeout=TICK_SECONDS))[0]:
                self._tell()
                if self._watcher.is_interrupted():
                    raise JobCancelled("The download was stopped; what has come is kept.")
                await self._look_after()
            return work.result()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            if self._part is not None and self._part.is_open:
                self._part.save()
                self._part.close()

    def _tell(self) -> None:
        part, source = self._part, self._source
        self._watcher.tell(
            State(
                stage="waiting" if time.monotonic() < self._wait_until else self._stage,
                done_bytes=part.done_bytes if part else 0,
                total_bytes=source.size if source else self._wanted.size_bytes,
                bytes_per_second=self._speed.bytes_per_second,
                host=source.host if source else "",
                mirror_of=source.mirror_of if source else "",
                wait_seconds=max(0.0, self._wait_until - time.monotonic()),
            )
        )

    async def _look_after(self) -> None:
        """Save how far it is, and mind the disk."""
        part = self._part
        if part is None or self._stage != "fetching":
            return
        self._check_room(0)
        if time.monotonic() - self._saved_at >= SAVE_SECONDS:
            await asyncio.to_thread(part.save)
            self._saved_at = time.monotonic()

    def _check_room(self, needed: int) -> None:
        folder = self._places.own_models
        free = shutil.disk_usage(folder).free
        if free < needed + SPARE_BYTES:
            raise disk_full(folder, needed + SPARE_BYTES, free)

    def _be_waiting(self, seconds: float) -> None:
        self._wait_until = time.monotonic() + seconds

    async def _work(self) -> Path:
        self._part = PartFile(part_path(self._wanted, self._places))
        failures: dict[str, SourceError] = {}
        async with make_client(self._network.rules) as client:
            for source in await self._sources(client, failures):
                try:
                    return await self._take(client, source)
                except SourceError as err:
                    logger.info("%s: %s", source.host, err)
                    failures[source.host] = err
        raise none_gave(failures)

    # Who has it

    async def _sources(
        self, client: httpx.AsyncClient, failures: dict[str, SourceError]
    ) -> list[Source]:
        """The sources that have the file, the best first; asks again while some may recover.

        Raises:
            DownloadError: None has it, or may be asked.
        """
        candidates: list[Candidate] = []
        for url in self._wanted.urls:
            candidates += self._network.mirrors.candidates(url)
        for attempt in range(ROUNDS):
            failures.clear()
            found, why_not = await ask_all(
                client, candidates, self._network.rules, self._wanted.size_bytes,
                self._wanted.sha256, takes_text=self._wanted.is_text,
            )  # fmt: skip
            failures.update(why_not)
            waits = [wait for e in why_not.values() if (wait := again_in(e)) is not None]
            if found or not waits or attempt == ROUNDS - 1:
                break
            pause = min(max(min(waits), FIRST_PAUSE_SECONDS * 2**attempt), MAX_WAIT_SECONDS)
            self._be_waiting(pause)
            await asyncio.sleep(pause)
        if not found:
            raise none_gave(failures)
        assert self._part is not None
        kept = self._part.kept_identity()
        sha256 = self._wanted.sha256
        return sorted(found, key=lambda s: (s.identity(sha256 or s.sha256) != kept, s.seconds))

    # Taking it

    async def _take(self, client: httpx.AsyncClient, source: Source) -> Path:
        wanted, part = self._wanted, self._part
        assert part is not None
        name = wanted.name or safe_name(
            disposition_name(source.file_name) or httpx.URL(source.url).path
        )
        if self._place is None:
            check_ending(name)
        sha256 = wanted.sha256 or source.sha256
        self._source, self._stage = source, "fetching"
        part.begin(source.identity(sha256))
        self._check_room((source.size or 0) - part.done_bytes)
        self._tell()  # a small file is here before anybody looks
        transfer = Transfer(
            client, source, part, self._network.rules, self._speed.add, self._be_waiting,
            self._network.connections,
        )  # fmt: skip
        await transfer.run()
        part.save()
        self._stage = "checking"
        header = await asyncio.to_thread(self._check, part, source, sha256, name)
        target = self._place or self._target(name, header)
        if target.exists():
            await asyncio.to_thread(self._check_there, target, part, sha256)
            part.discard()
            return target
        part.close()
        await asyncio.to_thread(give_name, part, target)
        return target

    def _check(
        self, part: PartFile, source: Source, sha256: str | None, name: str
    ) -> Header | None:
        """What the file holds; None for those that only their own programs can read.

        Raises:
            SourceError: Other bytes than were published; they are thrown away.
            CheckpointError: No weights, or more than weights; thrown away, too.
        """
        if sha256:
            got = sha256_of_file(part.path, should_stop=self._watcher.is_interrupted)
            if got != sha256:
                part.empty()
                raise SourceError(
                    f"{source.host} sent other bytes than were published (sha256 {got[:10]}… in "
                    f"place of {sha256[:10]}…); they were thrown away.",
                    "Another source may have the right ones.",
                )
        if self._wanted.is_text or name.lower().endswith(".onnx"):
            return None
        try:
            return read_header(part.path)
        except CheckpointError as err:
            part.empty()
            message = err.message.replace(str(part.path), name).replace(part.path.name, name)
            details = {k: v for k, v in err.details.items() if k != "path"}
            raise type(err)(f"{message} It was thrown away.", err.hint, **details) from err

    def _check_there(self, target: Path, part: PartFile, sha256: str | None) -> None:
        """Pass when what lies there is what has come; see ``check_same``."""
        stop = self._watcher.is_interrupted
        came = sha256 or sha256_of_file(part.path, should_stop=stop)
        check_same(target, came, self._watcher)

    def _target(self, name: str, header: Header | None) -> Path:
        kind = self._wanted.kind or (describe(header).kind if header else "")
        if not self._wanted.kind and kind not in KINDS:
            raise UnknownKindError(
                f"{name} has come, but what it is cannot be told from it.",
                _SAY_KIND,
            )
        if not fits(kind, name):
            raise UnknownKindError(
                f"{name} would not be found as {kind}: such files end otherwise.",
                _SAY_KIND,
            )
        return folder_of(kind, self._places, self._wanted.folder) / name
