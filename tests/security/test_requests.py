"""Foreign pages, names and addresses; files that are too large or no pictures; what answers say."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
import safehttpx
from gradio import processing_utils
from PIL import Image

from tests.patience import PATIENCE
from tests.security.conftest import GUEST, OTHER_GUEST, OWNER, URL, Open
from tests.security.routes import all_routes, api_routes, filled
from webui.access import Access
from webui.api.errors import ApiError
from webui.api.guard import Guard, Trust
from webui.api.headers import HEADERS
from webui.settings import read_settings

EVIL = "https://evil.example"
PAINT = "/sdapi/v1/txt2img"


# Foreign pages


def test_routes_when_a_foreign_page_posts_are_all_refused(opened: Open) -> None:
    """With the cookie and with the login: what a browser would send along."""
    browser, program = opened.client(OWNER, raise_server_exceptions=False), opened.program(OWNER)
    routes = [r for r in {*api_routes(opened.app), *all_routes(opened.app)} if r[0] != "GET"]
    routes += [r for r in all_routes(opened.gradio) if r[0] != "GET"]
    assert len(routes) > 80
    for method, path in routes:
        client = program if path.startswith(("/sdapi", "/danqing", "/internal")) else browser
        answer = client.request(method, filled(path), headers={"Origin": EVIL})
        assert answer.status_code == 403, (method, path)


FOREIGN = (EVIL, "null", "http://127.0.0.1:9999", "http://localhost:7860")
"""The page of another port of this machine, too: cookies are sent to all of its ports."""


@pytest.mark.parametrize("origin", FOREIGN)
@pytest.mark.parametrize("user", [OWNER, GUEST])
def test_streams_when_a_foreign_page_reads_get_no_permission(
    opened: Open, origin: str, user: str
) -> None:
    browser = opened.client(user, raise_server_exceptions=False)
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    for path in ("/gradio_api/queue/data?session_hash=x", "/ui/gallery/find", "/config", "/"):
        for method in ("GET", "OPTIONS"):
            answer = browser.request(method, path, headers=asked)
            told = [name for name in answer.headers if name.startswith("access-control")]
            assert told == [], (path, method)


@pytest.mark.parametrize("headers", [[(b"origin", EVIL.encode())], [(b"origin", b"null")]])
def test_websocket_when_a_foreign_page_opens_it_is_closed(
    opened: Open, headers: list[tuple[bytes, bytes]]
) -> None:
    sent: list[dict[str, Any]] = []

    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError("it came through")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    guard = Guard(application, Trust.from_settings(opened.studio.settings), opened.studio.access)
    scope = {
        "type": "websocket", "path": "/x", "headers": [(b"host", b"127.0.0.1"), *headers],
        "client": ("127.0.0.1", 9), "server": ("127.0.0.1", 7860),
    }  # fmt: skip
    asyncio.run(guard(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


@pytest.mark.parametrize(
    ("flags", "port", "host", "is_ours"),
    [
        ((), 7860, "evil.example", False),
        ((), 7860, "localhost:7860", True),
        (("--share",), 7860, "evil.example", False),
        (("--share",), 7999, "abc.gradio.live", True),
    ],
)
def test_name_when_a_foreign_one_is_pointed_at_this_machine_gets_nothing(
    tmp_path: Any, flags: tuple[str, ...], port: int, host: str, is_ours: bool
) -> None:
    """DNS rebinding: also while the page is shared, for the person here still needs no password."""
    settings = read_settings(["--data-dir", str(tmp_path), *flags], {})
    access = Access(settings)
    access.shared_ports.add(7999)
    guard = Guard(lambda *_: None, Trust.from_settings(settings), access)  # type: ignore[arg-type]
    scope = {
        "type": "http", "method": "GET", "path": "/", "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 9), "server": ("127.0.0.1", port),
    }  # fmt: skip
    assert (guard._refusal(scope) is None) is is_ours


# What every answer says


@pytest.mark.parametrize("path", ["/", "/login", "/ui/ping", "/internal/ping", "/sdapi/v1/none"])
def test_answer_when_given_has_the_security_headers(opened: Open, path: str) -> None:
    for client in (opened.client(), opened.client(OWNER)):
        answer = client.get(path, headers={"Accept": "text/html"}, follow_redirects=False)
        assert set(HEADERS) <= {name.title().replace("Csp", "CSP") for name in answer.headers}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors" in answer.headers["content-security-policy"]
        assert "object-src 'none'" in answer.headers["content-security-policy"] or (
            "default-src 'none'" in answer.headers["content-security-policy"]
        )
        assert "access-control-allow-origin" not in answer.headers


# Addresses

ADDRESSES = (
    "http://127.0.0.1:7860/ui/ping", "http://localhost/", "http://[::1]/", "https://10.0.0.1/a.png",
    "http://192.168.0.1/", "http://172.16.0.1/", "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/", "http://2130706433/", "http://0x7f.1/",
    "http://0177.0.0.1/", "http://127.1/", "http://0/", "http://example.com/redirect-to-loopback",
    "HTTP://127.0.0.1/", "  http://127.0.0.1/", "http:\\\\127.0.0.1\\", "ftp://127.0.0.1/a.png",
    "file:///etc/passwd", "gopher://127.0.0.1:11211/", "//127.0.0.1/a.png",
    "https://user:pass@127.0.0.1/a.png", "http://127.0.0.1%2f@example.com/",
)  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_picture_when_given_as_an_address_is_never_fetched(
    opened: Open, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def no_connection(_self: socket.socket, target: Any) -> None:
        asked.append(target)
        raise OSError("no connection in this test")

    def no_lookup(host: Any, *_args: Any, **_more: Any) -> Any:
        asked.append(host)
        raise socket.gaierror("no lookup in this test")

    program = opened.program(OWNER)
    monkeypatch.setattr(socket.socket, "connect", no_connection)
    monkeypatch.setattr(socket, "getaddrinfo", no_lookup)
    small = {"width": 64, "height": 64, "steps": 1}
    answers = [
        program.post("/sdapi/v1/img2img", json={"init_images": [address], **small}),
        program.post(
            "/sdapi/v1/img2img", json={"init_images": [png_text()], "mask": address, **small}
        ),
        program.post("/sdapi/v1/png-info", json={"image": address}),
        program.post("/sdapi/v1/extra-single-image", json={"image": address}),
        program.post("/sdapi/v1/interrogate", json={"image": address, "model": "deepdanbooru"}),
    ]
    assert asked == []
    assert all(answer.status_code >= 400 for answer in answers)


@pytest.mark.parametrize("user", [OWNER, GUEST])
def test_file_when_given_to_gradio_as_an_address_is_never_fetched(
    opened: Open, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio fetches what any value of any component says to be a file at an address."""
    asked: list[str] = []

    async def look_up(name: str) -> str:
        asked.append(name)
        raise RuntimeError("no lookup in this test")

    monkeypatch.setattr(safehttpx, "async_validate_url", look_up)
    monkeypatch.setattr(processing_utils, "async_ssrf_protected_get", look_up)
    blocks = opened.guests if user == GUEST else opened.owners
    number, event = min(
        ((n, fn) for n, fn in blocks.fns.items() if fn.inputs), key=lambda one: len(one[1].inputs)
    )
    file = {"path": "http://example.com/a.png", "meta": {"_type": "gradio.FileData"}}
    body = {"fn_index": number, "data": [file] * len(event.inputs), "session_hash": "here"}
    browser = opened.client(user, raise_server_exceptions=False)
    answer = browser.post("/gradio_api/run/predict", json=body)
    seen = [
        browser.get(f"/gradio_api/file={scheme}://example.com/a.png").status_code
        for scheme in ("http", "https", "HTTP")
    ]

    assert asked == []
    assert "not fetched by address" in answer.text
    assert set(seen) <= {403, 404}


