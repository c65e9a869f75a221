from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import pytest

from tests.jobs.small_studio import SmallStudio, is_alive
from tests.patience import PATIENCE, wait_until
from webui.errors import JobError, LibraryError, ParamsError
from webui.jobs import supervisor as supervisor_module

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake worker uses signals")


def misbehaving(studio: SmallStudio, how: str, times: int = 1, **plan: Any) -> dict[str, Any]:
    return {
        "misbehave": how, "times": times, "count_file": str(studio.folder / f"count-{how}"), **plan
    }  # fmt: skip


# The normal course


def test_a_job_runs_and_its_events_come_in_order(studio: SmallStudio) -> None:
    studio.prepare = lambda job: {"extra": f"for {job.id}"}
    studio.supervisor.start()
    job = studio.submit(images=2)
    done = studio.wait_for(job, "done")
    assert studio.kinds(job) == [
        "claimed", "started", "progress", "progress", "image", "image", "done",
    ]  # fmt: skip
    assert studio.wait_for(job, "started")["extra"] == f"for {job.id}"
    assert [e["index"] for e in studio.events if e["type"] == "image"] == [0, 1]
    row = studio.store.get(job.id)
    assert (row.state, row.result) == ("done", done["result"])


def test_the_row_is_done_before_the_event_says_so(studio: SmallStudio) -> None:
    states: list[str] = []
    hear = studio.hear

    def look(event: dict[str, Any]) -> None:
        if event["type"] in ("image", "done"):
            states.append(studio.store.get(event["job"]).state)
        hear(event)

    studio.hear = look  # type: ignore[method-assign]
    studio.supervisor.start()
    studio.wait_for(studio.submit(), "done")
    assert states == ["running", "done"]


def test_jobs_run_one_after_the_other_by_priority(studio: SmallStudio) -> None:
    low = studio.submit()
    high = studio.store.submit("txt2img", "{}", priority=2)
    studio.supervisor.start()
    studio.wait_for(low, "done")
    order = [event["job"] for event in studio.events if event["type"] == "done"]
    assert order == [high.id, low.id]
    assert studio.supervisor.worker_starts == 1


