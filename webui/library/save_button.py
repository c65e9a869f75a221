"""The Save button: a copy of a picture in a folder of its own, and a line about it in log.csv."""

from __future__ import annotations

import csv
import threading
from pathlib import Path

from webui.errors import LibraryError
from webui.library import files
from webui.library.index import SavedPicture
from webui.library.names import (
    NameRules,
    NumberBook,
    PictureFacts,
    decoration,
    name_limit,
    stems,
)

_CSV_COLUMNS = (
    "prompt", "seed", "width", "height", "sampler", "cfgs", "steps", "filename",
    "negative_prompt", "sd_model_name", "sd_model_hash",
)  # fmt: skip


class SaveButton:
    """Where pictures are copied to.

    Args:
        folder: Made with the first copy.
        rules: How files are named. numbers: Of the files of all folders.
    """

    def __init__(self, folder: Path, rules: NameRules, numbers: NumberBook) -> None:
        self._save_folder, self._rules, self._numbers = folder, rules, numbers
        self._csv_lock = threading.Lock()

    def copy(self, picture: SavedPicture, data: bytes) -> Path:
        """Copy a picture and add its line.

        Returns:
            Where the copy lies.
        Raises:
            LibraryError: The folder cannot be written.
        """
        facts = _from_row(picture)
        folder = self._save_folder
        text = decoration("", facts, has_folders=False, rules=self._rules)
        try:
            number = self._numbers.next_number(folder)
            names = stems(number, text, max_bytes=name_limit(folder))
            path = files.reserve(folder, names, files.EXTENSIONS[picture.format])
            with files.removed_on_failure(path):
                files.write_whole(path, data)
            self._numbers.note(path)
            self._add_csv_line(picture, facts, path.name)
        except OSError as err:
            reason, hint = files.explain(err)
            raise LibraryError(
                f"The picture was to be copied to {folder}, but {reason}.",
                f"{hint} and press Save again; the picture itself is safe at {picture.path}.",
                path=str(folder),
            ) from err
        return path

    def _add_csv_line(self, picture: SavedPicture, facts: PictureFacts, name: str) -> None:
        path = self._save_folder / "log.csv"
        values = (
            facts.prompt, picture.seed, picture.width, picture.height, facts.sampler,
            facts.cfg_scale, facts.steps, name, facts.negative_prompt, facts.model_name,
            facts.model_hash,
        )  # fmt: skip
        with self._csv_lock, open(path, "a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            if file.tell() == 0:
                writer.writerow(_CSV_COLUMNS)
            writer.writerow(values)


def _from_row(picture: SavedPicture) -> PictureFacts:
    known = {k: v for k, v in picture.facts.items() if k in PictureFacts.__dataclass_fields__}
    known["styles"] = tuple(known.get("styles", ()))
    return PictureFacts(**{**known, "infotext": picture.infotext})
