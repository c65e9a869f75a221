from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import ExifTags, Image, PngImagePlugin
from sd_parsers import ParserManager

from webui import pictures
from webui.errors import LibraryError
from webui.pictures import decode_user_comment, encode, open_image, read_infotext

LATIN = "a café\nNegative prompt: blurry\nSteps: 4, Sampler: Euler, Seed: 1, Size: 96x64, Model: m"
CHINESE = "一只猫 ✨ é\nSteps: 4, Sampler: Euler, Seed: 1, Size: 96x64"
FORMATS = ["png", "jpg", "webp", "avif"]


@pytest.fixture(scope="module")
def image() -> Image.Image:
    horizontal = Image.linear_gradient("L").resize((96, 64))
    return Image.merge("RGB", (horizontal, horizontal.rotate(180), Image.new("L", (96, 64), 128)))


def chunk_types(png: bytes) -> list[bytes]:
    """The chunk names of a PNG file, read without a library."""
    found, position = [], 8
    while position < len(png):
        (length,) = struct.unpack_from(">I", png, position)
        found.append(png[position + 4 : position + 8])
        position += 12 + length
    return found


def png_chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)


def user_comment(file: bytes) -> bytes:
    exif = Image.open(io.BytesIO(file)).getexif()
    return exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


# Writing


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("infotext", [LATIN, CHINESE])
def test_encode_then_read_gives_the_infotext_back(
    image: Image.Image, format: str, infotext: str
) -> None:
    file = encode(image, format=format, infotext=infotext)
    assert read_infotext(file)[0] == infotext
    assert Image.open(io.BytesIO(file)).size == (96, 64)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("infotext", [None, ""])
def test_encode_without_infotext_stores_none(
    image: Image.Image, format: str, infotext: str | None
) -> None:
    assert read_infotext(encode(image, format=format, infotext=infotext)) == (None, {})


@pytest.mark.parametrize("infotext, chunk", [(LATIN, b"tEXt"), (CHINESE, b"iTXt")])
def test_encode_png_uses_the_plain_chunk_where_latin1_is_enough(
    image: Image.Image, infotext: str, chunk: bytes
) -> None:
    types = chunk_types(encode(image, infotext=infotext))
    assert types == [b"IHDR", chunk, *types[2:]]
    assert types.count(b"tEXt") + types.count(b"iTXt") == 1


def test_encode_png_is_exact_and_keeps_other_chunks(image: Image.Image) -> None:
    others = {
        "postprocessing": "x",
        "workflow": "猫",
        "parameters": "old",
        "bad\nkey": "x",
        "": "y",
    }
    file = encode(image, infotext=LATIN, text=others)
    assert Image.open(io.BytesIO(file)).tobytes() == image.tobytes()
    assert read_infotext(file) == (LATIN, {"postprocessing": "x", "workflow": "猫"})


def test_encode_png_without_infotext_keeps_the_source_s_own(image: Image.Image) -> None:
    assert read_infotext(encode(image, text={"parameters": "old"}))[0] == "old"


@pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
def test_encode_stores_utf16_big_endian_behind_its_prefix(image: Image.Image, format: str) -> None:
    comment = user_comment(encode(image, format=format, infotext=CHINESE))
    assert comment == b"UNICODE\0" + CHINESE.encode("utf-16-be")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("infotext", ["a \ud83d b", "a \0 b"], ids=["half_a_pair", "nul"])
def test_encode_of_what_no_file_can_hold_marks_the_place(
    image: Image.Image, format: str, infotext: str
) -> None:
    file = encode(image, format=format, infotext=infotext)
    assert read_infotext(file)[0] == "a \ufffd b"


def test_encode_jpg_when_recipe_is_too_long_keeps_the_picture(image: Image.Image) -> None:
    assert read_infotext(encode(image, format="jpg", infotext="x" * 32_000))[0] == "x" * 32_000
    file = encode(image, format="jpg", infotext="x" * 40_000)
    assert read_infotext(file)[0] is None
    assert Image.open(io.BytesIO(file)).size == (96, 64)


@pytest.mark.parametrize("format", ["png", "webp", "avif"])
def test_encode_of_a_megabyte_of_recipe_gives_it_back(image: Image.Image, format: str) -> None:
    assert (
        read_infotext(encode(image, format=format, infotext="猫x" * 500_000))[0] == "猫x" * 500_000
    )


def test_encode_quality_and_lossless_matter(image: Image.Image) -> None:
    for format in ("jpg", "webp", "avif"):
        small, large = (len(encode(image, format=format, quality=q)) for q in (5, 95))
        assert small < large
    exact = Image.open(io.BytesIO(encode(image, format="webp", lossless=True)))
    assert exact.convert("RGB").tobytes() == image.tobytes()