def test_a_submitted_job_is_begun_when_the_supervisor_is_woken_and_not_by_its_next_look(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_WAIT_SECONDS", 1000.0)
    studio.supervisor.start()
    studio.wait_for_state("ready")
    for _ in range(10):
        studio.wait_for(studio.submit(), "done")


def test_a_failure_the_worker_reports_is_kept(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(fail="No such sampler.")
    studio.wait_for(job, "failed")
    error = studio.store.get(job.id).error
    assert error is not None and error["message"] == "No such sampler."
    assert studio.supervisor.worker_starts == 1


def test_warnings_reach_the_row(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(warning="LoRA not found.")
    studio.wait_for(job, "done")
    assert studio.store.get(job.id).warnings == ("LoRA not found.",)


def test_worker_states_are_told(studio: SmallStudio) -> None:
    assert studio.supervisor.worker_state == "stopped"
    studio.supervisor.start()
    job = studio.submit()
    studio.wait_for(job, "done")
    studio.wait_for_state("ready")
    told = [e["state"] for e in studio.events if e["type"] == "worker"]
    assert told[:3] == ["starting", "ready", "busy"]
    assert studio.supervisor.worker_facts == {"device": "fake"}


# What is asked while a job runs


def test_interrupt_ends_the_job_by_the_worker(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=1000, step_seconds=0.02)
    studio.wait_for(job, "progress")
    assert studio.supervisor.interrupt(job.id)
    studio.wait_for(job, "cancelled")
    row = studio.store.get(job.id)
    assert row.state == "cancelled" and row.result is not None and row.result["steps"] < 1000
    assert studio.supervisor.worker_starts == 1


def test_interrupt_of_a_job_that_does_not_run_does_nothing(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit()
    studio.wait_for(job, "done")
    studio.wait_for_state("ready")
    assert not studio.supervisor.interrupt(job.id)
    assert not studio.supervisor.skip(job.id)
    assert not studio.supervisor.kill(job.id)
    assert not studio.supervisor.cancel(job.id)


def test_skip_leaves_the_picture_and_the_job_goes_on(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=1000, step_seconds=0.02)
    studio.wait_for(job, "progress")
    assert studio.supervisor.skip(job.id)
    assert studio.wait_for(job, "done")["result"] == {"skipped": True}


def test_cancel_of_a_waiting_job_acts_at_once(studio: SmallStudio) -> None:
    studio.supervisor.start()
    running = studio.submit(steps=200, step_seconds=0.01)
    waiting = studio.submit()
    studio.wait_for(running, "progress")
    assert studio.supervisor.cancel(waiting.id)
    assert studio.store.get(waiting.id).state == "cancelled"
    studio.wait_for(running, "done")
    assert studio.kinds(waiting) == ["cancelled"]


def test_cancel_of_a_running_job_interrupts_it(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=1000, step_seconds=0.02)
    studio.wait_for(job, "progress")
    assert studio.supervisor.cancel(job.id)
    studio.wait_for(job, "cancelled")


def test_a_job_interrupted_while_it_is_prepared_is_never_sent(studio: SmallStudio) -> None:
    inside, leave = threading.Event(), threading.Event()

    def prepare(job: object) -> dict[str, Any]:
        inside.set()
        leave.wait(PATIENCE)
        return {}

    studio.prepare = prepare
    studio.supervisor.start()
    job = studio.submit()
    assert inside.wait(PATIENCE)
    assert studio.supervisor.interrupt(job.id)
    leave.set()
    studio.wait_for(job, "cancelled")
    assert studio.kinds(job) == ["claimed", "cancelled"]
    assert studio.store.get(job.id).state == "cancelled"


def test_an_interrupt_that_is_not_obeyed_is_told_and_kills_nothing(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "SLOW_INTERRUPT_SECONDS", 0.3)
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "hang"))
    studio.wait_for(job, "started")
    pid = studio.supervisor.worker_pid
    studio.supervisor.interrupt(job.id)
    studio.wait_for(job, "slow_interrupt")
    time.sleep(0.4)
    assert studio.supervisor.worker_pid == pid and studio.store.get(job.id).state == "running"
    assert studio.kinds(job).count("slow_interrupt") == 1


def test_kill_stops_a_hanging_worker_and_the_next_job_runs(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job, following = studio.submit(**misbehaving(studio, "hang")), studio.submit()
    studio.wait_for(job, "started")
    pid = studio.supervisor.worker_pid
    assert studio.supervisor.kill(job.id)
    studio.wait_for(job, "cancelled")
    assert studio.store.get(job.id).state == "cancelled"
    studio.wait_for(following, "done")
    assert pid is not None and not is_alive(pid)
    assert studio.supervisor.worker_error is None


def test_a_question_is_answered(studio: SmallStudio) -> None:
    studio.supervisor.start()
    assert studio.supervisor.request({"type": "memory"})["free_bytes"] == 7


def test_a_question_without_answer_ends_in_time(studio: SmallStudio) -> None:
    studio.flags = {"mute": True}
    studio.supervisor.start()
    studio.wait_for_state("ready")
    with pytest.raises(JobError, match="did not answer"):
        studio.supervisor.request({"type": "memory"}, timeout_seconds=0.2)


def test_a_question_to_a_worker_that_dies_ends_at_once(studio: SmallStudio) -> None:
    studio.flags = {"mute": True}
    studio.supervisor.start()
    studio.wait_for_state("ready")
    pid = studio.supervisor.worker_pid
    assert pid is not None
    threading.Timer(0.2, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(JobError, match="ended"):
        studio.supervisor.request({"type": "memory"}, timeout_seconds=3600)


def test_a_question_without_worker_is_refused(studio: SmallStudio) -> None:
    with pytest.raises(JobError, match="stopped"):
        studio.supervisor.request({"type": "memory"})


def test_a_paused_queue_begins_nothing(studio: SmallStudio) -> None:
    studio.supervisor.start()
    studio.wait_for_state("ready")
    studio.supervisor.pause()
    job = studio.submit()
    time.sleep(0.2)
    assert studio.supervisor.is_paused and studio.store.get(job.id).state == "queued"
    studio.supervisor.resume()
    studio.wait_for(job, "done")


def test_a_queue_that_was_paused_when_the_program_ended_is_paused_when_it_starts_again(
    studio: SmallStudio,
) -> None:
    studio.supervisor.pause()
    after = SmallStudio(studio.folder, studio.store)
    assert after.supervisor.is_paused
    after.supervisor.resume()
    assert not SmallStudio(studio.folder, studio.store).supervisor.is_paused


# What goes wrong


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("crash", "exit code 1"),
        ("killed", "SIGKILL"),
        ("garbage", "no message"),
        ("child", "exit code 9"),
    ],
)
def test_a_worker_that_dies_is_started_again_and_its_job_runs_again(
    studio: SmallStudio, how: str, reason: str
) -> None:
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, how))
    assert reason in studio.wait_for(job, "requeued")["reason"]
    studio.wait_for(job, "done")
    row = studio.store.get(job.id)
    assert (row.state, row.attempts) == ("done", 2)
    assert reason in row.warnings[0]
    assert studio.supervisor.worker_starts == 2


