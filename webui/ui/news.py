"""What a person should know before anything else: above the tabs, on pages that have such news."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from webui.services.main_database import DatabaseNews
from webui.ui import cards

if TYPE_CHECKING:
    from webui.studio import Studio

SENTENCES_ZH = {
    "damaged": (
        "任务数据库已损坏（{reason}）。原文件保留为 {kept}；其中 {rows} 行可以读出，"
        "已放入新的数据库。图片都是普通文件，没有丢失：图库会从输出文件夹重新列出它们，"
        "星级和画板也在。"
    ),
    "empty": (
        "任务数据库已损坏（{reason}）。原文件保留为 {kept}；其中没有可读的内容，因此新建了数据库，"
        "任务列表是空的。图片都是普通文件，没有丢失：图库会从输出文件夹重新列出它们，"
        "星级和画板也在。"
    ),
    "newer": (
        "数据库 {kept} 是由较新的版本（{version}）写入的，当前版本为 {own}。它保持原样，"
        "本次改用 {used}。要找回任务，请启动较新的版本；图片是文件，两个版本都能看到。"
    ),
}
"""``main_database.SENTENCES`` in Chinese."""


def draw(studio: Studio) -> None:
    """Say it in both languages; the page shows one. Pages without news have nothing here."""
    news = studio.database.news
    if news is not None:
        gr.HTML(render(news), elem_id="dq-news")


def render(news: DatabaseNews) -> str:
    """The news as HTML; files by their names, as not everybody may know where they lie."""
    shown = replace(news, values={**news.values, "kept": Path(news.values["kept"]).name})
    chinese = SENTENCES_ZH[shown.code].format_map(shown.values)
    return (
        f'<div class="dq-note" role="status"><span lang="en">{cards.esc(str(shown))}</span>'
        f'<span lang="zh">{cards.esc(chinese)}</span></div>'
    )
