from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from webui.library.names import (
    NameRules,
    NumberBook,
    PictureFacts,
    cut,
    decoration,
    expand,
    name_limit,
    sanitize,
    stems,
    subfolder,
)
from webui.params import Hires, TextToImage

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2)))
FACTS = PictureFacts(
    seed=41, seed_first=40, seed_last=43, steps=20, cfg_scale=6.5, width=512, height=640,
    styles=("Ink", "Film: noir"), sampler="DPM++ 2M", schedule="Karras", model_hash="0a1b2c3d4e",
    model_name="harbour_v2", prompt="a Lighthouse in fog, by/the <sea>", negative_prompt="text",
    batch_number=2, batch_size=4, generation_number=6, image_count=8, clip_skip=2,
    denoising_strength=0.4, user="ann", vae_filename="sharp", job_time=NOW.timestamp() - 60,
    image_hash="f" * 64, basename="holiday",
)  # fmt: skip


def filled(pattern: str, facts: PictureFacts = FACTS) -> str:
    return expand(pattern, facts, now=NOW)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[seed]", "41"),
        ("[seed_first]", "40"),
        ("[seed_last]", "43"),
        ("[steps]", "20"),
        ("[cfg]", "6.5"),
        ("[width]x[height]", "512x640"),
        ("[styles]", "Ink, Film_ noir"),
        ("[sampler]", "DPM++ 2M"),
        ("[scheduler]", "Karras"),
        ("[sampler_scheduler]", "DPM++ 2M Karras"),
        ("[model_hash]", "0a1b2c3d4e"),
        ("[model_name]", "harbour_v2"),
        ("[date]", "2024-05-06"),
        ("[datetime]", "20240506070809"),
        ("[datetime<>]", "20240506070809"),
        ("[datetime<%Y-%m>]", "2024-05"),
        ("[datetime<%H:%M>]", "07_08"),
        ("[datetime<%H%M><UTC>]", "0508"),
        ("[datetime<%H%M><Asia/Tokyo>]", "1408"),
        ("[datetime<%H%M><Nowhere/City>]", "0708"),
        ("[datetime<%999999999d>]", "20240506070809"),
        ("[job_timestamp]", "20240506070709"),
        ("[prompt]", "a_Lighthouse_in_fog,_by_the__sea_"),
        ("[prompt_spaces]", "a Lighthouse in fog, by_the _sea_"),
        ("[prompt_no_styles]", "a Lighthouse in fog, by_the _sea_"),
        ("[prompt_words]", "a Lighthouse in fog by the sea"),
        ("[batch_number]", "2"),
        ("[batch_size]", "4"),
        ("[generation_number]", "6"),
        ("[hasprompt<lighthouse>]", "lighthouse"),
        ("[hasprompt<LIGHTHOUSE|none><boat|no boat>]", "lighthouseno boat"),
        ("[hasprompt<boat>]", ""),
        ("[clip_skip]", "2"),
        ("[denoising]", "0.4"),
        ("[user]", "ann"),
        ("[vae_filename]", "sharp"),
        ("[none]", ""),
        ("[image_hash]", "f" * 64),
        ("[image_hash<6>]", "ffffff"),
        ("[basename]", "holiday"),
        ("[SEED]-[Model_Name]", "41-harbour_v2"),
        ("pre [seed] post", "pre 41 post"),
        ("[unknown]-[seed]", "[unknown]-41"),
        ("[unknown<a><b>]", "[unknown<a><b>]"),
        ("[seed", "[seed"),
        ("", ""),
    ],
)
def test_a_pattern_is_filled_in(pattern: str, expected: str) -> None:
    assert filled(pattern) == expected


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("[prompt_hash]", "a Lighthouse in fog, by/the <sea>"),
        ("[negative_prompt_hash]", "text"),
        ("[full_prompt_hash]", "a Lighthouse in fog, by/the <sea> text"),
    ],
)
def test_hashes_are_sha256_of_the_text(pattern: str, text: str) -> None:
    import hashlib

    digest = hashlib.sha256(text.encode()).hexdigest()
    assert filled(pattern) == digest[:8]
    assert filled(pattern.replace("]", "<12>]")) == digest[:12]
    assert filled(pattern.replace("]", "<x>]")) == pattern.replace("]", "<x>]")


ONE = PictureFacts(seed=41, prompt="")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[seed]-[batch_number]", "41"),
        ("[seed]-[generation_number]", "41"),
        ("[seed]-[seed_last]", "41"),
        ("[seed]_d[denoising]", "41"),
        ("[batch_number]-[seed]", "-41"),
        ("[seed_first]", "41"),
        ("[seed]-[batch_number]-end", "41-end"),
        ("[prompt_words]", "empty"),
        ("[styles]", "None"),
        ("[vae_filename]", "NoneType"),
        ("[steps]", "[steps]"),
        ("[image_hash]", "[image_hash]"),
    ],
)
def test_values_that_do_not_apply_take_the_text_before_them_along(
    pattern: str, expected: str
) -> None:
    assert filled(pattern, ONE) == expected


def test_an_automatic_schedule_is_not_named_with_the_sampler() -> None:
    facts = PictureFacts(sampler="Euler a", schedule="Automatic")
    assert filled("[sampler_scheduler]", facts) == "Euler a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('#<>:"/\\|?*\n\r\tx', "_" * 13 + "x"),
        ("nul\x00bell\x07", "nul_bell_"),
        ("  lead and trail. . ", "lead and trail"),
        ("x" * 200, "x" * 128),
        ("丹青 🎨", "丹青 🎨"),
        ("lone \ud800 surrogate", "lone _ surrogate"),
    ],
)
def test_sanitize_makes_text_safe(text: str, expected: str) -> None:
    assert sanitize(text) == expected


