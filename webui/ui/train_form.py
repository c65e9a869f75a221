"""What the fields of the Train tab come to: options, a file of them, a request. No Gradio here."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.checkpoints.catalog import Record
from webui.errors import ParamsError
from webui.params import TrainingOptions, TrainLora
from webui.prompts.chinese.translate import has_chinese
from webui.services.training.sets import OF_LOGIN, TrainingSets, clean_name
from webui.services.training.trainings import TRAINABLE, device_of, family_of
from webui.services.training.trainings import checkpoint_of as record_of
from webui.training.checks import check_options, with_model_type
from webui.training.config import PLACES, flat, read_options, write_toml
from webui.training.presets import CHARACTER, Wish, preset
from webui.training.samples import names_a_file
from webui.training.written import parse_toml
from webui.ui.batch import folders_are_allowed
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.settings import Settings
    from webui.studio import Studio

TAB = "train"
SIMPLE, EXPERT = "simple", "expert"
DEFAULTS: dict[str, Any] = {
    "view": SIMPLE, "set_name": "", "word": "", "subject": CHARACTER, "class_set": "",
    "memory": "", "checkpoint": "", "changes": "{}",
}  # fmt: skip
"""Fields of the tab; ``changes`` holds options a person set, by name, as JSON text."""
OWN_OPTIONS = PLACES - {"sample_prompts"}
"""Options that name files of the machine: only a page that no other machine reaches sets them."""


@dataclass(frozen=True)
class Choice:
    """What the fields mean.

    Attributes:
        options: All of them, ``seed`` as set. notices: About names and values in ``changes``.
        set_name: '' when no pictures were chosen.
    """

    options: TrainingOptions
    set_name: str
    notices: tuple[str, ...] = ()


def sets_of(studio: Studio, user: str) -> TrainingSets:
    """The sets of a login; without logins everybody's.

    Names of logins that differ lead to folders that differ, on disks that know no capitals, too.
    """
    folder = studio.settings.folders.data / "training" / "pictures"
    if not user:
        return TrainingSets(folder)
    own = hashlib.sha256(user.encode()).hexdigest()[:12]
    return TrainingSets(folder / f"{OF_LOGIN}{clean_name(user)} {own}")


def read_changes(text: Any) -> dict[str, Any]:
    """Options a person set; anything unreadable is none."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def choice(form: Mapping[str, Any], studio: Studio, sets: TrainingSets) -> Choice:
    """All options that the fields come to.

    Raises:
        ParamsError: A value that cannot be, or one that this page may not set.
    """
    changes = read_changes(form["changes"])
    refuse_paths(changes, studio.settings)
    name = form["set_name"] if form["set_name"] in sets.names() else ""
    record = checkpoint_of(form, studio)
    pictures = sets.pictures(name) if name else []
    wish = Wish(
        word=clean_name(form["word"] or name),
        subject=form["subject"] or CHARACTER,
        memory=form["memory"] or usual_memory(studio),
        family=family_of(studio, record) or "sd1",
        pictures=len(pictures),
        native_side=studio.native_size(record),
    )
    values = preset(wish)
    values["output_name"] = wish.word
    words = (wish.word, *(picture.caption for picture in pictures))
    if studio.options["translate_chinese_prompts"] and any(map(has_chinese, words)):
        values["translate_captions"] = True
    if record is not None:
        values["pretrained_model_name_or_path"] = record.name
    if name:
        values["train_data_dir"] = str(sets.folder(name))
        if form["class_set"] in class_choices(sets.names(), name):
            values["reg_data_dir"] = str(sets.folder(form["class_set"]))
    reading = read_options({**values, **changes})
    return Choice(reading.options, name, reading.notices)


def class_choices(names: Sequence[str], chosen: str | None) -> list[str]:
    """Sets that may stand beside the chosen one as class pictures."""
    return [name for name in names if name != chosen]


def refuse_paths(changes: Mapping[str, Any], settings: Settings) -> None:
    """Raise ParamsError when a page that others reach names files of this machine."""
    named = places_in(changes)
    if named and not folders_are_allowed(settings):
        raise ParamsError(
            f"{', '.join(named)} names files of the machine this page runs on.",
            "Only a page that no other machine can reach may do that. Drop pictures instead.",
            field=named[0],
        )


