"""Starting the program where something is in the way: a sentence, an exit code, nothing broken."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import app
from tests import conftest
from tests.patience import PATIENCE
from tests.test_first_picture import PAINT, Server, any_free_port, running
from webui.access import LOCAL, Access
from webui.settings import PROJECT_DIR, read_settings


def start(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "app.py", *flags],
        cwd=PROJECT_DIR,
        env={**os.environ, "CI": "true"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_start_when_the_port_is_taken_says_so(data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = start("--port", str(port), "--data-dir", str(data_dir), "--nowebui")

    assert ended.returncode == 2
    assert f"Port {port} is in use" in ended.stderr and "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_start_when_another_server_has_the_data_folder_says_so(data_dir: Path) -> None:
    with running(data_dir, any_free_port()) as first:
        port = str(any_free_port())
        ended = start("--port", port, "--data-dir", str(data_dir), "--nowebui")
        assert first.ask("/internal/ping") == {}

    assert ended.returncode == 2
    assert "in use by another server" in ended.stderr and "--data-dir" in ended.stderr


def test_start_when_the_data_folder_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")

    ended = start("--data-dir", str(tmp_path / "file" / "data"), "--port", str(any_free_port()))

    assert ended.returncode == 2
    assert "cannot be written" in ended.stderr and "Traceback" not in ended.stderr


def test_start_when_shared_without_a_password_makes_some_and_goes_on_without_a_tunnel(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_tunnel(*_args: object) -> str:
        raise OSError("the client program is missing")

    monkeypatch.setattr("gradio.networking.setup_tunnel", no_tunnel)
    settings = read_settings(["--share", "--data-dir", str(data_dir)], {})
    app._share(7999)
    for line in app.invitation(settings):
        print(line)

    told = capsys.readouterr().out
    for name, password in settings.made_logins:
        assert f"Name: {name}    Password: {password}" in told
    assert "the client program is missing" in told and "Traceback" not in told
    for way in ("ssh -R", "cloudflared", "ngrok", "tailscale"):
        assert way in told
    assert told.count("7999") == 4


def test_start_when_shared_a_second_door_asks_for_the_password(data_dir: Path) -> None:
    """The person at this machine needs none; what comes in where the tunnel ends does."""
    settings = read_settings(["--share", "--data-dir", str(data_dir)], {})
    access = Access(settings)
    access.shared_ports.add(7999)

    assert access.person(None, 7860) == LOCAL and not access.asks_api(7860)
    assert access.person(None, 7999) is None and access.asks_api(7999)


def test_start_when_tls_files_are_given_speaks_https(data_dir: Path) -> None:
    tls, port = PROJECT_DIR / "tests" / "data" / "tls", any_free_port()
    files = ["--tls-keyfile", str(tls / "key.pem"), "--tls-certfile", str(tls / "cert.pem")]
    flags = ["--port", str(port), "--data-dir", str(data_dir), "--nowebui", *files]
    context = ssl.create_default_context(cafile=str(tls / "cert.pem"))
    words = [sys.executable, "app.py", *flags]
    with subprocess.Popen(words, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = next(line for line in server.stdout if " is at " in line)
            assert f" is at https://127.0.0.1:{port}/ " in line
            address = f"https://127.0.0.1:{port}/internal/ping"
            with urllib.request.urlopen(address, timeout=PATIENCE, context=context) as answer:
                assert answer.read() == b"{}"
        finally:
            server.terminate()


def test_start_when_flags_of_others_are_given_names_them(data_dir: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = start(
            "--xformers", "--precision", "full", "--port", port, "--data-dir", str(data_dir)
        )

    assert ended.stdout == "Ignored: --xformers, --precision\n"
    assert "unrecognized" not in ended.stderr


@pytest.mark.parametrize(
    "host, printed",
    [("::1", "[::1]"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")],
)
def test_addresses_when_only_this_machine_is_served_are_one(host: str, printed: str) -> None:
    settings = read_settings(["--server-name", host, "--subpath", "art"], {})

    assert app.page_addresses(settings, 7860) == [f"http://{printed}:7860/art/"]


@pytest.mark.parametrize("host, here", [("0.0.0.0", "127.0.0.1"), ("::", "[::1]")])
def test_addresses_when_all_machines_are_served_have_the_networks_one(
    host: str, here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(["--server-name", host, "--gradio-auth", "a:b"], {})
    monkeypatch.setattr(app, "lan_address", lambda: "192.168.1.5")
    assert app.page_addresses(settings, 80) == [f"http://{here}:80/", "http://192.168.1.5:80/"]
    monkeypatch.setattr(app, "lan_address", lambda: "")
    assert app.page_addresses(settings, 80) == [f"http://{here}:80/"]


def test_lan_address_when_found_is_not_this_machines_own_loop() -> None:
    found = app.lan_address()

    assert found == "" or (found.count(".") == 3 and not found.startswith(("127.", "0.")))


@pytest.mark.parametrize(("ci", "ending"), [("true", "fail"), ("", "skip")])
def test_browser_tests_when_there_is_no_chromium_fail_in_ci_and_are_skipped_elsewhere(
    ci: str, ending: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(conftest, "find_chromium", lambda: "")
    request.node.add_marker("browser")
    outcome = pytest.fail.Exception if ending == "fail" else pytest.skip.Exception
    either = (pytest.fail.Exception, pytest.skip.Exception)
    with pytest.raises(either, match="needs Chromium") as caught:
        conftest.pytest_runtest_setup(request.node)
    assert caught.type is outcome


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory):
    """A server whose data folder holds checkpoints nobody can paint with."""
    data = tmp_path_factory.mktemp("odd")
    folder = data / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    starter = PROJECT_DIR / "models/Stable-diffusion/starter-emoji.safetensors"
    (folder / "cut.safetensors").write_bytes(starter.read_bytes()[:1_000_000])
    (folder / "page.safetensors").write_text("<!DOCTYPE html><p>log in", encoding="utf-8")
    (folder / "evil.ckpt").write_bytes(
        b"\x80\x04cposix\nsystem\n(S'touch " + str(data / "owned").encode() + b"'\ntR."
    )
    (folder / "empty.ckpt").write_bytes(b"")
    with running(data, any_free_port()) as running_server:
        yield running_server


def refusal(server: Server, checkpoint: str) -> tuple[int, str]:
    """What a job that asks for this checkpoint is answered."""
    wish = {"override_settings": {"sd_model_checkpoint": checkpoint}}
    with pytest.raises(urllib.error.HTTPError) as caught:
        server.ask("/sdapi/v1/txt2img", {**PAINT, "prompt": "a cat", "steps": 2, **wish})
    return caught.value.code, json.loads(caught.value.read())["detail"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("cut.safetensors", "cut"),
        ("page.safetensors", "web page"),
        ("evil.ckpt", "evil"),
        ("empty.ckpt", "empty"),
    ],
)
def test_checkpoint_when_it_cannot_be_used_fails_the_job_with_the_reason(
    server: Server, name: str, said: str
) -> None:
    status, detail = refusal(server, name)

    assert status >= 400
    assert said in detail and name in detail
    assert not (server.data / "owned").exists(), "code in the file was run"


def test_server_when_a_checkpoint_failed_paints_with_a_good_one(server: Server) -> None:
    refusal(server, "evil.ckpt")
    server.ask("/sdapi/v1/options", {"sd_model_checkpoint": "starter-emoji"})

    answer = server.ask("/sdapi/v1/txt2img", {**PAINT, "prompt": "a cat", "steps": 2})

    assert len(answer["images"]) == 1


def test_outputs_when_they_cannot_be_written_are_kept_elsewhere_and_said(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file where a folder should be", encoding="utf-8")
    with running(tmp_path, any_free_port()) as server:
        answer = server.ask(
            "/sdapi/v1/txt2img", {**PAINT, "prompt": "a cat", "steps": 2, "save_images": True}
        )
        info = json.loads(answer["info"])

    assert len(list((tmp_path / "recovered").rglob("*.png"))) == 1
    assert any("recovered" in warning for warning in info["warnings"])
