"""What a person does to jobs: stop, skip, hold, edit, ask once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from webui.jobs.live import LiveJobs
from webui.jobs.rows import FINISHED
from webui.jobs.store import Job, JobStore
from webui.jobs.supervisor import Supervisor
from webui.params import AnyParams, from_json
from webui.services import remedies
from webui.services.forms.drafts import Drafts
from webui.services.plots.plots import Plots
from webui.services.resolve import AnyRequest, PaintingRequest
from webui.services.training.jobs import PAUSABLE, not_pausable

EDITING = "queue"
"""The draft of a browser that tells which waiting job it edits."""


@dataclass(frozen=True)
class JobControl:
    """Changes jobs of a studio.

    Attributes:
        resolve, submit: The studio's.
        announce: Tells those who wait for jobs that some may have ended.
    """

    jobs: JobStore
    live: LiveJobs
    supervisor: Supervisor
    drafts: Drafts
    plots: Plots
    resolve: Callable[[AnyRequest], AnyParams]
    submit: Callable[..., Job]
    announce: Callable[[], None]

    def interrupt(self, job_id: int | None = None) -> None:
        """Stop painting now and keep what there is; without an id, whatever is running."""
        running = {live.job_id for live in self.live.running()}
        claimed = self.supervisor.running_job_id  # its files may still be prepared
        for running_id in running | ({claimed} if claimed is not None else set()):
            if job_id in (None, running_id):
                self.jobs.stop_repeating(running_id)
                self.live.update(running_id, interrupted=True)
                if (whole := self.jobs.get(running_id).parent) is not None:
                    self.plots.stop(whole)
                self.supervisor.interrupt(running_id)

    def skip(self, job_id: int | None = None) -> None:
        """End the present batch of a running job and go on with the next."""
        for live in self.live.running():
            if job_id in (None, live.job_id):
                self.live.update(live.job_id, skipped=True)
                self.supervisor.skip(live.job_id)

    def cancel(self, job_id: int) -> None:
        """Take a waiting job out of the queue, or interrupt it if it already runs.

        A job that is part of another ends with all of that; what is there of a plot is still
        laid out.

        Raises:
            JobNotFoundError: No job has that id.
        """
        job = self.jobs.get(job_id)
        whole = job.parent or job.id
        if self.jobs.part_states(whole) and self.jobs.get(whole).state == "queued":
            self._interrupt_part_of(whole)
            self.plots.stop(whole)
            self.announce()
            return
        self.jobs.stop_repeating(job_id)
        if self.live.get(job_id) is not None:
            self.live.update(job_id, interrupted=True)
        self.supervisor.cancel(job_id)
        self.announce()

    def _interrupt_part_of(self, whole: int) -> None:
        """Interrupt the part of a job that is being painted, if one is."""
        running = self.supervisor.running_job_id
        if running is not None and self.jobs.get(running).parent == whole:
            self.interrupt(running)

    def stop_current(self, client: str, kinds: Sequence[str] | None = None) -> None:
        """The person pressed Interrupt: end what their browser is painting now, and repeating.

        Args:
            kinds: As for ``JobStore.current``.
        """
        self.jobs.stop_repeating_for(client)
        job = self.jobs.current(client, kinds)
        if job is not None and job.state not in FINISHED:
            self.cancel(job.id)

    def repeat(self, job_id: int, *, client: str = "", way: str = "") -> Job:
        """Ask for a job once more: exactly as it was, or in a way that may help after its failure.

        Args:
            way: One of ``remedies.offered``; empty = as it was.
        Raises:
            JobNotFoundError: No job has that id.
            JobError: It is a plot whose cells are not known any more, or the way is no way.
        """
        job = self.jobs.get(job_id)
        if job.kind == "plot":
            return self.plots.repeat(job, client=client)
        params = from_json(job.params_json)
        return self.submit(remedies.apply(params, way) if way else params, client=client)

    # Waiting

    def pause_job(self, job_id: int) -> None:
        """Let a waiting job wait on until ``resume_job``; a training that runs keeps its state
        and gives the device free.

        Raises:
            JobError: It runs, and is of a kind that cannot wait in the middle.
        """
        job = self.jobs.get(job_id)
        if job.state == "running" and job.kind not in PAUSABLE:
            raise not_pausable(job.kind)
        self.supervisor.pause_job(job_id)

    def resume_job(self, job_id: int) -> None:
        """Let a paused job go on from where it was, when its turn comes."""
        self.supervisor.resume_job(job_id)

    def sample(self, job_id: int) -> None:
        """Have a running training paint its sample pictures after the present step."""
        self.supervisor.sample(job_id)

    def edit(self, job_id: int, client: str) -> None:
        """Hold a waiting job; what this browser asks for next takes its place (``replace``)."""
        self.pause_job(job_id)
        self.drafts.save(client, EDITING, {"edited": job_id})

    def replace(self, request: AnyRequest | AnyParams, client: str) -> bool:
        """Let the job this browser edits ask for this instead, in its old place.

        Returns:
            False when it edits none, or one of another kind, or that one waits no more or was
            let go on.
        Raises:
            WebUIError: As ``resolve``.
        """
        edited = self.drafts.load(client, EDITING).get("edited")
        if edited is None:
            return False
        job = self.jobs.get(edited)
        if not job.is_paused:
            self.drafts.save(client, EDITING, {})
            return False
        if job.kind != request.kind:
            return False
        params: Any = self.resolve(request) if isinstance(request, PaintingRequest) else request
        self.drafts.save(client, EDITING, {})
        is_replaced = self.jobs.replace_params(edited, params.kind, params.to_json())
        self.resume_job(edited)
        return is_replaced
