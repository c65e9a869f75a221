"""Passwords, foreign web pages, sub-paths, and what stands around every answer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from tests.api.clients import BASE_URL, QUICK, MakeStudio, client_of
from webui.api import body_limit
from webui.api.app import build_api
from webui.api.guard import Trust, is_api_path
from webui.brake import Brake
from webui.settings import read_settings
from webui.studio import Studio

SAMPLERS = "/sdapi/v1/samplers"
INTERRUPT = "/sdapi/v1/interrupt"


@pytest.fixture(scope="module")
def locked(make_studio: MakeStudio) -> Studio:
    return make_studio("--api-auth", "ann:péss,bob:two")


@pytest.fixture(autouse=True)
def _released(locked: Studio) -> None:
    """No test waits for the guesses of another."""
    locked.access.brake = Brake()


def routes_of(studio: Studio) -> list[tuple[str, str]]:
    """(method, path) of every API route that the documentation lists."""
    paths = build_api(studio).openapi()["paths"]
    return [(method, path) for path, methods in paths.items() for method in methods]


def test_every_route_when_a_password_is_set_refuses_strangers_but_ping(locked: Studio) -> None:
    routes = routes_of(locked)
    with client_of(locked) as client:
        open_routes = [
            path for method, path in routes if client.request(method, path).status_code != 401
        ]

    assert len(routes) > 35
    assert open_routes == ["/internal/ping"]


@pytest.mark.parametrize(
    ("auth", "status", "detail"),
    [
        (None, 401, "Not authenticated"),
        (("ann", "wrong"), 401, "Incorrect username or password"),
        (("eve", "péss"), 401, "Incorrect username or password"),
        (("ann", "two"), 401, "Incorrect username or password"),
        (("bob", "two"), 200, None),
    ],
)
def test_login_when_tried_is_answered_in_a1111s_words(
    locked: Studio, auth: Any, status: int, detail: str | None
) -> None:
    with client_of(locked) as client:
        answer = client.get(SAMPLERS, auth=auth)

    assert answer.status_code == status
    if detail:
        assert answer.json() == {
            "error": "HTTPException", "detail": detail, "body": "", "errors": "",
        }  # fmt: skip
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("headers", "is_challenged"),
    [
        ({}, True),
        ({"Accept": "text/html"}, True),
        ({"Sec-Fetch-Mode": "navigate", "Cookie": "a=b"}, True),
        ({"Accept": "text/html", "Cookie": "a=b"}, True),
        ({"Sec-Fetch-Mode": "cors"}, False),
        ({"Sec-Fetch-Mode": "no-cors"}, False),
        ({"Sec-Fetch-Mode": "same-origin"}, False),
        ({"X-Requested-With": "XMLHttpRequest"}, False),
        ({"Cookie": "a=b"}, False),
    ],
)
def test_stranger_when_it_is_a_pages_script_is_not_asked_by_the_browsers_own_dialog(
    locked: Studio, headers: dict[str, str], is_challenged: bool
) -> None:
    """A script that gets a challenge waits until somebody has answered the dialog."""
    with client_of(locked) as client:
        answer = client.get(SAMPLERS, headers=headers)

    assert answer.status_code == 401
    assert ("www-authenticate" in answer.headers) is is_challenged


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Bearer abc", "Basic YW5u", "basic \x00"])
def test_login_when_malformed_is_401(locked: Studio, header: str) -> None:
    with client_of(locked) as client:
        assert client.get(SAMPLERS, headers={"Authorization": header}).status_code == 401


def test_login_when_guessed_five_times_has_to_wait_even_with_the_right_one(
    locked: Studio,
) -> None:
    wrong, right = ("ann", "wrong"), ("bob", "two")
    with client_of(locked) as client:
        guesses = [client.get(SAMPLERS, auth=wrong).status_code for _ in range(5)]
        braked = client.get(SAMPLERS, auth=right)
        without_login = client.get(SAMPLERS)

    assert guesses == [401] * 5
    assert braked.status_code == 429 and "Wait" in braked.json()["detail"]
    assert 1 <= int(braked.headers["Retry-After"]) <= 10
    assert without_login.status_code == 401


def test_login_when_right_between_wrong_ones_of_others_is_let_in(locked: Studio) -> None:
    app = build_api(locked)
    guesser = TestClient(app, base_url=BASE_URL, client=("203.0.113.5", 1))
    owner = TestClient(app, base_url=BASE_URL, client=("203.0.113.6", 1))
    for _ in range(6):
        guesser.get(SAMPLERS, auth=("ann", "wrong"))

    assert guesser.get(SAMPLERS, auth=("bob", "two")).status_code == 429
    assert owner.get(SAMPLERS, auth=("bob", "two")).status_code == 200


def test_openapi_when_a_password_is_set_needs_it(locked: Studio) -> None:
    with client_of(locked) as client:
        assert client.get("/openapi.json").status_code == 401
        assert client.get("/openapi.json", auth=("bob", "two")).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/docs/oauth2-redirect"])
def test_docs_page_when_asked_for_is_not_there(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_login_when_wrong_is_refused_before_the_body_is_read(locked: Studio) -> None:
    with client_of(locked) as client:
        answer = client.post("/sdapi/v1/txt2img", content=b"{broken")

    assert answer.status_code == 401


def test_page_password_when_it_is_the_only_one_guards_the_api_too(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--gradio-auth", "ann:word")) as client:
        assert client.get(SAMPLERS).status_code == 401
        assert client.get(SAMPLERS, auth=("ann", "word")).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        (BASE_URL, 200),
        ("http://evil.example", 403),
        ("http://127.0.0.1:9999", 403),
        ("http://127.0.0.1:7860.evil.example", 403),
        ("file://", 403),
        ("http://[", 403),
        ("https://evil.gradio.live", 403),
    ],
)
def test_post_when_it_comes_from_a_page_needs_our_origin(
    client: TestClient, origin: str | None, status: int
) -> None:
    headers = {"Origin": origin} if origin else {}

    answer = client.post(INTERRUPT, headers=headers)

    assert answer.status_code == status
    if status == 403:
        assert "--cors-allow-origins" in answer.json()["detail"]


def test_get_when_it_comes_from_a_foreign_page_gets_no_cors_header(client: TestClient) -> None:
    answer = client.get(SAMPLERS, headers={"Origin": "http://evil.example"})

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost:7860", 200),
        ("[::1]:7860", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 403),
        ("evil.example:7860", 403),
        ("127.0.0.1.evil.example:7860", 403),
        ("localhost.evil.example", 403),
    ],
)
def test_host_when_foreign_is_refused_even_for_reading(
    client: TestClient, host: str, status: int
) -> None:
    answer = client.get(SAMPLERS, headers={"Host": host})

    assert answer.status_code == status


@pytest.mark.parametrize(
    ("peer", "status"),
    [
        (("127.0.0.1", 50000), 200),
        (("203.0.113.5", 0), 200),  # what uvicorn makes of a local proxy's X-Forwarded-For
        (("203.0.113.5", 50000), 403),
    ],
)
def test_proxy_when_it_tells_the_outer_name_is_trusted_on_this_machine_only(
    studio: Studio, peer: tuple[str, int], status: int
) -> None:
    headers = {"Origin": "https://paint.example", "X-Forwarded-Host": "paint.example"}

    with client_of(studio, client=peer) as client:
        assert client.post(INTERRUPT, headers=headers).status_code == status


@pytest.mark.parametrize("flags", [(), ("--cors-allow-origins", "null")])
def test_origin_null_when_sent_is_refused_without_advice_to_admit_it(
    make_studio: MakeStudio, flags: tuple[str, ...]
) -> None:
    with client_of(make_studio(*flags)) as client:
        answer = client.post(INTERRUPT, headers={"Origin": "null"})

    assert answer.status_code == 403 and "--cors-allow-origins" not in answer.json()["detail"]


def test_cors_flag_when_given_admits_that_page(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--cors-allow-origins", "http://friend.example")) as client:
        friend = client.post(INTERRUPT, headers={"Origin": "http://friend.example"})
        stranger = client.post(INTERRUPT, headers={"Origin": "http://evil.example"})
        preflight = client.options(
            INTERRUPT,
            headers={"Origin": "http://friend.example", "Access-Control-Request-Method": "POST"},
        )

    assert friend.status_code == 200 and stranger.status_code == 403
    assert friend.headers["access-control-allow-origin"] == "http://friend.example"
    assert preflight.status_code == 200


def test_names_when_the_server_is_open_to_others_are_not_checked() -> None:
    trust = Trust(is_local=False, host="0.0.0.0", has_api_logins=True)

    assert trust.host_is_ours("paint.example", is_api=True)
    assert not trust.origin_is_ours("http://evil.example", ("paint.example",))


def test_share_link_when_it_calls_is_its_own_pages_alone_and_not_at_home(tmp_path: Path) -> None:
    """It has a port of its own, where everybody logs in; this one needs no such name."""
    trust = Trust.from_settings(read_settings(["--share", "--data-dir", str(tmp_path)], {}))

    assert not trust.host_is_ours("abc.gradio.live", is_api=True)
    assert trust.origin_is_ours("https://abc.gradio.live", ("abc.gradio.live",))
    assert not trust.origin_is_ours("https://evil.gradio.live", ("abc.gradio.live",))
    assert not trust.origin_is_ours("https://evil.gradio.live", ("127.0.0.1:7860",))


def test_subpath_when_set_serves_below_it(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--subpath", "/paint", "--api-auth", "a:b")) as client:
        assert client.get("/paint" + SAMPLERS).status_code == 401
        assert client.get("/paint" + SAMPLERS, auth=("a", "b")).status_code == 200
        assert client.get(SAMPLERS).status_code == 401  # a proxy may have cut the path


def test_no_api_flag_when_given_leaves_only_internal_routes(make_studio: MakeStudio) -> None:
    with client_of(make_studio("--no-api")) as client:
        assert client.get(SAMPLERS).status_code == 404
        assert client.get("/sdapi/v1/progress").status_code == 404
        assert client.get("/internal/ping").status_code == 200


def test_answer_when_long_is_compressed_and_timed(client: TestClient) -> None:
    answer = client.get(SAMPLERS, headers={"Accept-Encoding": "gzip"})
    short = client.get("/internal/ping", headers={"Accept-Encoding": "gzip"})

    assert answer.headers["content-encoding"] == "gzip" and "content-encoding" not in short.headers
    whole, _, digits = answer.headers["X-Process-Time"].partition(".")
    assert whole.isdigit() and len(digits) == 4


def test_refusal_when_it_comes_early_is_timed_too(client: TestClient) -> None:
    answer = client.post(INTERRUPT, headers={"Origin": "http://evil.example"})

    assert "X-Process-Time" in answer.headers


def test_api_log_when_on_writes_one_line_for_a_request(
    make_studio: MakeStudio, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="webui.api.timing")
    with client_of(make_studio("--api-log")) as client:
        client.get(SAMPLERS)

    (line,) = [
        record.getMessage() for record in caplog.records if record.name == "webui.api.timing"
    ]
    assert "200" in line and SAMPLERS in line


def test_body_when_too_large_is_413(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_limit, "MAX_BODY_BYTES", 2000)

    def in_pieces() -> Any:
        for _ in range(10):
            yield b" " * 500

    announced = client.post("/sdapi/v1/txt2img", json={**QUICK, "prompt": "x" * 3000})
    streamed = client.post(
        "/sdapi/v1/txt2img", content=in_pieces(), headers={"Content-Type": "application/json"}
    )

    assert announced.status_code == streamed.status_code == 413


def test_crash_when_unforeseen_is_500_with_an_id_that_is_logged(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("the sky fell")

    monkeypatch.setattr(studio, "refresh_models", broken)
    with client_of(studio) as client:
        answer = client.post("/sdapi/v1/refresh-vae")

    body = answer.json()
    assert answer.status_code == 500 and body["error"] == "RuntimeError"
    assert body["errors"] == "the sky fell" and body["id"] in body["detail"]
    logged = [record for record in caplog.records if body["id"] in record.getMessage()]
    assert logged and logged[0].exc_info


def test_fence_when_routes_are_counted_is_around_all_of_them(studio: Studio) -> None:
    routes = [route for route in build_api(studio).routes if isinstance(route, APIRoute)]

    assert all(type(route).__name__ == "FencedRoute" for route in routes)


@pytest.mark.parametrize("path", [SAMPLERS, "/danqing/v1/downloads"])
def test_host_when_only_the_api_has_a_password_may_be_any(tmp_path: Path, path: str) -> None:
    settings = read_settings(
        ["--api", "--api-auth", "a:b", "--data-dir", str(tmp_path)], environ={}
    )
    trust = Trust.from_settings(settings)

    assert trust.host_is_ours("evil.example", is_api=is_api_path({"path": path}))
