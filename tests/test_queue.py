"""Waiting jobs held, preferred, moved and edited; what they will take; a pause that stays."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webui.built_in_extensions.prompt_matrix.web import split_parts
from webui.built_in_extensions.xyz_plot.axis_values import numbers, split_values
from webui.extension_forms import join_values
from webui.jobs.live import LiveJobs
from webui.jobs.store import Job, JobStore
from webui.options import OPTION_DEFAULTS
from webui.params import Hires, TextToImage
from webui.services.costs.estimates import Estimates
from webui.services.costs.job_work import work_of
from webui.services.costs.queue_times import queue_times
from webui.services.costs.robust_fit import fit
from webui.services.forever import reason_to_end


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    store = JobStore(tmp_path / "jobs.sqlite3")
    yield store
    store.close()


def submit(store: JobStore, **more: Any) -> Job:
    params = TextToImage(checkpoint="a", **more)
    return store.submit("txt2img", params.to_json())


def submit_plot(store: JobStore, cells: int = 2) -> Job:
    return store.submit_with_parts([("txt2img", "{}")] * cells, "plot", "{}")


def line(store: JobStore) -> list[int]:
    return [job.id for job in store.waiting()]


def test_move_when_a_job_has_parts_then_they_go_along_in_their_order(store: JobStore) -> None:
    first, plot, last = submit(store).id, submit_plot(store).id, submit(store).id
    parts = [part.id for part in store.parts(plot)]

    store.move(plot, first)
    assert line(store) == [*parts, plot, first, last]
    store.move(last, plot)
    assert line(store) == [last, *parts, plot, first]
    store.move(plot, None)
    assert line(store) == [last, first, *parts, plot]


def test_claim_when_parts_are_unfinished_then_the_whole_waits(store: JobStore) -> None:
    plot, other = submit_plot(store), submit(store)
    claimed = [store.claim("me") for _ in range(3)]
    first, second, third = (job for job in claimed if job is not None)

    assert [first.id, second.id] == [part.id for part in store.parts(plot.id)]
    assert third.id == other.id and store.claim("me") is None
    store.finish(first.id, "me", "done")
    assert store.claim("me") is None
    store.finish(second.id, "me", "failed")
    whole = store.claim("me")
    assert whole is not None and whole.id == plot.id


def test_prefer_when_a_job_has_parts_then_all_run_earlier(store: JobStore) -> None:
    submit(store)
    plot = submit_plot(store)

    assert store.prefer(plot.id, 1)

    assert line(store)[:3] == [*(part.id for part in store.parts(plot.id)), plot.id]
    assert store.pause_queued(plot.id)
    claimed = store.claim("me")
    assert claimed is not None and claimed.parent is None and claimed.priority == 0


def test_replace_when_a_job_waits_then_keeps_its_place_and_no_other_is_touched(
    store: JobStore,
) -> None:
    first, second, plot = submit(store, steps=3), submit(store), submit_plot(store)

    assert store.replace_params(first.id, "txt2img", '{"steps": 9}')
    assert not store.replace_params(plot.id, "txt2img", "{}")
    assert not store.replace_params(store.parts(plot.id)[0].id, "txt2img", "{}")

    claimed = store.claim("me")
    assert claimed is not None and claimed.id == first.id
    assert json.loads(claimed.params_json) == {"steps": 9}
    assert not store.replace_params(first.id, "txt2img", "{}")
    assert line(store)[0] == second.id


# What jobs take


def seconds_of(params: TextToImage) -> float:
    """A machine whose law is known: 0.4 s a job, 20 ms a call, 2 s a megapixel a call."""
    work = work_of(params)
    return 0.4 + 0.02 * work.calls + 2.0 * work.network + 0.3 * work.pixels


def past_jobs(store: JobStore, count: int, dice: random.Random) -> None:
    """Jobs that are done, with noise of a tenth, and one in ten three times too slow."""
    for _ in range(count):
        params = random_params(dice)
        seconds = seconds_of(params) * dice.uniform(0.9, 1.1) * (3 if dice.random() < 0.1 else 1)
        job = store.submit("txt2img", params.to_json())
        store.claim("me")
        store.finish(
            job.id, "me", "done", result={"peak_bytes": 1e9 + 4e9 * work_of(params).largest}
        )
        with store._db.write() as db:
            db.execute(
                "UPDATE jobs SET started_at = ?, finished_at = ? WHERE id = ?",
                (1000.0 * job.id, 1000.0 * job.id + seconds, job.id),
            )


def random_params(dice: random.Random) -> TextToImage:
    return TextToImage(
        checkpoint="a", width=dice.choice([64, 128, 256, 512]), height=dice.choice([64, 256, 512]),
        steps=dice.randint(4, 40), sampler=dice.choice(["Euler a", "Heun", "DPM++ 2M"]),
        batch_size=dice.choice([1, 1, 2, 4]), batch_count=dice.choice([1, 1, 3]),
        hires=dice.choice([None, None, Hires(scale=2.0)]),
    )  # fmt: skip


def test_estimates_when_jobs_were_noisy_then_the_median_misses_by_a_tenth_at_most(
    store: JobStore,
) -> None:
    dice = random.Random(5)
    past_jobs(store, 60, dice)
    estimates = Estimates(store, lambda name: "")

    misses = []
    for _ in range(40):
        params = random_params(dice)
        cost = estimates.cost(params)
        assert cost is not None and cost.memory_bytes is not None
        misses.append(abs(cost.seconds / seconds_of(params) - 1))
        assert cost.memory_bytes == pytest.approx(1e9 + 4e9 * work_of(params).largest, rel=0.02)
    assert sorted(misses)[20] < 0.1


def test_estimates_when_nothing_was_painted_then_tell_nothing(store: JobStore) -> None:
    assert Estimates(store, lambda name: "").cost(TextToImage()) is None


def test_cheaper_when_a_job_is_long_then_tells_what_would_be_quicker(store: JobStore) -> None:
    past_jobs(store, 30, random.Random(1))
    estimates = Estimates(store, lambda name: "")
    long = TextToImage(checkpoint="a", width=512, height=512, steps=80, sampler="Heun")

    told = {way.change: way.seconds for way in estimates.cheaper(long)}

    cost = estimates.cost(long)
    assert cost is not None and set(told) == {"steps", "sampler"}
    assert all(seconds < cost.seconds * 0.75 for seconds in told.values())
    assert estimates.cheaper(long.model_copy(update={"steps": 2, "width": 64})) == ()


def test_times_when_jobs_wait_then_add_up_and_paused_ones_do_not_count(store: JobStore) -> None:
    past_jobs(store, 20, random.Random(2))
    first, held, last = submit(store, steps=10), submit(store), submit(store, steps=30)
    store.pause_queued(held.id)

    times = queue_times(store, LiveJobs(), Estimates(store, lambda name: ""))

    assert times.begins[first.id] == 0 and times.begins[last.id] == times.ends[first.id]
    assert held.id not in times.begins and times.total == times.ends[last.id] > 0
    assert times.is_whole


def test_fit_when_features_cannot_be_told_apart_then_the_undoubted_one_explains() -> None:
    rows, measured = [(1.0, 2.0)] * 5, [4.0] * 5

    found = fit(rows, measured, [1.0] * 5, (1e-2, 1e-6))

    assert found[1] > 1.9 and found[0] < 0.2


# What people write


@pytest.mark.parametrize(
    ("text", "is_whole", "values"),
    [
        ("1-5", True, [1, 2, 3, 4, 5]),
        ("1-10 (+2)", True, [1, 3, 5, 7, 9]),
        ("10-1 (-3)", True, [10, 7, 4, 1]),
        ("1-10 [5]", True, [1, 3, 5, 7, 10]),
        ("0-1 (+0.25)", False, [0, 0.25, 0.5, 0.75, 1]),
        ("0-1 [3]", False, [0, 0.5, 1]),
        ("18446744073709551615, -1", True, [18446744073709551615, -1]),
        ("-3--1", True, [-3, -2, -1]),
    ],
)
def test_numbers_when_written_as_ranges_then_are_those_of_a1111(
    text: str, is_whole: bool, values: list[float]
) -> None:
    assert numbers(split_values(text), "Steps", is_whole=is_whole) == pytest.approx(values, abs=0)


def test_values_when_quoted_then_keep_commas_and_are_read_back() -> None:
    values = ["a, b", 'say "hi"', "plain", "猫"]

    assert split_values(join_values(values)) == values
    assert split_values('"a, b", c\nd') == ["a, b", "c", "d"]


def test_parts_when_brackets_hold_a_bar_then_it_parts_nothing() -> None:
    assert split_parts("a {b|c} | [d|e], |\\{f| g") == ["a {b|c}", "[d|e]", "\\{f", "g"]


# Generate forever


def chain(store: JobStore, count: int, wish: str = '{"prompt": "a"}') -> list[Job]:
    """So many rounds of one browser's "Generate forever", all done."""
    job = store.submit("txt2img", "{}", client="tab", repeat_json=wish)
    jobs = [job]
    for number in range(count):
        store.claim("me")
        store.finish(jobs[-1].id, "me", "done")
        if number < count - 1:
            following = store.submit_next(jobs[-1].id, "{}")
            assert following is not None
            jobs.append(following)
    return jobs


