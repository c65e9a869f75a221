"""Extensions over the API: dropped in while the server runs, asked for, listed, refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.clients import MakeStudio, client_of
from tests.patience import wait_until
from webui.studio import Studio

LITTLE = Path(__file__).parents[1] / "extensions" / "little" / "words_kept"
WISH = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 3}


@pytest.fixture(scope="module")
def studio(make_studio: MakeStudio) -> Studio:
    studio = make_studio("--api-auth", "me:secret")
    folder = studio.settings.folders.data / "extensions"
    shutil.copytree(LITTLE, folder / "words_kept")
    (folder / "later.py").write_text(
        "from webui.hookspecs import hook\n@hook\ndef routes(router):\n"
        "    @router.get('/slow')\n    async def slow(): return 1\n"
    )
    (folder / "typed.py").write_text(
        "from webui.hookspecs import hook\n@hook\ndef routes(router):\n"
        "    @router.get('/number')\n    def number(n: int): return n\n"
    )
    (folder / "leaver.py").write_text(
        "import os, sys, threading\n"
        "from fastapi import Depends\nfrom webui.hookspecs import hook\n"
        "threads = []\n"
        "def leave(): sys.exit(4)\n"
        "def loop():\n    threads.append(threading.current_thread())\n"
        "    while True: pass\n"
        "@hook\ndef routes(router):\n"
        "    for path, deed in (\n"
        "        ('/softly', leave), ('/hard', lambda: os._exit(5)), ('/loop', loop),\n"
        "        ('/here', lambda: 'here'), ('/ended', lambda: not threads[0].is_alive()),\n"
        "    ): router.get(path)(deed)\n"
        "    @router.get('/before')\n    def before(one=Depends(leave)): return one\n"
    )
    assert studio.refresh_extensions().new == ("later", "leaver", "typed", "words_kept")
    return studio


@pytest.fixture(scope="module")
def client(studio: Studio) -> Iterator[TestClient]:
    with client_of(studio) as client:
        client.auth = ("me", "secret")
        yield client


def painted(client: TestClient, entry: Any) -> Any:
    return client.post(
        "/sdapi/v1/txt2img", json={**WISH, "alwayson_scripts": {"words_kept": entry}}
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"word": "apple"}, "apple"), ([True, "pear"], "pear"), ({}, "kept"),
        ([False, "pear"], None), ({"enabled": False, "word": "x"}, None),
    ],
)  # fmt: skip
def test_extension_when_asked_for_then_acts_on_the_job_and_stands_in_its_params(
    studio: Studio, client: TestClient, arguments: Any, word: str | None
) -> None:
    answer = painted(client, {"args": arguments})
    assert answer.status_code == 200, answer.text
    params = studio.params_of(studio.jobs.list()[0])
    assert params.prompt == ("a cat" if word is None else f"a cat, {word}")
    values = getattr(params, "extensions", {}).get("words_kept", {})
    assert values.get("word") == word


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([True, "a", False, "soft", 1], "takes 4: enabled, word, loud, how"),
        ({"how": "sideways"}, "one of soft, hard is needed"),
        ({"colour": "red"}, "no field called 'colour'"),
        ("text", "a list or an object is needed"),
    ],
)
def test_extension_when_asked_wrongly_then_422_names_what_is_wrong(
    client: TestClient, arguments: Any, told: str
) -> None:
    answer = painted(client, {"args": arguments})
    assert answer.status_code == 422 and told in answer.text


def test_scripts_when_an_extension_reads_another_name_then_it_acts_and_says_so(
    studio: Studio, client: TestClient
) -> None:
    entry = {"old words": {"args": {"word": "plum"}}}
    answer = client.post("/sdapi/v1/txt2img", json={**WISH, "alwayson_scripts": entry})
    assert answer.status_code == 200, answer.text
    assert studio.params_of(studio.jobs.list()[0]).prompt == "a cat, plum"
    assert "old words: now words_kept" in answer.json()["info"]


def test_infotext_when_it_tells_of_an_extension_then_switches_it_on(
    studio: Studio, client: TestClient
) -> None:
    recipe = "a dog\nSteps: 3, Sampler: Euler, Seed: 1, Old word: bone"
    answer = client.post("/sdapi/v1/txt2img", json={"infotext": recipe, "width": 64, "height": 64})
    assert answer.status_code == 200, answer.text
    assert studio.params_of(studio.jobs.list()[0]).prompt == "a dog, bone"


def test_routes_when_asked_then_answer_behind_the_password_alone(client: TestClient) -> None:
    assert client.get("/extensions/words_kept/word/hello").json() == {"word": "hello"}
    assert client.get("/extensions/words_kept/word/hello", auth=("me", "no")).status_code == 401
    assert "<p>Words</p>" in client.get("/extensions/words_kept/page/page.html").text
    assert client.get("/extensions/words_kept/page/web.py").status_code == 404
    assert client.get("/extensions/words_kept/page/../../config.json").status_code == 404
    assert client.get("/extensions/words_kept/nothing").status_code == 404
    assert client.get("/extensions/nobody/x").status_code == 404


def test_routes_when_a_handler_fails_or_is_async_then_it_is_recorded_under_the_extension(
    client: TestClient,
) -> None:
    answer = client.get("/extensions/words_kept/word/boom")
    assert answer.status_code == 500 and "RuntimeError: boom" in answer.text
    assert client.get("/extensions/later/slow").status_code == 404  # async def is refused
    listed = {one["name"]: one for one in client.get("/danqing/v1/extensions").json()}
    assert "write it as a plain def" in listed["later"]["troubles"][-1]["message"]
    assert listed["words_kept"]["troubles"][-1]["moment"] == "routes"
    assert listed["words_kept"]["state"] == "on" and listed["words_kept"]["seconds"] > 0


@pytest.mark.parametrize("path", ["softly", "hard", "before"])
def test_routes_when_a_handler_wants_to_end_the_program_then_its_request_alone_fails(
    studio: Studio, client: TestClient, path: str
) -> None:
    studio.extensions.fence.forget("leaver")
    answer = client.get(f"/extensions/leaver/{path}")
    assert answer.status_code == 500 and "it tried to end the program" in answer.text
    assert client.get("/extensions/leaver/here").json() == "here"
    (trouble,) = studio.extensions.fence.troubles("leaver")
    assert trouble.moment == "routes"


def test_routes_when_a_handler_loops_for_ever_then_its_thread_is_ended(
    studio: Studio, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.api import extensions

    monkeypatch.setattr(extensions, "MOMENT", replace(extensions.MOMENT, seconds=0.2))
    studio.extensions.fence.forget("leaver")
    answer = client.get("/extensions/leaver/loop")
    assert answer.status_code == 504 and "longer than 0.2 s" in answer.text
    monkeypatch.undo()
    wait_until(lambda: client.get("/extensions/leaver/ended").json())


def test_routes_when_asked_wrongly_then_422_and_it_is_no_failure_of_the_extension(
    client: TestClient,
) -> None:
    for _ in range(4):
        assert client.get("/extensions/typed/number?n=x").status_code == 422
    assert client.get("/extensions/typed/number?n=3").json() == 3
    listed = {one["name"]: one for one in client.get("/danqing/v1/extensions").json()}
    assert (listed["typed"]["state"], listed["typed"]["troubles"]) == ("on", [])


def test_lists_when_read_then_describe_the_extension(client: TestClient) -> None:
    assert "words_kept" in client.get("/sdapi/v1/scripts").json()["txt2img"]
    infos = client.get("/sdapi/v1/script-info").json()
    (info,) = [i for i in infos if i["name"] == "words_kept" and not i["is_img2img"]]
    assert [argument["label"] for argument in info["args"]] == ["enabled", "word", "loud", "how"]


def test_own_job_when_asked_for_then_is_in_the_queue_with_its_values(
    studio: Studio, client: TestClient
) -> None:
    route = "/danqing/v1/extensions/words_kept/jobs"
    number = client.post(f"{route}/count", json={"values": {"upto": 7}}).json()["job"]
    params = studio.params_of(studio.jobs.get(number))
    assert getattr(params, "extensions", {})["words_kept"] == {"upto": 7, "most": 3}
    assert client.post(f"{route}/nothing").status_code == 422
    assert client.post(f"{route}/count", json={"values": {"upto": "x"}}).status_code == 422
