"""A batch: many pictures, one job each. What is read, what is skipped, how it is told apart.

No Gradio here: form values in, requests out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from webui.errors import LibraryError, ParamsError
from webui.recipes import read_picture
from webui.services.resolve import ImageToImageRequest
from webui.ui import pasting
from webui.ui.img2img_form import FOLDER, Source, make_request
from webui.ui.said import in_language
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.settings import Settings
    from webui.studio import Studio

Kept = TypeVar("Kept")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".gif")
MOST_FILES = 2000
PNG_INFO_FIELDS = {
    "Prompt": ("prompt",),
    "Negative prompt": ("negative_prompt",),
    "Seed": ("seed", "subseed", "subseed_strength", "has_extra"),
    "CFG scale": ("cfg_scale",),
    "Sampler": ("sampler", "schedule"),
    "Steps": ("steps",),
    "Size": ("width", "height"),
}
"""What can be taken from a picture's recipe, by A1111's names, and the fields it fills."""


@dataclass(frozen=True)
class BatchFile:
    """One input: its kept picture's key, and the name its result shall have."""

    key: str
    stem: str
    infotext: str = ""


@dataclass
class Batch:
    """What a batch came to.

    Attributes:
        wishes: One request for each usable file, in order of names.
        skipped: Names of the others and why.
    """

    wishes: list[ImageToImageRequest] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def make_batch(
    form: Mapping[str, Any],
    studio: Studio,
    language: str,
    *,
    top_row: dict[str, Any],
    overrides: dict[str, Any],
    user: str,
) -> Batch:
    """Requests for every file of a batch; arguments as ``painting_values``.

    Raises:
        ParamsError: No usable file, or a folder that is not there or not to be used.
    """
    batch = Batch()
    masks = _masks(form, studio.settings, language)
    recipes = _folder(form["png_info_dir"], studio.settings, language, "png_info_dir")
    output = output_folder(form, studio.settings, language)
    for file in files_of(form, studio, language, batch.skipped):
        mask = masks.path_for(file.stem)
        if mask is None and masks.paths:
            batch.skipped.append(say("batch_no_mask", language, name=file.stem))
            continue
        try:
            mask_key = studio.inputs.keep(mask.read_bytes()) if mask else None
            size = studio.inputs.image(file.key).size
        except (LibraryError, OSError) as err:
            said = f"{mask.name if mask else file.stem}: {err}"
            batch.skipped.append(in_language(said, language))
            continue
        filled = _filled(form, _recipe(file, recipes), studio)
        wish = make_request(
            filled, Source(file.key, size, mask_key), top_row=top_row,
            overrides={**overrides, **_as_painted(form, filled, studio)},
            user=user,
        )  # fmt: skip
        changes = {"output_folder": output, "file_stem": file.stem, "grid": False}
        batch.wishes.append(wish.model_copy(update=changes))
    if not batch.wishes:
        reasons = "; ".join(batch.skipped)
        raise ParamsError(
            say("batch_empty", language) + (f" {reasons}" if reasons else ""),
            say("batch_empty_hint", language),
            field="batch",
        )
    return batch


def folders_are_allowed(settings: Settings) -> bool:
    """True when only people at this machine reach the page: folders of its disk are theirs.

    A shared page may have many visitors behind one password; none of them shall read or write
    folders of the machine it runs on.
    """
    return settings.is_private


def write_uploads(files: Iterable[BatchFile]) -> str:
    """Uploaded files as the text a draft keeps."""
    return json.dumps([[file.key, file.stem, file.infotext] for file in files], ensure_ascii=False)


def read_uploads(text: Any) -> list[BatchFile]:
    """Uploaded files, as ``write_uploads`` wrote them; anything else is nothing."""
    try:
        return [BatchFile(str(key), str(stem), str(info)) for key, stem, info in json.loads(text)]
    except (ValueError, TypeError):
        return []


def keep_uploads(studio: Studio, paths: Iterable[Path]) -> tuple[list[BatchFile], list[str]]:
    """Keep uploaded files as inputs; see ``keep_each``."""
    return keep_each(paths, lambda path: _kept(studio, path))


def keep_each(paths: Iterable[Path], keep: Callable[[Path], Kept]) -> tuple[list[Kept], list[str]]:
    """Keep files one by one; a bad one does not keep the others out.

    Returns:
        What became of the usable ones; sentences about the others.
    """
    kept, bad = [], []
    for path in paths:
        try:
            kept.append(keep(path))
        except (LibraryError, OSError) as err:
            bad.append(f"{path.name}: {err}")
    return kept, bad


def _kept(studio: Studio, path: Path) -> BatchFile:
    return BatchFile(studio.inputs.keep(path.read_bytes()), path.stem, recipe_in(path))


def recipe_in(path: Path) -> str:
    """The recipe inside a picture of any program, as A1111 writes it; empty without one.

    Raises:
        LibraryError: No picture, or too large.
    """
    recipe = read_picture(path)
    return recipe.text if recipe else ""


