"""How far a running job is: A1111's formula, and never backwards."""

from __future__ import annotations

import pytest

from webui.jobs.live import LiveJob, LiveJobs

WALK = [
    {"stage": "loading"},
    {"batches": 2, "step": 5, "steps": 10, "stage": "sampling"},
    {"batches": 2, "step": 10, "steps": 10, "stage": "sampling"},
    {"batches": 2, "step": 0, "steps": 0, "stage": "upscaling"},
    {"batches": 2, "step": 3, "steps": 6, "stage": "hires"},
    {"batches": 2, "step": 6, "steps": 6, "stage": "decoding"},
    {"batches": 2, "batch": 1, "step": 1, "steps": 10, "stage": "sampling"},
]


def test_progress_when_a_job_goes_through_its_stages_only_grows() -> None:
    shares = [LiveJob(1, started_at=0, passes=2, **facts).progress for facts in WALK]

    assert shares == sorted(shares)
    assert shares == pytest.approx([0.01, 0.135, 0.26, 0.26, 0.385, 0.51, 0.535])


def test_time_left_when_a_quarter_is_done_is_three_times_what_passed() -> None:
    live = LiveJob(1, started_at=100, batches=1, step=24, steps=100, stage="sampling")

    assert live.eta_seconds(now=110) == pytest.approx(30)


def test_previews_when_they_follow_each_other_have_growing_ids() -> None:
    live = LiveJobs()
    live.begin(7)
    live.preview(7, b"1", "jpeg")
    live.preview(7, b"2", "jpeg")

    running = live.get(7)
    assert running is not None and (running.preview_id, running.preview) == (2, b"2")


def test_job_when_it_ended_is_remembered_as_the_last() -> None:
    live = LiveJobs()
    live.begin(7)
    live.update(7, step=3)
    live.end(7)
    live.update(7, step=9)

    assert live.running() == ()
    assert live.last is not None and live.last.step == 3
