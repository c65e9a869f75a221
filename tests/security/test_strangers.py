"""Who has not logged in: every route refuses, passwords cannot be guessed, sessions end."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from tests.security.conftest import GUEST, OWNER, SHARED_PORT, Open
from tests.security.routes import all_routes, api_routes, filled
from webui import access as access_module
from webui import brake as brake_module
from webui.access import SESSION_SECONDS, Access
from webui.api.guard import API_ROOTS
from webui.brake import Brake
from webui.errors import SettingsError
from webui.passwords import hash_password, is_hashed, is_right, make_password
from webui.settings import read_settings

EVIL = "https://evil.example"
API_OPEN = {("GET", "/internal/ping")}
PAGE_OPEN = {
    ("GET", "/ui/ping"), ("GET", "/login"), ("GET", "/login/"), ("POST", "/login"),
    ("POST", "/login/"), ("GET", "/logout"), ("POST", "/logout"),
}  # fmt: skip
UNKNOWN = tuple(f"/{root}/{{rest:path}}" for root in API_ROOTS)
"""They answer paths that do not exist with 404."""


def test_api_when_a_stranger_calls_every_route_answers_nothing(opened: Open) -> None:
    stranger = opened.program()
    routes = api_routes(opened.app)
    answers = {r: stranger.request(r[0], filled(r[1])).status_code for r in routes}

    assert len(routes) > 60
    assert {route for route, status in answers.items() if status != 401} == API_OPEN


def test_everything_else_when_a_stranger_calls_every_route_answers_nothing(opened: Open) -> None:
    """Our own routes, and all that Gradio brings along on both pages."""
    stranger = opened.client(raise_server_exceptions=False)
    outer = set(all_routes(opened.app)) - set(api_routes(opened.app))
    gradio = set(all_routes(opened.gradio))
    routes = {route for route in outer | gradio if route[1] not in UNKNOWN}
    answers = {r: stranger.request(r[0], filled(r[1])).status_code for r in routes}

    assert len(outer) > 40 and len(gradio) > 60
    assert {route for route, status in answers.items() if status != 401} == PAGE_OPEN
    for path in UNKNOWN:
        assert stranger.get(filled(path)).status_code == 404


def test_page_when_a_stranger_opens_it_shows_the_login_alone(opened: Open) -> None:
    stranger = opened.client(follow_redirects=False)
    sent = stranger.get("/", headers={"Accept": "text/html"})
    page = stranger.get("/login", headers={"Accept-Language": "zh-CN"})

    assert (sent.status_code, sent.headers["location"]) == (303, "/login")
    assert 'lang="zh-CN"' in page.text and "登录" in page.text
    assert (
        "script" not in page.text
        and "default-src 'none'" in page.headers["content-security-policy"]
    )


@pytest.mark.parametrize("token", ["", "x", "../../secret", "\x7f", "a" * 4000])
def test_session_when_the_cookie_is_made_up_is_none(opened: Open, token: str) -> None:
    stranger = opened.client(cookies={opened.studio.access.cookie: token})
    assert stranger.get("/config").status_code == 401


def test_cookie_when_given_is_out_of_scripts_and_foreign_pages_reach(opened: Open) -> None:
    form = {"username": "ann", "password": "one"}
    plain = opened.client().post("/login", data=form).headers["set-cookie"]
    secure = opened.client(base_url="https://127.0.0.1").post("/login", data=form)

    assert "HttpOnly" in plain and "SameSite=lax" in plain and "Secure" not in plain
    assert "Secure" in secure.headers["set-cookie"]
    opened.studio.access.shared_ports.add(SHARED_PORT)
    try:
        tunnel = opened.client(base_url=f"http://127.0.0.1:{SHARED_PORT}")
        assert "Secure" in tunnel.post("/login", data=form).headers["set-cookie"]
    finally:
        opened.studio.access.shared_ports.clear()


def test_logout_when_asked_for_ends_the_session_itself(opened: Open) -> None:
    ann = opened.client(OWNER, follow_redirects=False)
    token = ann.cookies[opened.studio.access.cookie]
    assert ann.get("/config").status_code == 200
    left = ann.post("/logout")

    assert left.status_code == 303 and opened.studio.access.cookie not in ann.cookies
    stolen = opened.client(cookies={opened.studio.access.cookie: token})
    assert stolen.get("/config").status_code == 401


def test_session_when_old_is_none(opened: Open) -> None:
    now = [0.0]
    access = Access(opened.studio.settings, clock=lambda: now[0])
    token = access.begin_session("ann")
    assert access.person(token, None) is not None
    now[0] = SESSION_SECONDS + 1
    assert access.person(token, None) is None


def test_sessions_when_a_guest_begins_many_end_nobody_elses(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_module, "MAX_SESSIONS", 3)
    access = Access(opened.studio.settings)
    owners = access.begin_session("ann")
    guests = [access.begin_session("gil") for _ in range(5)]

    assert access.person(owners, None) is not None
    assert [access.person(token, None) is not None for token in guests] == [False] * 2 + [True] * 3


def test_session_when_begun_anew_ends_the_one_before(opened: Open) -> None:
    """Nobody can foist a session upon others that they know: each login makes a new one."""
    ann = opened.client(OWNER)
    first = ann.cookies[opened.studio.access.cookie]
    ann.post("/login", data={"username": "ann", "password": "one"})

    assert ann.cookies[opened.studio.access.cookie] != first
    assert opened.studio.access.person(first, None) is None


def test_api_when_the_page_asks_it_knows_the_session_and_its_rights(opened: Open) -> None:
    """Scripts of extensions ask the API from within the page."""
    owner, guest = opened.client(OWNER), opened.client(GUEST)
    asked = {
        "owner": owner.get("/sdapi/v1/options").status_code,
        "guest": guest.get("/sdapi/v1/options").status_code,
        "guest, theirs": guest.get("/sdapi/v1/samplers").status_code,
        "wrong login": owner.get("/sdapi/v1/options", auth=("ann", "two")).status_code,
        "foreign page": owner.post("/sdapi/v1/interrupt", headers={"Origin": EVIL}).status_code,
    }
    owner.post("/logout")
    asked["left"] = owner.get("/sdapi/v1/options").status_code

    assert asked == {
        "owner": 200, "guest": 403, "guest, theirs": 200, "wrong login": 401, "foreign page": 403,
        "left": 401,
    }  # fmt: skip


def test_api_when_it_has_owners_of_its_own_knows_no_session_of_the_page(tmp_path) -> None:
    flags = ("--gradio-auth", "ann:one", "--api-auth", "bob:two", "--data-dir", str(tmp_path))
    access = Access(read_settings(flags, {}))
    cookies = {access.cookie: access.begin_session("ann")}

    assert access.person(cookies[access.cookie], None) is not None
    assert access.page_person_at_api(cookies) is None


# Guessing


def test_login_when_guessed_from_one_address_has_to_wait_at_both_doors(opened: Open) -> None:
    client = opened.client()
    wrong, right = ({"username": "ann", "password": word} for word in ("x", "one"))
    assert [client.post("/login", data=wrong).status_code for _ in range(5)] == [400] * 5

    braked = client.post("/login", data=right)
    assert braked.status_code == 429 and int(braked.headers["Retry-After"]) >= 1
    api = opened.program()
    assert api.get("/sdapi/v1/samplers", auth=("ann", "one")).status_code == 429


def test_login_when_guessed_from_many_addresses_has_to_wait_all_the_same(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(brake_module, "MAX_TOTAL_FAILURES", 12)
    opened.studio.access.brake = Brake()
    answers = []
    for number in range(13):
        client = TestClient(opened.app, base_url="http://127.0.0.1", client=(f"10.0.0.{number}", 9))
        form = {"username": "ann", "password": "x"}
        answers.append(client.post("/login", data=form).status_code)

    assert answers == [400] * 12 + [429]


def test_login_when_an_address_is_claimed_is_not_believed(opened: Open) -> None:
    """X-Forwarded-For is anybody's word unless --forwarded-allow-ips names the proxy."""
    client = opened.client()
    answers = [
        client.post(
            "/login",
            data={"username": "ann", "password": "x"},
            headers={"X-Forwarded-For": f"203.0.113.{number}"},
        ).status_code
        for number in range(6)
    ]
    assert answers == [400] * 5 + [429]
    assert read_settings([], {}).trusted_proxies == ""
    assert read_settings(["--forwarded-allow-ips", "10.0.0.1"], {}).trusted_proxies == "10.0.0.1"


