"""What tests of the store share: repositories, zips, wheels."""

from __future__ import annotations

import io
import stat
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from webui.services.extensions.room import ExtensionRoom
from webui.services.extensions.store import Store

ACTS = "from webui.hookspecs import hook\n@hook\ndef rewrite_prompt(text): return text + '{}'\n"
MakeStore = Callable[..., Store]
MakeRoom = Callable[..., ExtensionRoom]


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    done = subprocess.run(
        ["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(repository: Path, files: dict[str, str], title: str) -> None:
    for name, text in files.items():
        (repository / name).write_text(text, encoding="utf-8")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", title)


def address(repository: Path) -> str:
    return f"file://{repository}"


def room_of(store: Store) -> ExtensionRoom:
    return store.room  # type: ignore[attr-defined]


def rewritten(store: Store) -> str:
    room = room_of(store)
    return room.rewrite(room.acting("txt2img", {}, pytest.fail), "", "prompt")


GOOD = {"top/extension.toml": "api = 1", "top/web.py": ACTS.format("z")}


def zipped(folder: Path, files: dict[str, str], mode: int = stat.S_IFREG) -> Path:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as made:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (mode | 0o644) << 16
            made.writestr(entry, text)
    (folder / "sent.zip").write_bytes(data.getvalue())
    return folder / "sent.zip"


def wheel(name: str, version: str, needs: str = "") -> tuple[str, bytes]:
    data, info = io.BytesIO(), f"{name}-{version}.dist-info"
    with zipfile.ZipFile(data, "w") as made:
        made.writestr(f"{name}.py", f"version = {version!r}\n")
        wish = f"Requires-Dist: {needs}\n" if needs else ""
        made.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{wish}"
        )
        made.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        made.writestr(f"{info}/RECORD", "")
    return f"{name}-{version}-py3-none-any.whl", data.getvalue()
