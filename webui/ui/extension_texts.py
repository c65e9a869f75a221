"""The texts of extensions' blocks, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

EXTENSION_TEXTS: dict[str, tuple[str, str]] = {
    "ext_unread": ("The extensions could not be read.", "无法读取扩展。"),
    "ext_refresh": ("Refresh extensions", "刷新扩展"),
    "ext_refresh_hint": (
        "Look for extensions that were put in, changed or removed",
        "查找新放入、已更改或已移除的扩展",
    ),
    "ext_no_file": ("None", "无"),
    "ext_choose_picture": ("Choose a picture…", "选择图片…"),
    "ext_no_picture": ("No picture", "不用图片"),
}