def test_sanitize_follows_the_installations_rules() -> None:
    assert sanitize("a:b/c", NameRules(is_unix=True)) == "a:b_c"
    assert sanitize("abcdef", NameRules(max_length=3)) == "abc"


def test_the_default_decoration_depends_on_sub_folders() -> None:
    assert decoration("", FACTS, has_folders=True) == "41"
    assert decoration("", FACTS, has_folders=False) == "41-a Lighthouse in fog, by_the _sea_"


def test_a_decoration_never_holds_a_separator() -> None:
    assert decoration("../[seed]/x\\y:z", FACTS, has_folders=True) == "_41_x_y_z"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[date]", "2024-05-06"),
        ("", "."),
        ("[model_name]/[date]", "harbour_v2/2024-05-06"),
        ("a\\b", "a/b"),
        ("../../etc", "etc"),
        ("/etc/passwd", "etc/passwd"),
        ("C:/windows", "C_/windows"),
        ("./..", "."),
        ("[prompt]", "a_Lighthouse_in_fog,_by_the__sea_"),
        ("CON/nul.txt", "_CON/_nul.txt"),
        ("~", "~"),
    ],
)
def test_a_sub_folder_never_leads_out(pattern: str, expected: str) -> None:
    assert str(subfolder(pattern, FACTS, now=NOW)) == expected


def test_stems_count_upwards_in_five_digits() -> None:
    assert list(itertools.islice(stems(7, "41"), 3)) == ["00007-41", "00008-41", "00009-41"]
    assert next(stems(0, "")) == "00000"
    assert next(stems(123456, "x")) == "123456-x"


def test_stems_of_grids_have_four_digits() -> None:
    assert next(stems(3, "", prefix="grid-")) == "grid-0003"
    assert next(stems(3, "41", prefix="grid-")) == "grid-0003-41"


def test_stems_without_number_add_a_suffix() -> None:
    assert list(itertools.islice(stems(None, "cat"), 3)) == ["cat", "cat-1", "cat-2"]
    assert next(stems(None, "nul")) == "_nul"


def test_stems_fit_the_file_system_in_bytes() -> None:
    name = next(stems(7, "丹" * 200)) + ".webp"
    assert len(name.encode()) <= 255
    assert name.startswith("00007-丹丹")
    with_suffix = list(itertools.islice(stems(None, "丹" * 200), 3))[2]
    assert with_suffix.endswith("-2") and len(with_suffix.encode()) <= 250


def test_cut_never_splits_a_character() -> None:
    assert cut("丹青", 5) == "丹"
    assert cut("ab. ", 10) == "ab"


def test_the_longest_name_can_really_be_written(tmp_path: Path) -> None:
    path = tmp_path / (next(stems(1, "丹" * 300, max_bytes=name_limit(tmp_path))) + ".webp")
    path.write_bytes(b"x")
    assert path.read_bytes() == b"x"


def test_the_next_number_is_one_above_the_highest(tmp_path: Path) -> None:
    for name in ("00003-1.png", "00011-7.txt", "grid-0040.png", "cat.png", "9x-1.png"):
        (tmp_path / name).touch()
    book = NumberBook()
    assert book.next_number(tmp_path) == 12
    assert book.next_number(tmp_path, "grid-") == 41


def test_the_next_number_of_a_missing_folder_is_zero(tmp_path: Path) -> None:
    assert NumberBook().next_number(tmp_path / "new") == 0


def test_a_folder_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = NumberBook()
    assert book.next_number(tmp_path) == 0
    book.note(tmp_path / "00000-a hill.png")
    monkeypatch.setattr(NumberBook, "_read", lambda *_: pytest.fail("read again"))
    assert book.next_number(tmp_path) == 1
    book.note(tmp_path / "00005.png")
    assert book.next_number(tmp_path) == 6


def test_facts_come_from_params_and_the_workers_message() -> None:
    params = TextToImage(
        prompt="cat", seed=2**64 - 9, batch_size=2, batch_count=3, steps=9, clip_skip=2,
        vae="fine.safetensors", hires=Hires(denoising_strength=0.3),
    )  # fmt: skip
    event = {
        "index": 3, "seed": 5, "width": 64, "height": 96, "infotext": "recipe",
        "facts": {"model_name": "harbour", "model_hash": "abc", "unknown": 1},
    }  # fmt: skip
    facts = PictureFacts.from_params(params, event, user="ann")
    assert (facts.seed, facts.seed_first, facts.seed_last) == (5, 2**64 - 9, 2**64 - 4)
    assert (facts.batch_number, facts.batch_size) == (2, 2)
    assert (facts.generation_number, facts.image_count) == (4, 6)
    assert (facts.width, facts.height, facts.infotext) == (64, 96, "recipe")
    assert (facts.model_name, facts.model_hash, facts.user) == ("harbour", "abc", "ann")
    assert (facts.denoising_strength, facts.vae_filename) == (0.3, "fine")


def test_with_a_variation_seed_all_pictures_share_the_seed() -> None:
    params = TextToImage(seed=7, batch_size=4, subseed_strength=0.5)
    facts = PictureFacts.from_params(params, {"index": 0})
    assert facts.seed_last == 7
    assert (facts.denoising_strength, facts.vae_filename) == (None, None)