def places_in(changes: Mapping[str, Any]) -> list[str]:
    """Which of these options name files or folders of the machine."""
    named = sorted(OWN_OPTIONS & {key for key, value in changes.items() if value not in ("", None)})
    prompts = changes.get("sample_prompts")
    return [*named, "sample_prompts"] if prompts and names_a_file(str(prompts)) else named


def checkpoint_of(form: Mapping[str, Any], studio: Studio) -> Record | None:
    """The checkpoint that is trained upon."""
    names = {record.name: record for record in trainable(studio)}
    chosen = names.get(form["checkpoint"] or "")
    current = studio.current_checkpoint()
    if chosen is None and current is not None:
        chosen = names.get(current.name)
    return chosen or next(iter(names.values()), None)


def trainable(studio: Studio) -> list[Record]:
    """Checkpoints that a LoRA can be trained upon."""
    records = (studio.catalog.inspected(r) for r in studio.catalog.checkpoints() if not r.problem)
    return [record for record in records if record.family in TRAINABLE]


def usual_memory(studio: Studio) -> str:
    """Which of the sizes this machine has; 8 GB of a card that has not told yet."""
    if device_of(studio) != "cuda":
        return "cpu"
    total = float(studio.worker_facts.get("memory_bytes") or 8 * 2**30) / 2**30
    return next((size for size in ("24", "12", "8") if total >= float(size) - 1), "6")


def with_option(text: Any, name: str, value: str) -> str:
    """``changes`` with one option set; an empty value takes it back.

    Raises:
        ParamsError: No option has this name.
    """
    if name not in TrainingOptions.model_fields:
        raise ParamsError(f'No option is called "{name}".', field=name)
    changes = read_changes(text)
    changes.pop(name, None)
    if value != "":
        changes[name] = {"true": True, "false": False}.get(value, value)
    return json.dumps(changes, ensure_ascii=False)


def read_toml(text: str) -> dict[str, Any]:
    """The values of a TOML text, sections merged.

    Raises:
        ParamsError: It is no TOML; says in which line.
    """
    return flat(parse_toml(text, "This is no TOML", "toml"))


def changes_from(text: str, settings: Settings) -> tuple[str, tuple[str, ...]]:
    """``changes`` out of a TOML text, and sentences about names it does not know.

    Folders of a machine that this page may not name are left out and told.

    Raises:
        ParamsError: As ``read_toml`` and ``read_options``.
    """
    values = read_toml(text)
    reading = read_options(values)
    told = list(reading.notices)
    kept = reading.options.model_dump(mode="json", exclude_unset=True)
    if not folders_are_allowed(settings):
        for name in places_in(kept):
            del kept[name]
            told.append(f"{name} was left out: this page may not name files of its machine.")
    return json.dumps(kept, ensure_ascii=False), tuple(told)


def toml_of(chosen: Choice) -> str:
    """The options as kohya's TOML."""
    return write_toml(chosen.options)


def run_folder(studio: Studio, name: str) -> Path:
    """Where the files of a new training go."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return studio.settings.folders.data / "training" / "runs" / f"{stamp} {name}".strip()


def make_request(chosen: Choice, studio: Studio, user: str, language: str) -> TrainLora:
    """The job for what the fields say.

    Raises:
        ParamsError: There are no pictures, no checkpoint to train upon, or options that cannot be.
    """
    options = chosen.options
    if not (options.train_data_dir or options.in_json or options.dataset_config):
        raise ParamsError(
            say("train_no_pictures", language), say("train_no_pictures_hint", language),
            field="train_data_dir",
        )  # fmt: skip
    if not options.pretrained_model_name_or_path:
        raise ParamsError(
            say("train_no_checkpoint", language), say("train_no_checkpoint_hint", language),
            field="pretrained_model_name_or_path",
        )  # fmt: skip
    family = family_of(studio, record_of(studio, options))
    options = with_model_type(options, family)
    check_options(options, family=family, device=device_of(studio))
    if not options.output_dir:
        folder = str(run_folder(studio, options.output_name))
        options = options.model_copy(update={"output_dir": folder})
    return TrainLora(options=options, user=user)
