"""The page's own pieces of HTML: pure functions from facts to text, everything escaped.

They are shown by ``gr.HTML``, which changes only what differs in the document, so a picture
already on the screen does not flicker. Buttons carry ``data-act`` and are answered through
ACTIONS_JS (assets/actions.js) by the component's ``act`` event.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from webui.errors import ParamsError, PromptSyntaxError
from webui.jobs.live import LiveJob
from webui.services.remedies import left_out_lora, missing_weights
from webui.ui.said import failure_in_language, in_language
from webui.ui.texts import CHINESE, say

ACTIONS_JS = """
window.danqingActions(element, (data) => trigger(data.act === 'upscale' ? 'upscale' : 'act', data));
"""

_STAGES = {
    "starting": "stage_starting",
    "loading": "stage_loading",
    "encoding": "stage_encoding",
    "sampling": "stage_sampling",
    "decoding": "stage_decoding",
    "hires": "stage_hires",
    "upscaling": "stage_upscaling",
    "reading": "stage_reading",
    "scratches": "stage_scratches",
    "colours": "stage_colours",
    "finding faces": "stage_finding_faces",
    "faces": "stage_faces",
    "fetching": "stage_fetching",
    "merging": "stage_merging",
    "converting": "stage_converting",
    "extracting": "stage_extracting",
    "frames": "stage_frames",
    "joining": "stage_joining",
    "saving": "stage_saving",
}


_IN_PARTS = ("upscaling", "scratches", "faces")
_WITHOUT_STEPS = (
    "reading", "colours", "finding faces", "fetching", "joining", "merging", "converting",
    "extracting",
)  # fmt: skip
_RESTORING = (*_IN_PARTS, *_WITHOUT_STEPS)
"""Stages whose steps are parts of a picture, those whose steps mean nothing to people, and all
whose rounds are photographs."""


@dataclass(frozen=True)
class Thumb:
    """A picture in the strip: its id, its small copy's URL, whether an earlier job made it."""

    key: int
    thumb_url: str
    is_earlier: bool = False


@dataclass(frozen=True)
class Before:
    """The picture that a picture was made from, as it lies under it in the comparison.

    Attributes:
        url: Where the page gets it.
        fit: How it fills its place: ``fill``, ``cover`` or ``contain``.
        place: Left, top, width and height in percent of the result; where outpainting left it.
    """

    url: str
    fit: str = "fill"
    place: tuple[float, float, float, float] = (0, 0, 100, 100)


@dataclass(frozen=True)
class Shot:
    """A finished picture as the stage shows it.

    Attributes:
        key: Its id. url: Where the page gets it. number: In its job, from 1.
        before: What it was made from, if it was made from a picture.
        can_go_on: It can be varied and enlarged; a grid cannot.
    """

    key: int
    url: str
    width: int
    height: int
    number: int
    before: Before | None = None
    can_go_on: bool = True


def esc(text: object) -> str:
    """Text made safe inside HTML and inside quoted attributes."""
    return html.escape(str(text), quote=True)


def action(act: str, text: str, *, label: str = "", classes: str = "", **data: object) -> str:
    """A button that reports ``act`` and its data to the server."""
    facts = "".join(f' data-{name}="{esc(value)}"' for name, value in data.items())
    shown = f' aria-label="{esc(label)}" title="{esc(label)}"' if label else ""
    return (
        f'<button type="button" class="dq-btn {classes}" data-act="{act}"{facts}{shown}>'
        f"{esc(text)}</button>"
    )


# The stage: what the large space at the right shows


