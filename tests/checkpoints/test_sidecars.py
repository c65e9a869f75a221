"""Notes and pictures beside models, as A1111 reads and writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints.model_files import TINY_HEADER, SomeFolders, write_raw
from webui.checkpoints.catalog import Catalog
from webui.checkpoints.records import Record
from webui.checkpoints.sidecars import Beside, Notes, beside, read_notes, write_notes
from webui.errors import CheckpointError


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    write_raw(tmp_path / "Lora" / "ink v1.5.safetensors", TINY_HEADER, b"\0" * 8)
    catalog = Catalog(SomeFolders((tmp_path,)), tmp_path / "facts.sqlite3")
    yield catalog.loras()[0]
    catalog.close()


def notes_beside(record: Record, content: object) -> Path:
    path = record.path.with_name("ink v1.5.json")
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_notes_when_a1111_wrote_them_are_read(record: Record) -> None:
    noted = {
        "description": "soft", "sd version": "SDXL", "activation text": " inkwash ",
        "preferred weight": 0.7, "negative text": "photo", "notes": "n",
    }  # fmt: skip
    notes_beside(record, noted)

    assert read_notes(record, Beside()) == Notes("soft", "sdxl", "inkwash", "photo", "n", 0.7)


@pytest.mark.parametrize(
    "odd", ["no json", "[1]", '{"preferred weight": "much", "notes": 3}', '{"sd version": "?"}']
)
def test_notes_when_odd_are_empty(record: Record, odd: str) -> None:
    notes_beside(record, odd)

    assert read_notes(record, Beside()) == Notes()


def test_notes_when_only_helpers_left_some_come_from_there(record: Record) -> None:
    info = {"trainedWords": ["inkwash", "scroll, "], "baseModel": "Pony"}
    Path(beside(record, ".civitai.info")).write_text(json.dumps(info))
    Path(beside(record, ".txt")).write_text("﻿Washes.\n", "utf-8")

    assert read_notes(record, Beside()) == Notes("Washes.", "sdxl", "inkwash, scroll")


def test_notes_when_written_keep_what_others_noted(record: Record) -> None:
    path = notes_beside(record, {"vae": "a.vae.pt", "of another program": [1], "notes": "old"})
    write_notes(record, {"notes": "新", "weight": 0.5, "activation": "inkwash"})

    assert json.loads(path.read_text("utf-8")) == {
        "vae": "a.vae.pt", "of another program": [1], "notes": "新", "preferred weight": 0.5,
        "activation text": "inkwash",
    }  # fmt: skip
    assert "新" in path.read_text("utf-8"), "as A1111 writes it"
    assert [p.name for p in path.parent.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("other", ["{broken", "[1, 2]"])
def test_notes_when_the_file_is_something_else_leave_it_alone(record: Record, other: str) -> None:
    path = notes_beside(record, other)
    with pytest.raises(CheckpointError, match=r"ink v1\.5\.json"):
        write_notes(record, {"notes": "x"})

    assert path.read_text() == other


def test_preview_when_several_are_there_is_the_one_named_so(record: Record) -> None:
    assert (Beside().preview(record), Beside().pictured_ns(record)) == ("", record.mtime_ns)
    for ending in (".webp", ".jpg", ".preview.png"):
        Path(beside(record, ending)).write_bytes(b"x")
        os.utime(beside(record, ending), ns=(5, 5))
        found = (Beside().preview(record), Beside().pictured_ns(record))
        assert found == (beside(record, ending), 5)
