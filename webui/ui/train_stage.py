"""What the Train tab shows of a training that waits, runs or is over. HTML out."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from webui.errors import WebUIError
from webui.jobs.live import LiveJob
from webui.params import TrainingOptions, TrainLora
from webui.services.training.trainings import (
    KIND,
    TrainedFile,
    files_of,
    history_of,
    losses_of,
    run_folder_of,
    samples_in,
    state_of,
)
from webui.training.samples import pictures_of
from webui.training.steps import file_stem
from webui.ui import cards
from webui.ui.cards import action, esc
from webui.ui.said import in_language
from webui.ui.session import Visitor
from webui.ui.texts import say
from webui.ui.train_view import size_text, time_text

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import JobView, Studio

CHART_WIDTH, CHART_HEIGHT = 600, 180
ABOVE_MEAN = 1.6
"""So much higher than the highest mean a chart is."""
MOST_POINTS = 300
"""Of a curve; more cannot be told apart on a page."""
MOST_IN_HISTORY = 12
_SAMPLE = re.compile(r"(?:^|_)(e?)(\d{6})_(\d{2})_(\d{14})(?:_(\d+))?\.png$")
"""kohya's names: epoch or step, number of the prompt, time, seed."""


def trainings(studio: Studio, visitor: Visitor) -> list[Job]:
    """Trainings that a visitor may see, the newest first."""
    jobs = studio.jobs.list(kinds=(KIND,), limit=100, newest_first=True)
    return [job for job in jobs if visitor.may_change(job)]


def job_to_show(studio: Studio, visitor: Visitor, picked: int | None) -> Job | None:
    """The training the person chose; else the one that runs or waits; else the newest."""
    jobs = trainings(studio, visitor)
    chosen = next((job for job in jobs if job.id == picked), None)
    active = next((job for job in jobs if job.state == "running"), None)
    active = active or next((job for job in reversed(jobs) if job.state == "queued"), None)
    return chosen or active or next(iter(jobs), None)


def render(studio: Studio, visitor: Visitor, picked: int | None, language: str) -> str:
    """The stage: the training on show, and a list of the others."""
    job = job_to_show(studio, visitor, picked)
    if job is None:
        return (
            f'<div class="dq-card dq-empty"><h3>{esc(say("run_empty", language))}</h3>'
            f"<p>{esc(say('run_empty_hint', language))}</p></div>"
        )
    try:
        body = _training(studio, studio.view(job.id), language)
    except WebUIError as err:  # a row of another version: listed all the same
        body = cards.note(in_language(err.message, language))
    others = [one for one in trainings(studio, visitor) if one.id != job.id][:MOST_IN_HISTORY]
    return f'<div class="dq-trn-run">{body}{_history(studio, others, language)}</div>'


def is_active(studio: Studio, visitor: Visitor) -> bool:
    """Whether something may change by itself."""
    return any(job.state in ("running", "queued") for job in trainings(studio, visitor))


def _training(studio: Studio, view: JobView, language: str) -> str:
    params = studio.params_of(view.job)
    assert isinstance(params, TrainLora), "only trainings are listed"
    folder = run_folder_of(studio, params)
    history = history_of(folder, params.options)
    title = esc(say("training_of", language, name=params.options.output_name))
    parts = [f"<h3>{title}</h3>", _state(view, history, language)]
    has_state = state_of(studio, view.job) is not None
    has_samples = bool(params.options.sample_prompts)
    parts.append(_buttons(view, language, has_state=has_state, has_samples=has_samples))
    if view.job.state == "failed":
        parts.append(cards.failure_card(view.job.error or {}, view.job.id, language))
    parts.append(chart(losses_of(history), _validations(history), language))
    rows = sheet_rows(params.options)
    parts.append(sheet(view.job.id, samples_in(folder), rows, language))
    files = files_of(folder, params.options, history)
    parts.append(_files(view.job.id, files, params.options, language))
    parts.append(cards.warnings_list(view.job.warnings, language))
    return f'<div class="dq-card dq-trn-card" data-state="{view.job.state}">{"".join(parts)}</div>'


def _state(view: JobView, history: Sequence[dict[str, Any]], language: str) -> str:
    job = view.job
    if view.live is not None:
        return _live(view.live, language)
    steps = max((int(line.get("step") or 0) for line in history), default=0)
    if job.is_paused:
        text = say("run_paused", language, step=steps)
    elif job.state == "queued":
        text = say("run_queued", language, position=view.position)
    elif job.state == "running":  # a worker has taken it and has said nothing yet
        text = say("stage_starting", language)
    elif job.state == "done":
        text = say("run_done", language, steps=steps)
    else:
        text = say("run_stopped", language, steps=steps)
    return f'<p class="dq-trn-state">{esc(text)}</p>'


