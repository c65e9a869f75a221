"""What the Train tab shows before a training: pictures, words, what it will come to. HTML out."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic.fields import FieldInfo

from webui.params import TrainingOptions
from webui.services.training.sets import SetPicture
from webui.services.training.trainings import Foresight
from webui.training.config import SECTIONS, plain_types
from webui.training.dataset_doctor import Report, Use
from webui.training.estimates import Estimate, TimeGuess
from webui.training.notices import Notice
from webui.ui.cards import action, esc, note
from webui.ui.said import in_language
from webui.ui.texts import CHINESE, say
from webui.ui.train_option_texts import OPTION_TEXTS
from webui.ui.train_texts import NOTICES_ZH

MOST_SHOWN = 200
"""Pictures of a set that are drawn; more make the page heavy."""
MOST_TAGS = 60

MOUNT_JS = """
const tell = (data) => trigger('act', data);
window.danqingTrain.mount(element, tell);
"""
"""assets/train.js is the other half: fields and buttons tell their values."""


# Numbers in words


def size_text(count: float) -> str:
    """Bytes such as ``1.4 GB`` or ``37 MB``."""
    if count >= 0.95e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 0.95e6 else f"{max(1, count / 1e3):.0f} KB"


def time_text(seconds: float, language: str) -> str:
    """A length of time, roughly."""
    if seconds < 90:
        return say("seconds_n", language, n=max(1, round(seconds)))
    if seconds < 5400:
        return say("minutes_n", language, n=round(seconds / 60))
    return say("hours_n", language, n=f"{seconds / 3600:.1f}")


def _notices(notices: Iterable[Notice], language: str) -> list[str]:
    """Notices as sentences; that a set of this page is one folder goes without saying."""
    return [notice_text(one, language) for one in notices if one.code != "folder_is_subset"]


def notice_text(notice: Notice, language: str) -> str:
    """A notice in a language."""
    if language == CHINESE:
        told = NOTICES_ZH[notice.code].format_map(notice.values)
        return in_language(told, language)  # one that hands a sentence on
    return str(notice)


# What it will come to


def plan_view(
    foresight: Foresight, problems: Sequence[str], warnings: Iterable[str], language: str
) -> str:
    """Steps, time and memory before the click, and what is in the way."""
    found = foresight.estimate
    rows = [_problems(problems, language)]
    if found is not None:
        rows.append(_foretold(found, foresight, language))
    said = [*warnings, *_notices(foresight.plan.notices, language)]
    said += [in_language(err.message, language) for err in foresight.plan.broken]
    if found is not None and foresight.kind == "cpu":
        said.insert(0, say("plan_slow", language))
    items = "".join(f"<li>{esc(text)}</li>" for text in dict.fromkeys(said))
    rows.append(f'<ul class="dq-trn-said">{items}</ul>' if items else "")
    return f'<div class="dq-trn-plan">{"".join(rows)}</div>'


def _problems(problems: Sequence[str], language: str) -> str:
    if not problems:
        return ""
    items = "".join(f"<li>{esc(text)}</li>" for text in problems)
    title = esc(say("plan_problem", language))
    return f'<div class="dq-card dq-failed" role="alert"><h3>{title}</h3><ul>{items}</ul></div>'


def problem_view(problems: Sequence[str], language: str) -> str:
    """Only what is in the way."""
    return f'<div class="dq-trn-plan">{_problems(problems, language)}</div>'


def _foretold(found: Estimate, foresight: Foresight, language: str) -> str:
    memory = found.memory
    key = "plan_memory" if foresight.kind == "cpu" else "plan_memory_vram"
    facts = [
        (say("plan_steps", language, steps=found.length.steps), _length_text(found, language)),
        (_time(found.time, language), _time_range(found.time, language)),
        (say(key, language, size=size_text(memory.total)),
         say("plan_memory_parts", language, weights=size_text(memory.weights),
             lora=size_text(memory.lora), activations=size_text(memory.activations),
             program=size_text(memory.program), sure=_sureness(foresight, language))),
        (say("plan_file", language, size=size_text(found.file_bytes)),
         say("plan_device", language, device=foresight.device)),
    ]  # fmt: skip
    cells = "".join(
        f"<div><b>{esc(big)}</b><span>{esc(small)}</span></div>" for big, small in facts
    )
    return f'<div class="dq-trn-facts">{cells}</div>'


def _sureness(foresight: Foresight, language: str) -> str:
    """With what the arithmetic of memory was ever compared."""
    is_compared = (foresight.family, foresight.kind) == ("sd1", "cpu")
    return say("plan_memory_compared" if is_compared else "plan_memory_not_compared", language)


def _length_text(found: Estimate, language: str) -> str:
    length = found.length
    return say(
        "plan_epochs", language, epochs=length.epochs, per_epoch=length.steps_per_epoch,
        count=found.pictures + found.reg_pictures,
    )  # fmt: skip


def _time(guess: TimeGuess, language: str) -> str:
    if not guess.source:
        return say("plan_time_unknown", language)
    return say("plan_time", language, time=time_text(guess.seconds, language))


def _time_range(guess: TimeGuess, language: str) -> str:
    if not guess.source:
        return say("plan_time_unknown_why", language)
    return say(
        "plan_time_range", language, low=time_text(guess.low, language),
        high=time_text(guess.high, language), source=say(f"plan_from_{guess.source}", language),
    )  # fmt: skip


# Pictures and their words


def set_view(
    name: str, pictures: Sequence[SetPicture], report: Report | None, language: str
) -> str:
    """Every picture with its words to edit; after a look with what was found."""
    if not pictures:
        return note(say("train_set_none", language))
    marks = _marks(report, language) if report else {}
    cells = "".join(
        _cell(name, picture, marks.get(picture.path.name, ()), language)
        for picture in pictures[:MOST_SHOWN]
    )
    rest = len(pictures) - MOST_SHOWN
    more = note(say("train_more_pictures", language, count=rest)) if rest > 0 else ""
    return (
        f'{_choosing(len(pictures), language)}<div class="dq-trn-set" data-set="{esc(name)}">'
        f"{cells}</div>{more}{_removal(len(pictures), language)}"
    )


def _choosing(count: int, language: str) -> str:
    """What is ticked, and what is done with it."""
    template = esc(say("chosen_count", language, count="{count}"))
    every = esc(say("chosen_all", language, count=count))
    return (
        f'<div class="dq-trn-choosing"><button type="button" class="dq-link" data-choose="all">'
        f'{every}</button><button type="button" class="dq-link" data-choose="none">'
        f'{esc(say("chosen_none", language))}</button><span data-chosen="{template}"></span>'
        f'<button type="button" class="dq-btn dq-stop" data-act="take-out-chosen" disabled '
        f'data-needs-chosen="1">{esc(say("chosen_take_out", language))}</button></div>'
    )


def _removal(count: int, language: str) -> str:
    """Two clicks: words that were written by hand are gone with the set."""
    title = esc(say("train_set_remove", language, count=count))
    sure = action("remove-set", say("train_set_remove_sure", language), classes="dq-stop")
    return f'<details class="dq-trn-removal"><summary>{title}</summary>{sure}</details>'


def _cell(name: str, picture: SetPicture, marks: Sequence[tuple[str, str]], language: str) -> str:
    file = picture.path.name
    url = picture_url(name, picture.path)
    told = "".join(f'<span class="dq-trn-mark">{esc(text)}</span>' for _, text in marks)
    codes = " ".join(code for code, _ in marks)
    label = say("train_caption_of", language, name=file)
    out = say("train_take_out", language)
    return (
        f'<figure data-marks="{codes}"><img src="{esc(url)}" alt="{esc(file)}" loading="lazy">'
        f'<input type="checkbox" class="dq-trn-pick" data-pick="{esc(file)}" '
        f'aria-label="{esc(say("chosen_one", language, name=file))}">'
        f'<button class="dq-trn-out" data-act="take-out" data-name="{esc(file)}" '
        f'title="{esc(out)}" aria-label="{esc(out)} {esc(file)}">×</button>{told}'
        f'<textarea rows="2" data-caption="{esc(file)}" aria-label="{esc(label)}" '
        f'placeholder="{esc(say("train_no_words", language))}">{esc(picture.caption)}</textarea>'
        f"</figure>"
    )


def picture_url(name: str, path: Path) -> str:
    """Where the page gets a small copy of a set's picture."""
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return f"ui/train/picture/{quote(name)}/{quote(path.name)}?t={stamp}"


