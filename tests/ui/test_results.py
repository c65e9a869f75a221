"""What the stage and the queue say about jobs, over a real studio with a fake model process."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from tests.patience import wait_until
from tests.ui.conftest import Served
from webui.errors import JobError, LibraryError
from webui.params import Hires, Outpaint, SdUpscale
from webui.services.follow_ups import STRONG, SUBTLE
from webui.services.resolve import (
    ImageToImageRequest,
    InpaintRequest,
    PaintingRequest,
    TextToImageRequest,
)
from webui.studio import Studio
from webui.ui import queue_tab, results, sending
from webui.ui.cards import Before, Shot, frame
from webui.ui.follow import Look, look
from webui.ui.session import Visitor

SMALL = {"width": 64, "height": 64, "steps": 2}


@pytest.fixture(scope="module")
def studio(make_served: Callable[..., Served]) -> Studio:
    """A studio of these tests' own; its server is not called."""
    return make_served().studio


@pytest.fixture(scope="module")
def key(studio: Studio) -> str:
    return studio.inputs.keep_image(Image.new("RGB", (64, 32), "red"))


def paint(studio: Studio, wish: PaintingRequest, client: str = "me") -> Any:
    """The ended job of a wish."""
    job = studio.submit(wish, client=client)  # type: ignore[arg-type]
    wait_until(lambda: studio.view(job.id).is_finished, "the job never ended")
    wait_until(lambda: studio.live.get(job.id) is None, "the job never ended")
    return studio.jobs.get(job.id)


def seen(studio: Studio, client: str, picked: int | None = None) -> Look:
    return look(studio, client, picked, "en")


def request_of(user: str = "") -> Any:
    return SimpleNamespace(username=user, headers={}, cookies={}, client=None)


# The stage


def test_four_when_a_job_has_made_four_are_shown_two_by_two_with_steps_for_each(
    studio: Studio,
) -> None:
    job = paint(studio, TextToImageRequest(prompt="four", batch_size=4, **SMALL), "four")
    pictures = [p for p in studio.library.images_of(job.id) if p.kind == "image"]
    html = seen(studio, "four").html

    assert html.count('class="dq-cell"') == 4
    for picture in pictures:
        for act, how in (("vary", "subtle"), ("vary", "strong"), ("upscale", "upscale")):
            assert f'data-act="{act}" data-key="{picture.id}" data-how="{how}"' in html
    assert f'class="dq-thumb" data-act="pick" data-key="{pictures[0].id}"' not in html


def test_four_when_one_is_picked_stay_together_and_the_recipe_is_that_ones(studio: Studio) -> None:
    job = paint(studio, TextToImageRequest(prompt="pick", batch_size=4, **SMALL), "picker")
    third = studio.library.images_of(job.id)[2]
    shown = seen(studio, "picker", third.id)

    assert shown.html.count('class="dq-cell"') == 4 and shown.picture == third
    pressed = re.findall(r'data-key="(\d+)" aria-pressed="true"', shown.html)
    assert pressed == [str(third.id)]
    assert f"Seed: {third.seed}" in shown.infotext


@pytest.mark.parametrize("count", [1, 3, 5])
def test_pictures_when_not_four_are_shown_alone(studio: Studio, count: int) -> None:
    client = f"alone {count}"
    paint(studio, TextToImageRequest(prompt="x", batch_size=count, **SMALL), client)
    html = seen(studio, client).html
    assert "dq-four" not in html and html.count('class="dq-next"') == 1


