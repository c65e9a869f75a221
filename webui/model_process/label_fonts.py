"""The font that labels are drawn with: one of this computer's that has the characters they need."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_CHINESE = (
    "NotoSansCJK", "NotoSansSC", "NotoSansHans", "SourceHanSans", "wqy-microhei", "wqy-zenhei",
    "DroidSansFallback", "msyh", "Microsoft YaHei", "PingFang", "Hiragino Sans GB", "STHeiti",
    "simhei", "simsun", "Arial Unicode", "NotoSerifCJK",
)  # fmt: skip
"""How the files of fonts with Chinese characters begin, better ones first."""
_PLAIN = ("NotoSans-Regular", "DejaVuSans.", "LiberationSans-Regular", "segoeui", "arial", "Roboto")
_ENDINGS = (".ttf", ".ttc", ".otf")


def font_file(texts: Iterable[str], chosen: str = "") -> str:
    """The file of a font that can write all of these texts; empty = Pillow's own font.

    Args:
        chosen: A font file to use whatever it can write; one that is not there is passed over.
    """
    if chosen and Path(chosen).is_file():
        return chosen
    if not is_chinese(texts):
        return _installed(_PLAIN) or _installed(_CHINESE)
    return _installed(_CHINESE)


def is_chinese(texts: Iterable[str]) -> bool:
    """True when a text holds characters beyond the alphabets of Europe."""
    return any(ord(character) > 0x2E80 for text in texts for character in text)


def load_font(file: str, size: int) -> Font:
    """A font of a size in pixels; Pillow's own where the file cannot be read."""
    try:
        return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)
    except OSError:
        return ImageFont.load_default(size)


@cache
def _installed(beginnings: tuple[str, ...]) -> str:
    """The first installed font file whose name begins so; empty when there is none."""
    files = [file for folder in _folders() for file in _files_in(folder)]
    for beginning in beginnings:
        for file in files:
            if file.name.lower().startswith(beginning.lower()):
                return str(file)
    return ""


def _folders() -> list[Path]:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA", "")
        named = [os.environ.get("WINDIR", r"C:\Windows") + r"\Fonts"]
        return [Path(p) for p in [*named, *([f"{local}/Microsoft/Windows/Fonts"] if local else [])]]
    home = Path.home()
    return [
        home / ".fonts", home / ".local/share/fonts", home / "Library/Fonts",
        Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("/System/Library/Fonts"),
        Path("/Library/Fonts"), Path("/system/fonts"),
    ]  # fmt: skip


def _files_in(folder: Path) -> list[Path]:
    found = [
        Path(at) / name
        for at, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_ENDINGS) and "bold" not in name.lower()
    ]
    return sorted(found)