def _marks(report: Report, language: str) -> dict[str, list[tuple[str, str]]]:
    """File name → what is said of it: codes and words."""
    marks: dict[str, list[tuple[str, str]]] = {}
    for judged in report.pictures:
        values = {"name": judged.same_as} if judged.same_as else {}
        told = []
        for code in judged.codes:
            more = values if code == "copy" else {}
            told.append((code, say(f"mark_{code}", language, **more)))
        marks[judged.entry.photograph.path.name] = told
    return marks


def report_view(report: Report, language: str, name: str = "") -> str:
    """What a look over the pictures came to: sentences, sizes, tags, uses.

    Args:
        name: Of the set they lie in; pictures of other folders are not shown.
    """
    said = _notices(report.notices, language)
    said += [in_language(err.message, language) for err in report.broken]
    items = "".join(f"<li>{esc(text)}</li>" for text in said)
    looked = say("doctor_looked", language, count=len(report.pictures))
    good = "" if items else f"<p>{esc(say('doctor_good', language))}</p>"
    return (
        f'<div class="dq-trn-report"><p class="dq-soft">{esc(looked)}</p>{good}'
        f'<ul class="dq-trn-said">{items}</ul>{_found(report, language)}'
        f"{_buckets(report, language)}{_tags(report, language)}{_uses(report, name, language)}"
        "</div>"
    )