def empty_card(language: str, examples: Sequence[str] = (), words: Sequence[str] = ()) -> str:
    """Nothing painted yet; with example prompts, and what can be drawn, where that is known."""
    chips = ""
    if examples:
        buttons = "".join(
            action("example", text, classes="dq-chip", prompt=text) for text in examples
        )
        chips = (
            f'<div class="dq-chips"><span class="dq-soft">{esc(say("try_one", language))}</span>'
            f"{buttons}</div>"
        )
    return (
        f'<div class="dq-card dq-empty">{_BRUSH}<h3>{esc(say("empty", language))}</h3>'
        f"<p>{esc(say('empty_hint', language))}</p>{_tour_offer(language)}{chips}"
        f"{_word_list(words, language)}</div>"
    )


def _tour_offer(language: str) -> str:
    """The first look around (tour.js); help.css hides it once it was answered."""
    buttons = "".join(
        f'<button type="button" class="dq-btn" data-tour="{deed}">'
        f"{esc(say(f'tour_{deed}', language))}</button>"
        for deed in ("begin", "never")
    )
    return f'<div class="dq-tour-offer">{esc(say("tour_offer", language))} {buttons}</div>'


def _word_list(words: Sequence[str], language: str) -> str:
    if not words:
        return ""
    listed = esc(("、" if language == CHINESE else ", ").join(words))
    title = esc(say("can_draw", language, count=len(words)))
    return f'<details class="dq-subjects"><summary>{title}</summary><p>{listed}</p></details>'


def restore_empty_card(language: str) -> str:
    """Nothing restored yet."""
    return (
        f'<div class="dq-card dq-empty">{_BRUSH}<h3>{esc(say("restore_empty", language))}</h3>'
        f"<p>{esc(say('restore_empty_hint', language))}</p></div>"
    )


def no_checkpoint_card(folder: str, language: str) -> str:
    """No weights at all: where to put them."""
    return (
        f'<div class="dq-card dq-empty">{_BRUSH}<h3>{esc(say("no_checkpoint", language))}</h3>'
        f"<p>{esc(say('no_checkpoint_hint', language))}</p>"
        f'<code class="dq-path">{esc(folder)}</code></div>'
    )


def waiting_card(position: int, job_id: int, reason: str, language: str) -> str:
    """The job stands in the queue; ``reason`` says why, or is empty."""
    text = say("waiting_place", language, position=position)
    why = f"<p>{esc(reason)}</p>" if reason else ""
    return (
        f'<div class="dq-card dq-waiting" role="status"><div class="dq-dots"><i></i><i></i><i></i>'
        f"</div><h3>{esc(text)}</h3>{why}"
        f"{action('cancel', say('cancel', language), job=job_id)}</div>"
    )


def failure_card(error: dict[str, Any], job_id: int, language: str, help_: str = "") -> str:
    """A failed job: what happened, what to do, a short id to report.

    Args:
        help_: What else may help, with its buttons, as HTML (failures.py).
    """
    message, hint = failure_in_language(error, language)
    colon = "：" if language == CHINESE else ":"
    advice = say("failed_what_to_do", language) + colon
    advice = f"<p><b>{esc(advice)}</b> {esc(hint)}</p>" if hint else ""
    report_id = error.get("details", {}).get("error_id") or f"{error.get('code', 'error')}-{job_id}"
    retry = action("retry", say("retry", language), job=job_id) if can_retry(error) else ""
    return (
        f'<div class="dq-card dq-failed" role="alert"><h3>{esc(say("failed", language))}</h3>'
        f"<p>{esc(message)}</p>{advice}{help_}"
        f'<div class="dq-line"><span class="dq-soft">{esc(say("failed_id", language))} '
        f"<code>{esc(report_id)}</code></span>{retry}</div></div>"
    )


def can_retry(error: dict[str, Any]) -> bool:
    """False where the values themselves were refused: the same ones would be refused again."""
    code = str(error.get("code", ""))
    return not code.startswith((ParamsError.code, PromptSyntaxError.code))


def stopped_card(language: str) -> str:
    """The job was stopped before it had a picture."""
    return (
        f'<div class="dq-card dq-empty"><h3>{esc(say("stopped", language))}</h3>'
        f"<p>{esc(say('stopped_hint', language))}</p></div>"
    )


