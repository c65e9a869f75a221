"""Finished pictures: written safely, listed, opened, zipped, copied by the Save button."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from webui.errors import DiskFullError, LibraryError
from webui.library import files
from webui.library.grid import draw_grid, plan_grid
from webui.library.index import PictureIndex, SavedPicture, new_row
from webui.library.names import (
    NameRules,
    NumberBook,
    PictureFacts,
    decoration,
    name_limit,
    sanitize,
    stems,
    subfolder,
)
from webui.library.save_button import SaveButton
from webui.library.small_copy import SmallCopyRule, make_small_copy
from webui.library.zips import Read, Zips
from webui.params import Output
from webui.pictures import encode, open_image

logger = logging.getLogger(__name__)

__all__ = ["Library", "NameRules", "PictureFacts", "SavedPicture", "SmallCopyRule"]

RESULTS_MAX_AGE_SECONDS = 24 * 3600.0
RESULTS_MAX_BYTES = 2 * 2**30
RESULTS_MIN_AGE_SECONDS = 600.0
"""A picture that was handed back only now is never thrown away, whatever its size."""
PURGE_EVERY = 25


@dataclass(frozen=True)
class _Place:
    """A folder to try, and what to say when the picture had to go there."""

    root: Path
    folder: Path
    is_fallback: bool = False


@dataclass(frozen=True)
class _New:
    """A picture that is to be written; see ``Library.save_image``."""

    kind: str
    job_id: int
    index: int
    data: bytes
    facts: PictureFacts
    output: Output
    folder: Path
    client: str = ""
    has_long_name: bool = True


class Library:
    """The pictures of one data folder.

    Args:
        data_dir: Holds params.txt, ``cache/`` (pictures that were not to be saved, zip files),
            ``recovered/`` and, unless given, the Save button's folder.
        database_path: The data folder's SQLite file.
        save_folder: Where the Save button copies to.
        name_rules: How file names are cleaned.
        has_history: Keep the last recipe in params.txt.
    Raises:
        SettingsError: The database cannot be opened.
    """

    def __init__(
        self,
        data_dir: Path,
        database_path: Path,
        *,
        save_folder: Path | None = None,
        name_rules: NameRules | None = None,
        has_history: bool = True,
    ) -> None:
        self._data_dir = Path(os.path.abspath(data_dir))
        self._results = self._data_dir / "cache" / "results"
        self._zips = Zips(self._data_dir / "cache" / "zips")
        self._rules = name_rules or NameRules()
        self._has_history = has_history
        self._index = PictureIndex(database_path)
        self._numbers = NumberBook()
        copies = save_folder or self._data_dir / "log" / "images"
        self._copies = SaveButton(copies, self._rules, self._numbers)
        self._last_resort: Path | None = None
        self._saves_until_purge = 0

    def close(self) -> None:
        """Close the database."""
        self._index.close()

    # Writing

    def save_image(
        self,
        job_id: int,
        index: int,
        data: bytes,
        facts: PictureFacts,
        output: Output,
        folder: Path,
        *,
        client: str = "",
        small_copy: SmallCopyRule | None = None,
    ) -> SavedPicture:
        """Write one finished picture and list it. A picture saved before is written anew.

        When the folder cannot be written, ``recovered/`` in the data folder and then the system's
        temporary folder are tried; the picture's ``warning`` then says where it lies.

        Args:
            data: An encoded picture; its true format gives the extension.
            folder: The output folder; ``output.directory_pattern`` adds to it. Not used when
                ``output.save`` is False.
            client: Whose browser asked.
            small_copy: Also write a small JPEG of a very large picture.
        Raises:
            LibraryError: It could be written nowhere, or could not be listed (``path``).
        """
        new = _New("image", job_id, index, data, facts, output, folder, client)
        saved = self._save(new)
        if saved.is_saved and small_copy is not None:
            note = self._write_small_copy(saved, data, small_copy)
            saved = replace(saved, warning=_joined(saved.warning, note))
        if index == 0 and self._has_history:
            self._keep_history(facts.infotext)
        return saved

    def save_grid(
        self,
        job_id: int,
        facts: PictureFacts,
        output: Output,
        folder: Path,
        *,
        client: str = "",
        prevent_empty_spots: bool = False,
        background: str = "#ffffff",
        has_long_name: bool = False,
    ) -> SavedPicture | None:
        """Draw and write the sheet of a job's pictures; None when there are fewer than two.

        Args:
            facts: Of any of its pictures.
            output: ``grid_rows``, format and quality count.
            has_long_name: Add the decoration to the name (grid_extended_filename).
        Raises:
            LibraryError: It could be written nowhere.
        """
        of_job = self._index.of_job(job_id)
        pictures = [p for p in of_job if p.kind == "image" and p.is_there]
        if len(pictures) < 2:
            return None
        plan = plan_grid(
            [(picture.width, picture.height) for picture in pictures],
            output.grid_rows,
            facts.batch_size,
            prevent_empty_spots=prevent_empty_spots,
        )
        sheet = draw_grid(plan, map(self._opened, pictures), background)
        infotext = pictures[0].infotext
        data = encode(
            sheet if _is_see_through(sheet) else sheet.convert("RGB"),
            format=output.format,
            infotext=infotext if output.embed_infotext else None,
            quality=output.quality,
            lossless=output.lossless,
        )
        facts = replace(facts, infotext=infotext, width=sheet.width, height=sheet.height, pixels="")
        return self._save(
            _New("grid", job_id, 0, data, facts, output, folder, client, has_long_name)
        )

    def save_sheet(
        self,
        job_id: int,
        index: int,
        data: bytes,
        facts: PictureFacts,
        output: Output,
        folder: Path,
        *,
        client: str = "",
        has_long_name: bool = False,
    ) -> SavedPicture:
        """Write a sheet of other jobs' pictures that was drawn elsewhere; named as grids are.

        Raises:
            LibraryError: As ``save_image``.
        """
        return self._save(
            _New("grid", job_id, index, data, facts, output, folder, client, has_long_name)
        )

    def take_in(
        self, made: Path, extension: str, facts: PictureFacts, output: Output, folder: Path
    ) -> tuple[Path, Path, str | None]:
        """Move a finished file that is no picture beside the pictures, named as they are.

        Args:
            made: The file; gone from there afterwards. extension: Of its new name, with a dot.
            folder: As for ``save_image``.
        Returns:
            Where it lies now, the output folder it lies below, and a warning or None.
        Raises:
            LibraryError: It could be moved nowhere; it stays where it is (``path``).
        """
        video = _New("video", 0, 0, b"", facts, output, folder)
        failures: list[tuple[_Place, OSError]] = []
        for place in self._places(facts, output, folder):
            try:
                place.folder.mkdir(parents=True, exist_ok=True)
                names, _ = self._names(video, place.folder)
                path = files.reserve(place.folder, names, extension)
                with files.removed_on_failure(path):
                    shutil.move(made, path)
                self._numbers.note(path)
            except OSError as err:
                logger.warning("%s cannot be written: %s", place.folder, err)
                failures.append((place, err))
                continue
            return path, place.root, _moved_warning(failures[0], path) if failures else None
        raise _nowhere(failures)

    def _opened(self, picture: SavedPicture) -> Image.Image | None:
        try:
            return open_image(self._bytes_of(picture)).convert("RGBA")
        except (LibraryError, OSError) as err:
            logger.warning("The grid is drawn without %s: %s", picture.path, err)
            return None

    def _save(self, new: _New) -> SavedPicture:
        data, output = new.data, new.output
        picture_format, size = files.sniff_format(data), _size(data, new.facts)
        facts = self._completed(new.facts, new.job_id, size, data, output)
        before = self._index.of_picture(new.job_id, new.index, new.kind)
        shown_before = self._index.get(before.id) if before is not None else None
        failures: list[tuple[_Place, OSError]] = []
        for place in self._places(facts, output, new.folder):
            row = new_row(
                job_id=new.job_id, index=new.index, kind=new.kind, path=place.folder,
                root=place.root, picture_format=picture_format, size=size, size_bytes=len(data),
                seed=facts.seed, infotext=facts.infotext, facts=_for_row(facts), user=facts.user,
                client=new.client, is_saved=output.save,
            )  # fmt: skip
            names = self._names(replace(new, facts=facts), place.folder)
            try:
                saved = self._write_at(place, row, data, names, before)
            except OSError as err:
                logger.warning("%s cannot be written: %s", place.folder, err)
                failures.append((place, err))
                continue
            warning = _moved_warning(failures[0], saved.path) if failures else None
            note = self._write_text(saved) if output.save_text and output.save else None
            self._purge_now_and_then(output)
            return replace(saved, warning=_joined(warning, note))
        self._put_back(new, shown_before)
        raise _nowhere(failures)

    def _completed(
        self, facts: PictureFacts, job_id: int, size: tuple[int, int], data: bytes, output: Output
    ) -> PictureFacts:
        """Fill in what only the written picture tells."""
        patterns = (output.filename_pattern + output.directory_pattern).lower()
        job_time, image_hash = facts.job_time, facts.image_hash
        if "[job_timestamp" in patterns:
            job_time = job_time or self._index.job_time(job_id) or time.time()
        if "[image_hash" in patterns and not image_hash:
            image_hash = _pixel_hash(data)
        width, height = size
        return replace(facts, width=width, height=height, job_time=job_time, image_hash=image_hash)

    def _places(self, facts: PictureFacts, output: Output, folder: Path) -> Iterator[_Place]:
        """Folders to try in turn."""
        below = subfolder(output.directory_pattern, facts, rules=self._rules_for(output))
        if output.save:
            root = Path(os.path.abspath(folder))
            yield _Place(root, root / below)
        else:
            yield _Place(self._results, self._results)
        recovered = self._data_dir / "recovered"
        yield _Place(recovered, recovered, is_fallback=True)
        try:
            if self._last_resort is None:
                self._last_resort = Path(tempfile.mkdtemp(prefix="danqing-recovered-"))
        except OSError as err:
            logger.warning("There is no temporary folder either: %s", err)
            return
        yield _Place(self._last_resort, self._last_resort, is_fallback=True)

    def _rules_for(self, output: Output) -> NameRules:
        return replace(self._rules, prompt_words=output.prompt_words)

    def _names(self, new: _New, folder: Path) -> tuple[Iterator[str], str | None]:
        """Names to try; the second value is the one that may be replaced, if any."""
        output, facts, kind = new.output, new.facts, new.kind
        if not output.save:
            return stems(None, f"{new.job_id:08d}-{kind}-{new.index:04d}"), None
        if output.file_stem and kind == "image":
            limit = name_limit(folder if folder.is_dir() else self._data_dir)
            return stems(None, sanitize(output.file_stem) or "picture", max_bytes=limit), None
        text = decoration(
            output.filename_pattern,
            facts,
            has_folders=bool(output.directory_pattern),
            rules=self._rules_for(output),
        )
        limit = name_limit(folder if folder.is_dir() else self._data_dir)
        if kind == "grid":
            number = self._numbers.next_number(folder, "grid-")
            text = text if new.has_long_name else ""
            return stems(number, text, prefix="grid-", max_bytes=limit), None
        if output.add_number or not text:
            return stems(self._numbers.next_number(folder), text, max_bytes=limit), None
        return stems(None, text, max_bytes=limit), next(stems(None, text, max_bytes=limit))

    def _write_at(
        self,
        place: _Place,
        row: dict[str, object],
        data: bytes,
        names: tuple[Iterator[str], str | None],
        before: SavedPicture | None,
    ) -> SavedPicture:
        """Write in one place: take a name, note it, write the file, show the row.

        Raises:
            OSError: This place does not work; nothing of the picture is left there.
        """
        extension = files.EXTENSIONS[str(row["format"])]
        candidates, replaceable = names
        place.folder.mkdir(parents=True, exist_ok=True)
        is_new = False
        if before is not None and before.root == place.root and before.path.suffix == extension:
            path = before.path
        elif replaceable is not None and self._may_replace(
            place.folder / f"{replaceable}{extension}", row["job_id"]
        ):
            path = place.folder / f"{replaceable}{extension}"
        else:
            path = files.reserve(place.folder, candidates, extension)
            is_new = True
        try:
            picture_id = self._index.reserve({**row, "path": str(path)})
        except LibraryError as err:
            files.write_whole(path, data)
            raise _unlisted(path, err) from err
        try:
            files.write_whole(path, data)
        except OSError:
            if is_new:
                files.remove(path)
            raise
        self._numbers.note(path)
        return self._index.mark_ready(picture_id)

    def _may_replace(self, path: Path, job_id: object) -> bool:
        """Pictures of one job never replace each other, whatever the pattern says."""
        other = self._index.by_path(path)
        return other is None or other.job_id != job_id

    def _put_back(self, new: _New, shown_before: SavedPicture | None) -> None:
        """Undo the reserved row of a picture that could be written nowhere."""
        try:
            row = self._index.of_picture(new.job_id, new.index, new.kind)
            if shown_before is not None:
                self._index.put_back(shown_before)
            elif row is not None:
                self._index.forget([row.id])
        except LibraryError as err:
            logger.warning("A row without a picture is left: %s", err)

    def _write_text(self, saved: SavedPicture) -> str | None:
        """Write the recipe beside the picture; failing is worth a warning only."""
        path = saved.path.with_suffix(".txt")
        try:
            files.write_whole(path, f"{saved.infotext}\n".encode("utf-8", "replace"))
        except OSError as err:
            return f"The recipe could not be written to {path}: {files.explain(err)[0]}."
        return None

    def _write_small_copy(
        self, saved: SavedPicture, data: bytes, rule: SmallCopyRule
    ) -> str | None:
        try:
            small = make_small_copy(data, saved.infotext, rule)
            if small is not None:
                tail = "-small.jpg" if saved.format == "jpg" else ".jpg"
                files.write_whole(saved.path.with_name(saved.path.stem + tail), small)
        except (OSError, LibraryError) as err:
            return f"The small copy of {saved.path.name} could not be written: {err}."
        return None

    def _keep_history(self, infotext: str) -> None:
        try:
            files.write_whole(self._data_dir / "params.txt", infotext.encode("utf-8", "replace"))
        except OSError as err:
            logger.warning("params.txt could not be written: %s", err)

    # Looking

    def get(self, picture_id: int) -> SavedPicture:
        """One picture's record.

        Raises:
            LibraryError: No picture has that id.
        """
        picture = self.find(picture_id)
        if picture is None:
            raise LibraryError(
                f"No picture has the number {picture_id}.",
                "It may have been cleared away; look at the gallery for those that exist.",
            )
        return picture

    def find(self, picture_id: int) -> SavedPicture | None:
        """One picture's record; None when there is none (any more)."""
        return self._index.get(picture_id)

    def by_path(self, path: Path) -> SavedPicture | None:
        """The record of the picture at this path, or None."""
        return self._index.by_path(Path(os.path.abspath(path)))

    def images_of(self, job_id: int) -> list[SavedPicture]:
        """A job's pictures in order, then its grid; those whose file is gone are among them."""
        return self._index.of_job(job_id)

    def same_pixels(self, picture: SavedPicture) -> list[SavedPicture]:
        """Other pictures that were painted exactly like this one, the newest first: the proof
        that a recipe was repeated. Compression does not count, grids never do."""
        return self._index.same_pixels(picture)

    def recent(
        self, limit: int = 100, client: str | None = None, *, saved_only: bool = False
    ) -> list[SavedPicture]:
        """The newest pictures first.

        Args:
            client: Only what this browser asked for.
            saved_only: Leave out those that are kept for a while only.
        """
        return self._index.recent(limit, client, saved_only)

    def open(self, picture_id: int) -> bytes:
        """A picture's file.

        Raises:
            LibraryError: No such picture, or its file was moved, deleted or led elsewhere.
        """
        return self._bytes_of(self.get(picture_id))

    def _bytes_of(self, picture: SavedPicture) -> bytes:
        return files.read_inside(picture.path, picture.root, f"Picture {picture.id}")

    def saved_after(self, picture_id: int, limit: int) -> list[SavedPicture]:
        """Pictures in the output folders with higher numbers, in order."""
        return self._index.saved_after(picture_id, limit)

    def row_at(self, path: Path) -> SavedPicture | None:
        """As ``by_path``, also of a picture that is only just being written."""
        return self._index.by_path(path, is_ready=False)

    def last_number(self) -> int:
        """The highest number a picture ever had here; 0 before any."""
        return self._index.last_number()

    def take_back(self, pictures: Iterable[SavedPicture]) -> None:
        """List pictures whose records were lost, under their old numbers."""
        self._index.take_back(pictures)

    def forget_jobs(self, job_ids: Sequence[int]) -> None:
        """Forget what is known of jobs whose pictures are gone; no file is touched."""
        self._index.forget_jobs(job_ids)

    def has_moved(self, path: Path, new_path: Path, root: Path) -> None:
        """A picture's file lies elsewhere now, below ``root``."""
        self._index.has_moved(path, new_path, root)

    # Taking away

    def zip(self, picture_ids: Sequence[int]) -> Path:
        """Pack pictures into one file; see ``zip_files``."""

        def read(picture_id: int) -> tuple[str, bytes]:
            picture = self.get(picture_id)
            return picture.path.name, self._bytes_of(picture)

        return self.zip_files([partial(read, number) for number in dict.fromkeys(picture_ids)])

    def zip_files(self, reads: Sequence[Read]) -> Path:
        """Pack files into one; see ``Zips.pack``."""
        return self._zips.pack(reads)

    def save_copy(self, picture_id: int) -> Path:
        """The Save button; see ``SaveButton.copy``.

        Raises:
            LibraryError: The picture is gone, or the folder cannot be written.
        """
        picture = self.get(picture_id)
        return self._copies.copy(picture, self._bytes_of(picture))

    # Pictures that were not to be saved

    def _purge_now_and_then(self, output: Output) -> None:
        if output.save:
            return
        self._saves_until_purge -= 1
        if self._saves_until_purge < 0:
            self._saves_until_purge = PURGE_EVERY
            try:
                self.purge_results()
            except LibraryError as err:
                logger.warning("Old results could not be cleared away: %s", err)

    def purge_results(
        self,
        max_age_seconds: float = RESULTS_MAX_AGE_SECONDS,
        max_bytes: int = RESULTS_MAX_BYTES,
        min_age_seconds: float = RESULTS_MIN_AGE_SECONDS,
    ) -> int:
        """Clear away unsaved pictures that are too old, then the oldest until they fit.

        Saved pictures are never touched.

        Returns:
            How many went.
        """
        kept = self._index.unsaved()
        total, now, going = sum(picture.size_bytes for picture in kept), time.time(), []
        for picture in kept:
            age = now - picture.created_at
            if age < min_age_seconds or (age <= max_age_seconds and total <= max_bytes):
                continue
            total -= picture.size_bytes
            going.append(picture)
        for picture in going:
            if files.is_inside(picture.path, self._results):
                files.remove(picture.path)
        self._index.forget([picture.id for picture in going])
        return len(going)


