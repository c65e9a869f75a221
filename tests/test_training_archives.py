"""Zip files as training sets: what is in them comes in, whatever else they try does not."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tests.training.pictures import GREEN
from webui.services.training import archives as training_archives
from webui.services.training.sets import Added, TrainingSets


def _png(side: int = 16) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), GREEN).save(data, "PNG")
    return data.getvalue()


def _zip(path: Path, files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        for name, data in files.items():
            made.writestr(name, data)
    return path


def _added(tmp_path: Path, archive: Path) -> tuple[Added, dict[str, str]]:
    """What is told, and picture → words in the set."""
    sets = TrainingSets(tmp_path / "sets")
    sets.make("me")
    told = sets.add("me", [archive])
    assert [path.name for path in (tmp_path / "sets").iterdir()] == ["me"]  # nothing is left over
    return told, {p.path.name: p.caption for p in sets.pictures("me")}


def test_zip_when_it_has_kohyas_folders_then_pictures_words_and_repeats_come(
    tmp_path: Path,
) -> None:
    archive = _zip(
        tmp_path / "照片 set.zip",
        {
            "top/5_xiaoming girl/1.png": _png(), "top/5_xiaoming girl/1.txt": b"smile",
            "top/5_xiaoming girl/2.png": _png(), "top/plain/deep/1.png": _png(),
            "top/plain/deep/1.txt": "红色大衣".encode(), "top/2_other/9.PNG": _png(),
            "__MACOSX/top/._1.png": b"x", "top/Thumbs.db": b"x", "top/.DS_Store": b"x",
            "top/reg/r.png": _png(), "top/notes.pdf": b"x",
        },
    )  # fmt: skip

    told, found = _added(tmp_path, archive)

    assert found == {
        "1.png": "smile", "2.png": "xiaoming girl", "1 2.png": "红色大衣", "9.png": "other",
    }  # fmt: skip
    assert (told.pictures, told.captions, told.repeats) == (4, 2, {2, 5})
    assert [text.partition(":")[0] for text in told.bad] == [
        '1 regularisation pictures in "照片 set.zip" were left out', '"notes.pdf" is no picture.',
    ]  # fmt: skip


def test_zip_when_names_climb_then_no_file_lies_outside(tmp_path: Path) -> None:
    names = ["../../up.png", "/etc/abs.png", "C:\\dos.png", "a/../../b/in.png", "..\\..\\win.png"]
    told, found = _added(tmp_path, _zip(tmp_path / "a.zip", dict.fromkeys(names, _png())))

    assert told.pictures == 5
    assert sorted(found) == ["abs.png", "dos.png", "in.png", "up.png", "win.png"]
    outside = [p for p in tmp_path.rglob("*.png") if tmp_path / "sets" / "me" not in p.parents]
    assert outside == []


@pytest.mark.parametrize("coding", ["gbk", "utf-8"])
def test_zip_when_names_do_not_tell_their_coding_then_chinese_is_read(
    tmp_path: Path, coding: str
) -> None:
    archive = _zip(tmp_path / "a.zip", {"N" * len("小明.png".encode(coding)): _png()})
    raw = archive.read_bytes()
    name = b"N" * len("小明.png".encode(coding))
    assert raw.count(name) == 2  # once by the file, once in the list
    archive.write_bytes(raw.replace(name, "小明.png".encode(coding)))

    assert list(_added(tmp_path, archive)[1]) == ["小明.png"]


def test_zip_when_protected_by_a_password_then_said(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "a.zip", {"a.png": _png()}, zipfile.ZIP_STORED)
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)

    told, found = _added(tmp_path, archive)
    assert found == {} and "protected by a password" in told.bad[0] and "Unpack it" in told.bad[0]


@pytest.mark.parametrize(
    ("limit", "value", "said"),
    [
        ("MOST_FILES", 2, "holds 3 files"),
        ("MOST_BYTES", 2**20, "would unpack to"),
        ("SPARE_BYTES", 2**60, "are free on this disk"),
        ("FREE_RATIO_BYTES", 2**20, "unpacks to far more than pictures do"),
        ("MOST_OF_A_FILE", 2**20, "is damaged (larger than 1 MiB)"),
    ],
)
def test_zip_when_it_is_made_to_fill_the_disk_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, said: str
) -> None:
    monkeypatch.setattr(training_archives, limit, value)
    bomb = {"a.png": b"\0" * (8 << 20), "b.png": _png(), "c.png": _png()}

    told, _ = _added(tmp_path, _zip(tmp_path / "a.zip", bomb))

    assert len(told.bad) >= 1 and said in told.bad[0]


def test_zip_when_it_lies_about_sizes_then_what_comes_out_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_archives, "MOST_OF_A_FILE", 2**20)
    archive = _zip(tmp_path / "a.zip", {"a.png": b"\0" * (8 << 20), "b.png": _png()})
    raw, true = archive.read_bytes(), (8 << 20).to_bytes(4, "little")
    archive.write_bytes(raw.replace(true, (100).to_bytes(4, "little")))

    told, found = _added(tmp_path, archive)
    assert list(found) == ["b.png"] and '"a.png"' in told.bad[0]


def test_zip_when_damaged_then_its_good_files_come_and_the_others_are_named(
    tmp_path: Path,
) -> None:
    archive = _zip(tmp_path / "a.zip", {"a.png": _png(), "b.png": _png()}, zipfile.ZIP_STORED)
    raw = bytearray(archive.read_bytes())
    raw[raw.index(_png()) + 40] ^= 0xFF  # the checksum of the first does not fit any more
    archive.write_bytes(raw)
    (tmp_path / "no.zip").write_bytes(b"no zip")

    told, found = _added(tmp_path, archive)
    assert list(found) == ["b.png"] and '"a.png" in "a.zip" is damaged' in told.bad[0]
    assert "is no zip file" in _added(tmp_path, tmp_path / "no.zip")[0].bad[0]
