"""The words of the house: requests, options, flags and messages."""

from __future__ import annotations

import io
import json
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from webui.command_line import split_flags
from webui.errors import CheckpointNotFoundError, ParamsError, SettingsError, WebUIError, from_json
from webui.options import OPTION_OF_INFOTEXT_KEY, OPTIONS, Options
from webui.params import TextToImage, build
from webui.params import from_json as params_from_json
from webui.passwords import is_right
from webui.settings import is_loopback, read_settings
from webui.wire import Sender, receive

TLS = Path(__file__).parent / "data" / "tls"
"""A key and a certificate for nothing but tests."""

# Errors


def test_error_when_it_crosses_the_border_keeps_kind_hint_and_details() -> None:
    error = CheckpointNotFoundError("No checkpoint.", "Put one there.", path="/m/x")

    again = from_json(json.loads(json.dumps(error.to_json())))

    assert type(again) is CheckpointNotFoundError
    assert (again.message, again.hint, again.path) == ("No checkpoint.", "Put one there.", "/m/x")
    assert again.http_status == 404


def test_error_when_kind_is_unknown_is_still_told() -> None:
    assert str(from_json({"type": "Odd", "message": "It broke."})) == "It broke."


def test_error_codes_when_listed_are_unique() -> None:
    def below(kind: type[WebUIError]) -> list[type[WebUIError]]:
        return [kind, *(c for child in kind.__subclasses__() for c in below(child))]

    ours = [k for k in below(WebUIError) if k.__module__ == "webui.errors"]
    assert len({k.code for k in ours}) == len(ours)


# Params


@pytest.mark.parametrize(
    "field, value",
    [
        ("width", 63), ("width", 0), ("height", 100_000), ("steps", 0), ("steps", 1_000_000),
        ("cfg_scale", float("nan")), ("cfg_scale", float("inf")), ("cfg_scale", -1),
        ("prompt", "x" * 1_000_000), ("batch_size", 0), ("seed", -1), ("seed", 2**64),
        ("subseed_strength", 1.5), ("clip_skip", 0), ("randn_source", "TPU"),
        ("emphasis", "Loud"), ("no_such_field", 1),
    ],
)  # fmt: skip
def test_params_when_a_value_is_impossible_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(ParamsError) as caught:
        build("txt2img", {field: value})

    assert caught.value.field.endswith(field)
    assert caught.value.message and caught.value.hint
    assert len(caught.value.message) < 400


def test_params_when_batch_is_too_large_says_what_to_lower() -> None:
    with pytest.raises(ParamsError, match="raise the batch count"):
        build("txt2img", {"width": 8192, "height": 8192, "batch_size": 64})


def test_params_when_stored_come_back_the_same() -> None:
    params = TextToImage(prompt="a 猫 \ud800", seed=2**63 + 1, cfg_scale=6.5)

    assert params_from_json(params.to_json()) == params


def test_params_when_made_cannot_be_changed() -> None:
    with pytest.raises(Exception, match="frozen"):
        TextToImage().seed = 5  # type: ignore[misc]


@pytest.mark.parametrize("text", ["{", '{"kind": "sculpt"}', '{"kind": "txt2img", "odd": 1}'])
def test_params_when_stored_text_is_not_ours_is_refused(text: str) -> None:
    with pytest.raises(ParamsError):
        params_from_json(text)


# Options


def test_options_when_saved_are_there_after_a_restart(tmp_path: Path) -> None:
    options = Options(tmp_path / "config.json")
    options.set("CLIP_stop_at_last_layers", 2)
    options.save()

    assert Options(tmp_path / "config.json")["CLIP_stop_at_last_layers"] == 2


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", ""])
def test_options_when_the_file_is_damaged_moves_it_aside(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.json"
    file.write_text(text, encoding="utf-8")

    assert Options(file)["sd_vae"] == "Automatic"
    assert (tmp_path / "config.json.broken").read_text(encoding="utf-8") == text


def test_options_when_another_program_left_keys_keeps_them(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"some_extension": [1]}), encoding="utf-8")
    options = Options(file)
    options.set("eta_noise_seed_delta", 31337)
    options.save()

    assert json.loads(file.read_text(encoding="utf-8")) == {
        "some_extension": [1],
        "eta_noise_seed_delta": 31337,
    }


