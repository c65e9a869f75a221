"""Guests: what is theirs, and that everything else is refused, wherever it is asked for."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from gradio.context import LocalContext
from PIL import Image

from tests.patience import wait_until
from tests.security.conftest import (
    GUEST,
    GUEST_NAME,
    OTHER_GUEST,
    OTHER_GUEST_NAME,
    OWNER,
    Open,
)
from tests.security.routes import all_routes, api_routes, filled
from webui.api.answer import answer_of
from webui.api.schemas import TextToImageBody
from webui.errors import LibraryError, ParamsError, WebUIError
from webui.params import Interrogate, TextToImage, build
from webui.roles import is_for_guests, is_guest, may_see
from webui.services.guests import private_folders, without_folders
from webui.services.resolve import ImageToImageRequest, TextToImageRequest
from webui.ui import queue_tab, wiring
from webui.ui.said import in_language
from webui.ui.session import Visitor

GALLERY = "/danqing/v1/gallery"
API_FOR_GUESTS = {
    ("POST", "/sdapi/v1/txt2img"), ("POST", "/sdapi/v1/img2img"), ("GET", "/sdapi/v1/samplers"),
    ("GET", "/sdapi/v1/schedulers"), ("GET", "/sdapi/v1/latent-upscale-modes"),
    ("POST", "/internal/progress"), ("GET", "/internal/ping"), ("GET", GALLERY),
    ("GET", f"{GALLERY}/places"), ("GET", f"{GALLERY}/compare/{{first}}/{{second}}"),
    ("GET", f"{GALLERY}/zip/{{token}}"), ("GET", f"{GALLERY}/{{picture_id}}"),
    ("GET", f"{GALLERY}/{{picture_id}}/file"), ("GET", f"{GALLERY}/{{picture_id}}/thumb"),
    ("POST", f"{GALLERY}/{{picture_id}}/again"), ("POST", f"{GALLERY}/{{deed}}"),
}  # fmt: skip
"""All that guests may call; a route that is new is the owner's until somebody writes it here."""
PAGE_FOR_GUESTS = {
    ("GET", "/ui/ping"), ("GET", "/ui/preview/{job_id}/{preview_id}"),
    ("GET", "/ui/picture/{picture_id}"), ("GET", "/ui/thumb/{picture_id}"),
    ("GET", "/ui/before/{job_id}/{index}"), ("GET", "/ui/zip/{job_id}"), ("POST", "/ui/input"),
    ("POST", "/ui/recipe"), ("GET", "/ui/input/{key}"), ("GET", "/ui/plots/{tab}"),
    ("GET", "/ui/words/keys"), ("GET", "/ui/words/complete"), ("POST", "/ui/words/look"),
    ("POST", "/ui/words/tokens"), ("POST", "/ui/words/chinese"),
    ("GET", "/ui/gallery/find"), ("GET", "/ui/gallery/ids"),
    ("GET", "/ui/gallery/places"), ("GET", "/ui/gallery/state"),
    ("GET", "/ui/gallery/one/{picture_id}"), ("GET", "/ui/gallery/compare/{first}/{second}"),
    ("GET", "/ui/gallery/thumb/{picture_id}"), ("GET", "/ui/gallery/file/{picture_id}"),
    ("GET", "/ui/controlnet/lists"), ("POST", "/ui/controlnet/map"),
    ("GET", "/ui/gallery/zip/{token}"), ("POST", "/ui/gallery/do/{deed}"),
}  # fmt: skip
SMALL = {"width": 64, "height": 64, "steps": 2}


def paint(opened: Open, user: str, prompt: str = "a fox") -> tuple[Any, Any]:
    """A job of somebody, and its picture."""
    wish = TextToImageRequest(prompt=prompt, user=user, **SMALL)
    job = opened.studio.submit(wish, client=f"{user}/browser")
    wait_until(lambda: opened.studio.view(job.id).is_finished, "the job never ended")
    (picture,) = opened.studio.library.images_of(job.id)
    return job, picture


# The doors


def test_api_when_a_guest_calls_every_route_answers_only_those_for_guests(opened: Open) -> None:
    guest = opened.program(GUEST)
    routes = api_routes(opened.app)
    allowed = {r for r in routes if guest.request(r[0], filled(r[1])).status_code != 403}

    assert len(routes) > 60
    assert allowed == API_FOR_GUESTS


