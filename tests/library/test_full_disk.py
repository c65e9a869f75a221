"""Disks that are full, read-only or gone: no picture is lost while anything can be written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.library.painting import FLAT, facts, painted
from tests.patience import PATIENCE
from webui.database import Database
from webui.errors import DiskFullError, JobError, LibraryError
from webui.library import files
from webui.library.library import Library, SmallCopyRule
from webui.params import Output

NOBODY = 65534
PROJECT = Path(__file__).resolve().parents[2]
TEXT_TOO = Output(directory_pattern="", filename_pattern="[seed]", save_text=True)


def failing(code: int, *folders: Path) -> Callable[[int], None]:
    """An fsync that fails for files below those folders, as on a disk that is full or broken."""
    real = os.fsync

    def fsync(handle: int) -> None:
        name = os.readlink(f"/proc/self/fd/{handle}")
        if any(Path(name).is_relative_to(folder) for folder in folders):
            raise OSError(code, os.strerror(code), name)
        real(handle)

    return fsync


@pytest.fixture
def temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder of the system, inside the test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def left_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for file names")


@linux_only
@pytest.mark.parametrize(
    ("code", "reason", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "Free some disk space"),
        (errno.EROFS, "not writable", "Make that folder writable"),
        (errno.EIO, "Input/output error", "Check that folder"),
    ],
)
def test_an_output_folder_that_fails_sends_the_picture_to_recovered(
    library: Library, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    code: int, reason: str, hint: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "fsync", failing(code, outputs))
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert saved.path == tmp_path / "data" / "recovered" / "00000-41.png"
    assert library.open(saved.id) == painted()
    assert saved.warning is not None
    for part in (str(outputs), reason, str(saved.path), hint):
        assert part in saved.warning
    assert left_in(outputs) == []


@linux_only
def test_a_data_folder_that_fails_too_sends_it_to_the_temporary_folder(
    library: Library, outputs: Path, tmp_path: Path, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, tmp_path / "data"))
    pictures = [library.save_image(1, i, painted(), facts(), FLAT, outputs) for i in range(2)]
    assert all(picture.path.is_relative_to(temp) for picture in pictures)
    assert [library.open(picture.id) for picture in pictures] == [painted()] * 2
    assert len(list(temp.iterdir())) == 1
    assert left_in(tmp_path / "data" / "recovered") == []


@linux_only
def test_when_nothing_can_be_written_the_error_says_so(
    library: Library, outputs: Path, tmp_path: Path, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, tmp_path))
    with pytest.raises(LibraryError) as caught:
        library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert "disk is full" in caught.value.message and str(temp) in caught.value.message
    assert "Free some disk space" in caught.value.hint
    assert caught.value.path == str(outputs)
    assert library.images_of(1) == [] and left_in(outputs) == []


@linux_only
def test_a_picture_saved_before_survives_a_failed_rewrite(
    library: Library, outputs: Path, tmp_path: Path, temp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = library.save_image(1, 0, painted("red"), facts(), FLAT, outputs)
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, tmp_path))
    with pytest.raises(LibraryError):
        library.save_image(1, 0, painted("blue"), facts(), FLAT, outputs)
    (shown,) = library.images_of(1)
    assert shown.path == before.path
    assert library.open(shown.id) == painted("red")


@linux_only
def test_after_the_disk_has_space_again_pictures_go_to_their_place(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC, outputs))
        library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    second = library.save_image(1, 1, painted(), facts(), FLAT, outputs)
    assert (second.path.parent, second.warning) == (outputs, None)


def test_an_output_folder_that_is_a_file_is_worked_around(library: Library, outputs: Path) -> None:
    outputs.parent.mkdir(parents=True)
    outputs.write_text("in the way")
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert saved.path.parent.name == "recovered" and saved.warning is not None
    assert outputs.read_text() == "in the way"


@pytest.fixture
def plain_users_folder() -> Iterator[Path]:
    """A folder of a user without special rights, whose rights this process has meanwhile."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        painted()  # the picture libraries load their parts now, while they can be read
        os.chown(folder, NOBODY, -1)
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")
def test_a_read_only_folder_is_worked_around(plain_users_folder: Path) -> None:
    library = Library(plain_users_folder / "data", plain_users_folder / "db")
    outputs = plain_users_folder / "outputs"
    outputs.mkdir()
    outputs.chmod(0o555)
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    library.close()
    assert saved.path == plain_users_folder / "data" / "recovered" / "00000-41.png"
    assert saved.path.read_bytes() == painted()
    assert saved.warning is not None and "it is not writable" in saved.warning
    assert left_in(outputs) == []


