"""Extensions that are fetched, looked at, put in, updated, taken back and removed."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from pathlib import Path

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
    wheel,
    zipped,
)
from tests.package_index import PackageIndex, serving
from webui.errors import DownloadError, ExtensionError, JobCancelled
from webui.services.extensions import commands, packages
from webui.services.extensions.archives import unpack
from webui.services.extensions.git import Git, read_origin
from webui.services.extensions.index import plain_address, read_index, zip_address
from webui.services.extensions.listing import list_repositories
from webui.services.extensions.store import _name_in
from webui.services.extensions.turn import AccessOffError, BusyError


@pytest.mark.parametrize("more", ["", "/", "/.git", "/.git/"])
def test_address_when_it_ends_in_git_then_the_folder_is_called_as_what_stands_before(
    make_store: MakeStore, repository: Path, more: str
) -> None:
    assert make_store().prepare_url(address(repository) + more).goal.name == "waves"


def test_address_when_it_asks_for_a_zip_with_arguments_then_these_are_no_part_of_the_name() -> None:
    assert _name_in("https://a.org/b/Ripples.ZIP?raw=1#x") == "Ripples"
    assert _name_in("https://a.org/b/waves.git") == "waves"


def test_repository_when_fetched_then_looked_at_first_and_in_place_after_the_word(
    make_store: MakeStore, repository: Path, tmp_path: Path
) -> None:
    store = make_store()

    made = store.prepare_url(address(repository))
    assert made.to_json()["origin"]["branch"] == "main"
    assert not (tmp_path / "extensions/waves").exists() and not room_of(store).all()

    assert store.apply(made.token, with_packages=True) == "waves"
    assert rewritten(store) == "1"
    origin = read_origin(tmp_path / "extensions/waves")
    assert origin is not None and origin.commit == git(repository, "rev-parse", "HEAD")
    assert list((tmp_path / "extensions/.incoming").iterdir()) == []


def test_update_when_wanted_then_told_before_and_can_be_taken_back(
    make_store: MakeStore, repository: Path, tmp_path: Path
) -> None:
    store = make_store()
    store.apply(store.prepare_url(address(repository)).token, with_packages=True)
    place = tmp_path / "extensions/waves"
    (place / "kept.bin").write_bytes(b"a model")
    assert store.prepare_update("waves") is None

    commit(repository, {"web.py": ACTS.format(2)}, "Second")
    commit(repository, {"web.py": ACTS.format("three")}, "Third")
    made = store.prepare_update("waves")
    assert made is not None
    assert [one["title"] for one in made.to_json()["changes"]] == ["Third", "Second"]
    assert rewritten(store) == "1", "nothing was applied yet"

    store.apply(made.token, with_packages=True)
    assert rewritten(store) == "three" and (place / "kept.bin").read_bytes() == b"a model"
    store.roll_back("waves")
    assert rewritten(store) == "1"
    store.roll_back("waves")
    assert rewritten(store) == "three"


def test_update_when_files_were_changed_by_hand_then_refused(
    make_store: MakeStore, repository: Path, tmp_path: Path
) -> None:
    store = make_store()
    store.apply(store.prepare_url(address(repository)).token, with_packages=True)
    (tmp_path / "extensions/waves/web.py").write_text(ACTS.format("mine"))

    with pytest.raises(ExtensionError, match=r"changed by hand: web\.py"):
        store.prepare_update("waves")


def test_remove_when_wanted_then_lies_in_the_trash(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    store.apply(store.prepare_zip(zipped(tmp_path, GOOD), "ripple.zip").token, with_packages=True)
    assert rewritten(store) == "z"

    goal = store.remove("ripple")
    assert (goal / "web.py").is_file() and goal.parent.name == ".trash"
    assert room_of(store).all() == [] and rewritten(store) == ""


def test_repository_when_its_hooks_and_links_are_bad_then_nothing_runs(
    make_store: MakeStore, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.symlink("/etc/passwd", repository / "page.html")
    commit(repository, {}, "A link")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (hooks / "post-checkout").chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n")
    store = make_store()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))

    made = store.prepare_url(address(repository))
    assert not (made.folder / "page.html").is_symlink()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "url",
    ["ext::sh -c touch% /tmp/x", "ssh://a@127.0.0.1/b", "http://127.0.0.1:1/b", "--upload-pack=x"],
)
def test_address_when_of_another_protocol_then_refused(make_store: MakeStore, url: str) -> None:
    store = make_store(git=Git())
    with pytest.raises(ExtensionError, match="could not be fetched"):
        store.prepare_url(url, name="b")


def test_address_when_a_folder_and_not_told_then_refused(
    make_store: MakeStore, repository: Path
) -> None:
    with pytest.raises(ExtensionError, match="could not be fetched"):
        make_store(git=Git()).prepare_url(address(repository))


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/a/b", "https://10.0.0.1/a/b.zip", "file:///a/b"]
)
def test_address_when_private_and_the_page_is_open_then_refused(
    make_store: MakeStore, url: str
) -> None:
    store = make_store(public_only=True)
    with pytest.raises(DownloadError, match=r"private|no http"):
        store.prepare_url(url)


def test_name_when_taken_then_refused(
    make_store: MakeStore, repository: Path, tmp_path: Path
) -> None:
    store = make_store()
    store.apply(store.prepare_url(address(repository)).token, with_packages=True)

    with pytest.raises(ExtensionError, match="there already"):
        store.prepare_url(address(repository))
    with pytest.raises(ExtensionError, match="installed already"):
        store.prepare_url(address(repository), name="other")
    named = {"extension.toml": "api = 1\nname = 'waves'", "web.py": "x = 1"}
    with pytest.raises(ExtensionError, match="'waves' is there already"):
        store.prepare_zip(zipped(tmp_path, named), "other.zip")
    with pytest.raises(ExtensionError, match="name of a folder"):
        store.prepare_url(address(repository), name="../x")


def test_folder_when_no_extension_then_refused_and_thrown_away(
    make_store: MakeStore, tmp_path: Path
) -> None:
    with pytest.raises(ExtensionError, match="no extension"):
        make_store().prepare_zip(zipped(tmp_path, {"README.md": "x"}), "x.zip")
    assert list((tmp_path / "extensions/.incoming").iterdir()) == []


@pytest.mark.parametrize(
    ("deed", "arguments"),
    [
        ("prepare_url", 1), ("prepare_update", 1), ("prepare_version", 2), ("apply", 1),
        ("prepare_packages", 1),
        ("roll_back", 1), ("remove", 1), ("index", 1), ("run_install", 2), ("check", 0),
    ],
)  # fmt: skip
def test_store_when_others_reach_the_server_then_refuses(
    make_store: MakeStore, deed: str, arguments: int
) -> None:
    store = make_store(is_allowed=False)
    more = {"with_packages": True} if deed == "apply" else {}
    with pytest.raises(AccessOffError, match="enable-insecure-extension-access"):
        getattr(store, deed)(*["https://example.org/x"] * arguments, **more)
    with pytest.raises(AccessOffError):
        store.prepare_zip(Path("x.zip"), "x")
    for trashed in (store.trash.restore, store.trash.delete):
        with pytest.raises(AccessOffError):
            trashed("x")


def test_store_when_busy_then_says_with_what(make_store: MakeStore) -> None:
    store = make_store()
    with store.turn.taken("waves"), pytest.raises(BusyError, match="waves"):
        store.remove("x")


# Zips


@pytest.mark.parametrize(
    "name", ["../out.py", "/out.py", "a/../../out.py", "..\\out.py", "C:\\x", "a/nul.txt"]
)
def test_zip_when_a_name_leads_out_then_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExtensionError, match="lie elsewhere"):
        unpack(zipped(tmp_path, {name: "x"}), tmp_path / "box/goal")
    assert not (tmp_path / "out.py").exists() and not (tmp_path / "box/out.py").exists()


def test_zip_when_bad_then_refused(tmp_path: Path) -> None:
    good = zipped(tmp_path, GOOD)
    with pytest.raises(ExtensionError, match="more than 1 files"):
        unpack(good, tmp_path / "a", most_files=1)
    with pytest.raises(ExtensionError, match="MiB"):
        unpack(good, tmp_path / "b", most_bytes=10)
    with pytest.raises(ExtensionError, match="link"):
        unpack(zipped(tmp_path, {"x": "/etc/passwd"}, stat.S_IFLNK), tmp_path / "c")
    good.write_bytes(b"PK nothing")
    with pytest.raises(ExtensionError, match="no zip"):
        unpack(good, tmp_path / "d")
    hidden = unpack(zipped(tmp_path, {".git/config": "x", "web.py": ""}), tmp_path / "e")
    assert [path.name for path in hidden.iterdir()] == ["web.py"]


# Packages


def test_packages_when_new_then_shown_first_and_put_into_its_own_folder(
    make_store: MakeStore, tmp_path: Path
) -> None:
    index = PackageIndex(
        dict([wheel("dqtestleaf", "1.2"), wheel("dqtesttree", "2.0", "dqtestleaf")])
    )
    files = {
        "extension.toml": "api = 1\nrequires = ['dqtesttree>=1']",
        "web.py": "import dqtesttree\n" + ACTS.format("{dqtesttree.version}").replace("'{", "f'{"),
    }
    with serving(index):
        store = make_store(pip_environ=index.env)
        made = store.prepare_zip(zipped(tmp_path, files), "tree.zip")
        assert made.plan.new == {"dqtesttree": "2.0", "dqtestleaf": "1.2"}
        assert made.to_json()["problem"] == "" and not made.plan.conflicts
        store.apply(made.token, with_packages=True)

        assert rewritten(store) == "2.0"
        own = tmp_path / "extensions/tree/.packages"
        assert (own / "dqtestleaf.py").is_file()

        (own / "dqtestleaf.py").unlink()
        for info in own.glob("*.dist-info"):
            shutil.rmtree(info)
        room_of(store).refresh()
        (known,) = room_of(store).all()
        assert store.facts(known.extension)["lacks_packages"]
        again = store.prepare_packages("tree")
        assert again.is_here and again.plan.new
        store.apply(again.token, with_packages=True)
    assert (own / "dqtestleaf.py").is_file() and rewritten(store) == "2.0"


def test_packages_when_they_clash_with_what_is_installed_then_refused(tmp_path: Path) -> None:
    cancel = threading.Event()
    direct = packages.plan(["numpy<1.0", "pillow"], tmp_path, cancel, pip=("false",))
    assert direct.conflicts[0].startswith("It wants numpy<1.0; the program has")
    index = PackageIndex(dict([wheel("dqtestold", "1.0", "numpy<1.0")]))
    with serving(index):
        deep = packages.plan(["dqtestold"], tmp_path, cancel, environ=index.env)
    assert deep.conflicts and not deep.new
    with pytest.raises(ExtensionError, match="do not go with"):
        packages.install(deep, tmp_path, tmp_path, cancel)
    odd = packages.plan(["-r other.txt", "x @ https://a/b.whl"], tmp_path, cancel, pip=("false",))
    assert len(odd.conflicts) == 2
    fine = packages.plan(
        ["numpy", "tensorflow; python_version < '3'"], tmp_path, cancel, pip=("false",)
    )
    assert not fine.conflicts and not fine.new


# Parts


def test_repositories_when_listed_as_a1111_does_then_with_remote_commit_and_its_time(
    make_store: MakeStore, repository: Path
) -> None:
    room = room_of(make_store())
    target = room.folders[-1]
    shutil.copytree(repository, target / "waves")
    (target / "plain").mkdir()
    (target / "plain" / "extension.toml").write_text("api = 1\nversion = '1'", "utf-8")
    room.refresh()
    assert list_repositories(room) == []  # no remote
    git(target / "waves", "remote", "add", "origin", "https://ann:word@example.org/waves")
    (told,) = list_repositories(room)
    hash_ = git(repository, "rev-parse", "HEAD").strip()
    assert (told["name"], told["remote"]) == ("waves", "https://example.org/waves")
    assert (told["branch"], told["commit_hash"], told["version"]) == ("main", hash_, hash_[:8])
    assert told["enabled"] is True and told["commit_date"] > 1_500_000_000


def test_program_when_stopped_or_too_large_or_too_slow_then_ended(tmp_path: Path) -> None:
    cancel = threading.Event()
    with pytest.raises(commands.CommandError, match="longer than"):
        commands.run(["sleep", "60"], folder=tmp_path, cancel=cancel, seconds=0.1)
    (tmp_path / "large").write_bytes(bytes(100))
    commands.run(["true"], folder=tmp_path, cancel=cancel, grows=tmp_path, most_bytes=50)
    with pytest.raises(commands.CommandError, match="larger"):
        commands.run(
            ["cp", "large", "two"], folder=tmp_path, cancel=cancel, grows=tmp_path, most_bytes=50
        )
    cancel.set()
    with pytest.raises(JobCancelled):
        commands.run(["sleep", "60"], folder=tmp_path, cancel=cancel)


def test_index_when_read_then_plain() -> None:
    told = read_index(
        b'{"tags": {"tab": "T"}, "extensions": [{"url": "u", "stars": "x"}, {"name": "n"}, 3]}'
    )
    assert [one["url"] for one in told["extensions"]] == ["u"]
    assert told["extensions"][0]["stars"] == 0
    for bad in (b"<html>", b"[]", b'{"extensions": 3}'):
        with pytest.raises(ExtensionError, match="no list"):
            read_index(bad)
    assert plain_address("https://www.A.org/b/C.git/") == plain_address("http://a.org/b/c")
    assert zip_address("https://github.com/a/b.git") == "https://github.com/a/b/archive/HEAD.zip"
    assert zip_address("https://example.org/a/b") == ""
