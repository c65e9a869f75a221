"""What the supervisor does for extensions: names who was at work, ends who does not come back."""

from __future__ import annotations

from pathlib import Path

from tests.jobs.small_studio import SmallStudio
from tests.jobs.test_supervisor import misbehaving
from webui.errors import ExtensionError
from webui.extensions.note import Note, label
from webui.services.extensions.watch import WorkerWatch


def test_a_worker_that_dies_then_its_job_says_who_was_at_work(studio: SmallStudio) -> None:
    studio.blame = lambda: "The extension hungry was at work."
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "crash"))
    assert studio.wait_for(job, "requeued")["reason"].endswith("The extension hungry was at work.")
    studio.wait_for(job, "done")
    assert "hungry was at work" in studio.store.get(job.id).warnings[0]


def test_an_extension_that_does_not_come_back_then_fails_its_job_and_the_next_one_runs(
    studio: SmallStudio, tmp_path: Path
) -> None:
    note, blamed = Note(tmp_path / "note"), list[str]()
    watch = WorkerWatch(
        tmp_path / "note", lambda why: blamed.append(why) or "", studio.supervisor.fail,
        lambda: studio.supervisor.running_job_id,
    )  # fmt: skip
    studio.supervisor.start()
    job, following = studio.submit(**misbehaving(studio, "hang")), studio.submit()
    studio.wait_for(job, "started")
    note.begin(label("looper", "before_step", 0.1))
    watch.begin()
    studio.wait_for(job, "failed")
    watch.stop()
    error = studio.store.get(job.id).error
    assert error is not None and error["details"] == {"plugin": "looper", "hook": "before_step"}
    assert "looper did not come back from before_step" in error["message"]
    assert blamed[0] == "it took longer than 0.1 s"
    studio.wait_for(following, "done")


def test_fail_of_a_job_that_does_not_run_does_nothing(studio: SmallStudio) -> None:
    assert not studio.supervisor.fail(5, ExtensionError("no"))


def test_a_worker_that_shall_be_renewed_ends_its_job_first_and_is_started_again(
    studio: SmallStudio,
) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=3, step_seconds=0.05)
    studio.wait_for(job, "started")
    pid = studio.supervisor.worker_pid
    studio.supervisor.renew()
    following = studio.submit()
    studio.wait_for(job, "done")
    studio.wait_for(following, "done")
    assert studio.supervisor.worker_starts == 2
    assert studio.supervisor.worker_pid != pid
    assert studio.store.get(job.id).attempts == 1
