"""Throws away, now and then, what nothing needs any more."""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import dataclass

from webui.errors import WebUIError
from webui.jobs.store import Job, JobStore
from webui.library.faces import FoundFaces
from webui.library.inputs import Inputs, keys_in
from webui.library.library import Library
from webui.library.videos import Videos
from webui.options import Options
from webui.services.forms.drafts import Drafts
from webui.services.gallery.room import GalleryRoom
from webui.services.old_jobs import OldJobs
from webui.services.training.jobs import states_folder
from webui.services.training.states import states_named, tidy_states
from webui.settings import Folders

logger = logging.getLogger(__name__)
FIRST_SECONDS, EVERY_SECONDS, STOP_SECONDS = 600.0, 6 * 3600.0, 5.0
"""When it begins, how often it comes back, and how long the end waits for it."""


@dataclass
class Tidying:
    """Input pictures, states of trainings, old jobs, parts of videos, small copies.

    Attributes:
        closing: Set when the program ends; every part stops soon then.
    """

    folders: Folders
    options: Options
    jobs: JobStore
    drafts: Drafts
    inputs: Inputs
    faces: FoundFaces
    library: Library
    videos: Videos
    gallery: GalleryRoom
    closing: threading.Event

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self.run, name="tidy", daemon=True)

    def start(self) -> None:
        """Come back now and then from now on."""
        self._thread.start()

    @property
    def is_at_work(self) -> bool:
        """``start`` was called, and it has not ended yet."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Wait a little for what is going on; ``closing`` has been set."""
        if self.is_at_work:
            self._thread.join(STOP_SECONDS)

    def input_pictures(self) -> int:
        """Remove input pictures that no job, draft or found face names any more; see
        ``Inputs.remove_unused``, whose answer and errors it has."""
        return self.inputs.remove_unused(self._named_inputs, self.closing.is_set)

    def trainings(self) -> int:
        """Remove states of trainings that ended before their end, all but the newest and those
        that a waiting or running training goes on from; see ``tidy_states``."""
        keep = int(self.options["training_states_kept"])
        return tidy_states(states_folder(self.folders), self._needed_states, keep)

    def old_jobs(self) -> int:
        """Forget ended jobs that nothing needs; see ``OldJobs.forget``."""
        keep = int(self.options["ended_jobs_kept"])
        old = OldJobs(self.jobs, self.library, self.videos, self.gallery.has_elsewhere)
        return old.forget(keep, self.closing.is_set) if keep else 0

    def run(self) -> None:
        """Tidy up, wait, and so on, until the program ends."""
        pause = FIRST_SECONDS
        while not self.closing.wait(pause):
            pause = EVERY_SECONDS
            try:
                self.old_jobs()
                removed = self.input_pictures()
                self.videos.remove_parts({job.id for job in self._unfinished()})
                self.trainings()
                self.gallery.trim_thumbs(int(self.options["thumbnail_cache_mb"]))
                logger.info("%d input pictures that nothing names were removed.", removed)
            except (OSError, WebUIError):
                if not self.closing.is_set():
                    logger.warning("Input pictures could not be tidied up.", exc_info=True)

    def _needed_states(self) -> set[int]:
        unfinished = self._unfinished()
        texts = itertools.chain((job.params_json for job in unfinished), self.drafts.texts())
        return {job.id for job in unfinished} | states_named(texts)

    def _named_inputs(self) -> set[str]:
        texts = itertools.chain(self.drafts.texts(), self.jobs.requests(), self.faces.texts())
        return keys_in(texts)

    def _unfinished(self) -> list[Job]:
        return [*self.jobs.list(states=("running",)), *self.jobs.waiting()]
