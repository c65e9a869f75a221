"""Sets of photographs to train on, one folder each, with a text of words beside every picture.

They lie in the data folder and hold copies: whatever is changed here, people's own photographs stay
as they are. Names that come from a page lead to no other folder.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from webui.errors import DatasetError, ParamsError
from webui.services.training.archives import ENDING, unpacked
from webui.training.captions import (
    caption_file,
    changed_tags,
    read_caption,
    split_tags,
    write_caption,
)
from webui.training.photographs import measure_whole, pictures_in, read, readable_suffixes

CAPTION = ".txt"
CAPTIONS = (CAPTION, ".caption")
"""Endings of files with words that are taken in."""
MOST_NAME = 80
"""Characters of names of sets and pictures."""
OF_LOGIN = "@"
"""Before the folder that holds the sets of one login; no set is called so."""
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')
_CAMERA = re.compile(
    r"\b(img|dsc[nf]?|pxl|mvimg|dji|gopr|wp|photo|image|picture|screenshot|scan|wechat|mmexport|"
    r"微信图片|图片|照片|截图|copy|副本)\b",
    re.IGNORECASE,
)
"""Words that cameras and programs put into file names; they say nothing of the picture."""


@dataclass(frozen=True)
class SetPicture:
    """One picture of a set and its words; ``has_caption`` is False when there are none."""

    path: Path
    caption: str
    has_caption: bool


@dataclass
class Added:
    """What became of files that were put in.

    Attributes:
        bad: Sentences about those that could not be used.
        repeats: Those that folders of an archive ask for, each number once.
    """

    pictures: int = 0
    captions: int = 0
    bad: list[str] = field(default_factory=list[str])
    repeats: set[int] = field(default_factory=set[int])


def clean_name(text: str) -> str:
    """A name as a folder or file may have it; '' when nothing is left of it."""
    plain = _NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", text))
    return " ".join(plain.split())[:MOST_NAME].strip(f" .{OF_LOGIN}")


def is_plain(file: str) -> bool:
    """True for a name that stays in its folder, wherever it comes from."""
    return bool(file) and file[0] != "." and not _NOT_IN_NAMES.search(file)


class TrainingSets:
    """All sets of an installation.

    Args:
        folder: Holds one folder for each; made when the first is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Every set, the one that was changed last at the front."""
        if not self._folder.is_dir():
            return []
        found = [
            path
            for path in self._folder.iterdir()
            if path.is_dir() and path.name[0] not in f".{OF_LOGIN}"
        ]
        return [path.name for path in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]

    def folder(self, name: str) -> Path:
        """Where a set lies.

        Raises:
            ParamsError: There is no set of this name.
        """
        folder = self._folder / name
        if not name or clean_name(name) != name or not folder.is_dir():
            raise ParamsError(
                f'There is no set of pictures named "{name}".',
                f"There are: {', '.join(self.names()) or 'none yet'}.",
                field="train_data_dir",
            )
        return folder

    def make(self, name: str) -> str:
        """Make a set, or take the one that is there; returns its name.

        Raises:
            ParamsError: Nothing in the text can be a name.
        """
        clean = clean_name(name)
        if not clean:
            raise ParamsError(
                f'"{name}" cannot be the name of a set of pictures.',
                "Write a short word, such as the name of who or what is in them.",
                field="output_name",
            )
        (self._folder / clean).mkdir(parents=True, exist_ok=True)
        return clean

    def remove(self, name: str) -> None:
        """Remove a set with its copies of pictures. Raises as ``folder``."""
        shutil.rmtree(self.folder(name))

    def pictures(self, name: str) -> list[SetPicture]:
        """Pictures of a set by name. Raises as ``folder``."""
        return [_picture(path) for path in pictures_in(self.folder(name))]

    def picture(self, name: str, file: str) -> Path:
        """One picture of a set.

        Raises:
            ParamsError: There is none.
        """
        path = self.folder(name) / file
        if not is_plain(file) or not path.is_file():
            raise ParamsError(f'The set "{name}" has no picture "{file}".', field="file")
        return path

    def add(self, name: str, files: Iterable[Path]) -> Added:
        """Copy pictures and caption files into a set, and what is in zip files; bad ones do not
        keep the others out.

        A picture whose name is taken gets a number; text of the same stem goes with it, or with
        the picture of that stem that is there already.
        """
        folder, told = self.folder(name), Added()
        files = list(files)
        archives = [file for file in files if file.suffix.lower() == ENDING]
        _add_files(folder, [file for file in files if file not in archives], told)
        for archive in archives:
            try:
                self._add_archive(folder, archive, told)
            except DatasetError as err:
                told.bad.append(str(err))
        return told

    def _add_archive(self, folder: Path, archive: Path, told: Added) -> None:
        """Add each folder of an archive by itself: names may come again in another."""
        with unpacked(archive, self._folder) as found:
            told.bad += found.bad
            for group in found.groups:
                copies = _add_files(folder, group.files, told)
                if group.repeats and copies:
                    told.repeats.add(group.repeats)
                for copy in copies:
                    if group.words and not _picture(copy).has_caption:
                        write_caption(copy.with_suffix(CAPTION), group.words)

    def take_out(self, name: str, files: Iterable[str]) -> int:
        """Remove pictures with their words; returns how many there were."""
        count = 0
        for file in files:
            path = self.picture(name, file)
            path.unlink()
            path.with_suffix(CAPTION).unlink(missing_ok=True)
            count += 1
        return count

    def cut(self, name: str, file: str, box: tuple[int, int, int, int]) -> None:
        """Cut a copy to a part of it; the person's own photograph is elsewhere.

        Args:
            box: Left, top, right, bottom in the upright picture.
        Raises:
            ParamsError: There is no such picture. DatasetError: It cannot be read.
        """
        path = self.picture(name, file)
        image = read(path).crop(box)
        kind = Image.registered_extensions()[path.suffix.lower()]
        part = path.with_name(f".{path.name}.part")
        image = image if kind in ("PNG", "WEBP", "AVIF") else image.convert("RGB")
        image.save(part, kind, quality=95)
        part.replace(path)

    # Words

    def write_captions(self, name: str, captions: Mapping[str, str]) -> int:
        """Write words beside pictures, by file name; returns how many changed.

        Raises:
            ParamsError: There is no such picture.
        """
        count = 0
        for file, words in captions.items():
            path = self.picture(name, file)
            now = " ".join(words.split())
            if now != _picture(path).caption:
                write_caption(path.with_suffix(CAPTION), now)
                count += 1
        return count

    def change_tags(
        self,
        name: str,
        *,
        add: str = "",
        remove: str = "",
        replace: tuple[str, str] | None = None,
        at_head: bool = True,
        only: Iterable[str] | None = None,
    ) -> int:
        """Change tags of many captions at once; returns how many changed.

        Args:
            add, remove: Tags between commas. replace: A tag, and what takes its place.
            only: Names of pictures; None = all.
        """
        wanted = None if only is None else set(only)
        changed = {}
        for picture in self.pictures(name):
            if wanted is not None and picture.path.name not in wanted:
                continue
            tags = changed_tags(
                split_tags(picture.caption), add=split_tags(add), remove=split_tags(remove),
                replace=replace, at_head=at_head,
            )  # fmt: skip
            changed[picture.path.name] = ", ".join(tags)
        return self.write_captions(name, changed)

    def caption_from_names(self, name: str, word: str) -> int:
        """Give pictures without words the set's word and what their file names say."""
        missing = [p.path for p in self.pictures(name) if not p.has_caption]
        return self.write_captions(name, {p.name: words_of_name(p.stem, word) for p in missing})


