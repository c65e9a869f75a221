"""What one browser should see of its jobs right now. No Gradio here: facts in, HTML out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webui.checkpoints.catalog import repertoire
from webui.errors import WebUIError
from webui.params import Extras, ImageToImage, Outpaint, Plot, TextToImage, WithoutPainting
from webui.prompts.chinese.dictionary import in_chinese
from webui.roles import is_guest
from webui.services.follow_ups import input_of
from webui.settings import Folders
from webui.ui import cards, failures, restore_cards, restore_videos
from webui.ui.cards import Before, Shot, Thumb
from webui.ui.said import failure_in_language
from webui.ui.texts import CHINESE, say

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.library.library import SavedPicture
    from webui.library.videos import SavedVideo
    from webui.params import AnyParams
    from webui.studio import JobView, Studio

PAINTING_KINDS = ("txt2img", "img2img", "plot")
RESTORING_KINDS = ("extras", "restore-video", "fetch-weights")
"""Kinds of jobs that the painting tabs show, and those of the Restore tab."""
IDEAS_SHOWN = 8
EARLIER_JOBS, MOST_PICTURES = 8, 40
FOUR = 4
"""Pictures of one job that are shown together, two by two."""
_FITS = {"Crop and resize": "cover", "Resize and fill": "contain"}
REPEAT_PAUSE_SECONDS = 10.0


@dataclass(frozen=True)
class Look:
    """The stage of this moment.

    Attributes:
        html: The stage. infotext: The shown picture's recipe, empty without one.
        is_busy: Something of this browser runs or waits, so look again soon.
        is_running: It can be interrupted and skipped.
        is_repeating: "Generate forever" goes on.
        job_id: The job on show. picture: The picture on show.
    """

    html: str
    infotext: str = ""
    is_busy: bool = False
    is_running: bool = False
    is_repeating: bool = False
    job_id: int | None = None
    picture: SavedPicture | None = None


def look(
    studio: Studio,
    client: str,
    picked: int | None,
    language: str,
    kinds: tuple[str, ...] = PAINTING_KINDS,
) -> Look:
    """See what there is to show.

    Args:
        client: Whose jobs.
        picked: Id of the picture the person chose, or None.
        kinds: Of which jobs: ``PAINTING_KINDS`` or ``RESTORING_KINDS``.
    """
    job = _job_to_show(studio, client, kinds) if client else None
    if job is None:
        is_restoring = kinds == RESTORING_KINDS
        return Look(
            cards.restore_empty_card(language) if is_restoring else _nothing_yet(studio, language)
        )
    view = studio.view(job.id)
    pictures = _pictures(studio, client, view, kinds)
    chosen = next((p for p in pictures if p.id == picked), None)
    shown = chosen or (_newest(view) if _shows_result(view) else None)
    is_repeating = _is_repeating(studio, client, job)
    together = _four_of(pictures, shown) if shown and _is_over(view, shown) else []
    above, body = _stage(studio, view, together, chosen, shown, is_repeating, language)
    film = studio.videos.of(job.id) if kinds == RESTORING_KINDS and _shows_result(view) else None
    if film and not chosen:
        above, body = _film(studio, view, film, language)
    films = _other_films(studio, client, film, language) if kinds == RESTORING_KINDS else ""
    told = shown or film
    thumbs = [_thumb(p, p.job_id != job.id) for p in pictures if p not in together]
    has_strip = len(thumbs) > 1 or (thumbs and (shown is None or together))
    picked_now, first = shown.id if shown else None, len(together) + 1
    strip = cards.strip(thumbs, picked_now, language, first) if has_strip else ""
    notes = cards.warnings_list(view.job.warnings, language, for_guest=is_guest(view.job.user))
    faces = _faces(studio, shown, language) if shown and _is_over(view, shown) else ""
    return Look(
        html=f'<div class="dq-stagebox" data-state="{job.state}" data-job="{job.id}">'
        f"{''.join(map(cards.slot, (above, body, notes, strip, faces, films)))}</div>",
        infotext=cards.infotext_view(told.infotext, language) if told else "",
        is_busy=is_repeating or not _shows_result(view),
        is_running=view.live is not None,
        is_repeating=is_repeating,
        job_id=job.id,
        picture=shown,
    )


def _job_to_show(studio: Studio, client: str, kinds: tuple[str, ...]) -> Job | None:
    """The browser's job of these kinds; weights that were fetched make room for the photographs."""
    job = studio.jobs.current(client, kinds)
    if job is not None and job.kind == "fetch-weights" and job.state in ("done", "cancelled"):
        return studio.jobs.current(client, ("extras", "restore-video"))
    return job


def _film(studio: Studio, view: JobView, film: SavedVideo, language: str) -> tuple[str, str]:
    """What went wrong with a video, and the video."""
    card = restore_videos.video_view if film.is_there else restore_videos.gone_card
    failure = failures.card(studio, view.job, language) if view.job.state == "failed" else ""
    return failure, card(film, language)


