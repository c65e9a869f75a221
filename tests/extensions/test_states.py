"""Saved states of the extensions: written, compared, switched; A1111's files are read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.extensions.stores import ACTS, MakeStore, address, commit, git, rewritten, room_of
from webui.errors import ExtensionError
from webui.services.extensions.states import States
from webui.services.extensions.turn import AccessOffError, Turn


def test_state_when_saved_then_tells_what_is_otherwise_and_switches_back(
    make_store: MakeStore, repository: Path, tmp_path: Path
) -> None:
    store = make_store()
    store.apply(store.prepare_url(address(repository)).token, with_packages=True)
    (tmp_path / "extensions/other.py").write_text(ACTS.format("o"))
    room, folder = room_of(store), tmp_path / "config_states"
    room.refresh()
    states = States(room, folder, store.turn)
    first, at = states.save("Both ../on"), git(repository, "rev-parse", "HEAD")
    assert first.name == "Both ../on" and states.compare(first) == []
    assert [file.parent for file in folder.rglob("*.json")] == [folder]

    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    made = store.prepare_update("waves")
    assert made is not None
    store.apply(made.token, with_packages=True)
    room.enable("other", False)
    told = {one["folder"]: one for one in states.compare(first)}
    assert told["waves"]["commit"] == at and told["waves"]["is_enabled"] is None
    assert told["waves"]["commit_now"] == git(repository, "rev-parse", "HEAD")
    assert told["other.py"]["is_enabled"] is True and told["other.py"]["commit"] is None

    states.switch(first)
    assert rewritten(store) == "o2"
    states.delete(first.id)
    assert states.all() == []


def test_state_of_a1111_then_read_and_what_is_none_is_left_out(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store, folder = make_store(), tmp_path / "config_states"
    folder.mkdir()
    table = {
        "created_at": 1690000000.5, "name": "Old", "webui": {"remote": "x"},
        "extensions": {
            "sd-webui-x": {"enabled": False, "remote": "https://a.example/x",
                           "commit_hash": "a" * 40, "branch": "main", "commit_date": 1},
            "odd": {"commit_hash": "--upload-pack=x", "remote": None},
        },
    }  # fmt: skip
    (folder / "2023_07_22-10_00_00_Old.json").write_text(json.dumps(table))
    (folder / "2023_07_22-10_00_01_Bad.json").write_text("[1")
    (folder / "notes.txt").write_text("x")
    states = States(room_of(store), folder, store.turn)
    (old,) = states.all()
    assert (old.name, old.time, old.entries[0].commit) == ("Old", 1690000000.5, "a" * 40)
    assert old.entries[1].commit == "" and [one["folder"] for one in states.compare(old)] == [
        "sd-webui-x", "odd",
    ]  # fmt: skip
    for odd in ("../config.json", "2023_07_22-10_00_01_Bad.json", "x", ""):
        with pytest.raises(ExtensionError, match="cannot be read"):
            states.delete(odd)
    closed = States(room_of(store), folder, Turn(is_allowed=False))
    for deed in (
        lambda: closed.save("x"),
        lambda: closed.switch(old),
        lambda: closed.delete(old.id),
    ):
        with pytest.raises(AccessOffError):
            deed()
