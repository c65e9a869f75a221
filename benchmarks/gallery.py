"""How quick the gallery is with 100,000 pictures, and how fast it reads a folder of 10,000.

Pictures of the first part are rows without files; prompts are tags and words of a realistic spread,
a third with Chinese ones. Files of the second are PNGs of 512 x 512 with recipes. Wall seconds and
seconds of the processor are shown, as other programs may run beside.

    python benchmarks/gallery.py [--pictures 100000] [--files 10000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.table import header, row  # noqa: E402
from webui.infotext import parse_infotext  # noqa: E402
from webui.library.gallery.recipes import Read, recipe_of  # noqa: E402
from webui.library.gallery.rows import Origin  # noqa: E402
from webui.library.gallery.scan import Found, Scan  # noqa: E402
from webui.library.gallery.store import GalleryStore  # noqa: E402
from webui.pictures import encode  # noqa: E402
from webui.services.gallery.pictures import Gallery  # noqa: E402

COMMON = ("masterpiece", "best_quality", "1girl", "solo", "blue_hair", "long_hair", "smile",
          "looking_at_viewer", "outdoors", "sky")  # fmt: skip
CHINESE = ("少女", "蓝色头发", "长发", "天空", "樱花", "水墨画", "古风", "山水", "夜景", "城市")
SAMPLERS = ("Euler a", "Euler", "DPM++ 2M", "DPM++ SDE", "UniPC", "DDIM")
SIZES = ((512, 512), (512, 768), (768, 512), (1024, 1024))
SEARCHES = (
    "", "hair", "blue_hair", "masterpiece smile", "少女", "水墨画", "蓝色头发 夜", "sol",
    '"long hair" -smile', "sampler:euler size:512x512", 'sampler:"euler a" stars:>=3 sky',
    "date:2026-03..2026-05 outdoors", "kind:txt2img ratio:tall -solo", "model:dream lora:ink",
    "stars:5", "zzz",
)  # fmt: skip
EACH = 12


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=None, help="kept for another run")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="danqing-gallery-") as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        measure_searches(folder / f"index-{given.pictures}.sqlite3", given.pictures)
        measure_reading(folder / f"files-{given.files}", Path(temporary), given.files)


def measure_searches(path: Path, count: int) -> None:
    """Searches, each after a change, so that nothing is answered from memory; and pages."""
    store = GalleryStore(path)
    if not store.read("SELECT 1 FROM pictures LIMIT 1"):
        fill(store, count)
    parts: Any = None
    gallery = Gallery(store, parts, parts, parts)
    before = _peak_megabytes()
    header(f"{count} pictures", "median ms", "95 % ms", "worst ms", "95 % processor ms")

    def search(text: str) -> Callable[[], object]:
        return lambda: gallery.find(text)

    def anew(deed: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            store.changed()
            return deed()

        return run

    report("a search", [anew(search(text)) for text in SEARCHES])
    report("a search, nothing changed since", [search(text) for text in SEARCHES])

    def page(start: int) -> Callable[[], object]:
        return lambda: [gallery.infotext(one) for one in gallery.find("", start=start).pictures]

    chance = random.Random(1)
    places = [chance.randrange(count) for _ in SEARCHES]
    report("a page anywhere", [page(at) for at in places])
    report("a page, the first since a change", [anew(page(at)) for at in places])
    print(f"\nMemory: {before:.0f} MB before, {_peak_megabytes():.0f} MB after.\n")
    store.close()


def report(name: str, deeds: list[Callable[[], object]]) -> None:
    """Run each some times and print a line."""
    walls, processors = [], []
    for _ in range(EACH):
        for deed in deeds:
            wall, processor = time.perf_counter(), time.process_time()
            deed()
            walls.append(1000 * (time.perf_counter() - wall))
            processors.append(1000 * (time.process_time() - processor))
    row(name, f"{statistics.median(walls):.1f}", f"{_high(walls):.1f}", f"{max(walls):.1f}",
        f"{_high(processors):.1f}")  # fmt: skip


def _high(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def measure_reading(folder: Path, temporary: Path, count: int) -> None:
    """A folder of files: the first look, and one that finds nothing new."""
    if not folder.is_dir():
        write_files(folder, count)
    store = GalleryStore(temporary / "read.sqlite3")
    header(f"{count} files", "seconds", "files/s", "files per processor second")
    for name in ("first look", "second look"):
        found = Found()
        wall, processor = time.perf_counter(), time.process_time()
        Scan(store, lambda path, mark: Origin(), lambda: True, found).run([folder])
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        assert found.files == count and not found.bad
        row(name, f"{wall:.2f}", f"{count / wall:.0f}", f"{count / processor:.0f}")
    store.close()


def fill(store: GalleryStore, count: int) -> None:
    """Rows without files."""
    chance = random.Random(5)
    words = vocabulary(chance)
    for start in range(0, count, 500):
        with store.write() as db:
            for number in range(start, min(count, start + 500)):
                size = chance.choice(SIZES)
                text = recipe(number, size, chance, words)
                read = Read(f"{number:032x}", "png", *size, recipe_of(text, parse_infotext(text)))
                path = Path(f"/pictures/{number // 1000:04d}/{number:06d}.png")
                made = Origin(created=1_767_225_600 + chance.random() * 3e7)
                picture = store.put(db, path, Path("/pictures"), read, (1, 1), made)
                if chance.random() < 0.2:
                    stars = chance.randint(1, 5)
                    db.execute("UPDATE pictures SET stars = ? WHERE id = ?", (stars, picture))


def vocabulary(chance: random.Random) -> list[str]:
    """Words that nobody has used before, common ones first."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    return ["".join(chance.choices(letters, k=chance.randint(3, 9))) for _ in range(4000)]


def recipe(number: int, size: tuple[int, int], chance: random.Random, words: list[str]) -> str:
    """A recipe of about thirty tags."""
    tags = [tag for tag in COMMON if chance.random() < 0.5]
    tags += [words[int(4000 * chance.random() ** 2.5)] for _ in range(22)]
    tags += chance.sample(CHINESE, 3) if chance.random() < 0.33 else []
    chance.shuffle(tags)
    model = chance.choice(("dreamshaper_8", "anything-v5", "photon_v1"))
    lora = ", <lora:inkwash:0.7>" if chance.random() < 0.1 else ""
    negative = ", ".join(chance.choices(words, k=12))
    return (
        f"{', '.join(tags)}{lora}\nNegative prompt: lowres, {negative}"
        f"\nSteps: 24, Sampler: {chance.choice(SAMPLERS)}, CFG scale: 7, Seed: {number},"
        f" Size: {size[0]}x{size[1]}, Model hash: 879db523c3, Model: {model}, Version: v1.10.1"
    )


def write_files(folder: Path, count: int) -> None:
    """PNG files in folders of 500. Their pixels are the same, their recipes are not."""
    chance = random.Random(7)
    words = vocabulary(chance)
    image = Image.effect_noise((96, 96), 60).convert("RGB").resize((512, 512))
    plain = encode(image, infotext="")
    for number in range(count):
        text = recipe(number, (512, 512), chance, words)
        head = encode(Image.new("RGB", (1, 1)), infotext=text)
        start, end = (
            head.index(b"iTXt" if b"iTXt" in head else b"tEXt") - 4,
            head.index(b"IDAT") - 4,
        )
        path = folder / f"{number // 500:03d}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(plain[:33] + head[start:end] + plain[33:])


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


if __name__ == "__main__":
    main()