def test_encode_keeps_transparency_where_the_format_can(image: Image.Image) -> None:
    clear = image.copy()
    clear.putalpha(0)
    for format in ("png", "webp", "avif"):
        assert Image.open(io.BytesIO(encode(clear, format=format))).mode == "RGBA"
    flat = Image.open(io.BytesIO(encode(clear, format="jpg")))
    assert flat.mode == "RGB" and flat.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "F", "I;16", "RGBX", "LAB"])
@pytest.mark.parametrize("format", FORMATS)
def test_encode_takes_any_mode(mode: str, format: str) -> None:
    file = encode(Image.new(mode, (16, 16)), format=format, infotext=LATIN)
    assert read_infotext(file)[0] == LATIN


def test_encode_when_format_cannot_hold_it_says_so() -> None:
    with pytest.raises(LibraryError, match="16384x1"):
        encode(Image.new("RGB", (16384, 1)), format="webp")
    with pytest.raises(LibraryError, match="bmp"):
        encode(Image.new("RGB", (1, 1)), format="bmp")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_encoded_recipe_is_read_by_another_program(image: Image.Image, format: str) -> None:
    found = ParserManager().parse(io.BytesIO(encode(image, format=format, infotext=LATIN)))
    assert found is not None
    (sampler,) = found.samplers
    assert (sampler.name, sampler.parameters["seed"]) == ("Euler", "1")
    assert [prompt.value for prompt in sampler.prompts] == ["a café"]
    assert [prompt.value for prompt in sampler.negative_prompts] == ["blurry"]


# Reading what others wrote


def with_comment(image: Image.Image, comment: bytes, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    return saved(image, format, exif=exif.tobytes())


@pytest.mark.parametrize(
    "comment, expected",
    [
        (b"UNICODE\0" + LATIN.encode("utf-16-be"), LATIN),
        (b"UNICODE\0" + LATIN.encode("utf-16-le"), LATIN),
        (b"UNICODE\0" + CHINESE.encode("utf-16-le"), CHINESE),
        (b"UNICODE\0\xff\xfe" + CHINESE.encode("utf-16-le"), CHINESE),
        (b"UNICODE\0\xfe\xff" + CHINESE.encode("utf-16-be"), CHINESE),
        (b"UNICODE\0" + "一只猫，在沙发上".encode("utf-16-be"), "一只猫，在沙发上"),
        (b"UNICODE\0" + "一只猫，在沙发上".encode("utf-16-le"), "一只猫，在沙发上"),
        (b"UNICODE\0" + "かわいい猫".encode("utf-16-le"), "かわいい猫"),
        (b"UNICODE\0" + "고양이".encode("utf-16-be"), "고양이"),
        (b"UNICODE\0" + LATIN.encode("utf-16-be") + b"\0", LATIN),
        (b"ASCII\0\0\0plain", "plain"),
        (b"ASCII\0\0\0pl\xffain", "plain"),
        (b"JIS\0\0\0\0\0" + "かな".encode("shift_jis"), "かな"),
        ("raw 猫".encode(), "raw 猫"),
        (b"raw \xff\xfe", "raw "),
        (b"", ""),
    ],
)
def test_user_comment_is_read_in_every_encoding(comment: bytes, expected: str) -> None:
    assert decode_user_comment(comment) == expected


def test_exif_comment_wins_over_a_text_chunk(image: Image.Image) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "from the chunk")
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"ASCII\0\0\0from exif"
    file = saved(image, "PNG", pnginfo=info, exif=exif.tobytes())
    assert read_infotext(file) == ("from exif", {"exif comment": "from exif"})


def test_little_endian_comment_inside_a_file_is_read(image: Image.Image) -> None:
    file = with_comment(image, b"UNICODE\0" + CHINESE.encode("utf-16-le"))
    assert read_infotext(file)[0] == CHINESE


def test_gif_comment_is_read(image: Image.Image) -> None:
    file = saved(image, "GIF", comment=CHINESE.encode())
    assert read_infotext(file)[0] == CHINESE


def test_text_behind_the_pixels_is_read(image: Image.Image) -> None:
    file = saved(image, "PNG")
    chunk = png_chunk(b"tEXt", b"parameters\0" + LATIN.encode("latin-1"))
    end = file.rindex(b"IEND") - 4
    assert read_infotext(file[:end] + chunk + file[end:])[0] == LATIN


def test_items_leave_out_what_says_nothing_about_the_making(image: Image.Image) -> None:
    file = saved(image, "JPEG", dpi=(72, 72), comment=b"note", progressive=True)
    assert read_infotext(file) == (None, {"comment": "note"})
    gif = saved(image.quantize(), "GIF", loop=0, duration=50, transparency=0)
    assert "duration" not in read_infotext(gif)[1] and "loop" not in read_infotext(gif)[1]


