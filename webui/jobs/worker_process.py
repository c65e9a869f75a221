"""One model process: its pipes, its threads, and what its end means in words."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

from webui import wire
from webui.jobs.worker_log import WorkerLog

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 20.0
"""How long messages are still read from the pipe of a process that has ended."""
EXIT_SECONDS = 5.0
"""How long a process may live on after it closed its pipe."""
LOG_LINES_SHOWN = 12

_NEW_GROUP_ON_WINDOWS = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""A group of its own (elsewhere: a session), so that Ctrl+C reaches the web process only, which
then ends the worker, and so that a worker's own children can be ended with it."""

_MEMORY_HINT = (
    "Most often the computer ran out of memory. Lower the size or the batch size, close other "
    "programs, or start with --medvram."
)
_CUT_HINT = (
    "Most often a file that it was reading was cut, or the drive that holds it went away: see that "
    "the files of the model are whole. Otherwise look at the log of the model process."
)
_NATIVE_HINT = "A driver or a native library failed; look at the log, and try --device cpu."
_LOG_HINT = "Look at the log of the model process."
_NATIVE_SIGNALS = ("SIGSEGV", "SIGILL", "SIGFPE", "SIGABRT")
_WINDOWS_ENDS = {
    0xC0000005: "an access violation in native code",
    0xC0000017: "no memory left",
    0xC00000FD: "a stack overflow",
    0xC0000409: "a failed check in native code",
}


@dataclass(frozen=True)
class Ending:
    """Why a model process is gone.

    Attributes:
        reason: One sentence. hint: What to do.
        details: exit_code, signal, log (last lines), log_path.
    """

    reason: str
    hint: str
    details: Mapping[str, Any]


class WorkerProcess:
    """A started process and the threads that serve it.

    Args:
        command: Program and arguments; it speaks ``webui.wire`` on stdin and stdout.
        env: Environment variables on top of ours.
        cwd: Folder to run in, or None for ours.
        log: Where its stderr goes.
        on_message: Called with every message, in order, from one thread.
        on_unsendable: Called with a message that could not be packed, and why.
        on_end: Called once, after the last message, when the process has ended.
    Raises:
        OSError: The program cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path | None,
        log: WorkerLog,
        on_message: Callable[[WorkerProcess, dict[str, Any]], None],
        on_unsendable: Callable[[WorkerProcess, dict[str, Any], Exception], None],
        on_end: Callable[[WorkerProcess, Ending], None],
    ) -> None:
        self._log = log
        self._on_message = on_message
        self._on_unsendable = on_unsendable
        self._on_end = on_end
        self._garbage: str | None = None
        self._outgoing: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.started_at = time.monotonic()
        self.is_ready = False
        self.is_ending_on_purpose = False
        self.is_killed_on_purpose = False
        self.is_gone = False
        log.forget_lines()
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            cwd=cwd,
            text=False,
            start_new_session=os.name != "nt",
            creationflags=_NEW_GROUP_ON_WINDOWS,
        )
        self._ended = threading.Event()
        self._reader = self._thread(self._read_messages, "messages")
        self._stderr = self._thread(self._read_stderr, "stderr")
        self._writer = self._thread(self._write_messages, "requests")
        self._watcher = self._thread(self._watch, "end")

    def _thread(self, target: Callable[[], None], name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"worker-{name}", daemon=True)
        thread.start()
        return thread

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; never blocks. To a process that is gone it is lost; ``on_end`` tells."""
        self._outgoing.put(message)

    def close_input(self) -> None:
        """Send what waits, then close its stdin: the sign to end."""
        self.is_ending_on_purpose = True
        self._outgoing.put(None)

    def kill(self) -> None:
        """End the process and its children at once; ``on_end`` follows."""
        if self.process.returncode is None:
            _kill_group(self.process)

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until ``on_end`` has returned; False when the time is over first."""
        return self._ended.wait(timeout_seconds)

    # The four threads

    def _read_messages(self) -> None:
        stdout = cast(BinaryIO, self.process.stdout)
        try:
            while True:
                message: Any = wire.receive(stdout)
                if message is None:
                    break
                if not isinstance(message, dict):
                    raise ValueError(f"a {type(message).__name__} came instead of a message")
                self._on_message(self, cast("dict[str, Any]", message))
        except (ValueError, OSError) as err:
            self._garbage = str(err)
            self.kill()
            return
        except Exception as err:  # the fence of this thread: unread pipes would freeze the worker
            logger.exception("A message of the model process could not be handled.")
            self._garbage = f"{type(err).__name__}: {err}"
            self.kill()
            return
        try:
            self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            logger.warning("The model process %d closed its pipe and lives on; killed.", self.pid)
            self.kill()

    def _read_stderr(self) -> None:
        assert self.process.stderr is not None
        while data := os.read(self.process.stderr.fileno(), 65536):
            self._log.write(data)

    def _write_messages(self) -> None:
        stdin = cast(BinaryIO, self.process.stdin)
        sender = wire.Sender(stdin)
        while (message := self._outgoing.get()) is not None:
            try:
                sender.send(message)
            except OSError:
                break
            except (TypeError, ValueError, OverflowError) as err:
                self._on_unsendable(self, message, err)
        with contextlib.suppress(OSError):  # what is left in its buffer has nobody to go to
            stdin.close()

    def _watch(self) -> None:
        self.process.wait()
        _kill_group(self.process)
        self._outgoing.put(None)
        self._reader.join(DRAIN_SECONDS)
        self._stderr.join(1.0)
        try:
            self._on_end(self, self._ending())
        finally:
            self._ended.set()
            self._close_pipes()

    def _close_pipes(self) -> None:
        """Give back the file handles of threads that are through; others close their own."""
        pipes = (self.process.stdout, self.process.stderr)
        for thread, pipe in zip((self._reader, self._stderr), pipes, strict=True):
            if pipe is not None and not thread.is_alive():
                pipe.close()

    def _ending(self) -> Ending:
        ending = ending_of(self.process.returncode)
        if self._garbage is not None:
            ending = Ending(
                f"The model process sent something that is no message ({self._garbage}).",
                "Something in it prints to stdout; look at the log.",
                ending.details,
            )
        lines = self._log.last_lines()[-LOG_LINES_SHOWN:]
        details = {**ending.details, "log": list(lines), "log_path": str(self._log.path)}
        return replace(ending, details=details)


def ending_of(code: int) -> Ending:
    """Say what a return code means.

    Args:
        code: As in ``Popen.returncode``: negative = minus the signal.
    Returns:
        With ``exit_code`` and ``signal`` alone as details.
    """
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return Ending(
            f"The model process was killed ({name}).",
            _MEMORY_HINT
            if name == "SIGKILL"
            else _CUT_HINT
            if name == "SIGBUS"
            else _NATIVE_HINT
            if name in _NATIVE_SIGNALS
            else _LOG_HINT,
            {"exit_code": code, "signal": name},
        )
    facts = {"exit_code": code, "signal": None}
    if code in _WINDOWS_ENDS:
        return Ending(
            f"The model process ended with {_WINDOWS_ENDS[code]} ({code:#x}).",
            _MEMORY_HINT if code == 0xC0000017 else "Look at the log; try --device cpu.",
            facts,
        )
    if code == 0:
        return Ending("The model process ended by itself.", _LOG_HINT, facts)
    return Ending(
        f"The model process ended with exit code {code}.",
        "The last lines of its log say why.",
        facts,
    )


if os.name == "nt":

    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.kill()

else:

    def _kill_group(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nothing of it is left
            os.killpg(process.pid, signal.SIGKILL)