def test_a_job_that_kills_three_workers_fails_with_the_reason(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_SECONDS", 0.01)
    studio.supervisor.start()
    job, following = studio.submit(**misbehaving(studio, "crash", 99)), studio.submit()
    studio.wait_for(job, "failed")
    error = studio.store.get(job.id).error
    assert error is not None
    assert "3 times" in error["message"] and "exit code 1" in error["message"]
    assert error["details"]["exit_code"] == 1
    assert "Traceback: something terrible" in error["details"]["log"]
    assert studio.kinds(job).count("requeued") == 2
    studio.wait_for(following, "done")
    assert studio.supervisor.worker_starts == 4


def test_a_job_killed_from_outside_is_told_to_be_short_of_memory(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_SECONDS", 0.01)
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "killed", 99))
    studio.wait_for(job, "failed")
    error = studio.store.get(job.id).error
    assert error is not None and error["details"]["signal"] == "SIGKILL"
    assert "memory" in error["hint"]


def test_an_interrupted_job_whose_worker_dies_is_cancelled(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "hang"))
    studio.wait_for(job, "started")
    studio.supervisor.interrupt(job.id)
    pid = studio.supervisor.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    studio.wait_for(job, "cancelled")
    assert studio.store.get(job.id).state == "cancelled"


def test_children_of_a_dead_worker_do_not_live_on(studio: SmallStudio) -> None:
    studio.flags = {"note_pid": str(studio.folder / "pids")}
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "child"))
    studio.wait_for(job, "requeued")
    dead = int((studio.folder / "pids").read_text().split()[0])
    with pytest.raises(ProcessLookupError):
        wait_until(lambda: os.killpg(dead, 0))