def test_comparison_when_there_was_no_input_is_not_shown(studio: Studio) -> None:
    paint(studio, TextToImageRequest(prompt="x", **SMALL), "plain")
    assert "dq-pair" not in seen(studio, "plain").html


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "left:0.000%;top:0.000%;width:100.000%;height:100.000%;object-fit:fill"),
        ({"resize_mode": "Crop and resize"}, "object-fit:cover"),
        ({"resize_mode": "Resize and fill"}, "object-fit:contain"),
        (
            {"outpaint": Outpaint(left=16, down=32)},
            "left:25.000%;top:0.000%;width:75.000%;height:50.000%",
        ),
    ],
)
def test_comparison_when_there_was_an_input_lays_it_where_it_was(
    studio: Studio, key: str, changes: dict[str, Any], expected: str
) -> None:
    wish = ImageToImageRequest(prompt="x", init_images=(key,), **SMALL, **changes)
    job = paint(studio, wish, "pair")
    html = seen(studio, "pair").html
    assert f"ui/before/{job.id}/0?" in html and expected in html and "dq-cut" in html


def test_comparison_when_pictures_differ_in_size_is_as_large_as_the_result() -> None:
    shot = Shot(1, "a", 300, 150, 1, Before("b"))
    assert "--dq-ratio:2.00000" in frame(shot, "en")


def test_frame_when_addresses_hold_markup_escapes_them() -> None:
    html = frame(Shot(1, '"><script>', 8, 8, 1, Before('"><b>')), "en")
    assert "<script>" not in html and "<b>" not in html


# What comes next


def follow_up(studio: Studio, picture: Any, client: str, how: str = "subtle") -> Any:
    before = {job.id for job in studio.jobs.list()}
    results.go_on_from(studio, picture.id, client, request_of(), results._variation(how))
    (made,) = [job for job in studio.jobs.list() if job.id not in before]
    return made


@pytest.mark.parametrize(("how", "strength"), [("subtle", SUBTLE), ("strong", STRONG)])
def test_vary_when_pressed_asks_for_one_more_of_that_strength(
    studio: Studio, how: str, strength: float
) -> None:
    job = paint(studio, TextToImageRequest(prompt="a fox", **SMALL), "vary")
    made = follow_up(studio, studio.library.images_of(job.id)[0], "vary", how)
    params = studio.params_of(made)

    assert (made.kind, made.client, params.prompt) == ("img2img", "vary", "a fox")
    assert params.image_count == 1 and f'"denoising_strength":{strength}' in params.to_json()


def test_vary_when_pressed_on_one_of_four_asks_for_four(studio: Studio) -> None:
    job = paint(studio, TextToImageRequest(prompt="x", batch_size=4, **SMALL), "vary four")
    picture = studio.library.images_of(job.id)[1]
    made = follow_up(studio, picture, "vary four")
    params = studio.params_of(made)

    assert (params.batch_size, params.batch_count) == (4, 1)
    kept = studio.inputs.path(params.input_keys[0])
    assert kept.read_bytes() == picture.path.read_bytes()


def test_vary_when_the_picture_is_another_persons_is_refused(studio: Studio) -> None:
    job = paint(studio, TextToImageRequest(prompt="x", **SMALL), "owner")
    with pytest.raises(LibraryError):
        follow_up(studio, studio.library.images_of(job.id)[0], "stranger")


def test_sending_when_a_button_has_no_target_fails_while_the_page_is_built() -> None:
    with pytest.raises(KeyError):
        sending.connect({"nowhere": SimpleNamespace(click=None)}, [], [], lambda *_: None)  # type: ignore


# The queue


@pytest.fixture
def paused(studio: Studio) -> Any:
    """A queue in which jobs stay."""
    wait_until(lambda: not studio.jobs.list(states=("running", "queued")), "jobs never ended")
    studio.supervisor.pause()
    yield studio
    for job in studio.jobs.list(states=("queued",)):
        studio.control.cancel(job.id)
    studio.supervisor.resume()


def submit(studio: Studio, prompt: str, client: str, user: str = "", origin: str = "page") -> Any:
    wish = TextToImageRequest(prompt=prompt, user=user, **SMALL)
    return studio.submit(wish, client=client, origin=origin)


