"""Faces in the pictures of a set: where they lie, and a cut that shows them better."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from webui.errors import DatasetError, JobNotFoundError, ParamsError
from webui.params import FindFaces
from webui.services.training.sets import SetPicture, TrainingSets
from webui.training.dataset_entries import measured
from webui.training.face_crops import Suggestion, suggest
from webui.ui.cards import action, esc, failure_card, note
from webui.ui.texts import say
from webui.ui.train_view import picture_url

if TYPE_CHECKING:
    from webui.jobs.store import Job
    from webui.studio import Studio


def ask(studio: Studio, sets: TrainingSets, name: str, *, client: str, user: str) -> Job:
    """Have the pictures of a set looked at.

    Raises:
        ParamsError: There are none. CheckpointError: There is no face detector.
    """
    pictures = tuple(str(picture.path) for picture in sets.pictures(name))
    if not pictures:
        raise ParamsError("There are no pictures to look at.", field="set_name")
    return studio.submit(FindFaces(pictures=pictures, user=user), client=client)


def suggestions(job: Job, pictures: list[SetPicture]) -> dict[str, Suggestion]:
    """What is said of every picture that did not change since it was looked at, by file name.

    Pictures of another set may have the same names; nothing is said of them.
    """
    faces: Mapping[str, list[list[float]]] = (job.result or {}).get("faces", {})
    looked_at = set(FindFaces.model_validate_json(job.params_json).pictures)
    found: dict[str, Suggestion] = {}
    for picture in pictures:
        path = picture.path
        if str(path) not in looked_at or path.name not in faces:
            continue
        if path.stat().st_mtime > (job.finished_at or 0):
            continue
        try:
            size = measured(path).size
        except DatasetError:
            continue
        boxes = [(box[0], box[1], box[2], box[3]) for box in faces[path.name]]
        found[path.name] = suggest(size, boxes)
    return found


def cut(sets: TrainingSets, name: str, found: Mapping[str, Suggestion]) -> int:
    """Cut pictures as suggested; returns how many."""
    cuts = {file: one.cut for file, one in found.items() if one.cut is not None}
    for file, box in cuts.items():
        sets.cut(name, file, box)
    return len(cuts)


def find_job(studio: Studio, job_id: int | None) -> Job | None:
    """The job that looks for faces, if it is still known."""
    try:
        return studio.jobs.get(job_id) if job_id is not None else None
    except JobNotFoundError:
        return None


def view(job: Job | None, name: str, pictures: list[SetPicture], language: str) -> str:
    """What a look for faces came to, or how far it is."""
    if job is None:
        return ""
    if not job.is_finished:
        return note(say("faces_looking", language, count=len(pictures)))
    if job.state == "failed":
        return failure_card(job.error or {}, job.id, language)
    found = suggestions(job, pictures)
    good = sum(one.code == "good" for one in found.values())
    by_name = {picture.path.name: picture for picture in pictures}
    cells = "".join(
        _cell(name, by_name[file], one, language)
        for file, one in found.items()
        if one.code != "good"
    )
    cuts = sum(one.cut is not None for one in found.values())
    every = action("cut-all", say("faces_cut_all", language, count=cuts)) if cuts > 1 else ""
    told = esc(say("faces_found", language, done=good, count=len(found)))
    return f'<p>{told}</p><div class="dq-trn-set">{cells}</div><div class="dq-line">{every}</div>'


def _cell(name: str, picture: SetPicture, one: Suggestion, language: str) -> str:
    file, url = picture.path.name, picture_url(name, picture.path)
    button, told = "", esc(say(f"faces_{one.code}", language))
    if one.cut is not None:
        button = action("cut", say("faces_cut", language), name=file, label=file)
    return (
        f'<figure><img src="{esc(url)}" alt="{esc(file)}" loading="lazy">'
        f'<span class="dq-trn-mark">{told}</span>{button}</figure>'
    )
