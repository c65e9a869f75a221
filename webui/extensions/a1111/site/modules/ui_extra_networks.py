"""Pages of cards; those of extensions are kept, and listed by the API of their names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from webui.extensions.a1111.host import current


class ExtraNetworksPage:
    """A page of cards."""

    owner = ""

    def __init__(self, title: str) -> None:
        self.title = title
        self.name = title.lower()
        self.extra_networks_tabname = self.name.replace(" ", "_")
        self.id_page = self.extra_networks_tabname
        self.allow_negative_prompt = False
        self.metadata: dict[str, Any] = {}
        self.items: dict[str, Any] = {}

    def refresh(self) -> None:
        """Look for files again."""

    def create_item(self, name: str, index: Any = None, enable_filter: bool = True) -> Any:
        """A card, as a dict; None = there is none of that name."""

    def list_items(self) -> Any:
        """All cards."""
        return ()

    def allowed_directories_for_previews(self) -> list[str]:
        return []

    def find_preview(self, path: str) -> str | None:
        """The picture beside a file."""
        for ending in (".png", ".jpg", ".jpeg", ".webp", ".preview.png"):
            if Path(path + ending).is_file():
                return self.link_preview(path + ending)
        return None

    def find_description(self, path: str) -> str | None:
        """The text beside a file."""
        for ending in (".txt", ".description.txt"):
            try:
                return Path(path + ending).read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
        return None

    def link_preview(self, filename: str) -> str:
        return f"./file={filename}"

    def get_sort_keys(self, path: str) -> dict[str, Any]:
        """What cards are sorted by."""
        try:
            stat = Path(path).stat()
        except OSError:
            return {"date_created": 0, "date_modified": 0, "name": Path(path).name.lower()}
        return {
            "date_created": int(stat.st_ctime),
            "date_modified": int(stat.st_mtime),
            "name": Path(path).name.lower(),
        }


def register_page(page: ExtraNetworksPage) -> None:
    """Keep a page. The cards of the program are drawn by itself; pages of extensions are not
    shown among them, and that is said among the extension's notes."""
    host = current()
    page.owner = host.caller()[0]
    host.network_pages.append(page)
    host.note(f"Its page of cards «{page.title}» is not shown here.")


def quote_js(s: str) -> str:
    """A text as JavaScript writes it."""
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def __getattr__(name: str) -> Any:
    if name == "extra_pages":
        return current().network_pages
    raise AttributeError(f"module 'modules.ui_extra_networks' has no attribute {name!r}")