def words_of_name(stem: str, word: str) -> str:
    """Words for a picture out of its file name: ``red_coat-street 03`` → ``red coat street``."""
    text = re.sub(r"[_\-.()\[\]+]+", " ", stem)
    text = _CAMERA.sub(" ", re.sub(r"\d+", " ", text))
    said = " ".join(text.split())
    letters = sum(character.isalpha() for character in said)
    has_sense = letters >= 3 or any(ord(character) > 0x2E80 for character in said)
    return ", ".join(part for part in (word, said if has_sense and said != word else "") if part)


def _picture(path: Path) -> SetPicture:
    file = caption_file(path, CAPTION)
    try:
        words = read_caption(file) if file else ""
    except DatasetError:
        words = ""
    return SetPicture(path, words, bool(words))


def _add_files(folder: Path, files: Sequence[Path], told: Added) -> list[Path]:
    """Copy the pictures and texts of one folder; returns the pictures' copies."""
    texts = [file for file in files if file.suffix.lower() in CAPTIONS]
    copies: dict[str, list[Path]] = {}
    for file in files:
        if file in texts:
            continue
        try:
            copies.setdefault(file.stem, []).append(_copied(file, folder))
            told.pictures += 1
        except DatasetError as err:
            told.bad.append(err.message)
        except OSError as err:
            told.bad.append(f'"{file.name}" could not be kept: {err.strerror or err}.')
    there = {path.stem: [path] for path in pictures_in(folder)} if texts else {}
    for file in texts:
        meant = copies.get(file.stem) or there.get(clean_name(file.stem), [])
        try:
            _give_words(file, meant)
            told.captions += 1
        except DatasetError as err:
            told.bad.append(err.message)
    return [copy for some in copies.values() for copy in some]


def _copied(file: Path, folder: Path) -> Path:
    """A picture's copy in a folder, under a name that is free."""
    if file.suffix.lower().removeprefix(".") not in readable_suffixes():
        raise DatasetError(f'"{file.name}" is no picture.', file=str(file))
    measure_whole(file)
    copy = _free(folder, clean_name(file.stem) or "picture", file.suffix.lower())
    shutil.copyfile(file, copy)
    return copy


def _give_words(file: Path, pictures: Sequence[Path]) -> None:
    words = read_caption(file)
    if not pictures:
        raise DatasetError(f'"{file.name}" belongs to no picture of this set.', file=str(file))
    for picture in pictures:
        write_caption(picture.with_suffix(CAPTION), words)


def _free(folder: Path, stem: str, suffix: str) -> Path:
    """A file name that is not taken, by no other kind of picture either: words go by the stem."""
    taken = {path.stem for path in folder.iterdir()}
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem} {number}"
    return folder / f"{name}{suffix}"
