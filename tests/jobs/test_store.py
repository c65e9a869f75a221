from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.errors import JobError, JobNotFoundError, ParamsError, SettingsError
from webui.jobs import store as store_module
from webui.jobs.store import MAX_ATTEMPTS, MAX_WARNINGS, Job, JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "data" / "jobs.sqlite3")
    yield store
    store.close()


def submit(store: JobStore, **more: object) -> Job:
    return store.submit("txt2img", "{}", **more)  # type: ignore[arg-type]


def claimed(store: JobStore, owner: str = "me") -> Job:
    job = store.claim(owner)
    assert job is not None
    return job


def test_submit_returns_the_job_as_it_is_read_back(store: JobStore) -> None:
    job = store.submit(
        "txt2img", '{"prompt": "丹青"}', priority=3, origin="api", user="me", client="tab",
        repeat_json="{}",
    )  # fmt: skip
    assert store.get(job.id) == job
    assert store.by_task(job.task_id) == job
    assert (job.state, job.attempts, job.params_json) == ("queued", 0, '{"prompt": "丹青"}')
    assert (job.origin, job.user, job.client, job.repeat_json) == ("api", "me", "tab", "{}")
    assert abs(job.created_at - time.time()) < 5


def test_submit_makes_a_task_id_of_a1111s_shape(store: JobStore) -> None:
    import re

    assert re.fullmatch(r"task\(txt2img-[A-Z0-9]{7}\)", submit(store).task_id)


def test_a_task_id_may_be_used_again_once_its_job_has_ended(store: JobStore) -> None:
    first = submit(store, task_id="task(x)")
    store.cancel_queued(first.id)

    second = submit(store, task_id="task(x)")

    assert store.by_task("task(x)").id == second.id


def test_submit_refuses_a_task_id_in_use(store: JobStore) -> None:
    submit(store, task_id="task(x)")
    with pytest.raises(ParamsError, match="has not ended") as caught:
        submit(store, task_id="task(x)")
    assert caught.value.field == "force_task_id"
    assert store.counts()["queued"] == 1


def test_claim_takes_the_highest_priority_then_the_oldest(store: JobStore) -> None:
    low, high, later = submit(store), submit(store, priority=5), submit(store, priority=5)
    assert [claimed(store).id for _ in range(3)] == [high.id, later.id, low.id]
    assert store.claim("me") is None


