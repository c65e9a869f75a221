"""Ended jobs that nothing needs any more are forgotten, so that their list has an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from webui.jobs.store import JobStore
from webui.library.library import Library, SavedPicture
from webui.library.videos import Videos

LASTING_KINDS = ("train-lora",)
"""Kinds of jobs that stay: what they learnt is shown beside later ones of the same subject."""


@dataclass(frozen=True)
class OldJobs:
    """Decides which jobs may go.

    Attributes:
        has_elsewhere: True for a picture that the gallery knows in the trash or in another place.
    """

    jobs: JobStore
    library: Library
    videos: Videos
    has_elsewhere: Callable[[SavedPicture], bool]

    def forget(self, keep: int, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Forget ended jobs without any picture or video, but for the newest ones.

        A plot and its cells stay or go together. A job whose picture may only be out of reach (its
        disk is not there) stays.

        Args:
            keep: So many of the newest ended jobs stay in any case.
            should_stop: Asked between two jobs.
        Returns:
            How many were forgotten, parts not counted.
        Raises:
            WebUIError: The database cannot be used.
        """
        forgotten = 0
        for job_id in self.jobs.ended_before(keep, LASTING_KINDS):
            if should_stop():
                break
            together = [job_id, *(part.id for part in self.jobs.parts(job_id))]
            if any(self._is_needed(one) for one in together):
                continue
            if self.jobs.forget(job_id):
                self.library.forget_jobs(together)
                forgotten += 1
        return forgotten

    def _is_needed(self, job_id: int) -> bool:
        video = self.videos.of(job_id)
        if video is not None and (video.is_there or not video.root.is_dir()):
            return True
        return any(self._may_be_there(picture) for picture in self.library.images_of(job_id))

    def _may_be_there(self, picture: SavedPicture) -> bool:
        return picture.is_there or not picture.root.is_dir() or self.has_elsewhere(picture)
