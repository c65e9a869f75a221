"""Ended jobs and small copies have a bound, and nothing goes that a person could want."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.library.gallery_files import painted
from webui.errors import JobNotFoundError
from webui.jobs.store import JobStore
from webui.library.gallery.thumbs import Thumbs
from webui.services.old_jobs import LASTING_KINDS
from webui.services.resolve import TextToImageRequest
from webui.studio import Studio

WISH = TextToImageRequest(prompt="a hill", width=64, height=64, steps=1, seed=5)


@pytest.fixture
def running(studio: Studio) -> Studio:
    studio.options.set("ended_jobs_kept", 1)
    studio.supervisor.start()
    return studio


def painted_job(studio: Studio) -> int:
    job = studio.wait(studio.submit(WISH).id, 60)
    studio.gallery.watch.catch_up()
    return job.id


def is_known(studio: Studio, job_id: int) -> bool:
    try:
        return studio.jobs.get(job_id).id == job_id
    except JobNotFoundError:
        return False


def test_old_jobs_when_their_pictures_are_gone_then_only_they_go(running: Studio) -> None:
    there, deleted, trashed, away, newest = (painted_job(running) for _ in range(5))
    script = {"kind": "xyz", "x": {"axis": "Steps", "values": "1,2"}}
    plot = running.wait(running.plots.submit(WISH, script).id, 60)
    cells = [part.id for part in running.jobs.parts(plot.id)]
    last = painted_job(running)
    files = {
        job: [picture.path for picture in running.library.images_of(job)]
        for job in (deleted, trashed, newest, plot.id, *cells)
    }
    for path in (*files[deleted], *files[newest], *files[plot.id], *files[cells[0]]):
        path.unlink()
    (picture,) = [p for p in running.gallery.pictures.find().pictures if p.job == trashed]
    running.gallery.deeds.do("trash", {"ids": [picture.id]}, "")
    for saved in running.library.images_of(away):  # as on a disk that is not plugged in
        running.library.has_moved(saved.path, Path("/nowhere/a.png"), Path("/nowhere"))
    running.gallery.watch.look_now()
    waiting = running.jobs.submit("txt2img", WISH.model_dump_json())
    running.jobs.pause_queued(waiting.id)

    assert running.tidying.old_jobs() == 2
    known = {job: is_known(running, job) for job in (there, trashed, away, plot.id, *cells, last)}
    assert all(known.values()), "a picture of theirs may still be there"
    assert not is_known(running, deleted) and not is_known(running, newest)
    assert running.library.images_of(deleted) == [] and is_known(running, waiting.id)
    files[cells[1]][0].unlink()
    running.gallery.watch.look_now()
    assert running.tidying.old_jobs() == 1, "a plot goes with its cells"
    assert not any(is_known(running, job) for job in (plot.id, *cells))
    running.options.set("ended_jobs_kept", 0)
    shutil.rmtree(running.settings.folders.data / "outputs" / "txt2img-images")
    assert running.tidying.old_jobs() == 0


def test_ended_before_when_a_chain_goes_on_then_its_rounds_are_not_named(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "jobs.sqlite3")
    ids = []
    for repeat, client in ((None, "a"), ("{}", "a"), ("{}", "b")):
        job = store.submit("txt2img", "{}", client=client, repeat_json=repeat)
        claimed = store.claim("me")
        assert claimed and store.finish(claimed.id, "me", "done")
        ids.append(job.id)
    training = store.submit(*LASTING_KINDS, "{}")
    store.claim("me")
    store.finish(training.id, "me", "done")
    store.submit("txt2img", "{}", client="a", repeat_json="{}")
    assert store.ended_before(0, LASTING_KINDS) == (ids[0], ids[2])
    assert store.ended_before(2) == (ids[0],) and store.forget(ids[0]) and not store.forget(ids[0])
    store.close()


def test_thumbs_when_they_are_too_many_then_those_looked_at_last_stay(tmp_path: Path) -> None:
    thumbs, marks = Thumbs(tmp_path / "thumbs"), [f"{number:032x}" for number in range(3)]
    picture = tmp_path / "a.png"
    painted(picture, "a tower")
    for age, mark in enumerate(marks):
        thumbs.of(mark, picture)
        os.utime(tmp_path / "thumbs" / mark[:2] / f"{mark}.webp", (age + 1, age + 1))
    size = len(thumbs.of(marks[0], picture))
    assert thumbs.trim(3 * size) == 0 and thumbs.trim(2 * size) == 1
    left = {path.stem for path in (tmp_path / "thumbs").glob("*/*.webp")}
    assert left == {marks[0], marks[2]}
