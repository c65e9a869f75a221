"""A worker without models: does what the params of each job say. Run as a program."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from webui import wire

_messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
_interrupted = threading.Event()
_skipped = threading.Event()


def main() -> None:
    flags = json.loads(os.environ.get("FAKE_WORKER", "{}"))
    if flags.get("note_pid"):
        with open(flags["note_pid"], "a") as file:
            file.write(f"{os.getpid()}\n")
    if flags.get("die_at_start"):
        print("no module named torch", file=sys.stderr, flush=True)
        os._exit(3)
    out = wire.Sender(sys.stdout.buffer)
    threading.Thread(target=_listen, args=(out, flags), daemon=True).start()
    time.sleep(flags.get("start_seconds", 0))
    out.send({"type": "ready", "device": "fake"})
    while True:
        _do(out, _messages.get())


def _listen(out: wire.Sender, flags: dict[str, Any]) -> None:
    while (message := wire.receive(sys.stdin.buffer)) is not None:
        kind = message["type"]
        if kind == "interrupt":
            _interrupted.set()
        elif kind == "skip":
            _skipped.set()
        elif kind == "memory":
            if not flags.get("mute"):
                reply = {"type": "reply", "request": message["request"], "free_bytes": 7}
                out.send(reply)
        else:
            _messages.put(message)
    os._exit(0)  # the web process is gone


def _do(out: wire.Sender, message: dict[str, Any]) -> None:
    job, plan = message["job"], json.loads(message["params"])
    _interrupted.clear()
    _skipped.clear()
    _note(plan, "begin", job)
    out.send({"type": "started", "job": job, "at": time.time(), "extra": message.get("extra")})
    for line in plan.get("stderr", []):
        print(line, file=sys.stderr, flush=True)
    if _is_due(plan):
        _misbehave(plan["misbehave"])
    steps = plan.get("steps", 2)
    for step in range(steps):
        if _interrupted.is_set():
            out.send({"type": "cancelled", "job": job, "result": {"steps": step}})
            _note(plan, "end", job)
            return
        if _skipped.is_set():
            break
        time.sleep(plan.get("step_seconds", 0))
        out.send({"type": "progress", "job": job, "step": step + 1, "steps": steps})
    for index in range(plan.get("images", 1)):
        out.send({"type": "image", "job": job, "index": index, "image": b"PNG" * 100})
    if plan.get("warning"):
        out.send({"type": "warning", "job": job, "message": plan["warning"]})
    _note(plan, "end", job)
    if plan.get("fail"):
        error = {"type": "ParamsError", "message": plan["fail"], "hint": "", "details": {}}
        out.send({"type": "failed", "job": job, "error": error})
    else:
        out.send({"type": "done", "job": job, "result": {"skipped": _skipped.is_set()}})


def _is_due(plan: dict[str, Any]) -> bool:
    """True while the job has misbehaved fewer than ``times`` times (counted in a file)."""
    if "misbehave" not in plan:
        return False
    count_file = Path(plan["count_file"])
    count = int(count_file.read_text()) if count_file.exists() else 0
    count_file.write_text(str(count + 1))
    return count < plan.get("times", 1)


def _misbehave(how: str) -> None:
    if how == "crash":
        print("Traceback: something terrible", file=sys.stderr, flush=True)
        os._exit(1)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "garbage":
        os.write(1, b"hello, I am a progress bar\n" * 10)
        time.sleep(60)
    elif how == "hang":
        while True:
            time.sleep(60)
    elif how == "child":
        if os.fork() == 0:
            time.sleep(120)
            os._exit(0)
        os._exit(9)
    else:
        raise ValueError(how)


def _note(plan: dict[str, Any], what: str, job: int) -> None:
    if plan.get("journal"):
        with open(plan["journal"], "a") as file:
            file.write(f"{what} {job} {os.getpid()} {time.time()}\n")


if __name__ == "__main__":
    main()
