"""When "Generate forever" ends by itself: so many rounds, so long, a starred picture, a full disk.

All of it is worked out from the chain's jobs in the database, so it holds after a restart, too.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webui.errors import CheckpointNotFoundError, ParamsError
from webui.jobs.store import Job, JobStore
from webui.options import Options
from webui.params import AnyParams
from webui.services.resolve import AnyRequest, request_from_json

logger = logging.getLogger(__name__)
GIGABYTE = 10**9


@dataclass(frozen=True)
class Forever:
    """Asks once more for what repeats.

    Attributes:
        folder: Pictures are written there.
        is_starred: Whether one of these jobs' pictures has a star.
        resolve: From a request to complete params.
        wake: Tells that a job was submitted.
    """

    jobs: JobStore
    options: Options
    folder: Path
    is_starred: Callable[[Sequence[int]], bool]
    resolve: Callable[[AnyRequest], AnyParams]
    wake: Callable[[], None]

    def go_on(self, job_id: int) -> None:
        """Put the next round of a job that has just ended into the queue, if it repeats."""
        job = self.jobs.get(job_id)
        if job.repeat_json is None:
            return
        chain = self.jobs.chain_of(job)
        if told := reason_to_end(chain, self.options.as_dict(), self.folder, self.is_starred):
            self.jobs.stop_repeating_for(job.client)
            logger.info("%s", told)
            return
        try:
            params: Any = self.resolve(request_from_json(job.repeat_json))
            if self.jobs.submit_next(job_id, params.to_json()) is not None:
                self.wake()
        except (ValueError, ParamsError, CheckpointNotFoundError) as err:
            logger.warning("Generate forever ended after job %s: %s", job_id, err)


def reason_to_end(
    chain: Sequence[Job],
    options: Mapping[str, Any],
    folder: Path,
    is_starred: Callable[[Sequence[int]], bool],
) -> str | None:
    """Why nothing more is asked for; None while it goes on.

    Args:
        chain: The browser's repeating jobs, oldest first; the last has just ended.
        options: ``forever_rounds``, ``forever_minutes``, ``forever_until_starred`` and
            ``forever_disk_reserve_gb``; 0 = no limit.
        folder: Pictures are written there.
        is_starred: Whether one of these jobs' pictures has a star.
    """
    rounds, minutes = options["forever_rounds"], options["forever_minutes"]
    if rounds and len(chain) >= rounds:
        return f"Generate forever ended after {len(chain)} rounds, as the settings say."
    if minutes and chain and time.time() - chain[0].created_at >= minutes * 60:
        return f"Generate forever ended after {minutes:g} minutes, as the settings say."
    if options["forever_until_starred"] and is_starred([job.id for job in chain]):
        return "Generate forever ended: one of its pictures has a star."
    reserve = options["forever_disk_reserve_gb"] * GIGABYTE
    free = shutil.disk_usage(folder).free
    if free < reserve:
        return (
            f"Generate forever ended: {free / GIGABYTE:.1f} GB are free on the disk, "
            f"{reserve / GIGABYTE:g} GB are to stay free."
        )
    return None