def _other_films(studio: Studio, client: str, film: SavedVideo | None, language: str) -> str:
    others = [o for o in studio.videos.recent(client) if film is None or o.job_id != film.job_id]
    return restore_videos.earlier(others, language)


def _faces(studio: Studio, picture: SavedPicture, language: str) -> str:
    """The faces found in a picture that was restored; nothing for one that was painted."""
    found = studio.faces.of(picture.job_id)
    return restore_cards.faces(found, picture.job_id, picture.index, language) if found else ""


def _is_repeating(studio: Studio, client: str, job: Job) -> bool:
    """True while "Generate forever" goes on, or is just about to ask for the next picture."""
    is_between = (
        job.state == "done"
        and job.repeat_json is not None
        and time.time() - (job.finished_at or 0) < REPEAT_PAUSE_SECONDS
    )
    return is_between or studio.jobs.repeats_for(client)


def _shows_result(view: JobView) -> bool:
    return view.is_finished and view.live is None


def _nothing_yet(studio: Studio, language: str) -> str:
    record = studio.current_checkpoint()
    if record is None:
        return cards.no_checkpoint_card(checkpoint_folder(studio.settings.folders), language)
    known = repertoire(record)
    ideas, words = known.prompt_ideas, known.words
    if language == CHINESE and studio.options["translate_chinese_prompts"]:
        ideas = known.chinese_ideas or ideas
        words = in_chinese(words, studio.chinese.words())
    return cards.empty_card(language, ideas[:IDEAS_SHOWN], words)


def checkpoint_folder(folders: Folders) -> str:
    """Where a person should put checkpoints."""
    return str(folders.models[0] / "Stable-diffusion")


def _stage(
    studio: Studio, view: JobView, together: list[SavedPicture], chosen: SavedPicture | None,
    shown: SavedPicture | None, is_repeating: bool, language: str,
) -> tuple[str, str]:  # fmt: skip
    """What is told above the large part (how far it is, what it waits for, what went wrong or how
    long it took), and the large part."""
    job = view.job
    if view.live is not None or job.state == "running":
        return _running(studio, view, together, chosen, is_repeating, language)
    if job.state == "queued":
        card = cards.waiting_card(
            view.position or 1, job.id, _why_waiting(studio, language), language
        )
        return card, _together(studio, chosen, together, language) if chosen else ""
    failure = failures.card(studio, job, language) if job.state == "failed" and not chosen else ""
    if shown:
        above = failure or _took(studio, shown, language)
        return above, _together(studio, shown, together, language)
    return failure, "" if failure else cards.stopped_card(language)


def _took(studio: Studio, picture: SavedPicture, language: str) -> str:
    """How long a picture's job took; nothing when it is gone, or failed."""
    try:
        job = studio.jobs.get(picture.job_id)
    except WebUIError:
        return ""
    if job.state not in ("done", "cancelled") or None in (job.started_at, job.finished_at):
        return ""
    took = cards.duration((job.finished_at or 0) - (job.started_at or 0), language)
    return cards.ended_line(say(f"ended_{job.state}", language, time=took))


def _why_waiting(studio: Studio, language: str) -> str:
    """What holds up the queue, when it is not simply another job."""
    supervisor = studio.supervisor
    if supervisor.is_paused:
        return say("waiting_paused", language)
    if supervisor.worker_state == "crashed" and supervisor.worker_error:
        error = supervisor.worker_error
        return " ".join(failure_in_language(error, language))
    if supervisor.worker_state in ("starting", "stopped"):
        return say("waiting_worker", language)
    return ""


def _running(
    studio: Studio, view: JobView, together: list[SavedPicture], chosen: SavedPicture | None,
    is_repeating: bool, language: str,
) -> tuple[str, str]:  # fmt: skip
    live = view.live
    bar = cards.progress_bar(live, time.time(), language, is_repeating) if live else ""
    above = plot_line(studio, view.job, language) + bar
    if chosen:
        return above, _together(studio, chosen, together, language)
    if live and live.preview_id:
        url = f"ui/preview/{view.job.id}/{live.preview_id}"
        return above, cards.preview_view(url, language)
    newest = _newest(view)
    if newest is None:
        return above, cards.preview_view("", language)
    return above, _picture(studio, newest, language)


def plot_line(studio: Studio, job: Job, language: str) -> str:
    """How far the plot is that a job is, or is a cell of; nothing for other jobs."""
    states = studio.jobs.part_states(job.parent or job.id)
    told = cards.esc(cells_told(states, language))
    return f'<p class="dq-soft dq-plotline">{told}</p>' if states else ""


def cells_told(states: Mapping[str, int], language: str) -> str:
    """How many cells of a plot are painted, and how many failed."""
    count, failed = sum(states.values()), states.get("failed", 0)
    told = say("plot_cells", language, done=states.get("done", 0), count=count)
    return f"{told} · {say('plot_failed_cells', language, count=failed)}" if failed else told