def _found(report: Report, language: str) -> str:
    """What was found of pictures, each a button that ticks them."""
    counts = Counter(code for judged in report.pictures for code in judged.codes)
    chips = "".join(
        _chip("mark", code, say(f"tick_{code}", language), count) for code, count in counts.items()
    )
    return f'<div class="dq-chips">{chips}</div>' if chips else ""


def _chip(kind: str, value: str, text: str, count: int) -> str:
    return (
        f'<button type="button" class="dq-chip" data-choose="{kind}" data-value="{esc(value)}">'
        f"{esc(text)} <b>{count}</b></button>"
    )


def _buckets(report: Report, language: str) -> str:
    """Each size as a rectangle of its shape, with its count."""
    if not report.buckets:
        return ""
    unit = 3 / max(max(size) for size in report.buckets)
    cells = "".join(
        f'<div><i style="width:{width * unit:.2f}em;height:{height * unit:.2f}em"></i>'
        f"<b>{count}</b><span>{width}×{height}</span></div>"
        for (width, height), count in report.buckets.items()
    )
    title = esc(say("doctor_buckets", language))
    return f'<h4>{title}</h4><div class="dq-trn-buckets">{cells}</div>'


def _tags(report: Report, language: str) -> str:
    chips = "".join(
        _chip("tag", tag, tag, count) for tag, count in report.tags.most_common(MOST_TAGS)
    )
    title = esc(say("doctor_tags", language))
    return f'<h4>{title}</h4><div class="dq-chips">{chips}</div>' if chips else ""


def _uses(report: Report, name: str, language: str) -> str:
    """The first pictures cut to their buckets, with their words as a batch may have them."""
    cells = "".join(_use(use, name, language) for use in report.uses)
    title = esc(say("doctor_uses", language))
    return f'<h4>{title}</h4><div class="dq-trn-uses">{cells}</div>' if cells else ""


