"""Words of a set's pictures: tags changed at once, and captions by what looks at the pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from webui.checkpoints.describers import Describer, DescriberKind
from webui.errors import ParamsError
from webui.params import CaptionPictures, build
from webui.params.training_data import CaptionRule
from webui.services.describers import describers
from webui.services.training.sets import TrainingSets
from webui.ui import cards
from webui.ui.cards import action, esc, note
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import Studio

RULES = get_args(CaptionRule)
_KINDS: dict[DescriberKind, str] = {
    "tagger": "describe_tagger",
    "captioner": "describe_captioner",
}
"""The texts that say what one writes."""


def ticked(data: Mapping[str, Any]) -> list[str] | None:
    """Names of the pictures that a page says are ticked; None = no one is, so all are meant."""
    names = data.get("picked")
    return [str(name) for name in names] if isinstance(names, list) and names else None


def fields_of(data: Mapping[str, Any]) -> dict[str, str]:
    """What the fields around a button hold."""
    fields = data.get("fields")
    return {str(k): str(v) for k, v in fields.items()} if isinstance(fields, dict) else {}


def change_tags(sets: TrainingSets, name: str, data: Mapping[str, Any]) -> int:
    """Change the tags of all pictures, or of those that are ticked; returns how many changed."""
    fields = fields_of(data)
    old = fields.get("replace", "").strip()
    return sets.change_tags(
        name, add=fields.get("add", ""), remove=fields.get("remove", ""),
        replace=(old, fields.get("by", "")) if old else None, only=ticked(data),
    )  # fmt: skip


def ask(
    studio: Studio,
    sets: TrainingSets,
    name: str,
    data: Mapping[str, Any],
    word: str,
    *,
    client: str,
    user: str,
) -> Job:
    """Have the pictures of a set described, or those that are ticked.

    Args:
        word: Comes first in every caption, when that is wanted.
    Raises:
        ParamsError: There are no pictures, or a field cannot be.
    """
    fields, only = fields_of(data), ticked(data)
    pictures = [p.path for p in sets.pictures(name) if only is None or p.path.name in only]
    if not pictures:
        raise ParamsError("There are no pictures to look at.", field="set_name")
    values = {key: fields[key] for key in ("describer", "threshold", "rule") if key in fields}
    values |= {"pictures": [str(path) for path in pictures], "user": user}
    values["prefix"] = word if fields.get("prefix") == "true" else ""
    return studio.submit(build("caption-pictures", values), client=client)


# HTML


def tools_view(studio: Studio, language: str) -> str:
    """The fields to change words with."""
    there = describers(studio.settings.folders, studio.extensions.offered("taggers"))
    return f'<div class="dq-trn-tools">{_describing(there, language)}{_tags(language)}</div>'


def _describing(there: Sequence[Describer], language: str) -> str:
    title = f"<h4>{esc(say('describe_title', language))}</h4>"
    if not there:
        return f"<section>{title}{note(say('describe_missing', language))}</section>"
    kinds = {kind: say(key, language) for kind, key in _KINDS.items()}
    names = [(one.name, f"{one.name} · {kinds[one.kind]}") for one in there]
    rules = [(rule, say(f"describe_rule_{rule}", language)) for rule in RULES]
    usual = CaptionPictures.model_fields["threshold"].default
    sure = (
        f'<input type="number" min="0" max="1" step="0.05" value="{usual}" data-field="threshold">'
    )
    return (
        f'<section data-form="1">{title}<div class="dq-trn-fields">'
        f"{_label('describe_by', _select('describer', names), language)}"
        f"{_label('describe_rule', _select('rule', rules), language)}"
        f"{_label('describe_threshold', sure, language)}"
        f'<label class="dq-trn-check"><input type="checkbox" checked data-field="prefix">'
        f"<span>{esc(say('describe_prefix', language))}</span></label>"
        f"{action('describe', say('describe_go', language))}</div></section>"
    )


def _tags(language: str) -> str:
    hint = f' placeholder="{esc(say("tags_hint", language))}"'
    fields = "".join(
        _label(key, f'<input type="text" data-field="{name}"{more}>', language)
        for key, name, more in (
            ("tags_add", "add", hint),
            ("tags_remove", "remove", hint),
            ("tags_replace", "replace", ""),
            ("tags_by", "by", ""),
        )
    )
    return (
        f'<section data-form="1"><h4>{esc(say("tags_title", language))}</h4>'
        f'<div class="dq-trn-fields">{fields}{action("tags", say("tags_go", language))}</div>'
        "</section>"
    )


def _label(key: str, field: str, language: str) -> str:
    return f"<label><span>{esc(say(key, language))}</span>{field}</label>"


def _select(name: str, choices: Iterable[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{esc(v)}">{esc(text)}</option>' for v, text in choices)
    return f'<select data-field="{name}">{options}</select>'


def progress_view(studio: Studio, job: Job | None, language: str) -> str:
    """How far a look at the pictures is, or what it came to."""
    if job is None:
        return ""
    if job.state == "failed":
        return cards.failure_card(job.error or {}, job.id, language)
    if job.is_finished:
        count = int((job.result or {}).get("written", 0))
        told = note(say("describe_done", language, count=count))
        return told + cards.warnings_list(job.warnings, language)
    live = studio.live.get(job.id)
    done, total = (live.step, live.steps) if live is not None else (0, 0)
    told = say("describe_at_work", language, done=done, count=total or _count(studio, job))
    stop = action("stop-describing", say("describe_stop", language), classes="dq-stop")
    return f'<div class="dq-line">{note(told)}{stop}</div>'


def _count(studio: Studio, job: Job) -> int:
    params = studio.params_of(job)
    return len(params.pictures) if isinstance(params, CaptionPictures) else 0
