"""Owns the model process: starts it, feeds it jobs, and starts it again when it dies."""

from __future__ import annotations

import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from webui.errors import JobError, WebUIError
from webui.jobs.endings import Endings, JobEnding
from webui.jobs.questions import Event, Questions
from webui.jobs.store import Job, JobStore
from webui.jobs.worker_log import WorkerLog
from webui.jobs.worker_process import Ending, WorkerProcess

logger = logging.getLogger(__name__)

MAX_CRASHES_WITHOUT_A_JOB = 3
"""So many ends in a row with no job lost: something is wrong that starting again will not cure."""
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
START_LIMIT_SECONDS = 900.0
"""A process that is not ready by then hangs; reading torch from a slow disk takes minutes."""
SLOW_INTERRUPT_SECONDS = 30.0
PLANNED_END_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 30.0
RETRY_SECONDS = 1.0


@dataclass
class _Run:
    """The job the worker has now, and what was asked of it meanwhile."""

    job: Job
    is_sent: bool = False
    interrupted_at: float | None = None
    is_slowness_told: bool = False
    is_killed: bool = False
    failure: WebUIError | None = None


class Supervisor:
    """One worker process and the queue that feeds it.

    Events go to ``on_event`` as dicts with a ``type``, outside of every lock, after the job's row
    was changed. Those of one job come in order. Besides the worker's own messages (``ready``,
    ``started``, ``progress``, ``preview``, ``image``, ``warning``, ``done``, ``cancelled``,
    ``failed``) there are:

    - ``{"type": "worker", "state": …, "error": … or None}``: ``worker_state`` has changed;
    - ``{"type": "claimed", "job"}``: a job was taken from the queue;
    - ``{"type": "requeued", "job", "reason"}``: its worker died, it waits again;
    - ``{"type": "paused", "job"}``: it waits until ``resume_job``, and goes on from there;
    - ``{"type": "slow_interrupt", "job", "seconds"}``: an interrupt is not yet obeyed; the
      person may be offered ``kill``.

    Every job that was claimed ends in exactly one of done, cancelled, failed, requeued or paused.

    Args:
        store: The queue.
        command: The worker's program and arguments.
        env: Environment variables for it, on top of ours.
        prepare: Called with a claimed job; what it returns goes into the run message. A WebUIError
            from it fails the job with its reason.
        on_event: Takes events. What it raises for an ``image`` stops that job and fails it with
            that reason; for other events it is logged.
        log_path: The worker's stderr, bounded in size.
        idle_seconds: After how long without a job the worker is ended; 0 = never.
        cwd: Folder the worker runs in, or None for ours.
        blame: Asked when the worker died unasked: who was at work in it, in a sentence, or ''.
    """

    def __init__(
        self,
        store: JobStore,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        prepare: Callable[[Job], dict[str, Any]],
        on_event: Callable[[Event], None],
        log_path: Path,
        idle_seconds: Callable[[], float] = lambda: 0.0,
        cwd: Path | None = None,
        blame: Callable[[], str] = lambda: "",
    ) -> None:
        self._store = store
        self._command = tuple(command)
        self._env = dict(env or {})
        self._cwd = cwd
        self._prepare = prepare
        self._on_event = on_event
        self._idle_seconds = idle_seconds
        self._blame = blame
        self._log = WorkerLog(log_path)
        self._owner = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._worker: WorkerProcess | None = None
        self._run: _Run | None = None
        self._questions = Questions()
        self._endings = Endings(store, self._owner)
        self._state = "stopped"
        self._error: dict[str, Any] | None = None
        self._facts: dict[str, Any] = {}
        self._is_wanted = False
        self._has_new_work = False
        self._is_paused = store.is_line_paused()
        self._is_stopping = False
        self._crashes = 0
        self._starts = 0
        self._not_before = 0.0
        self._idle_since = time.monotonic()
        self._ending_since: float | None = None
        self._must_renew = False

    # For the web process

    @property
    def worker_state(self) -> str:
        """starting, ready, busy, stopped (not needed now) or crashed (see ``worker_error``)."""
        return self._state

    @property
    def worker_error(self) -> dict[str, Any] | None:
        """Why the worker died last, as ``WebUIError.to_json`` gives it; None once it is ready."""
        return self._error

    @property
    def worker_facts(self) -> dict[str, Any]:
        """What the worker said about itself when it was ready, such as its device."""
        return dict(self._facts)

    @property
    def worker_pid(self) -> int | None:
        """Process id of the living worker."""
        worker = self._worker
        return worker.pid if worker else None

    @property
    def worker_starts(self) -> int:
        """How many times a worker was started."""
        return self._starts

    @property
    def running_job_id(self) -> int | None:
        """The job the worker has now."""
        run = self._run
        return run.job.id if run else None

    @property
    def is_paused(self) -> bool:
        """True while no new job is begun."""
        return self._is_paused

    def start(self) -> None:
        """Begin: the worker is started at once, so that its imports run in the background."""
        with self._changed:
            if self._thread is not None:
                return
            self._is_wanted = True
            self._thread = threading.Thread(target=self._loop, name="supervisor", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """A job was submitted (or an option changed): look at once."""
        with self._changed:
            self._has_new_work = True
            self._changed.notify_all()

    def pause(self) -> None:
        """Begin no further job until ``resume``, whether the program ends meanwhile or not; the
        running one goes on."""
        self._store.pause_line(True)
        self._is_paused = True

    def resume(self) -> None:
        """Begin jobs again."""
        self._store.pause_line(False)
        self._is_paused = False
        self.wake()

    def interrupt(self, job_id: int) -> bool:
        """Ask the worker to stop a running job; False when that job does not run.

        The worker ends the job itself, with the pictures it has. However long it takes, nothing is
        killed; see ``kill``.
        """
        with self._changed:
            run = self._running(job_id)
            if run is None:
                return False
            if run.interrupted_at is None:
                run.interrupted_at = time.monotonic()
            self._tell(run, "interrupt")
            self._changed.notify_all()
        try:
            self._store.request_cancel(job_id)
        except JobError as err:
            logger.warning("Job %d: the interrupt is not on the disk: %s", job_id, err)
        return True

    def skip(self, job_id: int) -> bool:
        """Ask the worker to leave the present picture and go on; False when it does not run."""
        with self._changed:
            run = self._running(job_id)
            if run is not None:
                self._tell(run, "skip")
            return run is not None

    def pause_job(self, job_id: int) -> bool:
        """Keep a waiting job from being begun, or ask a running one to keep what it did and wait.

        Only jobs that keep a state of their own (trainings) obey while they run.
        """
        if self._store.pause_queued(job_id):
            self._emit({"type": "paused", "job": job_id})
            return True
        with self._changed:
            run = self._running(job_id)
            if run is not None:
                self._tell(run, "pause")
            return run is not None

    def sample(self, job_id: int) -> bool:
        """Ask a running training for sample pictures now; False when it does not run."""
        with self._changed:
            run = self._running(job_id)
            if run is not None:
                self._tell(run, "sample")
            return run is not None

    def resume_job(self, job_id: int) -> bool:
        """Let a paused job go on when its turn comes; False when it does not wait."""
        is_waiting = self._store.resume(job_id)
        self.wake()
        return is_waiting

    def cancel(self, job_id: int) -> bool:
        """Cancel a waiting job at once, interrupt a running one; False when it has ended."""
        if self._store.cancel_queued(job_id):
            self._emit({"type": "cancelled", "job": job_id, "result": None})
            return True
        return self.interrupt(job_id)

    def kill(self, job_id: int) -> bool:
        """Stop a running job the hard way: the worker is killed and started again.

        Returns:
            False when that job does not run. True: it is cancelled, at the latest as soon as the
            operating system has ended the process.
        """
        with self._changed:
            run, worker = self._running(job_id), self._worker
            if run is None:
                return False
            run.is_killed = True
            if run.is_sent and worker is not None:
                worker.is_killed_on_purpose = True
                worker.kill()
        return True

    def fail(self, job_id: int, error: WebUIError) -> bool:
        """End a running job with an error, and the worker with it: it does not come back from
        what it does. False when that job does not run."""
        with self._changed:
            run = self._running(job_id)
            if run is None:
                return False
            if run.failure is None:
                run.failure = error
        return self.kill(job_id)

    def renew(self) -> None:
        """Start the worker anew as soon as no job runs: something it has loaded has changed."""
        with self._changed:
            self._must_renew = self._worker is not None
            self._changed.notify_all()

    def request(self, message: Event, timeout_seconds: float = 10.0) -> Event:
        """Ask the worker a small question and wait for its reply, and first for its start.

        Args:
            message: With a ``type``; a number is added as ``request``.
        Returns:
            The ``reply`` message.
        Raises:
            JobError: No worker is running, it ended, or it did not answer in time.
        """
        with self._changed:
            if self._is_wanted:
                self._changed.wait_for(lambda: self._worker is not None, timeout_seconds)
            worker = self._worker
            if worker is None or worker.is_ending_on_purpose:
                raise JobError(
                    f"The model process was asked for {message.get('type')!r}, "
                    f"but it is {self._state}.",
                    "It starts with the next job.",
                )
        return self._questions.ask(worker, message, timeout_seconds)

    def stop(self, grace_seconds: float = 5.0) -> None:
        """End everything; a job still running after the grace goes back to its place, uncounted."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._run is None, grace_seconds)
            worker = self._worker
            if worker is not None:
                worker.close_input()
        if worker is not None and not worker.wait(min(grace_seconds, PLANNED_END_SECONDS)):
            worker.kill()
            worker.wait(PLANNED_END_SECONDS)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PLANNED_END_SECONDS)
        self._endings.write_late()
        self._log.close()

    # The loop: decides, in one thread

    def _loop(self) -> None:
        while not self._is_stopping:
            try:
                self._step()
            except WebUIError as err:
                logger.error("The queue cannot go on now: %s", err)
                time.sleep(RETRY_SECONDS)
            except Exception:  # the fence of this thread: without it the queue stands still
                logger.exception("The supervisor met a defect and goes on.")
                time.sleep(RETRY_SECONDS)

    def _step(self) -> None:
        """Do the one thing that is due, or wait until something changes."""
        self._endings.write_late()
        self._tell_slow_interrupt()
        with self._changed:
            if self._is_stopping:
                return
            self._take_new_work()
            if self._may_claim() and self._claim():
                run = self._run
            elif self._must_start():
                run = None
            else:
                self._end_idle_or_hanging()
                self._changed.wait(self._seconds_to_wait())
                return
        if run is None:
            self._start_worker()
        else:
            self._begin(run)

    def _take_new_work(self) -> None:
        if self._has_new_work:
            self._has_new_work = False
            if not self._is_wanted and (not self._is_paused) and self._store.counts()["queued"]:
                self._is_wanted = True
                self._crashes = 0
                self._not_before = 0.0

    def _may_claim(self) -> bool:
        worker = self._worker
        return (
            worker is not None
            and worker.is_ready
            and not worker.is_ending_on_purpose
            and self._run is None
            and not self._is_paused
            and not self._must_renew
        )

    def _claim(self) -> bool:
        job = self._store.claim(self._owner)
        if job is not None:
            self._run = _Run(job)
            self._idle_since = time.monotonic()
        return job is not None

    def _must_start(self) -> bool:
        return self._worker is None and self._is_wanted and time.monotonic() >= self._not_before

    def _end_idle_or_hanging(self) -> None:
        worker, now = self._worker, time.monotonic()
        if worker is None:
            return
        if worker.is_ending_on_purpose:
            if self._ending_since is not None and now - self._ending_since > PLANNED_END_SECONDS:
                worker.kill()
        elif not worker.is_ready and now - worker.started_at > START_LIMIT_SECONDS:
            self._log.write(b"\nNot ready in time; ended by the web process.\n")
            worker.kill()
        elif worker.is_ready and self._run is None and self._must_renew:
            self._ending_since = now
            worker.close_input()
        elif worker.is_ready and self._run is None and self._is_idle(now):
            self._is_wanted = False
            self._ending_since = now
            worker.close_input()

    def _is_idle(self, now: float) -> bool:
        limit = self._idle_seconds()
        return limit > 0 and now - self._idle_since >= limit

    def _seconds_to_wait(self) -> float:
        now, due = time.monotonic(), LONGEST_WAIT_SECONDS
        if self._endings.are_late:
            due = min(due, RETRY_SECONDS)
        worker, run = self._worker, self._run
        if worker is None:
            if self._is_wanted:
                due = min(due, self._not_before - now)
        elif worker.is_ending_on_purpose:
            due = min(due, RETRY_SECONDS)
        elif run is None and worker.is_ready and (limit := self._idle_seconds()) > 0:
            due = min(due, self._idle_since + limit - now)
        if run is not None and run.interrupted_at is not None and not run.is_slowness_told:
            due = min(due, run.interrupted_at + SLOW_INTERRUPT_SECONDS - now)
        return max(0.01, due)

    def _start_worker(self) -> None:
        self._starts += 1
        self._must_renew = False
        self._set_state("starting", self._error)
        try:
            worker = WorkerProcess(
                self._command, env=self._env, cwd=self._cwd, log=self._log,
                on_message=self._on_message, on_unsendable=self._on_unsendable, on_end=self._on_end,
            )  # fmt: skip
        except OSError as err:
            with self._changed:
                self._hold_back(lost_a_job=False)
            self._tell_crash(
                Ending(
                    f"The model process cannot be started: {err.strerror or err}.",
                    "Run launch.py again, so that it repairs the environment.",
                    {"command": list(self._command)},
                )
            )
            return
        with self._changed:
            if not worker.is_gone:
                self._worker = worker
                self._ending_since = None
                self._changed.notify_all()

    def _begin(self, run: _Run) -> None:
        """Prepare the claimed job and send it, unless it was stopped meanwhile."""
        job = run.job
        self._set_state("busy")
        self._emit({"type": "claimed", "job": job.id})
        try:
            extras = self._prepare(job)
        except WebUIError as err:
            self._end_run(run, "failed", error=err.to_json())
            return
        except Exception as err:  # the job fence: any defect in prepare fails this job only
            error = _defect("The job could not be prepared", err)
            self._end_run(run, "failed", error=error.to_json())
            return
        message = {"type": "run", "job": job.id, "kind": job.kind, "params": job.params_json}
        with self._changed:
            worker = self._worker
            is_stopped = run.is_killed or run.interrupted_at is not None
            has_worker = worker is not None and not worker.is_ending_on_purpose
            if worker is not None and has_worker and not is_stopped:
                run.is_sent = True
                worker.send({**message, **extras})
                return
        if is_stopped:
            self._end_run(run, "cancelled")
        else:
            self._give_back(
                run, Ending("The model process ended before the job began.", "", {}), False
            )

    def _tell_slow_interrupt(self) -> None:
        run = self._run
        if run is None or run.interrupted_at is None or run.is_slowness_told:
            return
        seconds = time.monotonic() - run.interrupted_at
        if seconds >= SLOW_INTERRUPT_SECONDS:
            run.is_slowness_told = True
            self._emit({"type": "slow_interrupt", "job": run.job.id, "seconds": round(seconds)})

    # What the worker says (its reader thread)

    def _on_message(self, worker: WorkerProcess, message: Event) -> None:
        kind = message.get("type")
        if kind == "ready":
            self._on_ready(worker, message)
        elif kind == "reply":
            self._questions.take_reply(message)
        elif "job" in message:
            self._on_job_message(worker, message)
        else:
            self._emit(message)

    def _on_ready(self, worker: WorkerProcess, message: Event) -> None:
        self._facts = {key: value for key, value in message.items() if key != "type"}
        self._set_state("ready")
        self._emit(message)
        with self._changed:
            worker.is_ready = True
            self._idle_since = time.monotonic()
            self._changed.notify_all()

    def _on_job_message(self, worker: WorkerProcess, message: Event) -> None:
        run, kind = self._run, str(message.get("type"))
        if run is None or run.job.id != message["job"] or self._worker is not worker:
            logger.warning("A %r for job %s came, which does not run.", kind, message["job"])
        elif kind in ("done", "cancelled"):
            self._end_run(run, kind, result=message.get("result"), message=message)
        elif kind == "failed":
            self._end_run(run, "failed", error=message.get("error"), message=message)
        elif kind == "paused":
            self._put_aside(run, message)
        elif kind in ("image", "video"):
            self._on_image(run, message)
        else:
            if kind == "warning":
                self._keep_warning(run, str(message.get("message", "")))
            self._emit(message)

    def _on_image(self, run: _Run, message: Event) -> None:
        try:
            self._on_event(message)
        except WebUIError as err:
            self._fail_for_image(run, err)
        except Exception as err:  # the job fence: a picture that is lost must fail its job
            self._fail_for_image(run, _defect("A finished picture could not be kept", err))

    def _fail_for_image(self, run: _Run, err: WebUIError) -> None:
        """Remember the first reason, and stop painting what cannot be kept."""
        logger.error("Job %d: a picture could not be kept: %s", run.job.id, err)
        with self._changed:
            if run.failure is None:
                run.failure = err
                self._tell(run, "interrupt")

    def _keep_warning(self, run: _Run, text: str) -> None:
        try:
            self._store.add_warning(run.job.id, text)
        except JobError as err:
            logger.warning("Job %d: the warning %r is not kept: %s", run.job.id, text, err)

    def _on_unsendable(self, worker: WorkerProcess, message: Event, err: Exception) -> None:
        run = self._run
        if run is not None and message.get("type") == "run" and message.get("job") == run.job.id:
            error = _defect("The job cannot be handed to the model process", err)
            self._end_run(run, "failed", error=error.to_json())
        else:
            logger.error("A message of type %r cannot be sent: %s", message.get("type"), err)

    # Ends

    def _end_run(
        self,
        run: _Run,
        state: str,
        *,
        error: dict[str, Any] | None = None,
        result: dict[str, Any] | None = None,
        message: Event | None = None,
    ) -> None:
        """Write a job's end, tell it, and free the worker for the next one."""
        if run.failure is not None:
            state, error, message = "failed", run.failure.to_json(), None
        ending = JobEnding(run.job.id, state, error, result)
        if self._endings.write(ending):
            self._emit(message or ending.event())
        self._set_free(run)

    def _set_free(self, run: _Run) -> None:
        """The worker can take another job."""
        with self._changed:
            self._crashes = 0
            is_ready = self._run is run and self._state == "busy"
            if self._run is run:
                self._run = None
                self._idle_since = time.monotonic()
            if is_ready:
                self._state = "ready"
            self._changed.notify_all()
        if is_ready:
            self._emit({"type": "worker", "state": "ready", "error": None})

    def _put_aside(self, run: _Run, message: Event) -> None:
        """A running job has kept what it did; it waits, and the worker is free."""
        if run.interrupted_at is not None:
            self._end_run(run, "cancelled")
            return
        try:
            self._store.put_aside(run.job.id, self._owner)
        except JobError as err:
            self._end_run(run, "failed", error=err.to_json())
            return
        self._emit(message)
        self._set_free(run)

    def _on_end(self, worker: WorkerProcess, ending: Ending) -> None:
        """The worker is gone: put its job back, and arrange what comes next."""
        with self._changed:
            worker.is_gone = True
            if self._worker is worker:
                self._worker = None
            run = self._run if self._run is not None and self._run.is_sent else None
            is_planned = worker.is_ending_on_purpose or self._is_stopping
            is_crash = not is_planned and not worker.is_killed_on_purpose
            if is_crash:
                self._hold_back(lost_a_job=run is not None)  # before anybody starts the next one
        self._questions.worker_ended(worker)
        if is_crash and (told := self._blame()):
            ending = replace(ending, reason=f"{ending.reason} {told}")
        if run is not None:
            self._give_back(run, ending, is_counted=not self._is_stopping)
        if is_crash:
            self._tell_crash(ending)
            return
        self._set_state("stopped" if is_planned else "starting")
        with self._changed:
            self._changed.notify_all()

    def _give_back(self, run: _Run, ending: Ending, is_counted: bool) -> None:
        if run.is_killed or run.failure is not None:
            self._end_run(run, "cancelled")
            return
        try:
            job = self._store.requeue(
                run.job.id, self._owner, ending.reason, hint=ending.hint,
                details=ending.details, is_counted=is_counted,
            )  # fmt: skip
        except JobError as err:
            logger.error("Job %d could not be put back: %s", run.job.id, err)
            self._end_run(run, "failed", error=err.to_json())
            return
        self._emit(_given_back_event(job, ending))
        with self._changed:
            self._run = None
            self._changed.notify_all()

    def _hold_back(self, *, lost_a_job: bool) -> None:
        """After a crash: the next start waits a while, or for a job."""
        self._crashes += 1
        backoff = FIRST_BACKOFF_SECONDS * 2 ** min(self._crashes - 1, 10)
        self._not_before = time.monotonic() + min(MAX_BACKOFF_SECONDS, backoff)
        if self._crashes >= MAX_CRASHES_WITHOUT_A_JOB and not lost_a_job:
            self._is_wanted = False

    def _tell_crash(self, ending: Ending) -> None:
        error = JobError(ending.reason, ending.hint, **ending.details)
        logger.error("%s Last lines of its log: %s", error, ending.details.get("log"))
        with self._changed:
            self._changed.notify_all()
        self._set_state("crashed", error.to_json())

    # Small parts

    def _running(self, job_id: int) -> _Run | None:
        run = self._run
        return run if run is not None and run.job.id == job_id else None

    def _tell(self, run: _Run, what: str) -> None:
        if run.is_sent and self._worker is not None:
            self._worker.send({"type": what, "job": run.job.id})

    def _set_state(self, state: str, error: dict[str, Any] | None = None) -> None:
        self._state, self._error = state, error
        self._emit({"type": "worker", "state": state, "error": error})

    def _emit(self, event: Event) -> None:
        try:
            self._on_event(event)
        except Exception:  # a page that cannot be told must not stop the painting
            logger.exception("An event of type %r could not be told.", event.get("type"))


def _given_back_event(job: Job, ending: Ending) -> Event:
    if job.state == "queued":
        return {"type": "requeued", "job": job.id, "reason": ending.reason}
    return JobEnding(job.id, job.state, job.error, job.result).event()


def _defect(what: str, err: Exception) -> JobError:
    """A failure nobody foresaw: logged whole under a short id that the person sees too."""
    number = uuid.uuid4().hex[:8]
    logger.error("%s (%s)", what, number, exc_info=err)
    return JobError(
        f"{what}: {type(err).__name__}: {err}", f"Details are in the log under {number}."
    )