def test_options_when_the_key_is_unknown_raises(tmp_path: Path) -> None:
    options = Options(tmp_path / "config.json")

    with pytest.raises(KeyError):
        options.set("no_such_option", 1)
    with pytest.raises(KeyError):
        options.with_overrides({"no_such_option": 1})


def test_overrides_when_given_leave_the_options_alone_and_restricted_ones_out(
    tmp_path: Path,
) -> None:
    options = Options(tmp_path / "config.json")

    merged = options.with_overrides({"sd_vae": "None", "api_enable_requests": False})

    assert (merged["sd_vae"], merged["api_enable_requests"]) == ("None", True)
    assert options["sd_vae"] == "Automatic"


def test_options_when_the_folder_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    options = Options(tmp_path / "file" / "config.json")

    with pytest.raises(SettingsError, match="could not be saved"):
        options.save()


def test_options_when_listed_have_unique_keys_and_infotext_names() -> None:
    assert len({o.key for o in OPTIONS}) == len(OPTIONS)
    named = [o.infotext for o in OPTIONS if o.infotext]
    assert len(set(named)) == len(named)
    assert OPTION_OF_INFOTEXT_KEY["Clip skip"] == "CLIP_stop_at_last_layers"


# Settings


def test_settings_when_no_flag_is_given_stay_on_this_machine() -> None:
    settings = read_settings([], {})

    assert (settings.host, settings.port, settings.api, settings.page) == (
        "127.0.0.1",
        7860,
        True,
        True,
    )
    assert not settings.port_is_fixed


@pytest.mark.parametrize(
    "flags",
    [["--listen"], ["--share"], ["--server-name", "192.168.0.2"], ["--listen", "--nowebui"]],
)
def test_settings_when_open_to_others_without_a_password_make_some(flags: list[str]) -> None:
    settings = read_settings(flags, {})
    made = dict(settings.made_logins)

    assert list(made) == (["owner"] if "--nowebui" in flags else ["owner", "guest"])
    hashed = dict([*settings.page_logins, *settings.guest_logins])
    assert all(is_right(made[name], hashed[name]) for name in made)
    assert not any(password in repr(settings) for password in made.values())
    assert dict(read_settings(flags, {}).made_logins) != made


def test_settings_when_open_with_a_password_are_taken() -> None:
    settings = read_settings(["--listen", "--gradio-auth", "li:secret,wang:other"], {})

    assert settings.host == "0.0.0.0"
    passwords = {"li": "secret", "wang": "other"}
    assert [name for name, _ in settings.page_logins] == list(passwords)
    assert all(is_right(passwords[name], hashed) for name, hashed in settings.page_logins)
    assert settings.made_logins == () and "secret" not in repr(settings)


@pytest.mark.parametrize("value", ["li", "li:", ":secret"])
def test_settings_when_a_login_is_half_says_how_to_write_it(value: str) -> None:
    with pytest.raises(SettingsError, match="user:password"):
        read_settings(["--api-auth", value], {})


def test_settings_when_the_environment_has_flags_reads_them_first() -> None:
    settings = read_settings(["--port", "7001"], {"COMMANDLINE_ARGS": "--port 7000 --nowebui"})

    assert (settings.port, settings.page) == (7001, False)