def warnings_list(warnings: Iterable[str], language: str, *, for_guest: bool = False) -> str:
    """Sentences a job has for the person, with buttons that do what they say.

    Args:
        for_guest: Without those that lead to tabs guests do not have.
    """
    items = "".join(
        f"<li>{esc(in_language(text, language))}{_take_out(text, language)}"
        f"{'' if for_guest else _get(text, language)}</li>"
        for text in warnings
    )
    return (
        f'<ul class="dq-notes" aria-label="{esc(say("warning", language))}">{items}</ul>'
        if items
        else ""
    )


def _take_out(warning: str, language: str) -> str:
    """The button that takes a LoRA of another family out of the prompt (page.js)."""
    name = left_out_lora(warning)
    if name is None:
        return ""
    text = esc(say("help_take_out", language))
    return f' <button type="button" class="dq-btn" data-take-out="{esc(name)}">{text}</button>'


def _get(warning: str, language: str) -> str:
    """The button that leads to weights which a job went on without."""
    name = missing_weights(warning)
    return " " + open_tab("models", name, language) if name else ""


def open_tab(tab: str, wanted: str, language: str) -> str:
    """The button that opens a tab, and looks there for what is wanted (help.js)."""
    text = esc(say(f"help_to_{tab}", language))
    return (
        f'<button type="button" class="dq-btn" data-go="{tab}" data-find="{esc(wanted)}">{text}'
        "</button>"
    )


def slot(part: str) -> str:
    """A part of the stage in a place of its own, which is there also while it holds nothing.

    ``gr.HTML`` compares old and new by their places: without it, a part that goes would have all
    behind it drawn anew, and a press on one of their buttons would be lost.
    """
    return f'<div class="dq-slot">{part}</div>'


def ended_line(text: str) -> str:
    """How a job ended, as high as its progress was: nothing moves when it ends."""
    return f'<p class="dq-soft dq-ended">{esc(text)}</p>'


def picture_view(shot: Shot, language: str) -> str:
    """The chosen picture, large, over its parent where it has one; what can be made of it."""
    if shot.before:
        view = f'<div class="dq-view dq-compare">{frame(shot, language)}{_corner(language)}</div>'
    else:
        view = (
            '<button type="button" class="dq-view" data-zoom '
            f'aria-label="{esc(say("enlarge", language))}">{frame(shot, language)}</button>'
        )
    return view + (next_steps(shot, language) if shot.can_go_on else "")


def _corner(language: str) -> str:
    """The two buttons in the corner of a comparison: with or without it, and the large view."""
    compare, large = esc(say("compare", language)), esc(say("enlarge", language))
    return (
        '<div class="dq-corner"><button type="button" class="dq-btn dq-sign dq-sign-compare" '
        f'data-compare aria-pressed="true" aria-label="{compare}" title="{compare}"></button>'
        '<button type="button" class="dq-btn dq-sign dq-sign-large" data-zoom '
        f'aria-label="{large}" title="{large}"></button></div>'
    )


def frame(shot: Shot, language: str) -> str:
    """A picture in a box of its own shape; its parent lies over it, cut off where the slider is.

    page.js copies the frame into the large view and moves the cut.
    """
    alt = esc(say("picture_alt", language, number=shot.number))
    size = f'width="{shot.width}" height="{shot.height}"'
    picture = f'<img class="dq-after" src="{esc(shot.url)}" alt="{alt}" {size}>'
    ratio = f"--dq-ratio:{shot.width / max(1, shot.height):.5f}"
    small = " dq-small" if max(shot.width, shot.height) <= 256 else ""
    if shot.before is None:
        return f'<span class="dq-frame{small}" style="{ratio}">{picture}</span>'
    left, top, width, height = shot.before.place
    place = f"left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%"
    before, after = esc(say("before", language)), esc(say("after", language))
    return (
        f'<div class="dq-frame dq-pair{small}" style="{ratio}">{picture}'
        f'<div class="dq-before"><img src="{esc(shot.before.url)}" alt="{before}" loading="lazy" '
        f'style="{place};object-fit:{shot.before.fit}"></div>'
        f'<span class="dq-tag dq-tag-before" aria-hidden="true">{before}</span>'
        f'<span class="dq-tag dq-tag-after" aria-hidden="true">{after}</span>'
        '<i class="dq-handle" aria-hidden="true"></i>'
        '<input class="dq-cut" type="range" min="0" max="100" step="0.5" value="50" '
        f'aria-label="{esc(say("compare_slider", language))}"></div>'
    )


