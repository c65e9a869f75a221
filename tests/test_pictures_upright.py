"""Input pictures as people see them, whatever way their files store them; damaged ones refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from webui.errors import LibraryError, PictureError
from webui.pictures import MAX_PIXELS, load_upright

RED, BLUE = (220, 30, 30), (30, 30, 220)


def file_of(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def halves(width: int = 16, height: int = 8) -> Image.Image:
    """Red at the left, blue at the right."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def colour_at(image: Image.Image, x: int, y: int) -> Any:
    return np.asarray(image, dtype=int)[y, x]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
def test_load_upright_when_any_format_then_rgb(format: str) -> None:
    image = load_upright(file_of(halves(64, 32), format))
    assert (image.mode, image.size) == ("RGB", (64, 32))
    assert np.abs(colour_at(image, 5, 16) - RED).max() < 12


@pytest.mark.parametrize(
    ("orientation", "size", "red_at"),
    [
        (1, (16, 8), (2, 4)),
        (2, (16, 8), (13, 4)),
        (3, (16, 8), (13, 4)),
        (4, (16, 8), (2, 4)),
        (5, (8, 16), (4, 2)),
        (6, (8, 16), (4, 2)),
        (7, (8, 16), (4, 13)),
        (8, (8, 16), (4, 13)),
    ],
)
def test_load_upright_when_exif_turns_it_then_is_turned(
    orientation: int, size: tuple[int, int], red_at: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = load_upright(file_of(halves(), "PNG", exif=exif))
    assert image.size == size
    assert tuple(colour_at(image, *red_at)) == RED
    assert image.getexif().get(0x0112, 1) == 1  # nobody turns it again


def test_load_upright_when_cmyk_then_rgb() -> None:
    image = load_upright(file_of(halves(64, 32).convert("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert np.abs(colour_at(image, 5, 16) - RED).max() < 12


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_load_upright_when_grey_has_sixteen_bits_then_keeps_its_shades(mode: str) -> None:
    shades = np.array([[0, 257, 32896, 65535]], dtype=np.uint16 if mode == "I;16" else np.int32)
    image = load_upright(file_of(Image.fromarray(shades), "TIFF" if mode == "I" else "PNG"))
    assert image.mode == "RGB"
    assert np.asarray(image)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_load_upright_when_floating_point_then_keeps_its_shades() -> None:
    shades = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
    image = load_upright(file_of(Image.fromarray(shades), "TIFF"))
    assert np.asarray(image)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_load_upright_when_of_few_colours_then_rgb(mode: str) -> None:
    image = load_upright(file_of(halves().convert(mode), "PNG"))
    assert image.mode == "RGB"
    assert image.size == (16, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_load_upright_when_something_is_transparent_then_rgba(mode: str) -> None:
    image = halves().convert("RGBA")
    image.putpixel((3, 3), (0, 0, 0, 0))
    options: dict[str, Any] = {}
    if mode == "P":
        image = Image.new("P", (16, 8), 1)
        image.putpalette([0, 0, 0, 200, 10, 10])
        image.putpixel((3, 3), 0)
        options = {"transparency": 0}
    loaded = load_upright(file_of(image.convert(mode) if mode == "LA" else image, "PNG", **options))
    assert loaded.mode == "RGBA"
    assert colour_at(loaded, 3, 3)[3] == 0
    assert colour_at(loaded, 8, 3)[3] == 255


def test_load_upright_when_alpha_hides_nothing_then_rgb() -> None:
    assert load_upright(file_of(halves().convert("RGBA"))).mode == "RGB"


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_load_upright_when_animated_then_the_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, BLUE)]
    data = file_of(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    assert np.abs(colour_at(load_upright(data), 16, 16) - RED).max() < 12


@pytest.mark.parametrize("size", [(1, 1), (20_000, 2), (2, 20_000)])
def test_load_upright_when_the_shape_is_odd_then_is_read(size: tuple[int, int]) -> None:
    assert load_upright(file_of(Image.new("RGB", size, RED))).size == size


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_load_upright_when_cut_off_then_is_refused(format: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    data = file_of(Image.fromarray(noise), format)
    with pytest.raises(LibraryError) as caught:
        load_upright(data[: int(len(data) * share)])
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" + b"\0" * 200, b"GIF89a"],
)
def test_load_upright_when_it_is_no_picture_then_is_refused(data: bytes) -> None:
    with pytest.raises(LibraryError):
        load_upright(data)


def test_load_upright_when_it_is_postscript_then_no_interpreter_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pillow hands EPS to Ghostscript: a program, written by whoever sent the picture."""
    called: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **more: called.append(args))
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    with pytest.raises(PictureError, match="cannot be read as one"):
        load_upright(text)
    assert called == []


def test_load_upright_when_larger_than_allowed_then_is_refused_undecoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    side = int(MAX_PIXELS**0.5) + 1
    data = file_of(Image.new("1", (side, side)), "PNG")

    def no_decoding(self: Any) -> None:
        raise AssertionError("was decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", no_decoding)
    with pytest.raises(LibraryError, match="178,956,970"):
        load_upright(data)


@pytest.mark.parametrize("as_source", [str, Path])
def test_load_upright_when_a_path_is_given_then_reads_the_file(
    tmp_path: Path, as_source: Callable[[Path], str | Path]
) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(file_of(halves()))
    assert load_upright(as_source(path)).size == (16, 8)
    with pytest.raises(LibraryError):
        load_upright(as_source(tmp_path / "missing.png"))


@pytest.mark.parametrize(("format", "size"), [("JPEG", (400, 200)), ("PNG", (1600, 800))])
def test_load_upright_when_less_is_enough_then_a_jpeg_is_not_decoded_whole(
    format: str, size: tuple[int, int]
) -> None:
    data = file_of(halves(1600, 800), format)
    image = load_upright(data, least=(100, 150))

    assert image.size == size and load_upright(data).size == (1600, 800)