def test_login_when_many_guesses_come_at_once_counts_them_before_it_looks(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    brake = opened.studio.access.brake

    def look(_name: str, _password: str) -> bool:
        seen.append(len(brake._failures["testclient"]))
        return False

    monkeypatch.setattr(opened.studio.access.page, "check", look)
    opened.client().post("/login", data={"username": "ann", "password": "x"})
    assert seen == [1]


def test_login_when_others_guess_elsewhere_is_free_at_home(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the tunnel's visitors nor a thousand addresses lock out those who live here."""
    monkeypatch.setattr(brake_module, "MAX_TOTAL_FAILURES", 12)
    opened.studio.access.brake = Brake()
    wrong, right = ({"username": "ann", "password": word} for word in ("x", "one"))
    assert opened.client().post("/login", data=right).status_code == 200
    monkeypatch.setattr(opened.studio.access, "shared_ports", {SHARED_PORT})
    tunnel = opened.client(base_url=f"http://127.0.0.1:{SHARED_PORT}")
    assert [tunnel.post("/login", data=wrong).status_code for _ in range(6)] == [400] * 5 + [429]
    for number in range(12):
        opened.studio.access.brake.note_failure(f"10.0.0.{number}")

    assert opened.client().post("/login", data=right).status_code == 200
    stranger = TestClient(opened.app, base_url="http://127.0.0.1", client=("10.9.9.9", 9))
    assert stranger.post("/login", data=right).status_code == 429


def test_address_when_it_is_ipv6_counts_with_all_of_its_household(opened: Open) -> None:
    def peer(host: str) -> str:
        return opened.studio.access.peer({"client": (host, 9), "server": ("::", 7860)})

    assert peer("2001:db8:1:2::1") == peer("2001:db8:1:2:ffff::9") != peer("2001:db8:1:3::1")
    assert peer("::ffff:10.0.0.1") == peer("10.0.0.1") == "10.0.0.1"
    assert peer("testclient") == "testclient"


@pytest.mark.parametrize(
    "form", [{}, {"username": "ann"}, {"password": "one"}, {"username": "", "password": ""}]
)
def test_login_when_incomplete_is_wrong(opened: Open, form: dict[str, str]) -> None:
    assert opened.client().post("/login", data=form).status_code == 400


def test_login_when_the_form_is_huge_or_broken_is_refused(opened: Open) -> None:
    client = opened.client(raise_server_exceptions=False)
    assert client.post("/login", content=b"username=" + b"a" * 20_000).status_code == 413
    assert client.post("/login", content=b"\xff\x00&=&=%%%").status_code == 400
    assert client.post("/login", content=b"a=1&" * 100).status_code == 400


def test_password_when_made_is_readable_and_long_enough() -> None:
    made = {make_password() for _ in range(200)}
    assert len(made) == 200
    for password in made:
        groups = password.split("-")
        assert len(groups) == 5 and all(len(g) == 4 and g.isalpha() for g in groups)
    assert (16 * 5) ** 10 > 2**60


def test_password_when_kept_is_a_salted_scrypt_hash() -> None:
    first, second = hash_password("one"), hash_password("one")
    assert first != second and first.startswith("scrypt$32768$8$1$") and "one" not in first
    assert is_right("one", first) and not is_right("two", first)
    assert is_hashed(first) and not is_hashed("one") and not is_hashed("scrypt$x$8$1$a$b")


def test_password_when_hashed_already_is_taken_from_the_file(tmp_path) -> None:
    file = tmp_path / "logins"
    file.write_text(f"ann:{hash_password('one')}\n", encoding="utf-8")
    settings = read_settings(["--gradio-auth-path", str(file)], {})
    assert Access(settings).page.check("ann", "one")
    assert not Access(settings).page.check("ann", settings.page_logins[0][1])


@pytest.mark.parametrize("cut", ["scrypt$", "$8$1$", "$1$"])
def test_password_when_its_hash_is_not_whole_is_told_of_at_the_start(cut: str) -> None:
    hashed = hash_password("one")
    broken = hashed[: hashed.index(cut) + len(cut)]
    with pytest.raises(SettingsError, match="not whole"):
        read_settings(["--gradio-auth", f"ann:{broken}"], {})
    too_dear = hashed.replace("$32768$", f"${2**24}$")
    with pytest.raises(SettingsError, match="not whole"):
        read_settings(["--gradio-auth", f"ann:{too_dear}"], {})


# Nobody is asked at home


def test_page_when_nobody_else_reaches_it_asks_for_nothing(tmp_path) -> None:
    access = Access(read_settings(["--data-dir", str(tmp_path)], {}))
    person = access.person(None, 7860)
    assert person is not None and not person.is_guest and not access.asks_api(7860)