def next_steps(shot: Shot, language: str, *, is_small: bool = False) -> str:
    """What can be made of a finished picture: two kinds of variation, and a larger version.

    Args:
        is_small: Signs alone, for a picture among four; letters where there are few fields
            (help.css).
    """
    steps = (
        ("vary", "subtle", "vary_subtle", "V"),
        ("vary", "strong", "vary_strong", ""),
        ("upscale", "upscale", "upscale", "U"),
    )
    buttons = ""
    for act, sign, text, letter in steps:
        shown, explained = say(text, language), say(f"{text}_long", language)
        label = say("of_picture", language, text=shown, number=shot.number) if is_small else ""
        short = f' data-letter="{letter}"' if is_small and letter else ""
        buttons += (
            f'<button type="button" class="dq-btn dq-sign dq-sign-{sign}" data-act="{act}" '
            f'data-key="{shot.key}" data-how="{sign}"{short} title="{esc(explained)}"'
            + (f' aria-label="{esc(label)}">' if is_small else f">{esc(shown)}")
            + "</button>"
        )
    group = esc(say("next_steps", language))
    return f'<div class="dq-next" role="group" aria-label="{group}">{buttons}</div>'


def four_view(shots: Sequence[Shot], picked: int | None, language: str) -> str:
    """Four pictures of one job, two by two, each with its own next steps."""
    cells = ""
    for shot in shots:
        pressed = "true" if shot.key == picked else "false"
        alt = esc(say("picture_alt", language, number=shot.number))
        large = esc(say("enlarge", language))
        cells += (
            f'<div class="dq-cell" data-picked="{pressed}">'
            f'{frame(shot, language)}<button type="button" class="dq-pick" data-act="pick" '
            f'data-key="{shot.key}" aria-pressed="{pressed}" aria-label="{alt}"></button>'
            f'<button type="button" class="dq-btn dq-sign dq-sign-large" data-zoom '
            f'aria-label="{large}" title="{large}"></button>'
            f"{next_steps(shot, language, is_small=True)}</div>"
        )
    ratio = f"--dq-ratio:{shots[0].width / max(1, shots[0].height):.5f}"
    return (
        f'<div class="dq-view dq-fourbox"><div class="dq-four" style="{ratio}">{cells}</div></div>'
    )


def preview_view(url: str, language: str) -> str:
    """What the running job looks like now; without a preview, a calm empty sheet."""
    if not url:
        return '<div class="dq-view dq-sheet"></div>'
    alt = say("preview_alt", language)
    return f'<div class="dq-view"><img id="dq-preview" src="{esc(url)}" alt="{esc(alt)}"></div>'


