"""A library in an empty folder, and a way to make pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from webui.library.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    library = Library(tmp_path / "data", tmp_path / "data" / "data" / "danqing.sqlite3")
    yield library
    library.close()


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """The output folder; not yet made."""
    return tmp_path / "data" / "outputs" / "txt2img-images"
