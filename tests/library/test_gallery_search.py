"""The small language of the gallery's search, on real files."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.library.gallery_files import look, names, painted
from webui.errors import ParamsError
from webui.library.gallery.query import read_query
from webui.library.gallery.store import GalleryStore


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GalleryStore]:
    folder = tmp_path_factory.mktemp("pictures")
    painted(folder / "fog.png", "a lighthouse in fog, <lora:Ink Wash:0.7>", Model="dreamshaper_8")
    painted(folder / "hair.png", "1girl, long_hair, blue eyes", Sampler="Euler", Seed=41, Steps=30)
    painted(folder / "樱花.png", "水墨画, 蓝色头发的少女", size=(48, 64))
    painted(
        folder / "tall" / "mask.webp", "hair, long fence", format="webp", Sampler="DPM++ 2M",
        **{"Denoising strength": 0.5, "Mask blur": 4},
    )  # fmt: skip
    store = GalleryStore(folder / "index.sqlite3")
    assert look(store, folder).new == 4
    store.update([1, 2], stars=3)
    yield store
    store.close()


FOG, HAIR, ZH, MASK = "fog.png", "hair.png", "樱花.png", "mask.webp"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {FOG, HAIR, ZH, MASK}),
        ("lighthouse fog", {FOG}),
        ("LIGHT", {FOG}),
        ("house", set()),
        ("long_hair", {HAIR}),
        ('"long hair"', {HAIR}),
        ("long hair", {HAIR, MASK}),
        ("hair -long_hair", {MASK}),
        ("-hair", {FOG, ZH}),
        ("水墨", {ZH}),
        ("发", {ZH}),
        ("色头发的", {ZH}),
        ("墨水", set()),
        ("樱", {ZH}),
        ("blurry", set()),
        ("negative:blurry kind:inpaint", {MASK}),
        ("lora:ink", {FOG}),
        ('lora:"ink wash"', {FOG}),
        ("model:dreamshaper", {FOG}),
        ("sampler:euler", {HAIR}),
        ('sampler:"euler a"', {FOG, ZH}),
        ("sampler:dpm++", {MASK}),
        ("-sampler:euler", {FOG, ZH, MASK}),
        ("sampler:nobody", set()),
        ("size:48x64", {ZH}),
        ("ratio:tall", {ZH}),
        ("width:>=64 steps:25..35", {HAIR}),
        ("seed:41", {HAIR}),
        ("folder:tall", {MASK}),
        ("date:today", {FOG, HAIR, ZH, MASK}),
        ("date:yesterday", set()),
        ("date:<2001", set()),
        ("(fog:1.2)", set()),
        ("NEAR( * ^ {", set()),
        ('" ! ?? * ^ :', {FOG, HAIR, ZH, MASK}),
        ("width: stars:", {FOG, HAIR, ZH, MASK}),
    ],
)
def test_search_when_written_so_then_finds(store: GalleryStore, text: str, found: set[str]) -> None:
    assert set(names(store, text)) == found


def test_search_when_by_stars_then_finds_and_orders_by_them(store: GalleryStore) -> None:
    starred = set(store.search("stars:>=3").tolist())
    assert starred == {1, 2}
    assert set(store.search("", sort="stars")[:2]) == starred
    assert list(store.search("", sort="old")) == list(store.search("", sort="new"))[::-1]


@pytest.mark.parametrize(
    "text",
    ["stars:many", "size:512", "date:2026-13", "date:soon", "kind:oil", "ratio:round"],
)
def test_search_when_a_value_cannot_be_read_then_it_is_named(
    store: GalleryStore, text: str
) -> None:
    with pytest.raises(ParamsError, match=text.split(":")[1]):
        store.search(text)


def test_dates_when_read_then_are_whole_days_here() -> None:
    now = time.mktime((2026, 11, 22, 15, 0, 0, 0, 0, -1))
    spans = {
        "date:2026-11-22": ((2026, 11, 22), (2026, 11, 23)),
        "date:2026-12": ((2026, 12, 1), (2027, 1, 1)),
        "date:2026-01..2026-02": ((2026, 1, 1), (2026, 3, 1)),
        "date:yesterday": ((2026, 11, 21), (2026, 11, 22)),
        "date:week": ((2026, 11, 16), (2026, 11, 23)),
    }
    for text, days in spans.items():
        values = read_query(text, lambda *_: [], now).values
        assert values == [time.mktime((*day, 0, 0, 0, 0, 0, -1)) for day in days], text