def test_queue_when_others_wait_tells_their_place_and_steps_but_no_word(paused: Studio) -> None:
    submit(paused, "a secret garden", "other")
    submit(paused, "a hidden door", "", origin="api")
    submit(paused, "my own house", "me")
    html = queue_tab.render(paused, Visitor("me"), "en")

    assert "my own house" in html and "secret" not in html and "hidden" not in html
    assert "Another person&#x27;s job" in html and "A job over the API" in html
    assert html.count("2 steps") == 3


def test_queue_when_the_same_login_looks_from_another_browser_tells_all(paused: Studio) -> None:
    submit(paused, "a secret garden", "ann/desk", user="ann")
    seen_by = {user: queue_tab.render(paused, Visitor(f"{user}/phone", user), "en")
               for user in ("ann", "bob")}  # fmt: skip
    assert "secret" in seen_by["ann"] and "secret" not in seen_by["bob"]
    assert 'data-act="cancel"' in seen_by["ann"] and 'data-act="cancel"' not in seen_by["bob"]


def test_queue_when_another_login_acts_refuses(paused: Studio) -> None:
    first = submit(paused, "one", "ann/desk", user="ann")
    second = submit(paused, "two", "ann/desk", user="ann")
    bob = Visitor("bob/desk", "bob")
    for deed in ("cancel", "retry"):
        with pytest.raises(JobError):
            queue_tab.act(paused, deed, first.id, bob)
    queue_tab.act(paused, "top", second.id, bob)

    assert [job.id for job in paused.jobs.waiting()] == [first.id, second.id]
    queue_tab.act(paused, "top", second.id, Visitor("ann/phone", "ann"))
    assert [job.id for job in paused.jobs.waiting()] == [second.id, first.id]


def test_queue_when_no_password_is_set_anyone_may_cancel_but_none_may_copy(
    paused: Studio,
) -> None:
    job = submit(paused, "one", "other")
    with pytest.raises(JobError):
        queue_tab.act(paused, "retry", job.id, Visitor("me"))
    queue_tab.act(paused, "cancel", job.id, Visitor("me"))
    assert paused.jobs.get(job.id).state == "cancelled"


def test_queue_when_jobs_have_ended_lists_only_ones_own(studio: Studio) -> None:
    theirs = paint(studio, TextToImageRequest(prompt="x", **SMALL), "them")
    html = queue_tab.render(studio, Visitor("me"), "en")
    assert f'data-job="{theirs.id}"' not in html


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "img2img · 64×64 · 2 steps"),
        ({"inpaint": True}, "Inpaint · 64×64"),
        ({"outpaint": Outpaint(left=64)}, "Outpainting · 2 steps"),
        ({"sd_upscale": SdUpscale()}, "SD upscale · 2 steps"),
    ],
)
def test_queue_when_a_job_begins_with_a_picture_shows_it_and_its_kind(
    paused: Studio, key: str, changes: dict[str, Any], kind: str
) -> None:
    if "inpaint" in changes:
        changes = {"inpaint": InpaintRequest(mask=key)}
    wish = ImageToImageRequest(prompt="x", init_images=(key,), **SMALL, **changes)
    job = paused.submit(wish, client="me")
    html = queue_tab.render(paused, Visitor("me"), "en")

    assert kind in html and f"ui/before/{job.id}/0?small=1" in html


def test_queue_when_a_picture_is_upscaled_says_so(paused: Studio, key: str) -> None:
    params = paused.resolve(TextToImageRequest(prompt="x", hires=Hires(), **SMALL))
    paused.submit(params.model_copy(update={"first_pass_image": key}), client="me")
    assert "Upscale · 64×64" in queue_tab.render(paused, Visitor("me"), "en")
    paused.submit(TextToImageRequest(prompt="x", **SMALL), client="me")
    chinese = queue_tab.render(paused, Visitor("me"), "zh")
    assert "放大 · 64×64" in chinese and "文生图 · 64×64" in chinese
    assert "txt2img" not in chinese
