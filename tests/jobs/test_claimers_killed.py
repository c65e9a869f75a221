"""Several claiming processes, kill -9 at random: no job lost, none run twice at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.patience import PATIENCE
from webui.jobs.store import JobStore

JOBS = 120
KILLS = 6
PROJECT = Path(__file__).resolve().parents[2]


def claimer(database: str, journal: str) -> None:
    """Claim, note the beginning, work a little, note the end, finish; until nothing waits."""
    store, owner = JobStore(Path(database)), str(os.getpid())
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while (job := store.claim(owner)) is not None:
        os.write(handle, f"begin {job.id} {owner}\n".encode())
        time.sleep(random.uniform(0, 0.02))
        os.write(handle, f"end {job.id} {owner}\n".encode())
        store.finish(job.id, owner, "done")


def start_claimer(database: Path, journal: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, __file__, str(database), str(journal)]
    return subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})


def put_back_jobs_of(store: JobStore, journal: Path, pid: int) -> None:
    """What a supervisor does when its worker is gone."""
    rows = store._db.read("SELECT id FROM jobs WHERE state = 'running' AND owner = ?", (str(pid),))
    for row in rows:
        with journal.open("a") as file:
            file.write(f"dead {row['id']} {pid}\n")
        store.requeue(row["id"], str(pid), "killed by the test", is_counted=False)


def test_killed_claimers_lose_no_job_and_share_none(tmp_path: Path) -> None:
    database, journal = tmp_path / "jobs.sqlite3", tmp_path / "journal"
    journal.touch()
    store = JobStore(database)
    ids = [store.submit("txt2img", "{}").id for _ in range(JOBS)]
    crowd = [start_claimer(database, journal) for _ in range(3)]
    chance, kills = random.Random(7), 0
    deadline = time.monotonic() + PATIENCE
    while store.counts()["done"] < JOBS:
        assert time.monotonic() < deadline, store.counts()
        time.sleep(chance.uniform(0.05, 0.2))
        if kills < KILLS and journal.read_text():
            victim = crowd.pop(0)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            kills += 1
            put_back_jobs_of(store, journal, victim.pid)
        alive = [process for process in crowd if process.poll() is None]
        gone = [process for process in crowd if process.poll() is not None]
        for process in gone:
            assert process.returncode == 0
        crowd = alive
        while len(crowd) < 3 and store.counts()["queued"]:
            crowd.append(start_claimer(database, journal))
    for process in crowd:
        process.wait(PATIENCE)
    store.close()
    check_journal(journal.read_text().splitlines(), ids)
    assert kills == KILLS


def check_journal(lines: list[str], ids: list[int]) -> None:
    holder: dict[int, str] = {}
    ends: Counter[int] = Counter()
    for line in lines:
        what, job_text, owner = line.split()
        job = int(job_text)
        if what == "begin":
            assert job not in holder, f"job {job} was run twice at once"
            holder[job] = owner
        else:
            ends[job] += what == "end"
            if holder.get(job) == owner:
                del holder[job]
    assert sorted(ends) == sorted(ids)
    assert all(count >= 1 for count in ends.values())


if __name__ == "__main__":
    claimer(sys.argv[1], sys.argv[2])