def test_page_routes_when_a_guest_calls_every_one_answers_only_those_for_guests(
    opened: Open,
) -> None:
    guest = opened.client(GUEST, raise_server_exceptions=False)
    routes = [r for r in all_routes(opened.app) if r[1].startswith("/ui/")]
    allowed = {r for r in routes if guest.request(r[0], filled(r[1])).status_code != 403}

    assert len(routes) > 40
    assert allowed == PAGE_FOR_GUESTS


def test_events_when_the_guests_page_has_them_are_marked_for_guests(opened: Open) -> None:
    functions = [fn.fn for fn in opened.guests.fns.values() if fn.fn is not None]

    assert len(functions) > 40
    assert [fn.__qualname__ for fn in functions if not is_for_guests(fn)] == []
    server = [block for block in opened.guests.blocks.values() if getattr(block, "server_fns", [])]
    assert server == []


def test_events_when_a_guest_calls_every_one_of_the_owners_are_refused(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where a guest could reach a handler of the owner's page, it would not be run."""
    told: list[str] = []
    monkeypatch.setattr(wiring, "show_warning", told.append)
    only_owner = [
        fn.fn for fn in opened.owners.fns.values() if fn.fn is not None and not is_for_guests(fn.fn)
    ]
    request = type("Request", (), {"username": GUEST_NAME, "cookies": {}, "headers": {}})()
    token = LocalContext.request.set(request)
    try:
        for handler in only_owner:
            handler()
    finally:
        LocalContext.request.reset(token)

    assert len(only_owner) > 40
    assert told == ["Guests paint and look at their own pictures; this is for the owner alone."] * (
        len(only_owner)
    )


def test_events_when_a_guest_sends_the_owners_numbers_are_not_there(opened: Open) -> None:
    guest = opened.client(GUEST, raise_server_exceptions=False)
    numbers = set(opened.owners.fns) - set(opened.guests.fns)

    assert numbers
    for number in sorted(numbers)[:3]:
        body = {"fn_index": number, "data": [], "session_hash": "s"}
        for path in (
            "/gradio_api/run/predict",
            "/gradio_api/queue/join",
            "/gradio_api/api/predict",
        ):
            assert guest.post(path, json=body).status_code >= 400


def test_page_when_a_guest_opens_it_draws_nothing_of_the_owners(opened: Open) -> None:
    ids = {
        name: {str(block.elem_id) for block in blocks.blocks.values() if block.elem_id}
        for name, blocks in (("owner", opened.owners), ("guest", opened.guests))
    }
    seen = opened.client(GUEST).get("/").text

    assert {"dq-generate", "dq-i2i-generate", "dq-gallery", "dq-queue"} <= ids["guest"]
    for beginning in ("dq-rst-", "dq-trn-", "dq-models", "dq-settings", "dq-png"):
        assert any(one.startswith(beginning) for one in ids["owner"]), beginning
        assert not any(one.startswith(beginning) for one in ids["guest"]), beginning
    for folder in private_folders(opened.studio.settings.folders):
        assert f"{folder}/" not in seen
    shown = {
        block.elem_id
        for block in opened.guests.blocks.values()
        if type(block).__name__ == "Button" and block.visible is True
    }
    assert {"dq-generate", "dq-zip"} <= shown
    assert not shown & {"dq-folder", "dq-save", "dq-queue-pause", "dq-style-save", "dq-refresh"}


def test_files_when_a_guest_asks_gradio_for_pictures_are_refused(opened: Open) -> None:
    _, picture = paint(opened, "")
    address = f"/gradio_api/file={picture.path}"

    assert opened.client(OWNER).get(address).status_code == 200
    assert opened.client(GUEST).get(address).status_code == 403


# What is theirs


def test_pictures_when_another_made_them_are_not_there_for_a_guest(opened: Open) -> None:
    job, picture = paint(opened, GUEST_NAME)
    wait_until(lambda: opened.studio.gallery.pictures.ids("", user=GUEST_NAME).size, "not indexed")
    number = int(opened.studio.gallery.pictures.ids("", user=GUEST_NAME)[0])
    own = (
        f"/ui/picture/{picture.id}", f"/ui/thumb/{picture.id}", f"/ui/zip/{job.id}",
        f"/ui/gallery/one/{number}", f"/ui/gallery/file/{number}", f"/ui/gallery/thumb/{number}",
    )  # fmt: skip
    mine, others = opened.client(GUEST), opened.client(OTHER_GUEST)
    for address in own:
        assert mine.get(address).status_code == 200, address
        assert others.get(address).status_code in (404, 422), address
    assert others.get("/ui/gallery/find").json()["total"] == 0
    told = mine.get(f"/ui/gallery/one/{number}").text + mine.get("/ui/gallery/places").text
    assert str(opened.studio.settings.folders.data) not in told
    api = opened.program(OTHER_GUEST)
    assert api.get(f"{GALLERY}/{number}").status_code == 404


def test_pictures_when_nobodys_login_made_them_are_the_owners(opened: Open) -> None:
    _, picture = paint(opened, "")
    assert opened.client(GUEST).get(f"/ui/picture/{picture.id}").status_code == 404
    assert opened.client(OWNER).get(f"/ui/picture/{picture.id}").status_code == 200
    assert may_see("ann", "") and not may_see(GUEST_NAME, "")


def test_api_when_a_guest_paints_keeps_the_picture_under_their_name(opened: Open) -> None:
    body = {"prompt": "a hill", "save_images": True, **SMALL}
    answer = opened.program(GUEST).post("/sdapi/v1/txt2img", json=body)

    assert answer.status_code == 200
    newest = opened.studio.jobs.list(limit=1)[0]
    assert (newest.user, newest.origin) == (GUEST_NAME, "api")
    asked = {"id_task": newest.task_id}
    seen = opened.program(GUEST).post("/internal/progress", json=asked).json()
    hidden = opened.program(OTHER_GUEST).post("/internal/progress", json=asked).json()
    assert seen["completed"] and not hidden["completed"]


def test_queue_when_a_guest_looks_tells_nothing_of_others_jobs(opened: Open) -> None:
    studio = opened.studio
    studio.supervisor.pause()
    try:
        wish = TextToImageRequest(prompt="a very private wish", **SMALL)
        job = studio.submit(wish, client="local")
        guest = Visitor(f"{GUEST_NAME}/browser", GUEST_NAME)
        assert "private wish" not in queue_tab.render(studio, guest, "en")
        assert "private wish" in queue_tab.render(studio, Visitor("local"), "en")
        for deed in ("cancel", "retry"):
            with pytest.raises(WebUIError):
                queue_tab.act(studio, deed, job.id, guest)
        queue_tab.act(studio, "hold", job.id, guest)
        assert not studio.jobs.get(job.id).is_paused
        studio.control.cancel(job.id)
    finally:
        studio.supervisor.resume()


# How much


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ({"batch_count": 9}, "9 pictures"),
        ({"width": 2048, "height": 2048}, "4.1943 megapixels"),
        ({"hires": {"scale": 4.0, "denoising_strength": 0.5}, "width": 512, "height": 512}, "mega"),
        ({"steps": 61}, "61 steps"),
        ({"overrides": {"outdir_txt2img_samples": "/tmp"}}, "outdir_txt2img_samples"),
        ({"extensions": {"some": {}}}, "Extensions"),
    ],
)
def test_wish_when_a_guest_asks_for_too_much_is_refused(
    opened: Open, wish: dict[str, Any], told: str
) -> None:
    asked = {"prompt": "a fox", **SMALL, **wish}
    with pytest.raises(ParamsError, match=told) as caught:
        opened.studio.submit(TextToImageRequest(user=GUEST_NAME, **asked))
    assert not re.search("megapixels|pictures|steps", in_language(caught.value.message, "zh"))


