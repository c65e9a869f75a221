"""Finished pictures: written, listed, opened, zipped, copied by the Save button."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from PIL import Image

from webui.errors import LibraryError
from webui.library import files
from webui.library.grid import draw_grid, plan_grid
from webui.library.index import PictureIndex, SavedPicture
from webui.library.names import (
    NameRules,
    NumberBook,
    PictureFacts,
)
from webui.library.save_button import SaveButton
from webui.library.small_copy import SmallCopyRule
from webui.library.writing import NewPicture, PictureWriter
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
        self._writer = PictureWriter(
            self._data_dir, self._results, self._index, self._rules, self._numbers
        )
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
        new = NewPicture("image", job_id, index, data, facts, output, folder, client)
        saved = self._written(new)
        if saved.is_saved and small_copy is not None:
            saved = self._writer.write_small_copy(saved, data, small_copy)
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
        return self._written(
            NewPicture("grid", job_id, 0, data, facts, output, folder, client, has_long_name)
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
        return self._written(
            NewPicture("grid", job_id, index, data, facts, output, folder, client, has_long_name)
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
        return self._writer.take_in(made, extension, facts, output, folder)

    def _opened(self, picture: SavedPicture) -> Image.Image | None:
        try:
            return open_image(self._bytes_of(picture)).convert("RGBA")
        except (LibraryError, OSError) as err:
            logger.warning("The grid is drawn without %s: %s", picture.path, err)
            return None

    def _written(self, new: NewPicture) -> SavedPicture:
        saved = self._writer.save(new)
        self._purge_now_and_then(new.output)
        return saved

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


def _is_see_through(sheet: Image.Image) -> bool:
    """True when some pixel of an RGBA picture is not opaque."""
    return sheet.getchannel("A").getextrema() != (255, 255)