def _size(data: bytes, facts: PictureFacts) -> tuple[int, int]:
    """Width and height in pixels, as told or else as the file's head says.

    Raises:
        LibraryError: Not told, and the picture is damaged.
    """
    if facts.width and facts.height:
        return facts.width, facts.height
    with open_image(data) as image:
        return image.size


def _pixel_hash(data: bytes) -> str:
    with open_image(data) as image:
        return hashlib.sha256(image.tobytes()).hexdigest()


def _is_see_through(sheet: Image.Image) -> bool:
    """True when some pixel of an RGBA picture is not opaque."""
    return sheet.getchannel("A").getextrema() != (255, 255)


def _for_row(facts: PictureFacts) -> dict[str, object]:
    return {name: value for name, value in asdict(facts).items() if name != "infotext"}


def _joined(*notes: str | None) -> str | None:
    return " ".join(note for note in notes if note) or None


def _moved_warning(failure: tuple[_Place, OSError], path: Path) -> str:
    place, err = failure
    reason, hint = files.explain(err)
    return (
        f"The picture was to be written to {place.folder}, but {reason}. "
        f"It lies at {path}. {hint}, then move it where you want it."
    )


def _nowhere(failures: list[tuple[_Place, OSError]]) -> LibraryError:
    place, err = failures[0]
    reason, hint = files.explain(err)
    tried = ", ".join(str(place.folder) for place, _ in failures)
    message = (
        f"A picture was to be written to {place.folder}, but {reason}. Nowhere else could be "
        f"written either (tried: {tried})."
    )
    if err.errno in files.FULL:
        return DiskFullError(message, f"{hint} and paint it again.", path=str(place.folder))
    return LibraryError(message, f"{hint} and paint it again.", path=str(place.folder))


def _unlisted(path: Path, err: LibraryError) -> LibraryError:
    return LibraryError(
        f"The picture is safe at {path}, but could not be listed. {err.message}",
        err.hint,
        path=str(path),
    )
