"""The texts of the Models tab, English and Chinese; part of ``texts.TEXTS``."""

from __future__ import annotations

MODELS_TEXTS: dict[str, tuple[str, str]] = {
    "tab_models": ("Models", "模型"),
    "models_get": ("Get", "获取"),
    "get_search": ("Search the well-known weights", "搜索常用权重"),
    "get_search_hint": ("Name, file or kind", "名称、文件名或类型"),
    "get_is_here": ("here", "已有"),
    "get_found_none": ("Nothing of that name is in the list.", "列表里没有这个名称。"),
}
