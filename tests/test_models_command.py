"""``launch.py models``, without a server of the program: list, search, get, check, where, key."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints.file_server import File, FileServer, serving, weights
from tests.patience import PATIENCE, wait_until
from webui import models_command
from webui.checkpoints.known_weights import KNOWN, KnownWeights, closest_known, known_named
from webui.launcher import words
from webui.launcher.commands import read_wish
from webui.models_command import main, split_words


@pytest.fixture(autouse=True)
def speaks_english(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setenv("NO_PROXY", "*")
    words._is_chinese_here.cache_clear()
    yield
    words._is_chinese_here.cache_clear()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(FileServer()) as made:
        yield made


def test_models_when_a_link_is_given_then_fetched_into_its_folder(
    server: FileServer, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/x.safetensors"] = File(weights(0.3))
    link = server.url("/x.safetensors")
    asked = ["get", link, "--to", "vae", "--as", "mine.safetensors", "--data-dir", str(data_dir)]
    assert main(asked) == 0
    path = data_dir / "models" / "VAE" / "mine.safetensors"
    assert path.read_bytes() == server.files["/x.safetensors"].data
    assert f"It lies in {path}" in capsys.readouterr().out
    assert main([*asked[:3], "vae", "--data-dir", str(data_dir)]) == 0


def test_models_when_a_name_is_given_then_fetched_and_checked(
    server: FileServer,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server.files["/tiny.safetensors"] = file = File(weights(0.2))
    tiny = KnownWeights(
        "Tiny one", "vae", "tiny.safetensors", "VAE", "MIT", sha256=file.sha256,
        urls=(server.url("/tiny.safetensors"),),
    )  # fmt: skip
    monkeypatch.setattr(models_command, "KNOWN", (*KNOWN, tiny))
    monkeypatch.setattr(models_command, "known_named", lambda _: tiny)
    flags = ["--data-dir", str(data_dir)]
    assert main(["get", "tiny", *flags]) == 0
    assert "licence MIT" in capsys.readouterr().out
    assert main(["search", "tiny", *flags]) == 0
    assert "* Tiny one" in capsys.readouterr().out
    assert main(["check", "tiny.safetensors", *flags]) in (0, 1)
    assert f"{file.sha256}  tiny.safetensors  (it is Tiny one)" in capsys.readouterr().out
    (data_dir / "models" / "VAE" / "tiny.safetensors").write_bytes(weights(0.2, 3))
    assert main(["check", "tiny.safetensors", *flags]) == 1


def test_models_when_it_cannot_be_had_then_says_why(
    server: FileServer, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--data-dir", str(data_dir)]
    assert main(["get", server.url("/gone.ckpt"), "--to", "vae", *flags]) == 1
    assert "HTTP 404" in capsys.readouterr().out
    assert main(["get", "anythink", "v4.5", *flags]) == 1  # without quotes
    told = capsys.readouterr().out
    assert "Did you mean: Anything V4.5" in told and "models search" in told
    assert main(["check", "no-such-file", *flags]) == 1
    assert "No file of that name" in capsys.readouterr().out


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_models_when_stopped_with_ctrl_c_then_says_so_and_keeps_what_came(
    server: FileServer, data_dir: Path
) -> None:
    server.files["/x.safetensors"] = File(weights(2), pause=0.05)
    link = server.url("/x.safetensors")
    command = [sys.executable, "-m", "webui.models_command", "get", link, "--to", "vae"]
    child = subprocess.Popen(
        [*command, "--data-dir", str(data_dir)], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    parts = data_dir / "models" / ".downloads"

    def has_begun() -> bool:
        assert child.poll() is None
        return any(part.stat().st_size for part in parts.glob("*.part"))

    wait_until(has_begun)
    child.send_signal(signal.SIGINT)
    said, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130 and "goes on from here" in said
    assert "Traceback" not in said and "destroyed" not in said
    (state,) = parts.glob("*.json")
    assert '"spans": [[' in state.read_text("utf-8")


def test_models_when_the_key_is_typed_then_kept_and_never_shown(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(getpass, "getpass", lambda _: "s3cret")
    flags = ["--data-dir", str(data_dir)]
    assert main(["key", "civitai.com", *flags]) == 0
    assert main(["where", *flags]) == 0
    told = capsys.readouterr().out
    assert "Keys: civitai.com" in told and "s3cret" not in told
    assert str(data_dir / "models" / "Lora") in told


def test_models_when_listed_then_the_starter_is_among_them(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--data-dir", str(data_dir)]) == 0
    assert "starter-emoji.safetensors" in capsys.readouterr().out


def test_models_when_other_programs_have_some_then_listed_and_damaged_ones_are_told(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a1111" / "models" / "Lora"
    folder.mkdir(parents=True)
    (folder / "ink.safetensors").write_bytes(weights(0.1)[:-1])
    flags = ["--data-dir", str(data_dir), "--models-from", str(tmp_path / "a1111")]
    assert main(["list", *flags]) == 0
    assert "ink.safetensors" in capsys.readouterr().out
    assert main(["check", "ink.safetensors", *flags]) == 1
    assert "is damaged: it was cut" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "own", "flags"),
    [
        (["check", "--data-dir", "/x"], ["check"], ["--data-dir", "/x"]),
        (["search", "a", "--port=1", "b"], ["search", "a"], ["--port=1", "b"]),
        (["get", "--help"], ["get", "--help"], []),
    ],
)
def test_words_when_split_then_flags_of_the_program_come_last(
    argv: list[str], own: list[str], flags: list[str]
) -> None:
    assert split_words(argv) == (own, flags)


def test_launcher_when_models_are_asked_for_then_every_word_is_theirs() -> None:
    wish = read_wish(["models", "list", "--help"], "--port 1")
    assert (wish.command, wish.help, wish.rest) == ("models", False, ("list", "--help"))


def test_models_when_flags_are_in_the_environment_then_they_tell_the_folders(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMMANDLINE_ARGS", f"--data-dir '{data_dir}'")
    assert main(["where"]) == 0
    assert str(data_dir / "models" / "Lora") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sdxl base 1.0", "SDXL base 1.0"),
        ("gfpganv1.4.pth", "GFPGAN v1.4"),
        ("GFPGANv1.4", "GFPGAN v1.4"),
        ("chilloutmix_NiPrunedFp32Fix", "ChilloutMix Ni (fp32 fix)"),
        ("", None),
        ("v1.4", None),
    ],
)
def test_known_when_asked_by_any_of_its_names_then_found(text: str, name: str | None) -> None:
    found = known_named(text)
    assert (found.name if found else None) == name


def test_known_when_nothing_has_the_name_then_the_closest_are_told() -> None:
    assert "CodeFormer" in closest_known("codeforme")
    assert closest_known("qqqqqq") == []


def test_known_when_listed_then_sound() -> None:
    assert len({known.name for known in KNOWN}) == len(KNOWN)
    assert len({known.file for known in KNOWN}) == len(KNOWN)
    for known in KNOWN:
        assert known.licence and known.file == Path(known.file).name
        assert known.sha256 is None or len(known.sha256) == 64
        assert all(url.startswith("https://") for url in known.urls)
