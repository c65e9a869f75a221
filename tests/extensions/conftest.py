"""A store over a folder of one's own, and a repository to install from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.extensions.stores import ACTS, MakeRoom, MakeStore, commit, git
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import Network
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.mirrors import Mirrors
from webui.options import Options
from webui.services.extensions.git import Git
from webui.services.extensions.room import ExtensionRoom
from webui.services.extensions.store import Store


@pytest.fixture
def make_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeStore]:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    made: list[Any] = []

    def make(*, git: Git | None = None, public_only: bool = False, **more: Any) -> Store:
        folder = tmp_path / "extensions"
        folder.mkdir(exist_ok=True)
        room = ExtensionRoom(
            built_in=None, folders=(folder,), options=Options(tmp_path / "config.json"),
            notes=tmp_path / "notes", models=(), data=tmp_path,
        )  # fmt: skip
        rules = Rules(Keys(tmp_path / "keys.json"), public_only)
        options = {"is_allowed": True, **more}
        store = Store(
            room, folder, lambda: Network(rules, Mirrors({})), public_only=public_only,
            refresh=room.refresh, git=git or Git(allows_files=True), **options,
        )  # fmt: skip
        store.room = room  # type: ignore[attr-defined]
        made.extend((store, room))
        return store

    yield make
    for one in made:
        one.close()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    made = tmp_path / "origin" / "waves"
    made.mkdir(parents=True)
    git(made, "init", "-q", "-b", "main")
    commit(made, {"extension.toml": "api = 1\nversion = '1'", "web.py": ACTS.format(1)}, "First")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder of extensions."""
    made = tmp_path / "extensions"
    made.mkdir()
    return made


@pytest.fixture
def make_room(tmp_path: Path, folder: Path) -> Iterator[MakeRoom]:
    """Makes rooms over that folder."""
    made: list[ExtensionRoom] = []

    def make(*folders: Path, **more: Any) -> ExtensionRoom:
        room = ExtensionRoom(
            folders=(folder, *folders), options=Options(tmp_path / "config.json"),
            notes=tmp_path / "notes", models=(tmp_path / "models",), data=tmp_path / "data",
            **{"built_in": None, **more},
        )  # fmt: skip
        made.append(room)
        return room

    yield make
    for room in made:
        room.close()