def files_of(
    form: Mapping[str, Any], studio: Studio, language: str, skipped: list[str]
) -> Iterator[BatchFile]:
    """The files of a batch, uploaded or out of a folder.

    Args:
        form: ``batch_source``, ``batch_files`` and ``batch_input_dir``.
        skipped: Told of those that cannot be used.
    Raises:
        ParamsError: No folder, one that is not there, or none may be used.
    """
    if form["batch_source"] != FOLDER:
        yield from read_uploads(form["batch_files"])
        return
    folder = _folder(form["batch_input_dir"], studio.settings, language, "batch_input_dir")
    if folder is None:
        raise ParamsError(
            say("batch_no_folder", language, what=say("batch_input_dir", language)),
            say("batch_folder_hint", language),
            field="batch_input_dir",
        )
    for path in pictures_in(folder):
        try:
            yield _kept(studio, path)
        except (LibraryError, OSError) as err:
            skipped.append(in_language(f"{path.name}: {err}", language))


def pictures_in(folder: Path) -> list[Path]:
    """Picture files of a folder by name, without hidden ones, at most ``MOST_FILES``."""
    found = (
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    return sorted(found, key=lambda path: path.name)[:MOST_FILES]


@dataclass(frozen=True)
class _Masks:
    paths: Mapping[str, Path]

    def path_for(self, stem: str) -> Path | None:
        """The mask of that name; where there is a single one, it is everybody's."""
        if len(self.paths) == 1:
            return next(iter(self.paths.values()))
        return self.paths.get(stem)


def _masks(form: Mapping[str, Any], settings: Settings, language: str) -> _Masks:
    if form["batch_source"] != FOLDER:
        return _Masks({})
    folder = _folder(form["batch_mask_dir"], settings, language, "batch_mask_dir")
    return _Masks({path.stem: path for path in pictures_in(folder)} if folder else {})


def _folder(text: Any, settings: Settings, language: str, name: str) -> Path | None:
    """A folder that is there; None for an empty field.

    Raises:
        ParamsError: It is no folder, its path is not absolute, or this page may not use any.
    """
    wanted = str(text or "").strip().strip('"')
    if not wanted:
        return None
    _check_allowed(settings, language, name)
    path = Path(wanted).expanduser()
    if not path.is_absolute() or not path.is_dir():
        raise ParamsError(
            say("batch_not_a_folder", language, what=say(name, language), path=wanted),
            say("batch_folder_hint", language),
            field=name,
        )
    return path.resolve()


def output_folder(form: Mapping[str, Any], settings: Settings, language: str) -> str:
    """Where results go: an absolute path, made when it is not there yet; empty = outputs.

    Raises:
        ParamsError: It cannot be made, or this page may not use folders.
    """
    wanted = str(form["batch_output_dir"] or "").strip().strip('"')
    if not wanted or form["batch_source"] != FOLDER:
        return ""
    _check_allowed(settings, language, "batch_output_dir")
    path = Path(wanted).expanduser()
    try:
        if not path.is_absolute():
            raise NotADirectoryError(wanted)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise ParamsError(
            say(
                "batch_not_a_folder", language, what=say("batch_output_dir", language), path=wanted
            ),
            say("batch_folder_hint", language),
            field="batch_output_dir",
        ) from err
    return str(path.resolve())


def _check_allowed(settings: Settings, language: str, name: str) -> None:
    if not folders_are_allowed(settings):
        raise ParamsError(
            say("batch_refused", language), say("batch_refused_hint", language), field=name
        )


def _recipe(file: BatchFile, folder: Path | None) -> str:
    """The recipe of a file: from the picture of that name in ``folder``, else its own."""
    if folder is not None:
        for path in pictures_in(folder):
            if path.stem == file.stem:
                try:
                    return recipe_in(path)
                except (LibraryError, OSError):
                    return ""
    return file.infotext


def _filled(form: Mapping[str, Any], recipe: str, studio: Studio) -> dict[str, Any]:
    """The form with what is to be taken from a recipe; prompts are added to those typed."""
    filled = dict(form)
    if not form["has_png_info"] or not recipe:
        return filled
    values = pasting.paste(recipe, studio).values
    for name in form["png_info_fields"] or ():
        for key in PNG_INFO_FIELDS.get(name, ()):
            if key not in values:
                continue
            is_text = key in ("prompt", "negative_prompt")
            filled[key] = f"{form[key] or ''} {values[key]}".strip() if is_text else values[key]
    return filled


def _as_painted(
    form: Mapping[str, Any], filled: Mapping[str, Any], studio: Studio
) -> dict[str, Any]:
    """Overrides that leave prompts of a recipe as they are, unless what was typed is drawn."""
    is_typed = bool(pasting.as_painted(form, studio))
    return {} if is_typed else pasting.read_chips(pasting.as_painted(filled, studio))
