"""Reads kohya's dataset files: ``[general]``, ``[[datasets]]``, ``[[datasets.subsets]]``; no torch.

A value is looked up in the subset, then its dataset, then ``general``, then the flat options.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from webui.errors import ParamsError
from webui.params import params_error
from webui.params.training import TrainingOptions
from webui.params.training_data import DatasetOptions, Subset
from webui.training.written import read_values

_ONLY_SUBSET = {"image_dir", "metadata_file", "is_reg", "alpha_mask", "class_tokens"}
_SUBSET_KEYS = set(Subset.model_fields) - {"skip_broken"}
_DATASET_KEYS = set(DatasetOptions.model_fields) - {"subsets"}
_SHARED_KEYS = _SUBSET_KEYS - _ONLY_SUBSET | {"class_tokens"}
_FLAT_NAMES = {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}
"""Names that differ in the flat options."""
FIELD = "dataset_config"


def read_dataset_config(path: Path, options: TrainingOptions) -> tuple[DatasetOptions, ...]:
    """The datasets of a file.

    Args:
        path: ``.toml``, or JSON by its ending.
        options: What holds where the file says nothing.
    Raises:
        ParamsError: The file is not there or not readable, or a key or value in it is wrong.
    """
    config = _table(read_values(path, FIELD), "")
    _check_keys(config, {"general", "datasets"}, "")
    general = _table(config.get("general", {}), "general")
    _check_keys(general, _SHARED_KEYS | _DATASET_KEYS, "general")
    datasets = config.get("datasets", [])
    if not isinstance(datasets, list) or not datasets:
        raise _wrong("", "there is no [[datasets]] in it.")
    return tuple(
        _dataset(_table(values, f"datasets[{at}]"), general, options, f"datasets[{at}]")
        for at, values in enumerate(datasets)
    )


def _dataset(
    values: dict[str, Any], general: dict[str, Any], options: TrainingOptions, place: str
) -> DatasetOptions:
    _check_keys(values, _SHARED_KEYS | _DATASET_KEYS | {"subsets"}, place)
    given = values.get("subsets", [])
    if not isinstance(given, list) or not given:
        raise _wrong(place, "there is no [[datasets.subsets]] in it.")
    subsets = []
    for at, subset in enumerate(given):
        there = f"{place}.subsets[{at}]"
        table = _table(subset, there)
        _check_keys(table, _SUBSET_KEYS, there)
        subsets.append(_built(Subset, _looked_up(Subset, (table, values, general), options), there))
    _check_style(subsets, place)
    own = {k: v for k, v in values.items() if k != "subsets"}
    found = _looked_up(DatasetOptions, (own, general), options)
    return _built(DatasetOptions, {**found, "subsets": subsets}, place)


def _looked_up(
    kind: type[Subset | DatasetOptions],
    levels: tuple[dict[str, Any], ...],
    options: TrainingOptions,
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in kind.model_fields:
        level = next((level for level in levels if name in level), None)
        flat = _FLAT_NAMES.get(name, name)
        if level is not None:
            found[name] = level[name]
        elif flat in TrainingOptions.model_fields:
            found[name] = getattr(options, flat)
    return found


def _check_style(subsets: list[Subset], place: str) -> None:
    for at, subset in enumerate(subsets):
        if not (subset.image_dir or subset.metadata_file):
            raise _wrong(f"{place}.subsets[{at}]", "image_dir is missing.")
    if len({bool(subset.metadata_file) for subset in subsets}) > 1:
        raise _wrong(
            place, "some subsets have a metadata_file and some have not. Use two datasets for them."
        )


def _built(kind: type[Any], values: Mapping[str, Any], place: str) -> Any:
    try:
        return kind.model_validate(values)
    except ValidationError as err:
        raise _wrong(place, params_error(err).message) from err


def _check_keys(values: Mapping[str, Any], known: set[str], place: str) -> None:
    for key in values:
        if key in known:
            continue
        near = difflib.get_close_matches(key, sorted(known), 1)
        meant = f' (did you mean "{near[0]}"?)' if near else ""
        raise _wrong(place, f'unknown key "{key}"{meant}.')


def _table(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(place, "it is no table.")
    return value


def _wrong(place: str, text: str) -> ParamsError:
    return ParamsError(f"{place or FIELD}: {text}", field=FIELD)
