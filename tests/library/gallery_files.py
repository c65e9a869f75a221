"""Pictures with recipes, as other programs leave them in folders."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from webui.library.gallery.rows import Origin
from webui.library.gallery.scan import Found, Scan
from webui.library.gallery.store import GalleryStore
from webui.pictures import encode


def infotext(prompt: str, **pairs: object) -> str:
    told = {"Steps": 20, "Sampler": "Euler a", "Seed": 1, "Size": "64x48", **pairs}
    line = ", ".join(f"{key}: {value}" for key, value in told.items())
    return f"{prompt}\nNegative prompt: blurry\n{line}"


def painted(
    path: Path,
    prompt: str,
    *,
    size: tuple[int, int] = (64, 48),
    format: str = "png",
    **pairs: object,
) -> Path:
    """Write a picture whose recipe says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (hash(prompt) % 256, 80, 120))
    path.write_bytes(encode(image, format=format, infotext=infotext(prompt, **pairs)))  # type: ignore[arg-type]
    return path


def look(store: GalleryStore, *roots: Path, steps: int = 10**9) -> Found:
    """Look through folders; stop after so many steps."""
    found, left = Found(), [steps]

    def pause() -> bool:
        left[0] -= 1
        return left[0] > 0

    Scan(store, lambda path, mark: Origin(), pause, found).run(list(roots))
    return found


def names(store: GalleryStore, text: str = "", state: int = 0, sort: str = "new") -> list[str]:
    """File names of what a search finds, in order of names."""
    ids = store.search(text, [("state = ?", (state,))], sort)
    return sorted(picture.path.name for picture in store.some(ids.tolist()))
