"""A database that is damaged or that a newer version wrote: the program starts, nothing is lost
that could be read, nothing is deleted, and it is said what happened."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_first_picture import any_free_port, running
from tests.ui.serve import FAKE_WORKER
from webui import __version__
from webui.database_rescue import set_aside
from webui.errors import JobError, SettingsError
from webui.jobs.store import JobStore
from webui.library.gallery.store import INDEX_FILE
from webui.library.index import PictureIndex, new_row
from webui.services.main_database import MARGIN, MainDatabase, make_ready
from webui.services.resolve import TextToImageRequest
from webui.settings import Folders, read_settings
from webui.studio import Studio
from webui.ui import news

JOBS = 400
PAGE = 4096


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """A data folder whose database holds 400 jobs with a picture each, on some hundred pages."""
    folders = Folders(tmp_path, ())
    assert make_ready(folders).news is None
    store, index = JobStore(folders.database), PictureIndex(folders.database)
    with store._db.write() as db:
        for number in range(1, JOBS + 1):
            db.execute(
                "INSERT INTO jobs (task_id, kind, params, state, priority, position, created_at,"
                " origin, user, client) VALUES (?, 'txt2img', ?, 'done', 0, ?, 0, 'page', '', '')",
                (f"task {number}", f'"job {number}{" " * 700}"', number),
            )
            row = new_row(
                job_id=number, index=0, kind="image", path=tmp_path / f"{number}.png",
                root=tmp_path, picture_format="png", size=(8, 8), size_bytes=1, seed=number,
                infotext="a hill " * 50, facts={}, user="", client="", is_saved=True,
            )  # fmt: skip
            columns = {**row, "is_ready": 1}
            marks = ", ".join("?" * len(columns))
            db.execute(
                f"INSERT INTO images ({', '.join(columns)}) VALUES ({marks})",
                list(columns.values()),
            )
    store.pause_line(True)
    store.close()
    index.close()
    return folders


def overwrite(path: Path, start: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(data)


def a_bad_page(path: Path) -> None:
    overwrite(path, PAGE * (path.stat().st_size // PAGE // 2), os.urandom(PAGE))


def several_bad_pages(path: Path) -> None:
    pages = path.stat().st_size // PAGE
    for part in (3, 5, 6):
        overwrite(path, PAGE * (pages * part // 8), b"\0" * PAGE)


def cut_short(path: Path) -> None:
    os.truncate(path, PAGE * (path.stat().st_size // PAGE * 2 // 3) + 100)


def without_a_table(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE images")
    db.close()


def without_a_column(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE jobs DROP COLUMN is_paused")
    db.close()


def garbage_head(path: Path) -> None:
    overwrite(path, 0, os.urandom(PAGE))


def no_bytes(path: Path) -> None:
    path.write_bytes(b"")


def only_its_journal(path: Path) -> None:
    path.rename(path.with_name(path.name + "-wal"))


def a_folder_instead(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


Damage = Callable[[Path], None]
DAMAGES: list[tuple[Damage, int]] = [
    (a_bad_page, JOBS - 40),
    (several_bad_pages, JOBS - 120),
    (cut_short, 1),
    (without_a_table, JOBS),
    (without_a_column, JOBS),
    (garbage_head, 0),
    (no_bytes, 0),
    (only_its_journal, 0),
    (a_folder_instead, 0),
]
"""What is done to the file, and how many jobs can be read at least."""


def count(folders: Folders, table: str) -> int:
    with sqlite3.connect(folders.database) as db:
        found = db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]
    db.close()
    return int(found)


@pytest.mark.parametrize("damage, least", DAMAGES)
def test_start_when_the_database_is_damaged_then_what_can_be_read_is_in_a_new_one(
    folders: Folders, damage: Damage, least: int
) -> None:
    path = folders.database
    damage(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    ready = make_ready(folders)
    assert ready.news and ready.is_new and ready.folders.database == path
    kept = Path(ready.news.values["kept"])
    assert "danqing.damaged-20" in kept.name and str(kept) in str(ready.news)
    after = [file.read_bytes() for file in path.parent.glob(f"{kept.name}*") if file.is_file()]
    assert all(data in after for data in before.values()), "the damaged file is kept as it was"

    assert least <= count(folders, "jobs") <= JOBS
    assert (ready.news.code == "damaged") == bool(count(folders, "jobs") + count(folders, "images"))
    store = JobStore(path)
    assert all("job" in job.params_json for job in store.list(limit=JOBS))
    assert store.submit("txt2img", "{}").id > JOBS, "no number is given twice"
    if least:
        assert store.is_line_paused(), "the queue's own state is kept, too"
    store.close()
    assert make_ready(folders) == MainDatabase(folders, False), "the next start has nothing to say"
    assert kept.name in news.render(ready.news) and "已损坏" in news.render(ready.news)


def test_salvage_when_one_page_is_bad_then_all_rows_around_it_are_there(folders: Folders) -> None:
    with sqlite3.connect(folders.database) as db:
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchone()[0]
    db.close()
    data = folders.database.read_bytes()
    leaf = data.find(b"job 200 ") // PAGE
    assert leaf + 1 != root
    on_it = re.findall(rb'"job (\d+) ', data[leaf * PAGE : (leaf + 1) * PAGE])
    overwrite(folders.database, leaf * PAGE, b"\xff" * PAGE)
    make_ready(folders)
    store = JobStore(folders.database)
    there = {job.id for job in store.list(limit=JOBS)}
    store.close()
    assert set(range(1, JOBS + 1)) - there == set(map(int, on_it)), "no other row is lost"
    assert count(folders, "images") == JOBS


def test_start_when_a_newer_version_wrote_the_database_then_it_is_left_untouched(
    folders: Folders,
) -> None:
    with sqlite3.connect(folders.database) as db:
        db.execute("INSERT INTO migrations VALUES ('jobs-0999-more', 0)")
        db.execute("INSERT INTO versions VALUES ('Danqing 9.8', 1e12)")
    db.close()
    folders.database.with_name(INDEX_FILE).touch()
    before = folders.database.read_bytes()
    ready = make_ready(folders)
    assert ready.news and ready.news.code == "newer"
    for part in ("Danqing 9.8", __version__, str(folders.database), "start the newer version"):
        assert part in str(ready.news)
    assert ready.folders.database.name == f"danqing-{__version__}.sqlite3"
    assert count(ready.folders, "jobs") == 0 and folders.database.read_bytes() == before
    store = JobStore(ready.folders.database)
    assert store.submit("txt2img", "{}").id > 1_000_000, "no number of the newer file's jobs"
    store.close()
    again = make_ready(folders)
    assert "较新的版本（Danqing 9.8）" in news.render(ready.news)
    assert again.folders == ready.folders and again.news == ready.news and not again.is_new


def test_start_when_damaged_and_the_folder_takes_nothing_then_says_so(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    garbage_head(folders.database)

    def refuse(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", refuse)  # root may write everywhere
    with pytest.raises(SettingsError, match="cannot be put aside: Permission denied"):
        make_ready(folders)


def test_database_when_damaged_while_open_then_says_what_to_do(folders: Folders) -> None:
    store = JobStore(folders.database)
    store._db._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    overwrite(folders.database, PAGE, b"\xff" * (folders.database.stat().st_size - PAGE))
    with pytest.raises(JobError, match="is damaged") as caught:
        store.list()
    store.close()
    assert "start it again" in caught.value.hint
    assert make_ready(folders).news is not None


def test_studio_when_its_database_is_damaged_then_pictures_and_numbers_go_on(
    studio: Studio,
) -> None:
    studio.supervisor.start()
    wish = TextToImageRequest(prompt="a hill", width=64, height=64, steps=1, seed=5, user="ann")
    job = studio.wait(studio.submit(wish).id, 60)
    studio.gallery.watch.catch_up()
    (picture,) = studio.gallery.pictures.find().pictures
    studio.gallery.deeds.do("star", {"ids": [picture.id], "stars": 4}, "ann")
    data, saved = studio.settings.folders.data, studio.library.images_of(job.id)
    studio.stop()
    garbage_head(studio.settings.folders.database)

    anew = Studio(read_settings(["--data-dir", str(data)], environ={}), worker_command=FAKE_WORKER)
    try:
        assert anew.database.news and anew.jobs.list() == ()
        (again,) = anew.library.images_of(job.id)
        assert (again.id, again.path, again.infotext) == (
            saved[0].id, saved[0].path, saved[0].infotext,
        )  # fmt: skip
        (listed,) = anew.gallery.pictures.find("stars:4", user="ann").pictures
        told = anew.gallery.deeds.everything(listed.id, "ann")
        assert told["prompt"] == "a hill" and told["replay"] is not None
        anew.supervisor.start()
        more = anew.wait(anew.submit(wish).id, 60)
        assert more.id > job.id + MARGIN and anew.gallery.watch.catch_up() == 1
    finally:
        anew.stop()


def test_program_when_the_database_is_damaged_then_starts_and_says_so(data_dir: Path) -> None:
    (data_dir / "data").mkdir()
    (data_dir / "data" / "danqing.sqlite3").write_bytes(b"no database at all " * 500)
    with running(data_dir, any_free_port()) as server:
        assert server.ask("/internal/ping") == {}
        told = server.ask("/internal/sysinfo")["Database"]
        assert told["file"] == "danqing.sqlite3" and "could be read" in told["news"]
    assert len(list((data_dir / "data").glob("danqing.damaged-*.sqlite3"))) == 1


def test_database_that_cannot_be_put_aside_keeps_its_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.sqlite3"
    files = [path, path.with_name("jobs.sqlite3-wal")]
    for file in files:
        file.write_bytes(b"damaged")
    real = Path.replace

    def replace(file: Path, aside: Path) -> Path:
        if file == path:
            raise PermissionError(13, "in use by another program")
        return real(file, aside)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(PermissionError):
        set_aside(path, "damaged")
    assert sorted(tmp_path.iterdir()) == files
