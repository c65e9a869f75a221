"""What the merger and the tools show: jobs, and what is in a file; pure functions to HTML."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from webui.checkpoints.foreign_text import parse_json, spelt
from webui.params import AnyFileTool
from webui.ui import cards
from webui.ui.cards import esc
from webui.ui.said import in_language
from webui.ui.texts import say

if TYPE_CHECKING:
    from webui.checkpoints.report import FileReport
    from webui.studio import JobView

ROWS_SHOWN = 400
VALUE_CHARACTERS = 20_000
"""Of one value in the metadata; pictures and tag counts are longer than anybody reads."""
NAMES_CHARACTERS = 90


def tool_title(params: AnyFileTool, language: str) -> str:
    """What such a job does, in a line."""
    names = " + ".join(Path(name).stem for _, name in params.files)
    if len(names) > NAMES_CHARACTERS:
        names = names[: NAMES_CHARACTERS - 1] + "…"
    return say(f"tool_{params.kind}", language, names=names)


def job_card(view: JobView | None, title: str, language: str) -> str:
    """The browser's latest job of these, as it is now."""
    if view is None:
        return f'<div class="dq-card dq-empty"><p>{esc(say("tool_idle", language))}</p></div>'
    job = view.job
    heading = f'<h2 class="dq-heading">{esc(title)}</h2>'
    if job.state == "queued":
        return heading + cards.waiting_card(view.position, job.id, "", language)
    if job.state == "failed":
        error = job.error or {}
        wishes = error.get("details", {}).get("wishes", ())
        return heading + cards.failure_card(error, job.id, language) + wishes_card(wishes, language)
    if job.state == "cancelled":
        return heading + cards.stopped_card(language)
    if job.state == "done":
        return heading + _done(view, language)
    bar = cards.progress_bar(view.live, time.time(), language) if view.live else ""
    stop = cards.action("cancel", say("interrupt", language), job=job.id)
    return f'{heading}<div class="dq-card">{bar}<p>{stop}</p></div>'


def _done(view: JobView, language: str) -> str:
    files = [Path(path) for path in (view.job.result or {}).get("files", ())]
    told = "".join(
        f"<p>{esc(say('tool_saved', language, name=path.name))}</p>"
        f'<code class="dq-path">{esc(path)}</code>'
        for path in files
    )
    notes = "".join(f"<li>{esc(in_language(text, language))}</li>" for text in view.job.warnings)
    notes = f'<ul class="dq-notes">{notes}</ul>' if notes else ""
    return (
        f'<div class="dq-card" role="status"><h3>{esc(say("tool_done", language))}</h3>{told}'
        f"{notes}</div>"
    )


def wishes_card(wishes: Iterable[Mapping[str, str]], language: str) -> str:
    """What a refused pickle wanted to do; '' when nothing was refused."""
    rows = "".join(
        f"<li>{esc(say('deed_' + wish['deed'], language))}<br>"
        f'<code class="dq-path">{esc(wish["call"])}</code></li>'
        for wish in wishes
    )
    if not rows:
        return ""
    return (
        f'<div class="dq-card dq-failed"><h3>{esc(say("wishes_title", language))}</h3>'
        f'<ul class="dq-wishes">{rows}</ul><p>{esc(say("wishes_none_ran", language))}</p></div>'
    )


def report_card(report: FileReport, language: str) -> str:
    """Everything that is known of a file."""
    record = report.record
    unknown = say("info_unknown", language)
    formats = ", ".join(f"{name} {count:,}" for name, count in report.formats.items())
    facts = [
        (say("info_what", language), report.title or unknown),
        (say("info_family", language), record.family or unknown),
        (say("info_size", language), f"{record.size:,} B ({record.size / 1e6:,.1f} MB)"),
        (say("info_format", language), report.format or unknown),
        (say("info_formats", language), formats or unknown),
        (say("info_numbers", language), f"{report.numbers:,}"),
        (say("info_tensors", language), f"{len(report.tensors):,}"),
        ("SHA-256", record.sha256 or unknown),
        (say("info_path", language), record.path),
    ]
    told = wishes_card(report.wishes, language)  # says all that the problem does, and in order
    problem = "" if told else esc(in_language(report.problem, language))
    hint = f"<p>{esc(in_language(report.hint, language))}</p>" if report.hint else ""
    note = f'<div class="dq-note">{problem}{hint}</div>' if problem or hint else ""
    return (
        f"{told}{note}{cards.facts_table(facts)}"
        f"{_metadata(report.metadata, language)}{_tensors(report, language)}"
    )


def _metadata(metadata: Mapping[str, str], language: str) -> str:
    rows = [(name, _laid_out(metadata[name])) for name in sorted(metadata)[:ROWS_SHOWN]]
    return _table("info_metadata", rows, len(metadata), language, is_open=True)


def _laid_out(text: str) -> str:
    """JSON inside metadata over several lines; everything else as it is; all of it cut."""
    if len(text) > VALUE_CHARACTERS:
        return f"{text[:VALUE_CHARACTERS]}… ({len(text):,})"
    value = parse_json(text) if text.startswith(("{", "[")) else None
    try:
        laid_out = "" if value is None else json.dumps(value, indent=1, ensure_ascii=False)
    except RecursionError:
        return text
    return laid_out if 0 < len(laid_out) <= 2 * VALUE_CHARACTERS else text


def _tensors(report: FileReport, language: str) -> str:
    shown = list(report.tensors.items())[:ROWS_SHOWN]
    rows = [
        (name, f"{info.dtype} {' × '.join(map(str, info.shape))}".strip()) for name, info in shown
    ]
    return _table("info_tensor_list", rows, len(report.tensors), language)


def _table(
    title: str, rows: Sequence[tuple[str, str]], count: int, language: str, *, is_open: bool = False
) -> str:
    """Rows under a heading that opens them, and how many there are beyond those shown."""
    if not rows:
        return ""
    heading = esc(say(title, language, count=count))
    table = cards.facts_table((spelt(name), value) for name, value in rows)
    rest = count - len(rows)
    more = f"<p>{esc(say('info_more', language, count=rest))}</p>" if rest else ""
    return (
        f'<details class="dq-info"{" open" * is_open}><summary>{heading}</summary>{table}{more}'
        "</details>"
    )
