"""Pictures: resizing, sheets, files, recipes in them."""

from __future__ import annotations

import math
import re
from collections import namedtuple
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from webui.extensions.a1111.host import current
from webui.extensions.a1111.importing import guard
from webui.pictures import encode, read_infotext

LANCZOS = Image.Resampling.LANCZOS
NEAREST = Image.Resampling.NEAREST
Grid = namedtuple("Grid", ["tiles", "tile_w", "tile_h", "image_w", "image_h", "overlap"])
_NOT_IN_NAMES = re.compile(r'[#<>:"/\\|?*\n\r\t]')
LONGEST_NAME = 128


def resize_image(
    resize_mode: int, im: Any, width: int, height: int, upscaler_name: str | None = None
) -> Any:
    """A picture in another size: 0 stretched, 1 cut to fit, 2 its edges spread outwards."""
    if resize_mode == 0:
        return _resized(im, width, height, upscaler_name)
    ratio, own = width / height, im.width / im.height
    fills = ratio > own if resize_mode == 1 else ratio < own
    new = (
        (width, im.height * width // im.width)
        if fills
        else (im.width * height // im.height, height)
    )
    scaled = _resized(im, *new, upscaler_name)
    left, top = (width - scaled.width) // 2, (height - scaled.height) // 2
    result = Image.new(im.mode, (width, height))
    if resize_mode != 1 and left > 0:
        result.paste(scaled.resize((width, height), box=(0, 0, 1, scaled.height)))
        edge = (scaled.width - 1, 0, scaled.width, scaled.height)
        result.paste(scaled.resize((width - left, height), box=edge), (left, 0))
    elif resize_mode != 1 and top > 0:
        result.paste(scaled.resize((width, height), box=(0, 0, scaled.width, 1)))
        edge = (0, scaled.height - 1, scaled.width, scaled.height)
        result.paste(scaled.resize((width, height - top), box=edge), (0, top))
    result.paste(scaled, (left, top))
    return result


def _resized(im: Any, width: int, height: int, upscaler_name: str | None) -> Any:
    has_upscaler = upscaler_name not in (None, "", "None")
    if not has_upscaler or im.mode == "L" or (width <= im.width and height <= im.height):
        return im.resize((width, height), LANCZOS)
    return current().upscale(im.convert("RGB"), str(upscaler_name), width, height)


def get_grid_size(count: int, batch_size: int = 1, rows: int | None = None) -> tuple[int, int]:
    """Rows and columns of a sheet."""
    rows = max(1, min(rows or round(math.sqrt(count)), count))
    return rows, math.ceil(count / rows)


def image_grid(imgs: Any, batch_size: int = 1, rows: int | None = None) -> Any:
    """Pictures laid out on a sheet."""
    from .script_callbacks import ImageGridLoopParams, image_grid_callback

    rows, cols = get_grid_size(len(imgs), batch_size, rows)
    params = ImageGridLoopParams(list(imgs), cols, rows)
    image_grid_callback(params)
    width, height = (max(side) for side in zip(*(i.size for i in params.imgs), strict=True))
    sheet = Image.new("RGB", (params.cols * width, params.rows * height), "black")
    for number, image in enumerate(params.imgs):
        sheet.paste(image, (number % params.cols * width, number // params.cols * height))
    return sheet


def split_grid(image: Any, tile_w: int = 512, tile_h: int = 512, overlap: int = 64) -> Any:
    """A picture cut into tiles that overlap."""
    width, height = image.size
    cols = max(1, math.ceil((width - overlap) / (tile_w - overlap)))
    rows = max(1, math.ceil((height - overlap) / (tile_h - overlap)))
    across = (width - tile_w) / (cols - 1) if cols > 1 else 0
    down = (height - tile_h) / (rows - 1) if rows > 1 else 0
    tiles = []
    for row in range(rows):
        y = max(0, min(int(row * down), height - tile_h))
        line = []
        for col in range(cols):
            x = max(0, min(int(col * across), width - tile_w))
            line.append([x, tile_w, image.crop((x, y, x + tile_w, y + tile_h))])
        tiles.append([y, tile_h, line])
    return Grid(tiles, tile_w, tile_h, width, height, overlap)


def combine_grid(grid: Any) -> Any:
    """Tiles of ``split_grid`` put together, each faded into the one before."""
    whole = Image.new("RGB", (grid.image_w, grid.image_h))
    overlap = max(grid.overlap, 1)
    for y, tile_h, line in grid.tiles:
        strip = Image.new("RGB", (grid.image_w, tile_h))
        for x, _, tile in line:
            _paste_faded(strip, tile, (x, 0), overlap if x else 0, is_across=True)
        _paste_faded(whole, strip, (0, y), overlap if y else 0, is_across=False)
    return whole


def _paste_faded(onto: Any, tile: Any, at: tuple[int, int], fade: int, *, is_across: bool) -> None:
    side = tile.width if is_across else tile.height
    ramp = Image.linear_gradient("L")  # 256 x 256, dark above
    mask = Image.new("L", tile.size, 255)
    fade = min(fade, side)
    if fade and is_across:
        mask.paste(ramp.rotate(90).resize((fade, tile.height)), (0, 0))
    elif fade:
        mask.paste(ramp.resize((tile.width, fade)), (0, 0))
    onto.paste(tile, at, mask)


class GridAnnotation:
    """A line beside a row or above a column."""

    def __init__(self, text: str = "", is_active: bool = True) -> None:
        self.text, self.is_active = text, is_active


def draw_grid_annotations(
    im: Any, width: int, height: int, hor_texts: Any, ver_texts: Any, margin: int = 0
) -> Any:
    """A sheet with labels above its columns and beside its rows."""
    size = max(12, (width + height) // 25)
    font = ImageFont.load_default(size=size)
    left = width // 3 if any(line.text for texts in ver_texts for line in texts) else 0
    lines = max((len(texts) for texts in hor_texts), default=0)
    top = lines * (size + 6) if any(line.text for t in hor_texts for line in t) else 0
    sheet = Image.new("RGB", (im.width + left, im.height + top), "white")
    sheet.paste(im, (left, top))
    draw = ImageDraw.Draw(sheet)

    def write(texts: Any, x: float, y: float) -> None:
        for number, line in enumerate(texts):
            colour = "black" if line.is_active else "#999999"
            draw.text((x, y + number * (size + 6)), line.text, colour, font, anchor="ma")

    for col, texts in enumerate(hor_texts):
        write(texts, left + col * (width + margin) + width / 2, 3)
    for row, texts in enumerate(ver_texts):
        write(texts, left / 2, top + row * (height + margin) + height / 2 - size)
    return sheet


def draw_prompt_matrix(im: Any, width: int, height: int, all_prompts: Any, margin: int = 0) -> Any:
    """A prompt matrix's sheet with its labels."""
    parts = list(all_prompts)[1:]
    across = parts[: math.ceil(len(parts) / 2)]
    down = parts[len(across) :]

    def labels(some: Any) -> Any:
        return [
            [GridAnnotation(text, bool(n >> bit & 1)) for bit, text in enumerate(some)]
            for n in range(2 ** len(some))
        ]

    return draw_grid_annotations(im, width, height, labels(across), labels(down), margin)


def flatten(img: Any, bgcolor: Any) -> Any:
    """A picture without transparency, on a colour."""
    if img.mode == "RGBA":
        ground = Image.new("RGBA", img.size, bgcolor)
        ground.paste(img, mask=img)
        img = ground
    return img.convert("RGB")


def fix_image(image: Any) -> Any:
    """A picture upright and in 8 bits."""
    from PIL import ImageOps

    return None if image is None else ImageOps.exif_transpose(image)


fix_png_transparency = fix_image


def read(fp: Any, **kwargs: Any) -> Any:
    """A picture out of a file, upright."""
    return fix_image(Image.open(fp, **kwargs))


def read_info_from_image(image: Any) -> tuple[str | None, dict[str, Any]]:
    """The recipe in a picture, and what else it holds."""
    return read_infotext(image)[0], dict(image.info)


def image_data(data: bytes) -> tuple[str | None, str | None]:
    """The recipe in a file's bytes."""
    import io

    try:
        return read_info_from_image(Image.open(io.BytesIO(data)))[0], None
    except OSError:
        return None, None


def sanitize_filename_part(text: str | None, replace_spaces: bool = True) -> str | None:
    """A text that can be a part of a file's name."""
    if text is None:
        return None
    text = text.replace(" ", "_") if replace_spaces else text
    return _NOT_IN_NAMES.sub("_", text).lstrip(" .")[:LONGEST_NAME].rstrip(" .")


class FilenameGenerator:
    """Fills the patterns that say how files are named."""

    def __init__(
        self, p: Any, seed: Any, prompt: Any, image: Any, zip: bool = False, basename: str = ""
    ) -> None:
        self.p, self.seed, self.prompt, self.image = p, seed, prompt, image
        self.zip, self.basename = zip, basename

    @property
    def _values(self) -> dict[str, Any]:
        import datetime

        now = datetime.datetime.now()
        return {
            "seed": self.seed if self.seed is not None else "",
            "steps": getattr(self.p, "steps", ""),
            "cfg": getattr(self.p, "cfg_scale", ""),
            "width": self.image.width if self.image else "",
            "height": self.image.height if self.image else "",
            "sampler": getattr(self.p, "sampler_name", "") or "",
            "scheduler": getattr(self.p, "scheduler", "") or "",
            "model_name": getattr(self.p, "sd_model_name", "") or "",
            "model_hash": getattr(self.p, "sd_model_hash", "") or "",
            "date": now.date().isoformat(),
            "datetime": now.strftime("%Y%m%d%H%M%S"),
            "prompt": sanitize_filename_part(self.prompt) or "",
            "prompt_spaces": sanitize_filename_part(self.prompt, False) or "",
            "batch_number": getattr(self.p, "batch_index", 0) + 1,
            "user": getattr(self.p, "user", "") or "",
        }

    def apply(self, x: str) -> str:
        """A pattern with its values; words in brackets that are not known stay."""
        values = self._values

        def value(found: re.Match[str]) -> str:
            key = found[1].partition("<")[0]
            return str(values[key]) if key in values else found[0]

        return re.sub(r"\[([^\[\]]+)\]", value, x).strip()


def get_next_sequence_number(path: str, basename: str) -> int:
    """The number after the largest that files of a folder begin with."""
    prefix = f"{basename}-" if basename else ""
    numbers = [-1]
    for file in Path(path).glob(f"{prefix}*"):
        first = file.stem[len(prefix) :].split("-")[0]
        numbers += [int(first)] if first.isdecimal() else []
    return max(numbers) + 1


def save_image(
    image: Any,
    path: Any,
    basename: str,
    seed: Any = None,
    prompt: str | None = None,
    extension: str = "png",
    info: str | None = None,
    short_filename: bool = False,
    no_prompt: bool = False,
    grid: bool = False,
    pnginfo_section_name: str = "parameters",
    p: Any = None,
    existing_info: Any = None,
    forced_filename: str | None = None,
    suffix: str = "",
    save_to_dirs: bool | None = None,
) -> tuple[str, str | None]:
    """Write a picture with its recipe.

    Returns:
        The file, and the text file beside it where there is one.
    """
    from .script_callbacks import (
        ImageSaveParams,
        before_image_saved_callback,
        image_saved_callback,
    )

    names = FilenameGenerator(p, seed, prompt, image, basename=basename)
    options = current().options.data
    into_dirs = options.get("save_to_dirs") if save_to_dirs is None else save_to_dirs
    folder = Path(path)
    if into_dirs and not forced_filename and not grid:
        pattern = options.get("directories_filename_pattern") or "[date]"
        folder = folder.joinpath(*filter(None, names.apply(pattern).split("/")))
    folder.mkdir(parents=True, exist_ok=True)
    stem = forced_filename
    if stem is None:
        pattern = options.get("samples_filename_pattern") or ("[seed]" if seed is not None else "")
        told = "" if short_filename or seed is None else f"-{names.apply(pattern)}"
        number = get_next_sequence_number(str(folder), basename)
        stem = f"{basename}-{number:04}{told}" if basename else f"{number:05}{told}"
    stem += suffix
    wish = ImageSaveParams(
        image, p, str(folder / f"{stem}.{extension}"), {pnginfo_section_name: info} if info else {}
    )
    before_image_saved_callback(wish)
    recipe = wish.pnginfo.get(pnginfo_section_name)
    file_format: Any = "jpg" if extension == "jpeg" else extension
    data = encode(
        wish.image, format=file_format, infotext=recipe,
        quality=int(options.get("jpeg_quality", 80)), lossless=bool(options.get("webp_lossless")),
    )  # fmt: skip
    file = Path(wish.filename)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    wish.image.already_saved_as = str(file)
    text_file = file.with_suffix(".txt")
    if options.get("save_txt") and recipe:
        text_file.write_text(f"{recipe}\n", encoding="utf-8")
    image_saved_callback(wish)
    return str(file), str(text_file) if options.get("save_txt") and recipe else None


guard(__name__)