def progress_bar(live: LiveJob, now: float, language: str, is_repeating: bool = False) -> str:
    """Stage, step, share done and time left of a running job, and whether it repeats."""
    percent = round(live.progress * 100)
    facts = [say(_STAGES.get(live.stage, "stage_sampling"), language)]
    if live.interrupted:
        facts = [say("stopping", language)]
    if live.steps and live.stage not in _WITHOUT_STEPS:
        text = "part_of" if live.stage in _IN_PARTS else "step_of"
        text = "frame_of" if live.stage == "frames" else text
        facts.append(say(text, language, step=live.step, steps=live.steps))
    if live.batches > 1:
        text = "photograph_of" if live.stage in _RESTORING else "batch_of"
        facts.append(say(text, language, batch=live.batch + 1, batches=live.batches))
    if is_repeating:
        facts.append(say("repeating", language))
    left = ""
    if live.step > 1 and not live.interrupted:
        left = say("time_left", language, time=duration(live.eta_seconds(now), language))
    return (
        f'<div class="dq-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}" aria-label="{esc(facts[0])}">'
        f'<div class="dq-bar"><i style="width:{percent}%"></i></div>'
        f'<div class="dq-line"><span>{esc(" · ".join(facts))}</span>'
        f'<span class="dq-soft">{esc(left)}</span><b>{percent}%</b></div></div>'
    )


def strip(thumbs: Sequence[Thumb], picked: int | None, language: str, first: int = 1) -> str:
    """All pictures small, to choose from; earlier jobs after a thin line.

    Args:
        first: Number of the first one.
    """
    if not thumbs:
        return ""
    parts, seen_earlier = [], False
    for number, thumb in enumerate(thumbs, first):
        if thumb.is_earlier and not seen_earlier:
            seen_earlier = True
            if parts:
                title = esc(say("earlier", language))
                parts.append(f'<span class="dq-divider" title="{title}"></span>')
        pressed = "true" if thumb.key == picked else "false"
        alt = esc(say("picture_alt", language, number=number))
        parts.append(
            f'<button type="button" class="dq-thumb" data-act="pick" data-key="{esc(thumb.key)}" '
            f'aria-pressed="{pressed}" aria-label="{alt}">'
            f'<img src="{esc(thumb.thumb_url)}" alt="" loading="lazy"></button>'
        )
    return f'<div class="dq-strip">{"".join(parts)}</div>'


def duration(seconds: float, language: str) -> str:
    """A time span for people, such as ``8 s`` or ``3 min``."""
    second, minute, hour = ("秒", "分钟", "小时") if language == CHINESE else ("s", "min", "h")
    if seconds < 90:
        return f"{max(1, round(seconds))} {second}"
    if seconds < 5400:
        return f"{round(seconds / 60)} {minute}"
    return f"{seconds / 3600:.1f} {hour}"


# Recipes


def infotext_view(text: str, language: str) -> str:
    """The recipe of a picture, with a button to copy it (page.js)."""
    if not text:
        return ""
    return (
        f'<div class="dq-infotext"><button type="button" class="dq-btn dq-copy" data-copy>'
        f"{esc(say('copy', language))}</button><pre>{esc(text)}</pre></div>"
    )


def facts_table(facts: Iterable[tuple[str, object]]) -> str:
    """Names and values of a parsed recipe."""
    rows = "".join(
        f'<tr><th scope="row">{esc(name)}</th><td>{esc(value)}</td></tr>' for name, value in facts
    )
    return f'<table class="dq-facts"><tbody>{rows}</tbody></table>'


# The queue


@dataclass(frozen=True)
class JobLine:
    """One job of the queue list."""

    job_id: int
    state: str
    title: str
    facts: str
    who: str
    position: int = 0
    percent: int = 0
    error: dict[str, Any] | None = None
    thumb_url: str = ""
    is_first: bool = False
    is_last: bool = False
    can_change: bool = True
    when: str = ""
    is_held: bool = False
    priority: int = 0
    can_edit: bool = False


