"""From the options' folders and files to subsets; no torch.

Nothing is moved, renamed or written: a folder that is laid out otherwise is taken as it is, or the
person is told what was expected.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from webui.errors import DatasetError, ParamsError
from webui.params.training import TrainingOptions
from webui.params.training_data import Augmenting, Bucketing, Captioning, DatasetOptions, Subset
from webui.training.dataset_config import read_dataset_config
from webui.training.notices import Notice, first_names
from webui.training.photographs import pictures_in, readable_suffixes

_FOLDER_NAME = re.compile(r"(\d+)(?:_(.*))?", re.DOTALL)
REG = "reg_data_dir"
SUGGESTED_REPEATS = ((10, 7), (50, 5), (100, 3))
"""Up to so many pictures, so many repeats; more pictures need none."""


def suggested_repeats(pictures: int) -> int:
    """Repeats for a folder of so many pictures."""
    return next((repeats for most, repeats in SUGGESTED_REPEATS if pictures <= most), 1)


def parse_folder_name(name: str) -> tuple[int, str] | None:
    """Repeats and words of a folder such as ``10_sks_dog``; None for other names."""
    found = _FOLDER_NAME.fullmatch(name)
    if found is None or int(found[1]) < 1:
        return None
    return int(found[1]), found[2] or ""


def find_datasets(options: TrainingOptions) -> tuple[tuple[DatasetOptions, ...], list[Notice]]:
    """The datasets that flat options name.

    Raises:
        ParamsError: A folder or file is not there, or holds no pictures (``field``).
        DatasetError: A folder or file cannot be read.
    """
    said: list[Notice] = []
    if options.dataset_config:
        ignored = [n for n in ("train_data_dir", "reg_data_dir", "in_json") if getattr(options, n)]
        if ignored:
            said.append(Notice("dataset_config_wins", {"names": ", ".join(ignored)}))
        return read_dataset_config(Path(options.dataset_config), options), said
    if options.in_json:
        subsets = [_metadata_subset(options)]
    else:
        subsets = _subsets(options.train_data_dir, "train_data_dir", options, said)
        if options.reg_data_dir:
            found = _subsets(options.reg_data_dir, REG, options, said)
            subsets += [subset.model_copy(update=_as_reg(options)) for subset in found]
    return (make_dataset(options, subsets),), said


def _as_reg(options: TrainingOptions) -> dict[str, Any]:
    rate = options.reg_caption_dropout_rate
    return {"is_reg": True} | ({} if rate is None else {"caption_dropout_rate": rate})


def make_dataset(options: TrainingOptions, subsets: list[Subset]) -> DatasetOptions:
    """One dataset with what the flat options say."""
    values = _shared(options, Bucketing)
    for name in ("resize_interpolation", "validation_split", "validation_seed"):
        values[name] = getattr(options, name)
    return DatasetOptions(**values, batch_size=options.train_batch_size, subsets=tuple(subsets))


def make_subset(options: TrainingOptions, **values: Any) -> Subset:
    """One subset with what the flat options say."""
    flat = _shared(options, Captioning) | _shared(options, Augmenting)
    flat |= {name: getattr(options, name) for name in ("cache_info", "skip_broken")}
    return Subset(**{**flat, **values})


def _shared(options: TrainingOptions, base: type[Captioning | Augmenting | Bucketing]) -> dict:
    return {name: getattr(options, name) for name in base.model_fields}


def _metadata_subset(options: TrainingOptions) -> Subset:
    if not Path(options.in_json).is_file():
        raise ParamsError(f'in_json: the file "{options.in_json}" does not exist.', field="in_json")
    return make_subset(
        options, metadata_file=options.in_json, image_dir=options.train_data_dir,
        num_repeats=options.dataset_repeats,
    )  # fmt: skip


def _subsets(folder: str, field: str, options: TrainingOptions, said: list[Notice]) -> list[Subset]:
    if not folder:
        raise ParamsError(
            f"{field} names no folder.",
            'Choose the folder that holds folders like "10_mychar".', field=field,
        )  # fmt: skip
    parent = Path(folder).expanduser()
    if not parent.is_dir():
        raise ParamsError(
            f'{field}: the folder "{folder}" does not exist.',
            'Look for a mistake in the path; it is the folder that holds folders like "10_mychar".',
            field=field,
        )
    inner = sorted(path for path in _children(parent) if path.is_dir())
    named = [(path, parsed) for path in inner if (parsed := parse_folder_name(path.name))]
    filled = [(path, parsed) for path, parsed in named if pictures_in(path)]
    skipped = [path.name for path in inner if path.name[0] != "." and not _is_named(path)]
    loose = pictures_in(parent)
    if not filled:
        if not loose:
            raise _no_pictures(folder, field, skipped)
        return [_whole_folder(parent, len(loose), field, options, said)]
    if loose:
        said.append(Notice("folder_loose", {"count": len(loose), "folder": folder}))
    if skipped:
        values = {"names": first_names([f'"{name}"' for name in skipped]), "folder": folder}
        said.append(Notice("folder_skipped", values))
    return [
        make_subset(options, image_dir=str(path), num_repeats=repeats, class_tokens=words)
        for path, (repeats, words) in filled
    ]


def _is_named(path: Path) -> bool:
    return parse_folder_name(path.name) is not None


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as err:
        raise DatasetError(
            f'The folder "{folder}" cannot be read: {err.strerror or err}.', file=str(folder)
        ) from err


def _no_pictures(folder: str, field: str, skipped: list[str]) -> ParamsError:
    more = readable_suffixes()[5:]
    extra = "".join(f", {name}" for name in more)
    because = ""
    if skipped:
        names = first_names(skipped)
        because = (
            f'; skipped folders: {names} because their names do not start with a number and "_"'
        )
    return ParamsError(
        f'{field}: no images found in "{folder}" (looked for png, jpg, jpeg, webp, bmp{extra}'
        f"{because}).",
        'Put pictures into a folder in it that is named like "10_mychar": 10 times an epoch.',
        field=field,
    )


def _whole_folder(
    folder: Path, pictures: int, field: str, options: TrainingOptions, said: list[Notice]
) -> Subset:
    """The folder itself as one subset; its own name may carry repeats and words.

    Class pictures are balanced with the others, so each comes once before any comes again; the word
    that is taught is none of theirs.
    """
    parsed, is_reg = parse_folder_name(folder.name), field == REG
    own = parsed[0] if parsed else 0
    repeats = own or 1 if is_reg else options.repeats or own
    if not repeats:
        raise ParamsError(
            f'{field}: "{folder}" holds {pictures} images but no folder named like "10_mychar". '
            f"Give the repeats here (suggested {suggested_repeats(pictures)}) to use it as one "
            "concept, or choose the parent folder.",
            field=field,
        )
    said.append(Notice("folder_is_subset", {"folder": folder.name, "repeats": repeats}))
    taught = "" if is_reg else options.trigger_words
    words = parsed[1] if parsed else taught or folder.name
    return make_subset(options, image_dir=str(folder), num_repeats=repeats, class_tokens=words)