def _picture(studio: Studio, picture: SavedPicture, language: str) -> str:
    return cards.picture_view(_shot(studio, picture), language)


def _is_over(view: JobView, picture: SavedPicture) -> bool:
    """True when the picture's job will make no more: the one on show only once it has ended."""
    return picture.job_id != view.job.id or _shows_result(view)


def _four_of(pictures: list[SavedPicture], shown: SavedPicture) -> list[SavedPicture]:
    """The picture and its three siblings; nothing when there are more or fewer."""
    siblings = [p for p in pictures if p.job_id == shown.job_id and p.kind == "image"]
    return siblings if len(siblings) == FOUR and shown.kind == "image" else []


def _together(
    studio: Studio, picture: SavedPicture, together: list[SavedPicture], language: str
) -> str:
    """A finished picture, among its siblings when there are four."""
    if not together:
        return _picture(studio, picture, language)
    shots = [_shot(studio, sibling) for sibling in together]
    return cards.four_view(shots, picture.id, language)


def _shot(studio: Studio, picture: SavedPicture) -> Shot:
    is_image = picture.kind == "image"
    params = _params_of(studio, picture) if is_image else None
    return Shot(
        key=picture.id, url=picture_url(picture), width=picture.width, height=picture.height,
        number=picture.index + 1, before=_before(params, picture) if params else None,
        can_go_on=is_image and not isinstance(params, WithoutPainting),
    )  # fmt: skip


def _params_of(studio: Studio, picture: SavedPicture) -> AnyParams | None:
    """How it was made; None when its job is gone, or is one of a newer version."""
    try:
        return studio.params_of(studio.jobs.get(picture.job_id))
    except WebUIError:
        return None


def _before(params: AnyParams, picture: SavedPicture) -> Before | None:
    """The picture it was made from, and where it lies under it."""
    key = input_of(params, picture.index)
    if key is None:
        return None
    url = f"ui/before/{picture.job_id}/{picture.index}?{key[:8]}"
    if isinstance(params, TextToImage):
        return Before(url, "cover")
    if isinstance(params, Extras):
        is_cut = params.resize_mode == "to" and params.upscaling_crop
        return Before(url, "cover" if is_cut else "fill")
    if not isinstance(params, ImageToImage):
        return None
    if params.outpaint:
        return Before(url, "fill", _place(params.outpaint, picture.width, picture.height))
    return Before(url, _FITS.get(params.resize_mode, "fill"))


def _place(outpaint: Outpaint, width: int, height: int) -> tuple[float, float, float, float]:
    """Where the old picture lies in the grown one, in percent."""
    across = max(1, width - outpaint.left - outpaint.right)
    down = max(1, height - outpaint.up - outpaint.down)
    return (
        100 * outpaint.left / width, 100 * outpaint.up / height, 100 * across / width,
        100 * down / height,
    )  # fmt: skip


def _newest(view: JobView) -> SavedPicture | None:
    """The picture to show by itself: the first while one batch, the newest while several."""
    images = [p for p in view.pictures if p.kind == "image" or view.job.kind == "plot"]
    if not images:
        return None
    return images[0] if _shows_result(view) else images[-1]


def _pictures(
    studio: Studio, client: str, view: JobView, kinds: tuple[str, ...]
) -> list[SavedPicture]:
    """Pictures of the job on show, then those of the browser's jobs before it."""
    found = [*view.pictures, *_lone_pictures(studio, view.job)]
    for job in studio.jobs.list(
        states=("done", "cancelled", "failed"), client=client, limit=EARLIER_JOBS, kinds=kinds
    ):
        if job.id != view.job.id and len(found) < MOST_PICTURES:
            found.extend(studio.library.images_of(job.id))
    return [p for p in found[:MOST_PICTURES] if p.is_there]


def _lone_pictures(studio: Studio, job: Job) -> list[SavedPicture]:
    """The pictures of a plot's cells, if they are wanted beside its sheets."""
    params = studio.params_of(job) if job.kind == "plot" else None
    if not isinstance(params, Plot) or not params.include_lone_images:
        return []
    cells = studio.plots.cells(job)[:MOST_PICTURES]
    return [picture for cell in cells for picture in studio.library.images_of(cell.id)]


def picture_url(picture: SavedPicture) -> str:
    """Where the page gets it, relative to the page."""
    return f"ui/picture/{picture.id}?{int(picture.created_at)}"


def thumb_url(picture: SavedPicture) -> str:
    """Where the page gets its small copy. The time keeps browsers from mixing up two libraries."""
    return f"ui/thumb/{picture.id}?{int(picture.created_at)}"


def _thumb(picture: SavedPicture, is_earlier: bool) -> Thumb:
    return Thumb(
        key=picture.id,
        thumb_url=thumb_url(picture),
        is_earlier=is_earlier,
    )