def job_line(line: JobLine, language: str) -> str:
    """A job: what it is, how far it is, and what can be done with it."""
    buttons = ""
    if line.can_edit:
        buttons += action("edit", "✎", label=say("queue_edit", language), job=line.job_id)
    if line.state == "queued" and line.can_change:
        deed, sign = ("release", "▶") if line.is_held else ("hold", "‖")
        buttons += action(deed, sign, label=say(f"queue_{deed}", language), job=line.job_id)
        buttons += action("prefer", "＋", label=say("queue_prefer", language), job=line.job_id)
        buttons += action("defer", "－", label=say("queue_defer", language), job=line.job_id)
        if not line.is_first:
            buttons += action("top", "⤒", label=say("queue_top", language), job=line.job_id)
            buttons += action("up", "↑", label=say("queue_up", language), job=line.job_id)
        if not line.is_last:
            buttons += action("down", "↓", label=say("queue_down", language), job=line.job_id)
    if line.state in ("queued", "running") and line.can_change:
        cancel = say("cancel", language)
        buttons += action("cancel", "✕", label=cancel, classes="dq-stop", job=line.job_id)
    if line.state in ("failed", "cancelled") and can_retry(line.error or {}):
        buttons += action("retry", "↻", label=say("retry", language), job=line.job_id)
    if line.state == "done":
        buttons += action("repeat", "↻", label=say("queue_repeat", language), job=line.job_id)
    place = f"{line.position}" if line.state == "queued" else _STATE_SIGNS[line.state]
    picture = (
        f'<img class="dq-jobpic" src="{esc(line.thumb_url)}" alt="" loading="lazy">'
        if line.thumb_url
        else f'<span class="dq-jobpic">{place}</span>'
    )
    bar = (
        f'<div class="dq-bar"><i style="width:{line.percent}%"></i></div>'
        if line.state == "running"
        else ""
    )
    error = ""
    if line.error:
        message, hint = failure_in_language(line.error, language)
        error = f'<p class="dq-joberror">{esc(message)} <span>{esc(hint)}</span></p>'
    state = say("state_held" if line.is_held else f"state_{line.state}", language)
    drag = ' draggable="true"' if line.state == "queued" and line.can_change else ""
    facts = " · ".join(filter(None, (line.facts, _priority(line, language), line.when)))
    return (
        f'<li class="dq-job dq-{line.state}" data-job="{line.job_id}"{drag}>{picture}'
        f'<div class="dq-jobtext"><div class="dq-jobtitle">{esc(line.title)}</div>'
        f'<div class="dq-soft">{esc(facts)}</div>{bar}{error}</div>'
        f'<span class="dq-badge">{esc(state)}</span>'
        f'<span class="dq-soft dq-who">{esc(line.who)}</span>'
        f'<div class="dq-jobacts">{buttons}</div></li>'
    )


def _priority(line: JobLine, language: str) -> str:
    if not line.priority:
        return ""
    return say("queue_priority", language, priority=f"{line.priority:+d}")


_STATE_SIGNS = {"running": "▶", "done": "✓", "failed": "!", "cancelled": "–"}


def job_list(lines: Sequence[JobLine], language: str) -> str:
    """Several jobs."""
    return f'<ul class="dq-jobs">{"".join(job_line(line, language) for line in lines)}</ul>'


def queue_empty_card(language: str) -> str:
    """Nothing waits."""
    return (
        f'<div class="dq-card dq-empty dq-low"><h3>{esc(say("queue_empty", language))}</h3>'
        f"<p>{esc(say('queue_empty_hint', language))}</p></div>"
    )


def note(text: str) -> str:
    """A quiet line that tells something."""
    return f'<div class="dq-note">{esc(text)}</div>'


def heading(text: str) -> str:
    """A small title above a list."""
    return f'<h2 class="dq-heading">{esc(text)}</h2>'


_BRUSH = (
    '<svg class="dq-brush" viewBox="0 0 64 64" aria-hidden="true"><path d="M8 50c10 4 20 2 24-5 '
    '3-5 0-10-5-10-8 0-7 11-19 15z" fill="var(--dq-cinnabar)"/><path d="M30 36 52 9c2-2 6 1 4 4L35 '
    '40c-1-2-3-4-5-4z" fill="var(--dq-azure)"/></svg>'
)