def test_a_worker_that_cannot_start_is_tried_three_times_then_again_with_a_new_job(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_SECONDS", 0.01)
    studio.flags = {"die_at_start": True}
    studio.supervisor.start()
    job = studio.submit()
    wait_for_starts(studio, 3)
    time.sleep(0.5)
    assert studio.supervisor.worker_starts == 3, "an endless loop of starts"
    assert studio.supervisor.worker_state == "crashed"
    error = studio.supervisor.worker_error
    assert error is not None and "exit code 3" in error["message"]
    assert "no module named torch" in error["details"]["log"]
    assert studio.store.get(job.id).state == "queued"
    studio.submit()
    wait_for_starts(studio, 6)


def wait_for_starts(studio: SmallStudio, count: int) -> None:
    starts = lambda: studio.supervisor.worker_starts  # noqa: E731
    wait_until(lambda: starts() >= count, starts)


def test_a_program_that_does_not_exist_is_reported(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_SECONDS", 0.01)
    studio.command = ("/no/such/program",)
    studio.supervisor.start()
    studio.wait_for_state("crashed")
    wait_for_starts(studio, 3)
    error = studio.supervisor.worker_error
    assert error is not None and "cannot be started" in error["message"]


def test_the_next_start_waits_from_the_moment_in_which_the_worker_is_gone(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "FIRST_BACKOFF_SECONDS", 1000.0)
    monkeypatch.setattr(supervisor_module, "MAX_BACKOFF_SECONDS", 1000.0)

    def blame_slowly() -> str:
        studio.supervisor.wake()
        time.sleep(1)  # in which the next one could be started
        return ""

    studio.blame = blame_slowly
    studio.command = (sys.executable, "-c", "raise SystemExit(3)")
    studio.supervisor.start()
    studio.wait_for_state("crashed")
    assert studio.supervisor.worker_starts == 1


def test_a_worker_never_ready_is_ended(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "START_LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(supervisor_module, "LONGEST_WAIT_SECONDS", 0.1)
    studio.flags = {"start_seconds": 60}
    studio.supervisor.start()
    studio.wait_for_state("crashed")
    assert (
        "Not ready in time; ended by the web process."
        in (studio.supervisor.worker_error or {})["details"]["log"]
    )


def test_what_prepare_refuses_fails_the_job_with_its_reason(studio: SmallStudio) -> None:
    def prepare(job: object) -> dict[str, Any]:
        raise ParamsError("No checkpoint named 'dreamy'.", "Press Refresh.", field="checkpoint")

    studio.prepare = prepare
    studio.supervisor.start()
    job = studio.submit()
    studio.wait_for(job, "failed")
    error = studio.store.get(job.id).error
    assert error is not None and error["code"] == "params"
    assert error["details"] == {"field": "checkpoint"}


def test_a_defect_in_prepare_fails_that_job_only(studio: SmallStudio) -> None:
    calls: list[int] = []

    def prepare(job: Any) -> dict[str, Any]:
        calls.append(job.id)
        return {} if len(calls) > 1 else {}["missing"]

    studio.prepare = prepare
    studio.supervisor.start()
    first, second = studio.submit(), studio.submit()
    studio.wait_for(second, "done")
    error = studio.store.get(first.id).error
    assert error is not None and "KeyError" in error["message"]


def test_what_cannot_be_sent_fails_the_job(studio: SmallStudio) -> None:
    studio.prepare = lambda job: {"unsendable": object()}
    studio.supervisor.start()
    job = studio.submit()
    studio.wait_for(job, "failed")
    error = studio.store.get(job.id).error
    assert error is not None and "handed to the model process" in error["message"]
    studio.prepare = lambda job: {}
    studio.wait_for(studio.submit(), "done")
    assert studio.supervisor.worker_starts == 1


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (LibraryError("The disk is full.", "Free some."), "library", "The disk is full."),
        (KeyError("seed"), "job", "could not be kept"),
    ],
)
def test_a_picture_that_cannot_be_kept_fails_its_job(
    studio: SmallStudio, raised: Exception, code: str, text: str
) -> None:
    def refuse(event: dict[str, Any]) -> None:
        if event["index"] == 0:
            raise raised

    studio.on_image = refuse
    studio.supervisor.start()
    job = studio.submit(images=2)
    studio.wait_for(job, "failed")
    row = studio.store.get(job.id)
    assert row.state == "failed" and row.error is not None
    assert row.error["code"] == code and text in row.error["message"]
    assert "done" not in studio.kinds(job)
    studio.on_image = lambda event: None
    studio.wait_for(studio.submit(), "done")


def test_a_listener_that_fails_on_other_events_stops_nothing(studio: SmallStudio) -> None:
    hear = studio.hear

    def listen(event: dict[str, Any]) -> None:
        hear(event)
        if event["type"] in ("progress", "worker", "done"):
            raise RuntimeError("a page is gone")

    studio.hear = listen  # type: ignore[method-assign]
    studio.supervisor.start()
    first, second = studio.submit(), studio.submit()
    studio.wait_for(second, "done")
    assert studio.store.get(first.id).state == "done"


def test_an_end_the_database_refuses_is_written_later(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, refusals = studio.store.finish, [1, 2]

    def refuse_twice(*args: Any, **more: Any) -> bool:
        if refusals:
            refusals.pop()
            raise JobError("The disk is full.")
        return finish(*args, **more)

    monkeypatch.setattr(studio.store, "finish", refuse_twice)
    studio.supervisor.start()
    job = studio.submit()
    studio.wait_for(job, "done")
    wait_until(lambda: studio.store.get(job.id).state == "done")


def test_a_database_that_fails_to_claim_is_tried_again(
    studio: SmallStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "RETRY_SECONDS", 0.05)
    claim, refusals = studio.store.claim, [1, 2]

    def refuse_twice(owner: str) -> Any:
        if refusals:
            refusals.pop()
            raise JobError("The disk is full.")
        return claim(owner)

    monkeypatch.setattr(studio.store, "claim", refuse_twice)
    studio.supervisor.start()
    studio.wait_for(studio.submit(), "done")


# Beginning and end


def test_an_idle_worker_is_ended_and_started_again_by_the_next_job(studio: SmallStudio) -> None:
    studio.idle = 0.3
    studio.supervisor.start()
    studio.wait_for(studio.submit(), "done")
    studio.wait_for_state("stopped")
    assert studio.supervisor.worker_pid is None and studio.supervisor.worker_error is None
    time.sleep(0.3)
    assert studio.supervisor.worker_starts == 1
    studio.wait_for(studio.submit(), "done")
    assert studio.supervisor.worker_starts == 2


def test_stop_lets_a_job_end_within_the_grace(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=20, step_seconds=0.02)
    studio.wait_for(job, "progress")
    studio.supervisor.stop(grace_seconds=10)
    assert studio.store.get(job.id).state == "done"


def test_stop_gives_a_long_job_back_uncounted(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(steps=100_000, step_seconds=0.02)
    studio.wait_for(job, "progress")
    pid = studio.supervisor.worker_pid
    studio.supervisor.stop(grace_seconds=0.3)
    row = studio.store.get(job.id)
    assert (row.state, row.attempts, row.warnings) == ("queued", 0, ())
    assert pid is not None and not is_alive(pid)
    assert studio.supervisor.worker_state == "stopped"


def test_stop_ends_a_worker_that_hangs(studio: SmallStudio) -> None:
    studio.supervisor.start()
    job = studio.submit(**misbehaving(studio, "hang"))
    studio.wait_for(job, "started")
    pid = studio.supervisor.worker_pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    studio.supervisor.stop(grace_seconds=0.2)
    assert not is_alive(pid)
    assert studio.store.get(job.id).state == "queued"


def test_stop_before_start_and_twice_is_harmless(studio: SmallStudio) -> None:
    studio.supervisor.stop()
    studio.supervisor.stop()


def test_a_worker_log_keeps_what_the_worker_says(studio: SmallStudio) -> None:
    studio.supervisor.start()
    studio.wait_for(studio.submit(stderr=["loading 丹青"]), "done")
    log = studio.folder / "log" / "worker.log"
    # the log is written beside the messages, not before them
    wait_until(lambda: log.exists() and "loading 丹青" in log.read_text(encoding="utf-8"))
