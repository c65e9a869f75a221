"""Input pictures are kept under the sha256 of their file, unchanged while jobs need them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from webui.errors import LibraryError
from webui.library.inputs import UNUSED_DAYS, Inputs, keys_in


def png(colour: str = "red", size: tuple[int, int] = (8, 6)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path / "inputs")


def test_keep_when_a_file_is_given_then_its_bytes_lie_under_their_hash(inputs: Inputs) -> None:
    data = png()
    key = inputs.keep(data)
    assert key == hashlib.sha256(data).hexdigest()
    assert inputs.path(key).read_bytes() == data


def test_keep_when_the_same_file_comes_again_then_it_is_not_written_again(inputs: Inputs) -> None:
    key = inputs.keep(png())
    before = inputs.path(key).stat().st_ino
    assert inputs.keep(png()) == key
    assert inputs.path(key).stat().st_ino == before


def test_keep_when_a_former_write_was_cut_off_then_the_file_is_mended(inputs: Inputs) -> None:
    key = inputs.keep(png())
    inputs.path(key).write_bytes(png()[:10])
    assert inputs.keep(png()) == key
    assert inputs.path(key).read_bytes() == png()


def test_keep_when_another_picture_comes_then_both_stay(inputs: Inputs) -> None:
    first, second = inputs.keep(png("red")), inputs.keep(png("blue"))
    assert first != second
    assert inputs.image(first).getpixel((0, 0)) == (255, 0, 0)
    assert inputs.image(second).getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("data", [b"", b"text", png()[:40], png()[:-30]])
def test_keep_when_the_file_is_damaged_then_refuses_and_keeps_nothing(
    inputs: Inputs, tmp_path: Path, data: bytes
) -> None:
    with pytest.raises(LibraryError):
        inputs.keep(data)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_keep_image_when_read_again_then_has_the_same_pixels(inputs: Inputs, mode: str) -> None:
    numbers = np.random.default_rng(3)
    shape = (5, 7) if mode == "L" else (5, 7, len(mode))
    image = Image.fromarray(numbers.integers(0, 255, shape).astype(np.uint8))
    assert image.mode == mode
    again = inputs.image(inputs.keep_image(image))
    wanted = image.convert("RGB") if mode == "L" else image
    assert (np.asarray(again) == np.asarray(wanted)).all()


def test_image_when_the_file_was_turned_by_exif_then_is_upright(inputs: Inputs) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = io.BytesIO()
    Image.new("RGB", (8, 6)).save(data, "JPEG", exif=exif)
    assert inputs.image(inputs.keep(data.getvalue())).size == (6, 8)


def test_path_when_the_file_is_gone_then_says_what_to_do(inputs: Inputs) -> None:
    key = inputs.keep(png())
    inputs.path(key).unlink()
    with pytest.raises(LibraryError) as caught:
        inputs.path(key)
    assert key[:10] in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "key", ["", "abc", "../" * 20 + "etcd", "G" * 64, "A" * 64, "/" * 64, "." * 64]
)
def test_path_when_the_key_is_none_then_never_leaves_the_folder(inputs: Inputs, key: str) -> None:
    with pytest.raises(LibraryError, match="not the key"):
        inputs.path(key)


def test_keep_when_the_folder_cannot_be_written_then_says_why(tmp_path: Path) -> None:
    (tmp_path / "inputs").write_text("in the way")
    with pytest.raises(LibraryError) as caught:
        Inputs(tmp_path / "inputs").keep(png())
    assert "inputs" in caught.value.message
    assert caught.value.hint


def age(inputs: Inputs, key: str, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(inputs.path(key), (then, then))


def test_remove_unused_when_a_key_is_named_or_new_then_it_stays(inputs: Inputs) -> None:
    named, fresh, old = (inputs.keep(png(colour)) for colour in ("red", "green", "blue"))
    age(inputs, named, 30)
    age(inputs, fresh, UNUSED_DAYS - 1)
    age(inputs, old, UNUSED_DAYS + 1)

    assert inputs.remove_unused(lambda: {named}) == 1

    assert inputs.image(named).size == inputs.image(fresh).size == (8, 6)
    with pytest.raises(LibraryError, match="not in"):
        inputs.path(old)


def test_remove_unused_when_an_old_file_is_kept_again_then_it_stays(inputs: Inputs) -> None:
    key = inputs.keep(png())
    age(inputs, key, 30)
    inputs.keep(png())

    assert inputs.remove_unused(set) == 0
    assert inputs.path(key).is_file()


def test_remove_unused_when_a_file_is_kept_while_names_are_gathered_then_it_stays(
    inputs: Inputs,
) -> None:
    key = inputs.keep(png())
    age(inputs, key, 30)

    def named() -> set[str]:
        inputs.keep(png())
        return set()

    assert inputs.remove_unused(named) == 0
    assert inputs.path(key).is_file()


def test_remove_unused_when_it_is_cut_off_then_the_next_time_ends_it(inputs: Inputs) -> None:
    keys = [inputs.keep(png(colour)) for colour in ("red", "green", "blue")]
    for key in keys:
        age(inputs, key, 30)
    answers = iter([False, True])

    assert inputs.remove_unused(set, lambda: next(answers)) == 1
    assert inputs.remove_unused(set) == 2


def test_remove_unused_when_a_write_was_cut_off_then_its_rest_goes_too(inputs: Inputs) -> None:
    path = inputs.path(inputs.keep(png()))
    rest = path.with_name("half.tmp")
    rest.write_bytes(b"half")
    os.utime(rest, (1, 1))

    assert inputs.remove_unused(set) == 1
    assert path.is_file() and not rest.exists()


def test_remove_unused_when_there_is_no_folder_yet_then_nothing_happens(inputs: Inputs) -> None:
    assert inputs.remove_unused(set) == 0


def test_keys_in_finds_keys_within_json_within_json() -> None:
    canvas = json.dumps({"picture": "a" * 64, "strokes": "0f" * 32})
    texts = [json.dumps({"inpaint": canvas}), json.dumps({"init_images": ["c" * 64]})]
    assert {"a" * 64, "0f" * 32, "c" * 64} <= keys_in(texts)
