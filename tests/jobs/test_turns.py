"""Users take turns: who asks for ten pictures does not keep out who asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.jobs.store import JobStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    made = JobStore(tmp_path / "jobs.sqlite3")
    yield made
    made.close()


def ask(store: JobStore, *wishes: str, priority: int = 0) -> list[int]:
    """``ann1`` is a job of ann; returns the jobs' ids."""
    return [
        store.submit("txt2img", f'"{wish}"', user=wish[:-1], priority=priority).id
        for wish in wishes
    ]


def painted(store: JobStore) -> list[str]:
    """Everything that waits, in the order in which it is really begun."""
    order = []
    while job := store.claim("worker"):
        order.append(job.params_json.strip('"'))
        store.finish(job.id, "worker", "done")
    return order


def test_turns_when_one_user_asked_for_much_come_to_the_others_too(store: JobStore) -> None:
    ask(store, "ann1", "ann2", "ann3", "ann4", "bob1", "bob2", "eve1")
    foretold = [job.params_json.strip('"') for job in store.waiting()]

    assert painted(store) == ["ann1", "bob1", "eve1", "ann2", "bob2", "ann3", "ann4"] == foretold


def test_turns_when_a_user_was_just_served_go_to_who_waits_longest(store: JobStore) -> None:
    ask(store, "ann1", "ann2", "ann3")
    first = store.claim("worker")
    assert first is not None
    store.finish(first.id, "worker", "done")
    ask(store, "bob1", "bob2")

    assert painted(store) == ["bob1", "ann2", "bob2", "ann3"]


def test_turns_when_all_are_one_users_are_as_asked(store: JobStore) -> None:
    ask(store, "1", "2", "3")
    assert painted(store) == ["1", "2", "3"]


def test_turns_when_priorities_differ_come_after_them(store: JobStore) -> None:
    ask(store, "ann1", "ann2")
    ask(store, "bob1", "bob2", priority=1)
    assert painted(store) == ["bob1", "bob2", "ann1", "ann2"]


def test_turns_when_a_job_is_held_count_the_others(store: JobStore) -> None:
    held, *_ = ask(store, "ann1", "ann2", "bob1")
    store.pause_queued(held)
    assert painted(store) == ["ann2", "bob1"]


def test_place_when_asked_for_is_that_of_the_line(store: JobStore) -> None:
    ids = ask(store, "ann1", "ann2", "bob1")
    assert [store.position(job) for job in ids] == [1, 3, 2]
    assert [job.id for job in store.waiting()] == [ids[0], ids[2], ids[1]]