def novelai_text() -> dict[str, str]:
    comment = {"uc": "lowres", "steps": 28, "sampler": "k_euler", "scale": 11, "seed": 7}
    return {"Software": "NovelAI", "Description": "a fox", "Comment": json.dumps(comment)}


def test_novelai_picture_is_read_as_an_infotext(image: Image.Image) -> None:
    infotext, items = read_infotext(encode(image, text=novelai_text()))
    assert infotext == (
        "a fox\nNegative prompt: lowres\nSteps: 28, Sampler: Euler, CFG scale: 11, Seed: 7, "
        "Size: 96x64, Clip skip: 2, ENSD: 31337"
    )
    assert items["Software"] == "NovelAI"


def hidden(image: Image.Image, kind: str, is_packed: bool, text: bytes, length: int = -1) -> bytes:
    """A PNG with text in its lowest bits, written pixel by pixel as the format is described."""
    data = gzip.compress(text) if is_packed else text
    signature = b"stealth_" + (b"png" if kind == "alpha" else b"rgb")
    signature += b"comp" if is_packed else b"info"
    bits_long = 8 * len(data) if length < 0 else length
    stream = signature + struct.pack(">I", bits_long) + data
    bits = iter("".join(f"{byte:08b}" for byte in stream))
    carrier = image.convert("RGBA" if kind == "alpha" else "RGB")
    channels = (3,) if kind == "alpha" else (0, 1, 2)
    for x in range(carrier.width):
        for y in range(carrier.height):
            pixel = list(carrier.getpixel((x, y)))
            for channel in channels:
                pixel[channel] = pixel[channel] & 0xFE | int(next(bits, "0"))
            carrier.putpixel((x, y), tuple(pixel))
    return saved(carrier, "PNG")


@pytest.mark.parametrize("kind", ["alpha", "rgb"])
@pytest.mark.parametrize("is_packed", [False, True])
def test_text_hidden_in_pixels_is_read(image: Image.Image, kind: str, is_packed: bool) -> None:
    file = hidden(image, kind, is_packed, CHINESE.encode())
    assert read_infotext(file) == (CHINESE, {})


def test_text_hidden_by_novelai_is_read(image: Image.Image) -> None:
    file = hidden(image, "alpha", True, json.dumps(novelai_text()).encode())
    infotext, items = read_infotext(file)
    assert infotext is not None and infotext.startswith("a fox\nNegative prompt: lowres\n")
    assert items["Software"] == "NovelAI"


@pytest.mark.parametrize(
    "make",
    [
        lambda image: hidden(image, "alpha", False, b"\xff\xff\xff"),
        lambda image: hidden(image, "alpha", False, b"x", length=2**32 - 8),
        lambda image: hidden(image, "alpha", False, b"", length=0),
        lambda image: hidden(image, "rgb", True, b"x" * 50, length=80),
    ],
    ids=["not_utf8", "longer_than_the_picture", "empty", "cut_gzip"],
)
def test_damaged_hidden_text_is_no_failure(
    image: Image.Image, make: Callable[[Image.Image], bytes]
) -> None:
    infotext, items = read_infotext(make(image))
    assert infotext is None or infotext.strip("\0") == "x"
    assert items == {}


def test_hidden_archive_that_unpacks_without_end_is_cut(
    image: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_HIDDEN_BYTES", 1000)
    file = hidden(image, "rgb", True, b"x" * 100_000)
    infotext, _ = read_infotext(file)
    assert infotext is not None and len(infotext) == 1000


def test_read_takes_paths_bytes_and_open_pictures(image: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encode(image, infotext=LATIN))
    assert read_infotext(path) == read_infotext(str(path)) == (LATIN, {})
    with Image.open(path) as opened:
        assert read_infotext(opened) == (LATIN, {})
        opened.load()  # still open


# Refusing


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"not a picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="cannot be read"):
        read_infotext(data)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with pytest.raises(LibraryError, match=r"x\.png"):
        read_infotext(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match=r"none\.png"):
        read_infotext(tmp_path / "none.png")


@pytest.mark.parametrize("side", [13_400, 60_000])
def test_decompression_bomb_is_refused_before_decoding(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"x")
    with pytest.raises(LibraryError, match="pixels"):
        open_image(file)


def test_every_cut_of_a_picture_is_read_or_refused(image: Image.Image) -> None:
    for format in FORMATS:
        file = encode(image, format=format, infotext=LATIN)
        for length in range(0, len(file), max(1, len(file) // 60)):
            with suppress(LibraryError):
                read_infotext(file[:length])


def test_pictures_with_flipped_bytes_are_read_or_refused(image: Image.Image) -> None:
    for format in FORMATS:
        file = bytearray(encode(image.resize((24, 16)), format=format, infotext=LATIN))
        for position in range(0, len(file), max(1, len(file) // 150)):
            broken = bytearray(file)
            broken[position] ^= 0xFF
            with suppress(LibraryError):
                read_infotext(bytes(broken))
