"""The web process is killed with kill -9: its worker goes too, and a restart finishes the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.jobs.small_studio import FAKE_WORKER, PROJECT, is_alive
from tests.patience import wait_until
from webui.jobs.data_lock import lock_data_folder
from webui.jobs.store import JobStore
from webui.jobs.supervisor import Supervisor

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9")


def serve(folder: Path) -> None:
    """A web process in small: recover, then run jobs until killed."""
    with lock_data_folder(folder):
        store = JobStore(folder / "jobs.sqlite3")
        store.recover_at_start()
        supervisor = Supervisor(
            store, [sys.executable, str(FAKE_WORKER)],
            env={"FAKE_WORKER": json.dumps({"note_pid": str(folder / "pids")})},
            prepare=lambda job: {}, on_event=lambda event: None, log_path=folder / "worker.log",
        )  # fmt: skip
        supervisor.start()
        while True:
            time.sleep(0.2)
            supervisor.wake()


def start_server(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.test_web_killed", str(folder)],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )


def test_killing_the_web_process_loses_no_job_and_leaves_no_worker(tmp_path: Path) -> None:
    store, journal = JobStore(tmp_path / "jobs.sqlite3"), tmp_path / "journal"
    plan = json.dumps({"steps": 5, "step_seconds": 0.02, "journal": str(journal)})
    ids = [store.submit("txt2img", plan).id for _ in range(20)]
    for round_number in range(3):
        server = start_server(tmp_path)
        wait_until(lambda n=round_number: ends(journal).total() >= 3 * (n + 1), "progress")
        server.send_signal(signal.SIGKILL)
        server.wait()
        pids = [int(line) for line in (tmp_path / "pids").read_text().split()]
        assert len(pids) == round_number + 1
        wait_until(lambda all_pids=pids: not any(map(is_alive, all_pids)), "the worker did not go")
        assert store.counts()["running"] <= 1
    server = start_server(tmp_path)
    try:
        wait_until(lambda: store.counts()["done"] == len(ids), "all jobs")
        assert store.counts()["done"] == len(ids)
        assert sorted(ends(journal)) == ids
        assert ends(journal).total() <= len(ids) + 3, "finished jobs were run again"
    finally:
        server.kill()
        server.wait()
        store.close()


def ends(journal: Path) -> Counter[int]:
    if not journal.exists():
        return Counter()
    lines = [line.split() for line in journal.read_text().splitlines()]
    return Counter(int(line[1]) for line in lines if line[0] == "end")


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
