"""The model process: owns one device and its models, takes one job at a time.

Started by the supervisor; speaks ``webui.wire`` over its own stdin and stdout. It joins
checkpoints, pipelines and (later) restoration and training. When the web process is gone, stdin
closes and the worker ends.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import queue
import sys
import threading
import time
import traceback
import uuid
from typing import Any, BinaryIO

from webui.wire import Sender, receive

logger = logging.getLogger("webui.worker")


class Flags:
    """What the person asked of the running job. Written by the reader, read while painting."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._job: int | None = None
        self._interrupted = False
        self._skipped = False
        self._paused = False
        self._wants_samples = False

    def begin(self, job: int) -> None:
        with self._lock:
            self._job, self._interrupted, self._skipped = job, False, False
            self._paused = self._wants_samples = False

    def interrupt(self, job: int) -> None:
        with self._lock:
            if job == self._job:
                self._interrupted = True

    def skip(self, job: int) -> None:
        with self._lock:
            if job == self._job:
                self._skipped = True

    def pause(self, job: int) -> None:
        with self._lock:
            if job == self._job:
                self._paused = True

    def sample(self, job: int) -> None:
        with self._lock:
            if job == self._job:
                self._wants_samples = True

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def interrupted(self) -> bool:
        return self._interrupted

    @property
    def should_stop(self) -> bool:
        return self._interrupted or self._skipped

    def clear_skip(self) -> None:
        with self._lock:
            self._skipped = False

    def take_samples(self) -> bool:
        with self._lock:
            wanted, self._wants_samples = self._wants_samples, False
        return wanted


def main() -> int:
    """Run until stdin closes or an exit message comes."""
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    incoming, sender = _open_wire()
    flags = Flags()
    work: queue.Queue[dict[str, Any] | None] = queue.Queue()
    threading.Thread(target=_read, args=(incoming, work, flags), name="reader", daemon=True).start()
    settings = json.loads(os.environ.get("DANQING_WORKER", "{}"))
    from webui.torch_setup import prepare_torch  # the imports that take seconds begin here

    prepare_torch()
    from webui.model_process.painter import Painter

    painter = Painter(settings, sender, flags)
    told = {"pid": os.getpid(), "memory_bytes": painter.memory_bytes()}
    sender.send({"type": "ready", **told, **painter.facts()})
    while True:
        message = work.get()
        if message is None:
            return 0
        _serve(message, painter, sender, flags)


def _open_wire() -> tuple[BinaryIO, Sender]:
    """Take stdin and stdout for messages; prints of libraries go to stderr from now on."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return incoming, Sender(outgoing)


def _read(incoming: BinaryIO, work: queue.Queue[dict[str, Any] | None], flags: Flags) -> None:
    """Take messages as they come; interrupts act at once, the rest waits its turn.

    When the web process is gone, the process ends at once, in whatever it is doing: its job is
    queued again at the next start, and a picture nobody takes is of no use.
    """
    while True:
        message = receive(incoming)
        if message is None:
            os._exit(0)
        kind = message["type"]
        if kind == "interrupt":
            flags.interrupt(message["job"])
        elif kind == "skip":
            flags.skip(message["job"])
        elif kind == "pause":
            flags.pause(message["job"])
        elif kind == "sample":
            flags.sample(message["job"])
        elif kind == "exit":
            work.put(None)
        else:
            if kind == "run":
                flags.begin(message["job"])
            work.put(message)


def _serve(message: dict[str, Any], painter: Any, sender: Sender, flags: Flags) -> None:
    if message["type"] == "run":
        _run_job(message, painter, sender, flags)
    else:
        reply = _answer(message, painter)
        sender.send({"type": "reply", "request": message.get("request", 0), **reply})


def _answer(message: dict[str, Any], painter: Any) -> dict[str, Any]:
    try:
        if message["type"] == "load":
            painter.load(message)
            return {}
        if message["type"] == "unload":
            painter.unload()
            return {}
        if message["type"] == "memory":
            return painter.memory()
        if message["type"] == "speed":
            return painter.speed()
        return {"error": f"unknown message {message['type']!r}"}
    except Exception as err:  # fence: a question must not end the process
        logger.exception("A question could not be answered.")
        return {"error": f"{type(err).__name__}: {err}"}


def _run_job(message: dict[str, Any], painter: Any, sender: Sender, flags: Flags) -> None:
    """The job fence: whatever goes wrong inside becomes the job's failure, with an id."""
    from webui.errors import JobCancelled, JobPaused, WebUIError

    job = message["job"]
    sender.send({"type": "started", "job": job})
    began = time.monotonic()
    try:
        result = painter.run(message)
        result["seconds"] = round(time.monotonic() - began, 3)
        kind = "cancelled" if flags.interrupted else "done"
        sender.send({"type": kind, "job": job, "result": result})
    except JobPaused:
        sender.send({"type": "paused", "job": job})
    except JobCancelled:
        sender.send({"type": "cancelled", "job": job, "result": {}})
    except WebUIError as err:
        logger.warning("Job %s failed: %s", job, err, exc_info=True)
        sender.send({"type": "failed", "job": job, "error": err.to_json()})
    except Exception as err:
        short_id = uuid.uuid4().hex[:8]
        logger.error("Job %s failed (%s):\n%s", job, short_id, traceback.format_exc())
        sender.send({"type": "failed", "job": job, "error": _unexpected(err, short_id)})
    finally:
        painter.after_job()


def _unexpected(err: Exception, short_id: str) -> dict[str, Any]:
    from webui.errors import JobError

    wrapped = JobError(
        f"The job stopped on an unexpected problem: {type(err).__name__}: {err}",
        f"The details are in log/worker.log under {short_id}.",
        error_id=short_id,
    )
    return wrapped.to_json()


if __name__ == "__main__":
    sys.exit(main())