def test_a_recipe_file_that_fails_is_a_warning_only(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, ".txt")
    saved = library.save_image(1, 0, painted(), facts(), TEXT_TOO, outputs)
    assert saved.warning is not None and "recipe" in saved.warning
    assert left_in(outputs) == ["00000-41.png"]


def test_a_small_copy_that_fails_is_a_warning_only(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, ".jpg")
    rule = SmallCopyRule(max_megabytes=0)
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs, small_copy=rule)
    assert saved.warning is not None and "small copy" in saved.warning
    assert library.open(saved.id) == painted()


def refuse(monkeypatch: pytest.MonkeyPatch, extension: str) -> None:
    real = files.write_whole

    def write_whole(path: Path, data: bytes) -> None:
        if path.suffix == extension:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_whole", write_whole)


def test_a_picture_that_cannot_be_listed_is_kept_and_its_place_told(
    library: Library, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(values: Any) -> int:
        raise LibraryError(
            "The list could not be written: the disk is full.", "Free some.", is_full=True
        )

    monkeypatch.setattr(library._index, "reserve", full)
    with pytest.raises(DiskFullError) as caught:
        library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    assert Path(caught.value.path).read_bytes() == painted()
    assert caught.value.path in caught.value.message and caught.value.hint == "Free some."


def test_the_save_button_on_a_full_disk_says_so_and_leaves_nothing(
    library: Library, outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = library.save_image(1, 0, painted(), facts(), FLAT, outputs)
    refuse(monkeypatch, ".png")
    with pytest.raises(LibraryError, match="disk is full") as caught:
        library.save_copy(saved.id)
    assert str(saved.path) in caught.value.hint
    assert left_in(tmp_path / "data" / "log") == []


SMALL_FILES_ONLY = """
import resource, signal, sys
from pathlib import Path
from webui.errors import LibraryError
from webui.library.library import Library
from tests.library.painting import FLAT, facts, painted
import os
folder = Path(sys.argv[1])
library = Library(folder, folder / "db")
noise = __import__("PIL.Image", fromlist=["Image"]).effect_noise((900, 900), 90).convert("RGB")
from webui.pictures import encode
data = encode(noise, format="png")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
assert len(data) > 600_000
try:
    library.save_image(1, 0, data, facts(), FLAT, folder / "outputs")
except LibraryError as err:
    print(err.message)
small = library.save_image(1, 1, painted(), facts(), FLAT, folder / "outputs")
print(small.path.name, small.warning)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="RLIMIT_FSIZE")
def test_a_write_the_system_really_refuses_leaves_no_half_picture(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES_ONLY, str(tmp_path / "data")],
        cwd=PROJECT, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    refusal, saved = done.stdout.splitlines()
    assert "the disk is full. Nowhere else could be written either" in refusal
    assert saved == "00000-41.png None"
    assert left_in(tmp_path / "data" / "outputs") == ["00000-41.png"]
    assert left_in(tmp_path / "data" / "recovered") == []


def test_database_when_the_disk_is_full_says_that_and_what_makes_room(tmp_path: Path) -> None:
    """As SQLite tells it when there is not a single page left."""
    db = Database(tmp_path / "data" / "a.sqlite3", JobError)
    with db.write() as rows:
        rows.execute("CREATE TABLE things (text TEXT)")
        rows.execute(f"PRAGMA max_page_count={rows.execute('PRAGMA page_count').fetchone()[0]}")

    with pytest.raises(JobError) as caught, db.write() as rows:
        rows.executemany("INSERT INTO things VALUES (?)", [("x" * 2000,)] * 9)

    told = caught.value
    assert told.message.startswith("The disk is full") and str(tmp_path / "data") in told.message
    assert "trash" in told.hint and told.details == {"is_full": True}
    db.close()