def ends(jobs: list[Job], folder: Path, starred: bool = False, **options: Any) -> str | None:
    chosen = {**{k: v for k, v in OPTION_DEFAULTS.items() if k.startswith("forever_")}, **options}
    return reason_to_end(jobs, chosen, folder, lambda ids: starred and bool(ids))


def test_forever_when_its_limit_is_met_then_tells_which(store: JobStore, tmp_path: Path) -> None:
    jobs = chain(store, 3)

    assert ends(jobs, tmp_path, forever_disk_reserve_gb=0) is None
    assert ends(jobs, tmp_path, forever_rounds=4, forever_disk_reserve_gb=0) is None
    for told, options in (
        ("3 rounds", {"forever_rounds": 3}),
        ("has a star", {"forever_until_starred": True}),
        ("on the disk", {"forever_disk_reserve_gb": 1e9}),
    ):
        assert told in (ends(jobs, tmp_path, starred=True, **options) or "")
    old = [replace(job, created_at=job.created_at - 61) for job in jobs]
    assert "1 minutes" in (ends(old, tmp_path, forever_minutes=1) or "")


def test_chain_when_other_jobs_lie_between_then_holds_its_own_only(store: JobStore) -> None:
    jobs = chain(store, 2)
    store.submit("txt2img", "{}", client="tab")

    assert [job.id for job in store.chain_of(jobs[-1])] == [job.id for job in jobs]


def test_broken_chains_when_the_program_ended_between_two_rounds_then_are_found(
    store: JobStore,
) -> None:
    last = chain(store, 2)[-1]

    assert [job.id for job in store.broken_chains()] == [last.id]
    store.stop_repeating(last.id)
    assert store.broken_chains() == () == store.chain_of(store.get(last.id))