def _live(live: LiveJob, language: str) -> str:
    told = live.training or {}
    share = told["step"] / told["steps"] if told.get("steps") else 0.0
    facts = [say(_stage_key(live.stage), language)]
    if live.stage == "training":
        facts.append(say("run_step", language, step=live.step, steps=live.steps))
        if told.get("epoch"):
            facts.append(say("run_epoch", language, epoch=told["epoch"], epochs=told["epochs"]))
        facts += _numbers(told, language)
    elif live.steps:
        facts.append(f"{live.step}/{live.steps}")
    percent = round(100 * share)
    spans = "".join(f"<span>{esc(fact)}</span>" for fact in facts)
    return (
        f'<div class="dq-trn-bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" '
        f'aria-valuemax="100"><i style="width:{percent}%"></i></div>'
        f'<div class="dq-trn-now">{spans}</div>'
    )


def _stage_key(stage: str) -> str:
    known = ("checking", "loading", "caching latents", "caching texts", "training", "validating",
             "sampling", "saving")  # fmt: skip
    return f"stage_{stage}" if stage in known else "stage_starting"


def _numbers(told: Any, language: str) -> list[str]:
    speed = float(told.get("steps_per_second") or 0)
    facts = []
    if speed:
        facts.append(say("run_left", language, time=time_text(told["eta_seconds"], language)))
        if speed >= 1:
            facts.append(say("run_speed", language, speed=f"{speed:.1f}"))
        else:
            facts.append(say("run_speed_slow", language, speed=f"{1 / speed:.1f}"))
    facts.append(say("run_loss", language, loss=f"{float(told.get('average_loss') or 0):.4f}"))
    rates = [f"{part} {rate:.2g}" for part, rate in dict(told.get("rates") or {}).items()]
    if rates:
        facts.append(say("run_rate", language, rate=", ".join(rates)))
    if told.get("memory_bytes"):
        facts.append(say("run_memory", language, size=size_text(told["memory_bytes"])))
    return facts


def _buttons(view: JobView, language: str, *, has_state: bool, has_samples: bool) -> str:
    job = view.job
    buttons = []
    if job.is_paused:
        buttons.append(action("resume", say("train_resume", language), job=job.id))
    elif job.state in ("queued", "running"):
        buttons.append(action("pause", say("train_pause", language), job=job.id))
    if job.state == "running" and has_samples:
        buttons.append(action("sample", say("run_sample", language), job=job.id))
    if job.state in ("queued", "running"):
        buttons.append(action("stop", say("train_stop", language), job=job.id, classes="dq-stop"))
    if has_state:
        buttons.append(action("go-on", say("run_go_on", language), job=job.id))
    buttons.append(action("again", say("run_again", language), job=job.id))
    return f'<div class="dq-line">{"".join(buttons)}</div>'


# The curve


def chart(
    losses: Sequence[tuple[int, float, float]],
    validations: Sequence[tuple[int, float]],
    language: str,
) -> str:
    """Loss by step as a drawing.

    Args:
        losses: (step, loss, running mean). validations: (step, loss of held-out pictures).
    """
    good = [row for row in losses if all(map(math.isfinite, row))]
    if len(good) < 2:
        return ""
    good = _thinned(good)
    values = sorted(value for row in good for value in row[1:])
    low = min(values[0], *(v for _, v in validations)) if validations else values[0]
    high = max(
        values[math.ceil(0.98 * (len(values) - 1))], *(v for _, v in validations), low + 1e-6
    )
    first, last = good[0][0], max(good[-1][0], good[0][0] + 1)

    def place(step: int, value: float) -> str:
        x = (step - first) / (last - first) * CHART_WIDTH
        y = CHART_HEIGHT * (1 - (min(value, high) - low) / (high - low))
        return f"{x:.1f},{y:.1f}"

    each = " ".join(place(step, loss) for step, loss, _ in good)
    mean = " ".join(place(step, average) for step, _, average in good)
    held = " ".join(place(step, loss) for step, loss in validations)
    third = f'<polyline class="dq-held" points="{held}"/>' if held else ""
    legend = say("run_chart", language)
    if held:
        legend += f" · {say('run_validation', language)}"
    return (
        f'<figure class="dq-trn-chart"><svg viewBox="0 -4 {CHART_WIDTH} {CHART_HEIGHT + 8}" '
        f'preserveAspectRatio="none" role="img" aria-label="{esc(legend)}">'
        f'<polyline class="dq-each" points="{each}"/><polyline class="dq-mean" points="{mean}"/>'
        f"{third}</svg><figcaption><span>{first}</span><span>{esc(legend)} · {low:.4f} – "
        f"{high:.4f}</span><span>{last}</span></figcaption></figure>"
    )


def _thinned(rows: Sequence[tuple[int, float, float]]) -> list[tuple[int, float, float]]:
    every = math.ceil(len(rows) / MOST_POINTS)
    return [*rows[::every], rows[-1]] if every > 1 else list(rows)


