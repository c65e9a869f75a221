"""The page's password: guesses are slowed, and one login does not see another's pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image

from tests.patience import wait_until
from tests.ui.conftest import Served
from webui.brake import Brake
from webui.services.resolve import ImageToImageRequest, TextToImageRequest

WRONG, RIGHT = {"username": "ann", "password": "x"}, {"username": "ann", "password": "one"}


@pytest.fixture(scope="module")
def locked(make_served: Callable[..., Served]) -> Served:
    return make_served("--gradio-auth", "ann:one,bob:two")


@pytest.fixture(autouse=True)
def _released(locked: Served) -> None:
    """No test waits for the guesses of another."""
    locked.studio.access.brake = Brake()


@pytest.fixture
def visitor(locked: Served) -> Iterator[Callable[..., Any]]:
    """Opens connections of their own, logged in when a name is given."""
    import httpx

    opened: list[httpx.Client] = []

    def visit(user: str = "", password: str = "") -> httpx.Client:
        client = httpx.Client(base_url=locked.url.rstrip("/"))
        opened.append(client)
        if user:
            form = {"username": user, "password": password}
            assert client.post("/login", data=form).status_code == 200
        return client

    yield visit
    for client in opened:
        client.close()


def test_login_when_guessed_five_times_has_to_wait_even_with_the_right_one(visitor: Any) -> None:
    client = visitor()
    guesses = [client.post("/login", data=WRONG).status_code for _ in range(5)]
    braked = client.post("/login/", data=RIGHT)

    assert guesses == [400] * 5
    assert braked.status_code == 429 and "Wait" in braked.json()["detail"]
    assert 1 <= int(braked.headers["Retry-After"]) <= 10
    assert not client.cookies


def test_login_when_guessed_at_the_api_has_to_wait_at_the_page_too(
    visitor: Any, locked: Served
) -> None:
    client = visitor()
    for _ in range(5):
        assert client.get("/sdapi/v1/samplers", auth=("ann", "x")).status_code == 401
    assert client.post("/login", data=RIGHT).status_code == 429


def test_login_when_right_is_let_in_and_counts_no_failure(visitor: Any, locked: Served) -> None:
    visitor("ann", "one")
    assert locked.studio.access.brake.wait_seconds("127.0.0.1") == 0
    assert locked.studio.access.brake._failures == {}


def paint(served: Served, wish: Any) -> Any:
    job = served.studio.submit(wish, client=f"{wish.user}/browser")
    wait_until(lambda: served.studio.view(job.id).is_finished, "the job never ended")
    return job


@pytest.fixture(scope="module")
def anns(locked: Served) -> dict[str, str]:
    """Addresses of what ann painted, by what they are."""
    picture = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(picture, "BMP")
    key = locked.studio.inputs.keep(picture.getvalue())
    small = {"width": 64, "height": 64, "steps": 2, "user": "ann"}
    job = paint(locked, ImageToImageRequest(prompt="a fox", init_images=(key,), **small))
    (saved,) = locked.studio.library.images_of(job.id)
    return {
        "picture": f"/ui/picture/{saved.id}", "thumb": f"/ui/thumb/{saved.id}",
        "zip": f"/ui/zip/{job.id}", "before": f"/ui/before/{job.id}/0",
    }  # fmt: skip


def test_routes_when_another_login_asks_there_is_nothing(
    visitor: Any, anns: dict[str, str]
) -> None:
    ann, bob, nobody = visitor("ann", "one"), visitor("bob", "two"), visitor()
    for address in anns.values():
        assert ann.get(address).status_code == 200, address
        assert bob.get(address).status_code == 404, address
        assert nobody.get(address).status_code == 401, address


def test_before_when_browsers_cannot_show_the_format_comes_as_png(
    visitor: Any, anns: dict[str, str]
) -> None:
    answer = visitor("ann", "one").get(anns["before"])
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).getpixel((0, 0)) == (255, 0, 0)


def test_before_when_the_job_began_with_no_picture_is_404(visitor: Any, locked: Served) -> None:
    job = paint(locked, TextToImageRequest(prompt="a fox", width=64, height=64, steps=2))
    ann = visitor("ann", "one")
    assert ann.get(f"/ui/before/{job.id}/0").status_code == 404
    assert ann.get("/ui/before/99999/0").status_code == 404
