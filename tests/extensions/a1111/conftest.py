"""A1111 folders for the tests, and hosts that load them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from webui.extensions.a1111.folder import A1111Folder
from webui.extensions.a1111.host import Host, Names, Places
from webui.extensions.fence import Fence, Trouble, within_time
from webui.options import Options
from webui.samplers.names import SAMPLERS, SCHEDULES

EXAMPLES = Path(__file__).parent / "examples"
POPULAR = Path(__file__).parent / "popular"
Drop = Callable[[str], A1111Folder]
MakeHost = Callable[..., Host]
MakeFolder = Callable[..., A1111Folder]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where extensions lie."""
    folder = tmp_path / "extensions"
    folder.mkdir()
    return folder


@pytest.fixture
def example(place: Path) -> Callable[[str], A1111Folder]:
    """One of the folders in examples/, dropped in."""

    def drop(name: str) -> A1111Folder:
        return A1111Folder(Path(shutil.copytree(EXAMPLES / name, place / name)))

    return drop


@pytest.fixture
def script(place: Path) -> MakeFolder:
    """A folder with one script of that text."""

    def write(text: str, name: str = "small", **files: str) -> A1111Folder:
        folder = place / name
        (folder / "scripts").mkdir(parents=True)
        (folder / "scripts" / "main.py").write_text(text, encoding="utf-8")
        for file, content in files.items():
            (folder / file.replace("__", ".")).write_text(content, encoding="utf-8")
        return A1111Folder(folder)

    return write


@pytest.fixture
def troubles() -> list[Trouble]:
    """Everything that went wrong."""
    return []


@pytest.fixture
def host(tmp_path: Path, place: Path, troubles: list[Trouble]) -> Iterator[MakeHost]:
    """Loads folders in a host; it is closed after the test."""
    with ExitStack() as held:

        def load(*folders: A1111Folder, side: str = "worker", **kwargs: object) -> Host:
            made = Host(
                side,
                Places(tmp_path, tmp_path, tmp_path / "models", place),
                Fence(within_time, troubles.append),
                options=Options(tmp_path / "config.json"),
                names=Names(samplers=SAMPLERS, schedules=SCHEDULES),
                **kwargs,  # type: ignore[arg-type]
            )
            held.enter_context(made)
            made.load(folders)
            return made

        yield load