def test_wish_when_a_guest_asks_for_something_else_than_pictures_is_refused(opened: Open) -> None:
    key = opened.studio.inputs.keep(png())
    params = build("interrogate", {"image": key, "describer": "deepdanbooru", "user": GUEST_NAME})
    assert isinstance(params, Interrogate)
    with pytest.raises(ParamsError, match="owner alone"):
        opened.studio.submit(params)


def test_jobs_when_a_guest_has_enough_waiting_must_wait(opened: Open) -> None:
    studio, wish = opened.studio, TextToImageRequest(prompt="x", user=OTHER_GUEST_NAME, **SMALL)
    studio.supervisor.pause()
    jobs = [studio.submit(wish) for _ in range(8)]
    try:
        with pytest.raises(ParamsError, match="At most 8 jobs"):
            studio.submit(wish)
        with pytest.raises(ParamsError, match="At most 8 jobs"):
            studio.plots.submit(wish, {"kind": "list", "text": "a\nb\nc"})
        local = studio.submit(TextToImageRequest(prompt="x", **SMALL))
        studio.control.cancel(local.id)
    finally:
        for job in jobs:
            studio.control.cancel(job.id)
        studio.supervisor.resume()


def test_api_when_a_guest_changes_settings_for_good_changes_nothing(opened: Open) -> None:
    before = opened.studio.options["CLIP_stop_at_last_layers"]
    body = {
        "prompt": "x", "override_settings": {"CLIP_stop_at_last_layers": before + 1},
        "override_settings_restore_afterwards": False, **SMALL,
    }  # fmt: skip
    assert opened.program(GUEST).post("/sdapi/v1/txt2img", json=body).status_code == 200
    assert opened.studio.options["CLIP_stop_at_last_layers"] == before