def test_claim_counts_the_attempt_and_notes_the_time(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    assert (job.state, job.attempts) == ("running", 1)
    assert job.started_at is not None and abs(job.started_at - time.time()) < 5


def test_finish_says_that_this_call_did_it(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    assert store.finish(job.id, "me", "done", result={"seconds": 2})
    after = store.get(job.id)
    assert (after.state, after.result, after.is_finished) == ("done", {"seconds": 2}, True)
    assert after.finished_at is not None


def test_finish_refuses_whoever_does_not_own_the_job(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    assert not store.finish(job.id, "another", "done")
    assert store.get(job.id).state == "running"


@pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
def test_a_finished_job_never_changes(store: JobStore, state: str) -> None:
    submit(store)
    job = claimed(store)
    assert store.finish(job.id, "me", state, error={"message": "first"})
    before = store.get(job.id)
    assert not store.finish(job.id, "me", "done")
    assert not store.cancel_queued(job.id)
    assert not store.request_cancel(job.id)
    assert store.requeue(job.id, "me", "dead") == before
    store.add_warning(job.id, "too late")
    store.stop_repeating(job.id)
    assert store.recover_at_start() == ()
    assert store.claim("me") is None
    assert store.get(job.id) == before


def test_a_change_the_rules_do_not_know_is_a_defect(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    with pytest.raises(ValueError, match="never goes from running to running"):
        store.finish(job.id, "me", "running")
    assert store.get(job.id).state == "running"


def test_cancel_queued_cancels_only_what_waits(store: JobStore) -> None:
    waiting, running = submit(store), submit(store, priority=1)
    assert claimed(store).id == running.id
    assert store.cancel_queued(waiting.id)
    assert not store.cancel_queued(running.id)
    assert not store.cancel_queued(999)
    assert store.get(waiting.id).state == "cancelled"


def test_paused_job_waits_until_it_is_resumed_or_cancelled(store: JobStore) -> None:
    first, second = submit(store), submit(store)

    assert store.pause_queued(first.id) and store.pause_queued(second.id)
    assert store.claim("me") is None
    assert store.resume(first.id)
    assert claimed(store).id == first.id

    store.cancel_queued(second.id)
    assert not store.get(second.id).is_paused


def test_requeue_puts_the_job_back_to_its_old_place(store: JobStore) -> None:
    first, second = submit(store), submit(store)
    assert claimed(store).id == first.id
    again = store.requeue(first.id, "me", "The worker died.")
    assert (again.state, again.attempts, again.started_at) == ("queued", 1, None)
    assert "The worker died." in again.warnings[0]
    assert [claimed(store).id, claimed(store).id] == [first.id, second.id]


def test_requeue_fails_the_job_after_three_tries_with_the_reason(store: JobStore) -> None:
    submit(store)
    for _ in range(MAX_ATTEMPTS):
        job = claimed(store)
        job = store.requeue(job.id, "me", "It was killed.", hint="Buy memory.", details={"rc": -9})
    assert job.state == "failed"
    assert job.error is not None
    assert "3 times" in job.error["message"] and "It was killed." in job.error["message"]
    assert (job.error["hint"], job.error["details"]) == ("Buy memory.", {"rc": -9})
    assert store.claim("me") is None


def test_requeue_uncounted_gives_the_attempt_back(store: JobStore) -> None:
    submit(store)
    for _ in range(MAX_ATTEMPTS + 2):
        job = store.requeue(claimed(store).id, "me", "The program stops.", is_counted=False)
    assert (job.state, job.attempts, job.warnings) == ("queued", 0, ())


def test_requeue_cancels_a_job_that_was_asked_to_stop(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    assert store.request_cancel(job.id)
    assert store.requeue(job.id, "me", "dead").state == "cancelled"


def test_requeue_leaves_a_job_of_another_owner_alone(store: JobStore) -> None:
    submit(store)
    job = claimed(store)
    assert store.requeue(job.id, "another", "dead") == job


def test_recover_at_start_puts_back_what_was_left_running(tmp_path: Path) -> None:
    first = JobStore(tmp_path / "db")
    kept, stopped, waiting = submit(first), submit(first), submit(first)
    claimed(first, "old"), claimed(first, "old")
    first.request_cancel(stopped.id)
    first.close()
    second = JobStore(tmp_path / "db")
    assert [(job.id, job.state) for job in second.recover_at_start()] == [
        (kept.id, "queued"),
        (stopped.id, "cancelled"),
    ]
    assert [claimed(second, "new").id for _ in range(2)] == [kept.id, waiting.id]
    second.close()


def test_warnings_are_kept_in_order_once_and_not_without_end(store: JobStore) -> None:
    job = submit(store)
    for text in ("one", "two", "one"):
        store.add_warning(job.id, text)
    assert store.get(job.id).warnings == ("one", "two")
    for number in range(MAX_WARNINGS * 2):
        store.add_warning(job.id, str(number))
    assert len(store.get(job.id).warnings) == MAX_WARNINGS


def test_stop_repeating_ends_generate_forever(store: JobStore) -> None:
    job = submit(store, repeat_json="{}")
    store.stop_repeating(job.id)
    assert store.get(job.id).repeat_json is None


@pytest.mark.parametrize(
    ("moved", "before", "expected"),
    [(3, 0, [3, 0, 1, 2]), (0, 2, [1, 0, 2, 3]), (1, None, [0, 2, 3, 1]), (2, 2, [0, 1, 2, 3])],
)
def test_move_puts_a_waiting_job_elsewhere(
    store: JobStore, moved: int, before: int | None, expected: list[int]
) -> None:
    ids = [submit(store).id for _ in range(4)]
    store.move(ids[moved], None if before is None else ids[before])
    assert [job.id for job in store.waiting()] == [ids[i] for i in expected]
    assert [claimed(store).id for _ in range(4)] == [ids[i] for i in expected]


def test_move_takes_on_the_priority_of_its_new_neighbour(store: JobStore) -> None:
    low, high = submit(store).id, submit(store, priority=9).id
    store.move(low, high)
    assert [job.id for job in store.waiting()] == [low, high]
    store.move(high, None)
    assert [job.id for job in store.waiting()] == [low, high]


def test_a_job_submitted_after_a_move_still_goes_to_the_end(store: JobStore) -> None:
    first, second = submit(store).id, submit(store).id
    store.move(first, None)
    third = submit(store).id
    assert [job.id for job in store.waiting()] == [second, first, third]


def test_move_of_a_running_job_is_refused(store: JobStore) -> None:
    running, waiting = submit(store).id, submit(store).id
    claimed(store)
    with pytest.raises(JobError, match="it is running"):
        store.move(running, waiting)
    with pytest.raises(JobError, match="it is running"):
        store.move(waiting, running)
    with pytest.raises(JobNotFoundError):
        store.move(waiting, 999)


def test_position_counts_from_one_in_running_order(store: JobStore) -> None:
    low, high = submit(store).id, submit(store, priority=1).id
    assert (store.position(high), store.position(low)) == (1, 2)
    claimed(store)
    assert (store.position(high), store.position(low)) == (None, 1)
    assert store.position(999) is None


def test_list_filters_and_orders(store: JobStore) -> None:
    mine = [submit(store, client="mine").id for _ in range(3)]
    other = submit(store, client="other").id
    claimed(store)
    assert [job.id for job in store.list()] == [other, *reversed(mine)]
    assert [job.id for job in store.list(client="mine", newest_first=False)] == mine
    assert [job.id for job in store.list(states=("running",))] == [mine[0]]
    assert [job.id for job in store.list(limit=2)] == [other, mine[2]]


def test_counts_names_every_state(store: JobStore) -> None:
    for _ in range(3):
        submit(store)
    claimed(store)
    expected = {"queued": 2, "running": 1, "done": 0, "failed": 0, "cancelled": 0}
    assert store.counts() == expected


def test_pending_task_ids_come_in_running_order(store: JobStore) -> None:
    submit(store, task_id="a"), submit(store, task_id="b", priority=1)
    assert store.pending_task_ids() == ("b", "a")


def test_unknown_jobs_say_so(store: JobStore) -> None:
    for ask in (lambda: store.get(9), lambda: store.by_task("x"), lambda: store.add_warning(9, "")):
        with pytest.raises(JobNotFoundError):
            ask()


def test_migrations_are_applied_once_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "db"
    first = JobStore(path)
    job = submit(first)
    first.close()
    second = JobStore(path)
    assert second.get(job.id) == job
    second.close()
    with sqlite3.connect(path) as db:
        names = [row[0] for row in db.execute("SELECT name FROM migrations")]
    assert names == [name for name, _ in store_module.MIGRATIONS]


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    JobStore(tmp_path / "db").close()
    broken = ("jobs-9999", "CREATE TABLE half (a); CREATE TABLE jobs (b)")
    monkeypatch.setattr(store_module, "MIGRATIONS", (*store_module.MIGRATIONS, broken))
    with pytest.raises(JobError, match="already exists"):
        JobStore(tmp_path / "db")
    with sqlite3.connect(tmp_path / "db") as db:
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        names = [row[0] for row in db.execute("SELECT name FROM migrations")]
    assert "half" not in tables and "jobs-9999" not in names


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database at all, whatever it is" * 100)
    with pytest.raises(SettingsError, match="cannot be opened") as caught:
        JobStore(path)
    assert str(path) in str(caught.value)


def test_a_write_that_fails_is_undone_and_told(store: JobStore) -> None:
    job = submit(store)
    with pytest.raises(JobError, match="could not be used"), store._db.write() as db:
        db.execute("UPDATE jobs SET priority = 7")
        db.execute("UPDATE jobs SET nothing = 1")
    assert store.get(job.id).priority == 0
    assert submit(store).id == job.id + 1


def test_submit_and_finish_are_flushed_to_the_disk_and_claims_are_not(store: JobStore) -> None:
    def level() -> int:
        return store._db._writer.execute("PRAGMA synchronous").fetchone()[0]

    submit(store)
    assert level() == 2  # FULL
    job = claimed(store)
    assert level() == 1  # NORMAL
    store.finish(job.id, "me", "done")
    assert level() == 2
    assert store._db._writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_many_threads_share_one_store(store: JobStore) -> None:
    for _ in range(60):
        submit(store)
    taken: list[int] = []

    def work(owner: str) -> None:
        while (job := store.claim(owner)) is not None:
            taken.append(job.id)
            assert store.finish(job.id, owner, "done")

    threads = [threading.Thread(target=work, args=(str(n),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [job.id for job in store.list(newest_first=False)]
    assert store.counts()["done"] == 60


def test_repeating_when_stopped_before_the_next_was_made_makes_none(store: JobStore) -> None:
    job = submit(store, client="tab", repeat_json="{}")
    store.claim("w")
    store.finish(job.id, "w", "done")

    store.stop_repeating_for("tab")

    assert store.submit_next(job.id, "{}") is None
    assert not store.repeats_for("tab")


def test_repeating_when_stopped_after_the_next_was_made_finds_it(store: JobStore) -> None:
    job = submit(store, client="tab", repeat_json="{}", priority=3)
    store.claim("w")
    store.finish(job.id, "w", "done")
    successor = store.submit_next(job.id, '{"seed": 2}')
    assert successor is not None
    assert (successor.client, successor.priority) == ("tab", 3)
    assert successor.params_json == '{"seed": 2}'
    assert store.repeats_for("tab") and not store.repeats_for("other")

    store.stop_repeating_for("tab")

    assert store.get(successor.id).repeat_json is None


def test_mark_is_another_one_whenever_a_job_of_the_login_changes(store: JobStore) -> None:
    marks = [store.mark("me")]
    job = submit(store, user="me")
    marks.append(store.mark("me"))
    claimed(store)
    marks.append(store.mark("me"))
    submit(store, user="other")
    assert store.mark("me") == marks[-1]
    store.finish(job.id, "me", "done")
    marks.append(store.mark("me"))
    assert len(set(marks)) == 4 and store.mark("me") == marks[-1]