def _validations(history: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    return [
        (int(line["step"]), float(line["loss"]))
        for line in history
        if line.get("kind") == "validation" and math.isfinite(float(line.get("loss", math.nan)))
    ]


# Pictures and files


def sheet_rows(options: TrainingOptions) -> list[str]:
    """What each row of the sheet shows: the prompt, and the LoRA's weight where there are several;
    nothing when a file of prompts is gone."""
    try:
        pictures = pictures_of(options)
    except WebUIError:
        return []
    tells = len(options.sample_weights) > 1
    return [f"{one.prompt} × {one.weight:g}" if tells else one.prompt for one in pictures]


def sheet(job_id: int, samples: Sequence[Path], titles: Sequence[str], language: str) -> str:
    """Sample pictures: a row for each prompt at each weight, a column for each epoch.

    Args:
        titles: Of the rows, as far as they are known.
    """
    table: dict[str, dict[str, Path]] = {}
    columns: dict[str, str] = {}
    for path in samples:
        found = _SAMPLE.search(path.name)
        if found is None:
            continue
        column = f"{found[1]}{int(found[2])}"
        columns[column] = min(columns.get(column, found[4]), found[4])
        table.setdefault(found[3], {})[column] = path  # a later one of the same epoch wins
    if not table:
        return ""
    order = sorted(columns, key=lambda name: (columns[name], int(name.lstrip("e"))))
    head = "".join(f"<th>{esc(_moment(name, language))}</th>" for name in order)
    rows = "".join(
        f"{_row_title(titles, int(row), len(order))}<tr>"
        f"{''.join(_sample(job_id, cells.get(name)) for name in order)}</tr>"
        for row, cells in sorted(table.items())
    )
    title = esc(say("run_samples", language))
    return (
        f'<h4>{title}</h4><div class="dq-trn-sheet"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row_title(titles: Sequence[str], row: int, columns: int) -> str:
    if row >= len(titles):
        return ""
    return f'<tr><th class="dq-trn-row-title" colspan="{columns}">{esc(titles[row])}</th></tr>'


def _moment(name: str, language: str) -> str:
    if name.startswith("e"):
        return say("epoch_n", language, n=name[1:])
    return say("n_steps", language, steps=name)


def _sample(job_id: int, path: Path | None) -> str:
    if path is None:
        return "<td></td>"
    url = f"ui/train/sample/{job_id}/{path.name}"
    return (
        f'<td><a href="{esc(url)}" target="_blank"><img src="{esc(url)}" alt="{esc(path.stem)}" '
        f'loading="lazy"></a></td>'
    )


def sample_of(folder: Path, epoch: int) -> Path | None:
    """The newest sample picture of an epoch, first prompt first; of any epoch when it has none."""
    names = [(path, found) for path in samples_in(folder) if (found := _SAMPLE.search(path.name))]
    own = [p for p, found in names if found[1] and int(found[2]) == epoch and found[3] == "00"]
    every = [path for path, found in names if found[3] == "00"]
    return next(iter(own[::-1] or every[::-1]), None)


def _files(
    job_id: int, files: Sequence[TrainedFile], options: TrainingOptions, language: str
) -> str:
    if not files:
        return ""
    rows = []
    for number, file in enumerate(files):
        size = size_text(file.path.stat().st_size)
        epoch = _title(file, options, language)
        use = action("use", say("run_use", language), job=job_id, number=number)
        rows.append(
            f"<li><b>{esc(epoch)}</b><code>{esc(file.path.name)}</code>"
            f'<span class="dq-soft">{size}</span>{use}</li>'
        )
    title = esc(say("run_files", language))
    return f'<h4>{title}</h4><ul class="dq-trn-files">{"".join(rows)}</ul>'


def _title(file: TrainedFile, options: TrainingOptions, language: str) -> str:
    """The epoch at whose end a file was written, or the step."""
    if file.is_last:
        return say("run_last", language)
    is_whole = file.epoch and file.path.stem != file_stem(options, step=file.step)
    return _moment(f"e{file.epoch}" if is_whole else str(file.step), language)


def _history(studio: Studio, jobs: Sequence[Job], language: str) -> str:
    if not jobs:
        return ""
    rows = []
    for job in jobs:
        try:
            params = studio.params_of(job)
        except WebUIError:
            continue
        assert isinstance(params, TrainLora), "only trainings are listed"
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created_at))
        show = action("show", say("run_show", language), job=job.id)
        state = say(f"state_{job.state}", language)
        rows.append(
            f"<li><b>{esc(params.options.output_name)}</b>"
            f'<span class="dq-soft">{when} · {esc(state)}</span>{show}</li>'
        )
    title = esc(say("run_history", language))
    return f'<h4>{title}</h4><ul class="dq-trn-files">{"".join(rows)}</ul>'
