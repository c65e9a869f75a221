"""Pictures written safely, under free names, where they can be written."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from webui.errors import DiskFullError, LibraryError
from webui.library import files
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
from webui.library.small_copy import SmallCopyRule, make_small_copy
from webui.params import Output
from webui.pictures import open_image

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Place:
    """A folder to try, and what to say when the picture had to go there."""

    root: Path
    folder: Path
    is_fallback: bool = False


@dataclass(frozen=True)
class NewPicture:
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


class PictureWriter:
    """Writes pictures and lists them.

    Args:
        data_dir: Holds ``recovered/``. results: Where pictures go that are not to be saved.
        rules: How files are named. numbers: Of the files of all folders.
    """

    def __init__(
        self,
        data_dir: Path,
        results: Path,
        index: PictureIndex,
        rules: NameRules,
        numbers: NumberBook,
    ) -> None:
        self._data_dir, self._results = data_dir, results
        self._index, self._rules, self._numbers = index, rules, numbers
        self._last_resort: Path | None = None

    def take_in(
        self, made: Path, extension: str, facts: PictureFacts, output: Output, folder: Path
    ) -> tuple[Path, Path, str | None]:
        """See ``Library.take_in``."""
        video = NewPicture("video", 0, 0, b"", facts, output, folder)
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

    def write_small_copy(
        self, saved: SavedPicture, data: bytes, rule: SmallCopyRule
    ) -> SavedPicture:
        """Write a small JPEG beside a very large picture; failing is worth a warning only."""
        note = _write_small_copy(saved, data, rule)
        return replace(saved, warning=_joined(saved.warning, note))

    def save(self, new: NewPicture) -> SavedPicture:
        """Write a picture where it was to go, or where it can, and list it.

        Raises:
            LibraryError: It could be written nowhere, or could not be listed (``path``).
        """
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
            wants_text = output.save and (output.save_text or facts.caption)
            note = self._write_text(saved, facts.caption) if wants_text else None
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

    def _names(self, new: NewPicture, folder: Path) -> tuple[Iterator[str], str | None]:
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

    def _put_back(self, new: NewPicture, shown_before: SavedPicture | None) -> None:
        """Undo the reserved row of a picture that could be written nowhere."""
        try:
            row = self._index.of_picture(new.job_id, new.index, new.kind)
            if shown_before is not None:
                self._index.put_back(shown_before)
            elif row is not None:
                self._index.forget([row.id])
        except LibraryError as err:
            logger.warning("A row without a picture is left: %s", err)

    def _write_text(self, saved: SavedPicture, caption: str) -> str | None:
        """Write the caption, or the recipe, beside the picture; failing is worth a warning only."""
        path = saved.path.with_suffix(".txt")
        try:
            files.write_whole(path, f"{caption or saved.infotext}\n".encode("utf-8", "replace"))
        except OSError as err:
            return f"The text could not be written to {path}: {files.explain(err)[0]}."
        return None


def _write_small_copy(saved: SavedPicture, data: bytes, rule: SmallCopyRule) -> str | None:
    try:
        small = make_small_copy(data, saved.infotext, rule)
        if small is not None:
            tail = "-small.jpg" if saved.format == "jpg" else ".jpg"
            files.write_whole(saved.path.with_name(saved.path.stem + tail), small)
    except (OSError, LibraryError) as err:
        return f"The small copy of {saved.path.name} could not be written: {err}."
    return None


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


def _for_row(facts: PictureFacts) -> dict[str, object]:
    elsewhere = ("infotext", "caption")
    return {name: value for name, value in asdict(facts).items() if name not in elsewhere}


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
    message = f"The picture is safe at {path}, but could not be listed. {err.message}"
    if err.details.get("is_full"):
        return DiskFullError(message, err.hint, path=str(path))
    return LibraryError(message, err.hint, path=str(path))