def test_settings_when_the_environment_quotes_a_path_keep_it_whole(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    settings = read_settings([], {"COMMANDLINE_ARGS": f'--data-dir "{folder.as_posix()}" --api'})

    assert settings.folders.data == folder


def test_split_flags_when_on_windows_keeps_backslashes_and_apostrophes() -> None:
    text = '--ckpt-dir="C:\\my models" --lora-dir C:\\O\'Brien'

    assert split_flags(text, is_windows=True) == [
        "--ckpt-dir=C:\\my models",
        "--lora-dir",
        "C:\\O'Brien",
    ]


def test_settings_when_the_environment_has_an_open_quote_say_so() -> None:
    with pytest.raises(SettingsError, match="COMMANDLINE_ARGS"):
        read_settings([], {"COMMANDLINE_ARGS": '--ckpt "half'})


def test_settings_when_a_flag_is_cut_short_do_not_guess(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--nowe"], {})
    assert "--nowe" in capsys.readouterr().err


def test_settings_when_flags_of_others_are_given_name_them_and_go_on() -> None:
    settings = read_settings(
        ["--xformers", "--precision", "full", "--port", "7001", "--lowram", "--loglevel=INFO"], {}
    )

    assert settings.port == 7001
    assert settings.ignored == ("--xformers", "--lowram", "--precision", "--loglevel")
    assert read_settings(["--api"], {}).ignored == ()


def test_settings_when_the_api_is_restricted_keep_the_flags() -> None:
    settings = read_settings(["--freeze-settings", "--hide-ui-dir-config"], {})

    assert settings.flags["freeze_settings"] and settings.flags["hide_ui_dir_config"]
    assert settings.ignored == ()


def test_settings_when_a_vae_file_is_given_search_its_folder(tmp_path: Path) -> None:
    folders = read_settings(["--vae-path", str(tmp_path / "a.safetensors")], {}).folders

    assert folders.vaes == (tmp_path.resolve(),)


@pytest.mark.parametrize("given", ["key", "cert"])
def test_settings_when_half_of_tls_is_given_ask_for_the_other(given: str, tmp_path: Path) -> None:
    file = tmp_path / "pem"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(SettingsError, match="without --tls-"):
        read_settings([f"--tls-{given}file", str(file)], {})


def test_settings_when_a_tls_file_is_missing_name_it(tmp_path: Path) -> None:
    key, cert = TLS / "key.pem", tmp_path / "cert.pem"
    flags = ["--tls-keyfile", str(key), "--tls-certfile", str(cert)]
    with pytest.raises(SettingsError, match="--tls-certfile, cannot be read"):
        read_settings(flags, {})
    shutil.copy(TLS / "cert.pem", cert)

    assert read_settings(flags, {}).tls_certfile == str(cert)


@pytest.mark.parametrize("spoilt", ["key", "cert"])
def test_settings_when_the_tls_files_are_no_pair_say_so(spoilt: str, tmp_path: Path) -> None:
    files = {name: str(TLS / f"{name}.pem") for name in ("key", "cert")}
    file = tmp_path / "x.pem"
    file.write_text("x", encoding="utf-8")
    files[spoilt] = str(file)
    with pytest.raises(SettingsError, match="no certificate with its key"):
        read_settings(["--tls-keyfile", files["key"], "--tls-certfile", files["cert"]], {})


def test_settings_when_the_cors_pattern_is_broken_say_so() -> None:
    with pytest.raises(SettingsError, match="no regular expression"):
        read_settings(["--cors-allow-origins-regex", "https://(a"], {})


def test_settings_when_data_lies_elsewhere_models_are_sought_in_both_places(tmp_path: Path) -> None:
    folders = read_settings(["--data-dir", str(tmp_path)], {}).folders

    assert folders.data == tmp_path
    assert folders.models[-1] == tmp_path / "models"
    assert (folders.models[0] / "Stable-diffusion" / "starter-emoji.safetensors").is_file()


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_settings_when_the_port_is_impossible_say_so(port: str) -> None:
    with pytest.raises(SettingsError, match="--port"):
        read_settings([f"--port={port}"], {})


@pytest.mark.parametrize(
    "host, expected",
    [
        ("localhost", True),
        ("127.3.4.5", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
    ],
)
def test_loopback_when_asked_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# The wire


def test_wire_when_messages_are_sent_from_threads_come_whole() -> None:
    stream = io.BytesIO()
    sender = Sender(stream)
    senders = [
        threading.Thread(target=sender.send, args=({"type": "image", "n": n, "data": b"x" * 9999},))
        for n in range(20)
    ]
    for thread in senders:
        thread.start()
    for thread in senders:
        thread.join()
    stream.seek(0)

    found: list[dict[str, Any]] = []
    while (message := receive(stream)) is not None:
        found.append(message)
    assert sorted(m["n"] for m in found) == list(range(20))
    assert all(m["data"] == b"x" * 9999 for m in found)


def test_wire_when_a_path_is_no_text_brings_it_all_the_same() -> None:
    stream = io.BytesIO()
    Sender(stream).send({"type": "load", "path": "caf\udce9 \ud83d 水"})
    stream.seek(0)

    assert receive(stream) == {"type": "load", "path": "caf\udce9 \ud83d 水"}


def test_wire_when_cut_in_the_middle_counts_as_closed() -> None:
    stream = io.BytesIO()
    Sender(stream).send({"type": "done"})

    assert receive(io.BytesIO(stream.getvalue()[:-1])) is None
    assert receive(io.BytesIO(stream.getvalue()[:2])) is None


def test_wire_when_it_holds_something_else_is_refused() -> None:
    with pytest.raises(ValueError):
        receive(io.BytesIO(struct.pack(">I", 2**31) + b"Traceback"))