def test_failure_when_a_guest_reads_it_names_no_folder(opened: Open) -> None:
    folders = opened.studio.settings.folders
    text = f"{folders.models[0]}/a/b.safetensors is damaged; look in {folders.data}."
    assert opened.studio.guests.told(GUEST_NAME, text) == "a/b.safetensors is damaged; look in …."
    assert opened.studio.guests.told("", text) == text
    windows = without_folders("C:\\art\\models\\x.ckpt", ["C:\\art"])
    assert windows == "models\\x.ckpt"
    answer = opened.program(GUEST).post(
        "/sdapi/v1/txt2img", json={"override_settings": {"sd_vae": "none such"}}
    )
    assert answer.status_code >= 400 and str(folders.data) not in answer.text


def test_refusal_when_a_guest_reads_it_names_no_folder(opened: Open) -> None:
    guest, missing = opened.client(GUEST), "0" * 64
    unit = {"module": "canny", "image": missing}
    kept = guest.get(f"/ui/input/{missing}")
    mapped = guest.post("/ui/controlnet/map", json={"unit": unit, "width": 64, "height": 64})
    assert kept.status_code == 404 and "input picture" in kept.json()["detail"]
    assert 400 <= mapped.status_code < 500
    for answer in (kept, mapped):
        assert str(opened.studio.settings.folders.data) not in answer.text


def test_problems_and_warnings_when_a_guest_reads_them_name_no_folder(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"{opened.studio.settings.folders.data}/outputs/a.png"
    told = LibraryError(f"{path} could not be moved.")
    monkeypatch.setattr(opened.studio.gallery.pictures, "trash", lambda ids, user: [told])
    for user, seen in ((GUEST, "outputs/a.png"), (OWNER, path)):
        answer = opened.client(user).post("/ui/gallery/do/trash", json={"ids": [1]})
        assert answer.json()["problems"] == [f"{seen} could not be moved."]

    job, _ = paint(opened, GUEST_NAME)
    warned = replace(opened.studio.jobs.get(job.id), warnings=(f"{path} is damaged.",))
    params = opened.studio.params_of(job)
    assert isinstance(params, TextToImage)
    said = answer_of(opened.studio, warned, params, TextToImageBody(prompt="x"))["info"]
    assert json.loads(said)["warnings"] == ["outputs/a.png is damaged."]


def test_folders_of_pictures_when_they_lie_elsewhere_are_not_told_of(opened: Open) -> None:
    options = opened.studio.options
    before = options["outdir_txt2img_samples"]
    options.set("outdir_txt2img_samples", "/mnt/art of ann")
    try:
        text = "/mnt/art of ann/2026/a.png cannot be read."
        assert opened.studio.guests.told(GUEST_NAME, text) == "2026/a.png cannot be read."
    finally:
        options.set("outdir_txt2img_samples", before)


def test_guests_when_they_share_a_login_are_told_apart(opened: Open) -> None:
    from webui.access import Access
    from webui.settings import read_settings

    settings = read_settings(
        ["--share", "--data-dir", str(opened.studio.settings.folders.data)], {}
    )
    access = Access(settings)
    names = {access.person(access.begin_session("guest"), None).name for _ in range(5)}  # type: ignore[union-attr]

    assert len(names) == 5 and all(is_guest(name) for name in names)
    assert access.api_person("guest") is None
    assert access.api_person("owner") is not None


def test_input_when_a_guest_begins_with_it_is_looked_at_like_any(opened: Open) -> None:
    key = opened.studio.inputs.keep(png())
    wish = ImageToImageRequest(
        prompt="x", init_images=(key,), user=GUEST_NAME, batch_size=8, batch_count=2, **SMALL
    )
    with pytest.raises(ParamsError, match="16 pictures"):
        opened.studio.submit(wish)


def png() -> bytes:
    packed = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(packed, "PNG")
    return packed.getvalue()
