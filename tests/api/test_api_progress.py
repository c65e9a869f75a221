"""Looking at running jobs, stopping them, and many requests at once."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.api.clients import QUICK, MakeStudio, client_of
from tests.patience import wait_until
from webui.api.progress import running_state
from webui.jobs.live import LiveJob
from webui.studio import Studio

TXT2IMG = "/sdapi/v1/txt2img"


@contextmanager
def painting(
    client: TestClient, studio: Studio, count: int = 1, **more: Any
) -> Iterator[list[Future[Any]]]:
    """Requests on their way in threads of their own; everything is stopped at the end."""
    with ThreadPoolExecutor(count) as pool:
        body = {**QUICK, **more}
        requests = [pool.submit(client.post, TXT2IMG, json=body) for _ in range(count)]
        try:
            yield requests
        finally:
            while not all(request.done() for request in requests):
                for job in studio.jobs.waiting():
                    studio.control.cancel(job.id)
                studio.control.interrupt()
                time.sleep(0.05)


def progress(client: TestClient) -> dict[str, Any]:
    return client.get("/sdapi/v1/progress").json()


def is_at_step(client: TestClient, step: int, batch: int = 0) -> bool:
    """A job runs and is there; the numbers alone may be those of the job before."""
    state = progress(client)["state"]
    return bool(state["job"]) and (state["job_no"], state["sampling_step"]) == (batch, step)


def test_progress_when_idle_is_what_clients_take_for_ready(client: TestClient) -> None:
    answer = progress(client)

    assert answer["progress"] == 0 and answer["state"]["job_count"] == 0
    assert answer["eta_relative"] == 0 and answer["current_image"] is None


def test_progress_when_a_job_waits_for_its_worker_has_job_count_minus_one(
    make_studio: MakeStudio,
) -> None:
    studio = make_studio()
    studio.supervisor.pause()
    with client_of(studio) as client, painting(client, studio):
        wait_until(lambda: studio.jobs.counts()["queued"])

        answer = progress(client)
        studio.supervisor.resume()
        wait_until(lambda: studio.jobs.counts()["done"])

    assert answer["state"]["job_count"] == -1 and answer["progress"] == 0.01


def test_progress_when_running_has_steps_and_a_raw_preview(
    client: TestClient, studio: Studio
) -> None:
    with painting(client, studio, prompt="stuck", steps=10, n_iter=2):
        answer = wait_until(lambda: (p := progress(client))["current_image"] and p)

        without = client.get("/sdapi/v1/progress?skip_current_image=true").json()

    state = answer["state"]
    assert state["job"] == "Batch 1 out of 2" and len(state["job_timestamp"]) == 14
    assert (state["job_count"], state["job_no"]) == (2, 0)
    assert (state["sampling_step"], state["sampling_steps"]) == (1, 10)
    assert answer["progress"] == pytest.approx(0.01 + 1 / 10 / 2)
    image = Image.open(io.BytesIO(base64.b64decode(answer["current_image"], validate=True)))
    assert image.format == "PNG"
    assert without["current_image"] is None


def test_state_when_the_job_ended_keeps_its_last_numbers(client: TestClient) -> None:
    client.post(TXT2IMG, json=QUICK)

    state = progress(client)["state"]

    assert state["job"] == "" and state["job_count"] == 0
    assert state["sampling_step"] == state["sampling_steps"] == 3


@pytest.mark.parametrize(
    ("live", "passes", "share"),
    [
        ({"batches": -1}, 1, 0.01),
        ({"batches": 4, "batch": 1, "step": 5, "steps": 10, "stage": "sampling"}, 1, 0.385),
        ({"batches": 1, "batch": 0, "step": 5, "steps": 10, "stage": "sampling"}, 2, 0.26),
        ({"batches": 1, "batch": 0, "step": 5, "steps": 10, "stage": "hires"}, 2, 0.76),
        ({"batches": 1, "batch": 0, "step": 10, "steps": 10, "stage": "hires"}, 2, 1.0),
    ],
)
def test_share_when_computed_follows_a1111(live: dict[str, Any], passes: int, share: float) -> None:
    running = LiveJob(1, started_at=0, passes=passes, **live)

    assert running.progress == pytest.approx(share)
    assert running_state(running).job_count == max(live["batches"] * passes, -1)


def test_interrupt_when_running_answers_200_with_the_pictures_there_are(
    client: TestClient, studio: Studio
) -> None:
    with painting(client, studio, prompt="stuck", n_iter=3) as (request,):
        wait_until(partial(is_at_step, client, 1))

        interrupt = client.post("/sdapi/v1/interrupt")
        answer = request.result(20)

    assert interrupt.json() == {}
    assert answer.status_code == 200 and len(answer.json()["images"]) == 1
    assert len(json.loads(answer.json()["info"])["all_seeds"]) == 3


def test_interrupt_when_idle_does_not_spoil_the_next_job(client: TestClient) -> None:
    assert client.post("/sdapi/v1/interrupt").json() == {}

    answer = client.post(TXT2IMG, json={**QUICK, "n_iter": 2})

    assert len(answer.json()["images"]) == 2


def test_skip_when_running_goes_on_with_the_next_batch(client: TestClient, studio: Studio) -> None:
    with painting(client, studio, prompt="stuck", n_iter=2) as (request,):
        for batch in range(2):
            wait_until(partial(is_at_step, client, 1, batch))
            assert client.post("/sdapi/v1/skip").json() is None
        answer = request.result(20)

    assert len(answer.json()["images"]) == 2


def test_lists_when_a_hundred_requests_wait_answer_at_once(
    client: TestClient, studio: Studio
) -> None:
    with painting(client, studio, count=100, prompt="stuck") as requests:
        wait_until(lambda: studio.jobs.counts()["queued"] >= 99)

        statuses = [
            client.get("/sdapi/v1/progress").status_code,
            client.get("/sdapi/v1/samplers").status_code,
            client.get("/sdapi/v1/options").status_code,
            client.get("/internal/pending-tasks").status_code,
        ]
        assert statuses == [200] * 4
        assert studio.jobs.counts()["queued"] >= 99, "it waited until they were painted"
    assert {request.result().status_code for request in requests} == {200}


def test_task_progress_when_waiting_running_and_done_tells_each(
    client: TestClient, studio: Studio
) -> None:
    def look(**more: Any) -> dict[str, Any]:
        return client.post("/internal/progress", json={"id_task": "task(b)", **more}).json()

    assert look()["textinfo"] == "Waiting..." and not look()["completed"]
    with painting(client, studio, prompt="stuck"):
        wait_until(studio.live.running)
        with painting(client, studio, prompt="stuck", force_task_id="task(b)"):
            queued = wait_until(lambda: (p := look())["queued"] and p)
            pending = client.get("/internal/pending-tasks").json()
            client.post("/sdapi/v1/interrupt")
            active = wait_until(lambda: (p := look())["live_preview"] and p)
            same = look(id_live_preview=active["id_live_preview"])
    done = look()

    assert queued["textinfo"] == "In queue: 1/1" and not queued["active"]
    assert pending == {"size": 1, "tasks": ["task(b)"]}
    assert active["active"] and 0 < active["progress"] <= 1
    assert active["live_preview"].startswith("data:image/jpeg;base64,")
    assert same["live_preview"] is None and same["id_live_preview"] == active["id_live_preview"]
    assert done["completed"] and not done["active"]


def test_request_when_the_server_closes_is_told_so_and_keeps_its_job(
    make_studio: MakeStudio,
) -> None:
    studio = make_studio()
    with client_of(studio) as client, ThreadPoolExecutor(1) as pool:
        request = pool.submit(client.post, TXT2IMG, json={**QUICK, "prompt": "stuck"})
        wait_until(studio.live.running)
        threading.Thread(target=studio.stop).start()
        answer = request.result(30)

    assert answer.status_code == 503 and "keeps its place" in answer.json()["detail"]
