"""The documents as a site: built strictly, whole without the internet, in both languages."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from tests.test_docs import OWN_FLAGS, program_flags
from webui.ui.texts import TEXTS
from webui.ui.train_texts import TRAIN_TEXTS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
IN_BOTH = (
    "index", "painting", "restore", "train", "models", "troubleshooting", "security", "flags",
    "extensions", "api",
)  # fmt: skip


class Page(HTMLParser):
    """What a page links to and what may be linked to on it."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.names: set[str] = set()
        self.language = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.names.add(told.get("id", ""))
        if tag == "html":
            self.language = told["lang"]
        if tag == "a" and "href" in told:
            self.links.append(told["href"])
        elif tag in ("link", "script", "img", "source", "iframe"):
            self.loaded += [told[name] for name in ("href", "src") if name in told]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The built site; a warning of the builder (a dead link, a page in no menu) fails."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    yield folder
    config.plugins.on_shutdown()
    logging.getLogger("mkdocs").handlers.clear()


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {file: Page(file) for file in site.rglob("*.html") if file.name != "404.html"}


def test_site_when_built_then_every_link_anchor_and_picture_is_there(
    site: Path, pages: dict[Path, Page]
) -> None:
    checked = 0
    for file, page in pages.items():
        for target in (*page.links, *page.loaded):
            where = urlsplit(target)
            if where.scheme:
                continue
            to = (file.parent / unquote(where.path)).resolve() if where.path else file
            to = to / "index.html" if to.is_dir() else to
            assert to.is_file() and to.is_relative_to(site), f"{file} links to {target}"
            if where.fragment and to in pages:
                assert unquote(where.fragment) in pages[to].names, f"{file}: no {target}"
            checked += 1
    assert checked > 300 and len(pages) >= 15


def test_site_when_opened_then_nothing_is_fetched_from_elsewhere(
    site: Path, pages: dict[Path, Page]
) -> None:
    for file, page in pages.items():
        assert not [it for it in page.loaded if urlsplit(it).netloc], file
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(?:https?:)?//", text), sheet


def test_site_when_a_page_is_chinese_then_it_says_so(site: Path, pages: dict[Path, Page]) -> None:
    for file, page in pages.items():
        is_chinese = file.is_relative_to(site / "zh")
        assert page.language == ("zh" if is_chinese else "en"), file


@pytest.mark.parametrize("name", IN_BOTH)
def test_document_when_it_is_in_both_languages_then_they_tell_the_same(name: str) -> None:
    english = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    chinese = (DOCS / "zh" / f"{name}.md").read_text(encoding="utf-8")

    for what in (r"(?m)^#+ ", r"(?m)^\|", r"(?m)^\d\. ", r"pictures/\w+\.webp", r"python3? launch"):
        assert len(re.findall(what, english)) == len(re.findall(what, chinese)), what


@pytest.mark.parametrize(
    "document", [f"{folder}{name}.md" for folder in ("", "zh/") for name in IN_BOTH]
)
def test_document_when_it_names_a_flag_or_a_part_of_the_page_then_it_exists(document: str) -> None:
    text = (DOCS / document).read_text(encoding="utf-8")
    is_chinese = document.startswith("zh/")

    flags = set(re.findall(r"`(--[a-z][a-z0-9-]*)", text))
    assert flags <= OWN_FLAGS | program_flags(), flags
    texts = (*TEXTS.values(), *TRAIN_TEXTS.values())
    shown = {both[is_chinese].rstrip("…") for both in texts}
    pattern = r"“([^”]+)”" if is_chinese else r"(?<!\*)\*([A-Z][^*\n]+)\*(?!\*)"
    named = set(re.findall(pattern, text)) - ELSEWHERE
    known = {
        word
        for word in named
        if word in shown or any(it.startswith((f"{word} (", f"{word}（")) for it in shown)
    }
    assert named == known, named - known


ELSEWHERE = {
    "Open", "Stable Diffusion 1.5", "SDXL base 1.0", "Add python.exe to PATH",
    "打开", "后期处理", "这张脸可能的样子", "需要 Python 3.10 到 3.13",
}  # fmt: skip
"""Named in the documents, but words of other programs, files and sentences."""


def test_pictures_of_the_documents_when_counted_are_small_and_all_used() -> None:
    pictures = sorted((DOCS / "pictures").glob("*"))
    text = "".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))

    assert sum(file.stat().st_size for file in pictures) < 500_000
    for file in pictures:
        with Image.open(file) as picture:
            assert picture.format == "WEBP" and picture.height == 128
        assert f"pictures/{file.name}" in text, f"{file.name} is on no page"