def _use(use: Use, name: str, language: str) -> str:
    path, (width, height) = use.entry.photograph.path, use.entry.fit.bucket
    words = esc(use.words or say("doctor_wordless", language))
    shown = (
        f'<img src="{esc(picture_url(name, path))}" alt="" loading="lazy" '
        f'style="aspect-ratio:{width}/{height}">'
        if name
        else f"<code>{esc(path.name)}</code>"
    )
    return (
        f"<figure>{shown}<figcaption>{words}<small>{width}×{height}</small></figcaption></figure>"
    )


# All options, out of the schema


def options_view(
    options: TrainingOptions, changes: Mapping[str, Any], problems: Iterable[str], language: str
) -> str:
    """A field for every option, in the groups of a written file; changed ones are marked."""
    wrong = set(problems)
    groups = []
    for section, kind in SECTIONS.items():
        names = [name for name in kind.model_fields if name in TrainingOptions.model_fields]
        rows = "".join(_row(name, options, name in changes, name in wrong, language)
                       for name in names)  # fmt: skip
        title = esc(say(f"section_{section}", language))
        groups.append(f"<details><summary>{title}</summary>{rows}</details>")
    search = esc(say("options_search", language))
    return (
        f'<input class="dq-trn-search" type="search" data-search="1" placeholder="{search}" '
        f'aria-label="{search}"><div class="dq-trn-options">{"".join(groups)}</div>'
    )


def _row(
    name: str, options: TrainingOptions, is_changed: bool, is_wrong: bool, language: str
) -> str:
    info = TrainingOptions.model_fields[name]
    told = OPTION_TEXTS[name][1 if language == CHINESE else 0]
    words = f"{name} {name.replace('_', ' ')} {' '.join(OPTION_TEXTS[name])}".lower()
    usual = _shown(info.get_default(call_default_factory=True))
    hint = say("options_default", language, value=usual or say("options_none", language))
    marks = " dq-changed" * is_changed + " dq-wrong" * is_wrong
    field = _field(name, info, getattr(options, name))
    return (
        f'<label class="dq-trn-row{marks}" data-words="{esc(words)}"><span><code>{esc(name)}</code>'
        f'<small title="{esc(hint)}">{esc(told)}</small></span>{field}</label>'
    )


def _field(name: str, info: FieldInfo, value: Any) -> str:
    kinds = plain_types(info.annotation)
    common = f'data-option="{esc(name)}"'
    if bool in kinds:
        checked = " checked" if value else ""
        return f'<input type="checkbox" {common}{checked}>'
    if choices := [word for kind in kinds if isinstance(kind, tuple) for word in kind]:
        if type(None) in kinds and "" not in choices:
            choices = ["", *choices]
        told = _shown(value)
        picks = "".join(
            f"<option{' selected' if word == told else ''}>{esc(word)}</option>" for word in choices
        )
        return f"<select {common}>{picks}</select>"
    if name == "sample_prompts":
        return f'<textarea rows="3" {common}>{esc(_shown(value))}</textarea>'
    is_number = bool({int, float} & kinds) and tuple not in kinds
    mode = ' inputmode="decimal"' if is_number else ""
    return f'<input type="text" {common}{mode} value="{esc(_shown(value))}">'


def _shown(value: Any) -> str:
    """A value as it is typed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        has_text = any(isinstance(part, str) for part in value)
        return (" " if has_text else ",").join(_shown(part) for part in value)
    return str(value)


def toml_link(text: str, name: str, language: str) -> str:
    """A link that saves the options as a file; nothing is kept on the server for it."""
    packed = base64.b64encode(text.encode()).decode()
    title = esc(say("toml_save", language))
    file = esc(f"{name or 'training'}.toml")
    return f'<a class="dq-btn" download="{file}" href="data:text/plain;base64,{packed}">{title}</a>'
