"""What must not happen when extensions come: foreign code run, other folders touched, work lost."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import sys
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.extensions.stores import (
    ACTS,
    GOOD,
    MakeStore,
    address,
    commit,
    git,
    rewritten,
    room_of,
    zipped,
)
from tests.package_index import PackageIndex, serving
from tests.patience import PATIENCE
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import Network
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.mirrors import Mirrors
from webui.errors import DownloadError, ExtensionError, JobCancelled
from webui.services.extensions import index, packages, places, prepared
from webui.services.extensions.archives import unpack
from webui.services.extensions.commands import InstallError
from webui.services.extensions.git import Git
from webui.services.extensions.store import Store
from webui.services.extensions.watch import WorkerWatch


@pytest.fixture
def waves(make_store: MakeStore, repository: Path, tmp_path: Path) -> Path:
    """An extension that was installed from its repository."""
    store = make_store()
    store.apply(store.prepare_url(address(repository)).token, with_packages=True)
    return tmp_path / "extensions/waves"


# Foreign code


def test_packages_when_planned_then_nothing_of_the_extension_runs(
    make_store: MakeStore, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    code = f"open({str(ran)!r}, 'w')\n"
    files = {
        "pip/__init__.py": code, "pip/__main__.py": code, "pip/web.py": "x = 1",
        "pip/extension.toml": "api = 1\nrequires = ['dqtestnothing']",
    }  # fmt: skip
    with serving(PackageIndex({})) as packages_there:
        store = make_store(pip_environ=packages_there.env)
        made = store.prepare_zip(zipped(tmp_path, files), "pip.zip")
    assert made.plan.conflicts and "dqtestnothing" in made.plan.conflicts[0]
    assert not ran.exists()


def test_install_script_when_another_than_was_read_then_not_run(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    files = {"install.py": "1\n"}
    store.apply(store.prepare_zip(zipped(tmp_path, files), "old.zip").token, with_packages=True)
    done: list[str] = []
    room: Any = room_of(store)
    room.scripts = SimpleNamespace(
        install=lambda name, cancel: done.append(name), has_folders=False, is_page_old=False
    )
    _, prints = store.install_text("old")
    (tmp_path / "extensions/old/install.py").write_text("2\n")
    with pytest.raises(ExtensionError, match="another one than was read"):
        store.run_install("old", prints)
    assert done == []
    store.run_install("old", store.install_text("old")[1])
    assert done == ["old"]


# Other folders


def test_update_when_its_repository_is_broken_then_no_other_one_is_touched(
    make_store: MakeStore, repository: Path, waves: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    program = tmp_path / "extensions"
    git(program, "init", "-q", "-b", "main")
    (program / "work.txt").write_text("hours of it")
    git(program, "add", "work.txt")
    git(program, "commit", "-q", "-m", "Work")
    head = git(program, "rev-parse", "HEAD")
    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    shutil.rmtree(waves / ".git" / "refs")  # what a copy that was broken off looks like

    with pytest.raises(ExtensionError):
        make_store().prepare_update("waves")
    assert git(program, "rev-parse", "HEAD") == head
    assert git(program, "for-each-ref", "--format=%(refname)") == "refs/heads/main"

    monkeypatch.setenv("GIT_DIR", str(program / ".git"))  # as a hook of git's has it
    assert Git().commit(repository, threading.Event()) != head


def test_zip_when_its_files_would_stand_where_ours_do_then_they_do_not(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    for name in ("unpacked", "papers", "report.json"):
        made = store.prepare_zip(zipped(tmp_path, GOOD), f"{name}.zip")
        assert (made.folder / "web.py").is_file() and made.goal.name == name
    for name in ("nul.zip", "con.x.zip", "dot..zip"):
        with pytest.raises(ExtensionError, match="name of a folder"):
            store.prepare_zip(zipped(tmp_path, GOOD), name)


# Zips


@pytest.mark.parametrize("name", ["a/web.py.", "a/.. /x", "con .txt", "a\x07b", "a /b"])
def test_zip_when_a_name_means_another_on_windows_then_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExtensionError, match="lie elsewhere"):
        unpack(zipped(tmp_path, {name: "x"}), tmp_path / "goal")


def test_zip_when_damaged_or_packed_oddly_then_says_so(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("web.py", "x = 1\n" * 1000)
    data = bytearray(file.read_bytes())
    data[40:48] = b"\xff" * 8
    file.write_bytes(data)
    with pytest.raises(ExtensionError, match="no zip file that can be read"):
        unpack(file, tmp_path / "a")

    file.write_bytes(
        zipped(tmp_path, {"w\xe4b.py": "x"}).read_bytes().replace(b"\xc3\xa4", b"\xff\xfe")
    )
    with pytest.raises(ExtensionError, match="no zip file that can be read"):
        unpack(file, tmp_path / "b")

    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("web.py", "x = 1\n")
    with pytest.raises(ExtensionError, match="unusual way"):
        unpack(file, tmp_path / "c")


@pytest.mark.parametrize("is_64", [False, True])
def test_zip_when_its_list_would_fill_the_memory_then_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_64: bool
) -> None:
    file = zipped(tmp_path, GOOD)
    data = bytearray(file.read_bytes())
    end = data.rfind(b"PK\5\6")
    if is_64:
        data[end:end] = b"PK\6\7" + bytes(16)
    else:
        data[end + 12 : end + 16] = struct.pack("<I", 500_000_000)
    file.write_bytes(data)
    monkeypatch.setattr(zipfile, "ZipFile", lambda *_: pytest.fail("its list was read"))
    with pytest.raises(ExtensionError, match="more than 20000 files"):
        unpack(file, tmp_path / "goal")


# Work that could be lost


@pytest.mark.parametrize("is_in_place", [False, True])
def test_start_when_the_program_was_killed_in_an_update_then_the_extension_is_there(
    make_store: MakeStore, waves: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    is_in_place: bool,
) -> None:  # fmt: skip
    fresh = tmp_path / "extensions/.incoming/box/new/waves"
    shutil.copytree(waves, fresh)
    (fresh / "web.py").write_text(ACTS.format("new"))
    real, moves = places.move, list[Path]()

    def killed(path: Path, goal: Path) -> None:
        if len(moves) == (2 if is_in_place else 1):
            raise KeyboardInterrupt
        moves.append(goal)
        real(path, goal)

    monkeypatch.setattr(places, "move", killed)
    with pytest.raises(KeyboardInterrupt):
        places.swap(fresh, waves)
    assert waves.exists() is is_in_place
    monkeypatch.undo()

    store = make_store()
    assert rewritten(store) == ("new" if is_in_place else "1")
    if is_in_place:
        store.roll_back("waves")
        assert rewritten(store) == "1"
    assert list((tmp_path / "extensions/.aside").iterdir()) == []


def test_update_when_the_version_before_resists_then_is_in_place_and_the_next_one_too(
    make_store: MakeStore, waves: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def resist(path: Path) -> None:
        raise InstallError(f"{path} cannot be deleted: in use.")

    def fresh(text: str) -> Path:
        made = tmp_path / text
        made.mkdir()
        (made / "web.py").write_text(text)
        return made

    monkeypatch.setattr(places, "remove_tree", resist)
    places.swap(fresh("2"), waves)
    assert (waves / "web.py").read_text() == "2" and not places.before_of(waves).exists()
    monkeypatch.undo()
    places.swap(fresh("3"), waves)
    assert (places.before_of(waves) / "web.py").read_text() == "2"

    monkeypatch.setattr(places, "remove_tree", resist)
    places.swap(fresh("4"), waves)
    monkeypatch.undo()
    places.throw_away(waves)
    make_store()
    assert not waves.exists(), "the one before is not put back in its place"


def test_start_when_something_was_abandoned_long_ago_then_thrown_away(
    make_store: MakeStore, tmp_path: Path
) -> None:
    old, new = (tmp_path / "extensions/.incoming" / name for name in ("old", "new"))
    for box in (old, new):
        (box / "new" / "x").mkdir(parents=True)
    os.utime(old, (1, 1))
    make_store()
    assert new.exists() and not old.exists()


def test_update_when_the_disk_is_full_then_says_so_and_the_old_version_runs(
    make_store: MakeStore, repository: Path, waves: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    store = make_store()
    monkeypatch.setattr(prepared, "_link", full)
    with pytest.raises(ExtensionError, match="No space left on device"):
        store.prepare_update("waves")
    assert rewritten(store) == "1"
    assert list((tmp_path / "extensions/.incoming").iterdir()) == []


def test_update_when_the_extension_changed_since_then_refused_or_brought_along(
    make_store: MakeStore, repository: Path, waves: Path
) -> None:
    store = make_store()
    commit(repository, {"web.py": ACTS.format(2), "theirs.txt": "theirs"}, "Second")
    made = store.prepare_update("waves")
    assert made is not None
    (waves / "made.json").write_text("since")
    (waves / "theirs.txt").write_text("mine")
    (waves / "web.py").write_text(ACTS.format("mine"))
    with pytest.raises(ExtensionError, match="changed by hand"):
        store.apply(made.token, with_packages=True)
    git(waves, "checkout", "web.py")

    store.apply(made.token, with_packages=True)  # it waits still
    assert rewritten(store) == "2"
    assert (waves / "made.json").read_text() == "since"
    assert (waves / "theirs.txt").read_text() == "theirs"

    commit(repository, {"web.py": ACTS.format(3)}, "Third")
    first, second = store.prepare_update("waves"), store.prepare_update("waves")
    assert first is not None and second is not None
    store.apply(first.token, with_packages=True)
    with pytest.raises(ExtensionError, match="has changed since"):
        store.apply(second.token, with_packages=True)
    store.roll_back("waves")
    assert rewritten(store) == "2", "the version before is no copy of the present one"


def test_apply_when_thrown_away_meanwhile_then_comes_whole(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store()
    token = store.prepare_zip(zipped(tmp_path, GOOD), "ripple.zip").token
    monkeypatch.setattr(packages, "install", lambda *_, **__: store.discard(token))
    store.apply(token, with_packages=True)
    assert rewritten(store) == "z"


def test_update_when_it_has_packages_then_keeps_them(
    make_store: MakeStore, repository: Path, waves: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = waves / ".packages/dqtestown-1.0.dist-info"
    own.mkdir(parents=True)
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: dqtestown\nVersion: 1.0\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(own.parent)])
    assert "dqtestown" not in packages.installed(), "it is the extension's alone"

    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    store = make_store()
    made = store.prepare_update("waves")
    assert made is not None
    store.apply(made.token, with_packages=False)
    assert rewritten(store) == "2" and own.is_dir()


def test_packages_when_broken_off_then_those_that_were_there_stay(tmp_path: Path) -> None:
    folder, papers = tmp_path / "x", tmp_path / "papers"
    kept = folder / ".packages/kept.py"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    papers.mkdir()
    plan = packages.Plan(("a",), {"a": "1"}, (), {})
    with pytest.raises(ExtensionError):
        packages.install(plan, folder, papers, threading.Event(), pip=("false",))
    assert kept.is_file()


def test_extras_of_what_is_installed_then_pip_is_asked(tmp_path: Path) -> None:
    def plan(wish: str) -> packages.Plan:
        have = {"dqtestbase": "1.0"}
        return packages.plan([wish], tmp_path, threading.Event(), has=have, pip=("false",))

    assert not plan("dqtestbase").conflicts
    assert plan("dqtestbase[more]").conflicts == ("false failed.",)


# The trash


def test_trash_when_restored_then_runs_again_with_its_version_before(
    make_store: MakeStore, repository: Path, waves: Path, tmp_path: Path
) -> None:
    store = make_store()
    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    made = store.prepare_update("waves")
    assert made is not None
    store.apply(made.token, with_packages=True)
    store.remove("waves")
    assert not (tmp_path / "extensions/.before/waves").exists(), "another one could come there"

    (removed,) = store.trash.all()
    assert removed.folder == "waves" and rewritten(store) == ""
    waves.mkdir()
    with pytest.raises(ExtensionError, match="there already"):
        store.trash.restore(removed.id)
    waves.rmdir()
    store.trash.restore(removed.id)
    assert rewritten(store) == "2" and store.trash.all() == []
    store.roll_back("waves")
    assert rewritten(store) == "1"

    store.remove("waves")
    for odd in ("../waves", "", ".before", "."):
        with pytest.raises(ExtensionError, match="not lie in the trash"):
            store.trash.delete(odd)
    store.trash.delete(store.trash.all()[0].id)
    assert [path.name for path in (tmp_path / "extensions/.trash").rglob("*.py")] == []


# Versions


def test_check_when_asked_then_tells_of_every_repository(
    make_store: MakeStore, repository: Path, waves: Path
) -> None:
    store = make_store()
    assert store.check() == {"waves": "newest"}
    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    assert store.check() == {"waves": "newer"}
    git(repository, "branch", "-m", "main", "other")
    assert "no branch 'main'" in str(store.check()["waves"])


def test_version_when_an_older_one_is_wanted_then_says_what_is_taken_back(
    make_store: MakeStore, repository: Path, waves: Path
) -> None:
    store, first = make_store(), git(repository, "rev-parse", "HEAD")
    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    (repository / ".gitmodules").write_text("")
    commit(repository, {}, "Third")
    newest = store.prepare_update("waves")
    assert newest is not None and newest.to_json()["has_submodules"]
    store.apply(newest.token, with_packages=True)

    back = store.prepare_version("waves", first)
    assert back is not None
    told = back.to_json()
    assert told["is_back"] and [one["title"] for one in told["changes"]] == ["Third", "Second"]
    store.apply(back.token, with_packages=True)
    assert rewritten(store) == "1" and store.prepare_version("waves", first) is None
    with pytest.raises(ExtensionError, match="no commit"):
        store.prepare_version("waves", "--upload-pack=x")


# The network


def test_file_when_stopped_or_too_large_then_ends(tmp_path: Path) -> None:
    network = Network(Rules(Keys(tmp_path / "keys.json")), Mirrors({}))
    goal, cancel = tmp_path / "goal", threading.Event()
    with serving(PackageIndex({"x.whl": bytes(1000)})) as there:
        url = f"http://127.0.0.1:{there.port}/x.whl"
        index.fetch_file(url, network, goal, 1000, cancel)
        assert goal.stat().st_size == 1000
        with pytest.raises(DownloadError, match="sends more than"):
            index.fetch_file(url, network, goal, 999, cancel)
        cancel.set()
        with pytest.raises(JobCancelled):
            index.fetch_file(url, network, goal, 1000, cancel)


def test_watch_when_it_fails_once_then_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Semaphore(0)

    def running() -> int | None:
        asked.release()
        raise RuntimeError("the database is locked")

    monkeypatch.setattr("webui.services.extensions.watch.EVERY_SECONDS", 0.01)
    watch = WorkerWatch(tmp_path / "note", lambda why: "", lambda job, err: True, running)
    watch.begin()
    assert asked.acquire(timeout=PATIENCE) and asked.acquire(timeout=PATIENCE)
    watch.stop()


def test_store_when_stopped_while_something_ends_then_nothing_breaks(make_store: MakeStore) -> None:
    store: Store = make_store()
    with store.turn.taken("x") as cancel:
        store.turn.cancel()
        assert cancel.is_set() and store.turn.busy == "x"
    store.turn.cancel()
    assert store.turn.busy == ""