# Uploads


def png_text() -> str:
    packed = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(packed, "PNG")
    return base64.b64encode(packed.getvalue()).decode("ascii")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


MALFORMED = {
    "bomb": bomb(60_000, 60_000), "wide": bomb(2**31 - 1, 1), "none": bomb(0, 0), "empty": b"",
    "text": b"hello", "cut": base64.b64decode(png_text())[:40], "html": b"<script>x()</script>",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "zip": b"PK\x03\x04" * 9,
    "gif": b"GIF89a" + b"\xff" * 40, "jpeg": b"\xff\xd8\xff\xe0" + b"\0" * 60, "nul": b"\0" * 400,
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_upload_when_it_is_no_picture_or_a_bomb_is_refused(opened: Open, kind: str) -> None:
    data = MALFORMED[kind]
    browser, program = opened.client(OWNER, raise_server_exceptions=False), opened.program(OWNER)
    assert browser.post("/ui/input", content=data).status_code == 422
    assert browser.post("/ui/recipe", content=data).status_code == 200
    text = base64.b64encode(data).decode("ascii")
    painted = program.post("/sdapi/v1/img2img", json={"init_images": [text]})
    assert painted.status_code >= 400 and "Invalid encoded image" in painted.json()["detail"]
    assert "unexpected" not in painted.text


def test_upload_when_too_large_is_refused_before_it_is_kept(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.api import body_limit
    from webui.ui import input_routes

    monkeypatch.setattr(input_routes, "MAX_UPLOAD_BYTES", 5000)
    monkeypatch.setattr(body_limit, "MAX_STRANGERS_BYTES", 3000)
    owner, stranger = opened.client(OWNER), opened.client()
    assert owner.post("/ui/input", content=b"x" * 6000).status_code == 413
    for path in ("/ui/input", "/gradio_api/upload", "/ui/words/look"):
        assert stranger.post(path, content=b"x" * 4000).status_code == 413, path
    monkeypatch.setattr(body_limit, "MAX_GUESTS_BYTES", 3500)
    assert opened.client(GUEST).post("/ui/input", content=b"x" * 4000).status_code == 413
    monkeypatch.setattr(body_limit, "MAX_BODY_BYTES", 8000)
    pieces = (b"x" * 1000 for _ in range(20))
    assert owner.post("/gradio_api/upload", content=pieces).status_code in (400, 413)
    assert owner.post("/ui/words/look", content=b" " * 9000).status_code == 413


def test_body_when_a_guest_sends_it_to_the_api_is_no_larger_than_to_the_page(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.api import body_limit

    monkeypatch.setattr(body_limit, "MAX_GUESTS_BYTES", 3500)
    body = b" " * 4000
    paths = (PAINT, "/danqing/v1/gallery/star")
    assert [opened.program(GUEST).post(p, content=body).status_code for p in paths] == [413, 413]
    assert opened.program(OWNER).post(paths[0], content=body).status_code == 422


def test_uploads_when_guests_send_more_than_an_hours_share_have_to_wait(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.api import body_limit

    monkeypatch.setattr(body_limit, "SMALL_BYTES", 1000)
    monkeypatch.setattr(body_limit, "MAX_GUESTS_BYTES_AN_HOUR", 2500)
    browser = opened.client(OTHER_GUEST, raise_server_exceptions=False)
    program = opened.program(OTHER_GUEST)
    body = b" " * 2000
    answers = [browser.post("/ui/input", content=body), program.post(PAINT, content=body)]
    late = [browser.post("/ui/input", content=body), program.post(PAINT, content=body)]
    assert [answer.status_code for answer in (*answers, *late)] == [422, 422, 429, 429]
    assert browser.post("/ui/words/look", json={"text": "a"}).status_code == 200
    assert opened.program(OWNER).post(PAINT, content=body).status_code == 422


def test_share_of_an_hour_when_the_hour_is_over_begins_anew(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    from webui.api import body_limit

    monkeypatch.setattr(body_limit, "MAX_GUESTS_BYTES_AN_HOUR", 2500)
    now = [0.0]
    limit = body_limit.BodyLimit(lambda *_: None, opened.studio.access, lambda: now[0])  # type: ignore[arg-type]
    limit._note_sent("gil", 2000)
    with pytest.raises(ApiError, match="within an hour"):
        limit._note_sent("gil", 2000)
    now[0] = 3600.0
    limit._note_sent("gil", 2000)


@pytest.mark.parametrize("said", ["9" * 5000, "9" * 30, "x"])
def test_length_when_it_is_no_number_or_endless_crashes_nothing(opened: Open, said: str) -> None:
    headers = [("content-length", said.encode("latin-1"))]
    answer = opened.program(OWNER).post("/sdapi/v1/interrupt", headers=headers)
    assert answer.status_code == (413 if said.startswith("9") else 200)


def test_uploads_when_guests_send_many_keep_nobody_else_waiting(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture of half a megabyte may take seconds to unpack; others look at theirs meanwhile."""
    from tests.security.test_guests import paint
    from webui.ui import input_routes

    looked = threading.Event()
    monkeypatch.setattr(input_routes, "_keep", lambda *_: {"key": str(looked.wait(PATIENCE))})
    _, picture = paint(opened, "")
    cookies = {user: dict(opened.client(user).cookies) for user in (OWNER, GUEST)}

    async def at_once() -> tuple[int, list[int]]:
        transport = httpx.ASGITransport(opened.app)
        async with (
            httpx.AsyncClient(transport=transport, base_url=URL, cookies=cookies[GUEST]) as guest,
            httpx.AsyncClient(transport=transport, base_url=URL, cookies=cookies[OWNER]) as owner,
        ):
            many = [asyncio.create_task(guest.post("/ui/input", content=b"x")) for _ in range(40)]
            await asyncio.sleep(0.5)
            try:
                wish = owner.get(f"/ui/picture/{picture.id}")
                seen = (await asyncio.wait_for(wish, 30)).status_code
            finally:
                looked.set()
            return seen, [answer.status_code for answer in await asyncio.gather(*many)]

    assert asyncio.run(at_once()) == (200, [200] * 40)


@pytest.mark.parametrize("name", ["../../evil.png", "/etc/evil.png", "..\\evil.png", "a\x00b.png"])
def test_upload_when_its_name_leads_elsewhere_stays_where_uploads_go(
    opened: Open, name: str
) -> None:
    owner = opened.client(OWNER, raise_server_exceptions=False)
    answer = owner.post("/gradio_api/upload", files={"files": (name, b"data", "image/png")})
    if answer.status_code == 200:
        uploads = Path(opened.gradio.uploaded_file_dir).resolve()
        assert all(Path(path).resolve().parent.parent == uploads for path in answer.json())


def test_picture_when_served_is_not_run_as_a_page(opened: Open) -> None:
    """A picture whose file is HTML is still sent as a picture, and browsers do not guess."""
    from tests.security.test_guests import paint

    _, picture = paint(opened, "")
    answer = opened.client(OWNER).get(f"/ui/picture/{picture.id}")
    assert answer.headers["content-type"].startswith("image/")
    assert answer.headers["x-content-type-options"] == "nosniff"
