"""``--num_processes``: the same training in several processes side by side, one for each device.

``accelerate launch`` does the same where several machines take part. Here Ctrl+C reaches every
process once, so that it ends a training as it does in one, and what is wrong is printed once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from webui.errors import ParamsError

MOST_PROCESSES: Final = 64
LOOK_SECONDS: Final = 0.1
GRACE_SECONDS: Final = 10.0
"""When one has failed the others, who wait for it in vain, have so long to end by themselves."""
_HERE: Final = "127.0.0.1"


def process_count(text: str) -> int:
    """The number behind ``--num_processes``.

    Raises:
        ParamsError: It is none.
    """
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_PROCESSES:
        return int(text)
    raise ParamsError(
        f'num_processes: "{text}" is no number of processes from 1 to {MOST_PROCESSES}.',
        "Write the number of cards to train on.",
        field="num_processes",
    )


def check_devices(kind: str) -> None:
    """See to it that each process on this machine has a card of its own.

    Args:
        kind: ``cpu``, ``cuda`` …; on the CPU any number goes.
    Raises:
        ParamsError: There are fewer.
    """
    wanted = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if kind == "cpu" or wanted == 1:
        return
    import torch

    found = torch.accelerator.device_count()
    if wanted > found:
        raise ParamsError(
            f"num_processes: {wanted} processes need {wanted} cards; this machine has {found}.",
            f"Write --num_processes {found}, or --device cpu.",
            field="num_processes",
        )


def train_side_by_side(words: Sequence[str], count: int) -> int:
    """Run the training command in so many processes and wait for them.

    Args:
        words: Of the command, without ``--num_processes``.
    Returns:
        Their exit code; that of the first to fail, if one does.
    """
    children = [_start(words, env) for env in _environments(count)]
    with _passing_on(signal.SIGINT, children), _passing_on(signal.SIGTERM, children):
        try:
            return _code_of(children)
        finally:
            for child in children:
                if child.poll() is None:
                    child.kill()
                child.wait()


def _start(words: Sequence[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "webui.train_command", *words]
    return subprocess.Popen(command, env=env, start_new_session=os.name != "nt")


def _environments(count: int) -> Iterator[dict[str, str]]:
    """What torch reads of a process and its fellows, for each of them."""
    with socket.socket() as probe:
        probe.bind((_HERE, 0))
        port = probe.getsockname()[1]
    threads = max(1, (os.cpu_count() or 1) // count)
    root = str(Path(__file__).resolve().parents[2])
    shared = {
        "OMP_NUM_THREADS": str(threads),
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        "MASTER_ADDR": _HERE,
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    for index in range(count):
        yield {**shared, "RANK": str(index), "LOCAL_RANK": str(index)}


def _code_of(children: Sequence[subprocess.Popen[bytes]]) -> int:
    until = float("inf")
    failed = 0
    while True:
        codes = [child.poll() for child in children]
        failed = failed or next((code for code in codes if code), 0)
        if None not in codes:
            return failed
        if failed and until == float("inf"):
            until = time.monotonic() + GRACE_SECONDS
        if time.monotonic() > until:
            return failed
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def _passing_on(number: int, children: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Meanwhile a signal goes to the children, who know what to do with it.

    On Windows a console sends Ctrl+C to all by itself.
    """

    def pass_on(number: int, _frame: Any) -> None:
        for child in children:
            if os.name != "nt" and child.poll() is None:
                child.send_signal(number)

    before = signal.signal(number, pass_on)
    try:
        yield
    finally:
        signal.signal(number, before)
