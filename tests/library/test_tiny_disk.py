"""A real file system of 256 KiB that really fills up. Needs the right to mount one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.painting import FLAT, facts, painted
from webui.library.library import Library


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_no_picture(library: Library, tiny_disk: Path) -> None:
    (tiny_disk / "film.mkv").write_bytes(b"x" * 200 * 1024)
    data = painted(size=(64, 64)) + b"\0" * 20_000  # what follows a PNG's end is ignored
    saved = [library.save_image(1, i, data, facts(), FLAT, tiny_disk / "out") for i in range(4)]
    assert [picture.warning is None for picture in saved] == [True, True, False, False]
    assert all(library.open(picture.id) == data for picture in saved)
    assert "the disk is full" in (saved[-1].warning or "")
    assert sorted(p.name for p in (tiny_disk / "out").iterdir()) == ["00000-41.png", "00001-41.png"]
