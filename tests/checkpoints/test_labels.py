"""What files say of themselves, read from their metadata alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.checkpoints.model_files import TINY_HEADER, write_raw
from webui.checkpoints import headers
from webui.checkpoints.headers import read_header, read_metadata
from webui.checkpoints.labels import (
    LONGEST_SHOWN,
    Label,
    frequent_words,
    pretty,
    pretty_text,
    read_label,
    stated_family,
    thumbnail,
)
from webui.errors import CheckpointError

DATA = b"\0" * 8


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sdxl_base_v1-0", "ss_v2": "True"}, "sdxl"),
        ({"ss_base_model_version": "sd_v2", "ss_v2": "True"}, "sd2"),
        ({"ss_base_model_version": "sd_v1"}, "sd1"),
        ({"ss_base_model_version": "sd_1.5"}, "sd1"),
        ({"ss_base_model_version": "sd_2.1", "ss_v2": "true"}, "sd2"),
        ({"ss_base_model_version": "sdxl_1.0"}, "sdxl"),
        ({"ss_v2": "False"}, "sd1"),
        ({"ss_v2": "False", "ss_base_model_version": "something new"}, ""),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd1"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-refiner"}, "sdxl-refiner"),
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"ss_sd_model_name": "sdxl.safetensors"}, ""),
        ({}, ""),
    ],
)
def test_family_when_stated_is_read(metadata: dict[str, str], family: str) -> None:
    assert stated_family(metadata) == family


def test_words_when_counted_by_folder_are_added_up_and_the_frequent_come_first() -> None:
    folders = {"2_a": {"1girl": 3, "hat ": 1}, "1_b": {"hat": 4, "odd": "x", " ": 9}, "c": 7}

    assert frequent_words({"ss_tag_frequency": json.dumps(folders)}) == [("hat", 5), ("1girl", 3)]


@pytest.mark.parametrize("odd", ["", "no json", "[1]", '{"a": [1]}', "[" * 5000, "{}"])
def test_words_when_frequencies_are_odd_come_from_the_tags(odd: str) -> None:
    metadata = {"ss_tag_frequency": odd, "modelspec.tags": "ink, wash,, ink"}

    assert frequent_words(metadata) == [("ink", 0), ("wash", 0)]


def test_label_when_written_and_read_again_is_the_same() -> None:
    label = read_label(
        {
            "modelspec.title": "Ink  wash\n", "modelspec.trigger_phrase": "inkwash style",
            "modelspec.thumbnail": "data:image/png;base64,AAAA", "modelspec.tags": "水墨, ink",
        }
    )  # fmt: skip

    assert (label.title, label.trigger, label.words) == (
        "Ink wash",
        "inkwash style",
        ("水墨", "ink"),
    )
    assert label.has_thumbnail and Label.from_json(label.to_json()) == label


@pytest.mark.parametrize(
    "data", ["data:image/png;base64,%%%", "data:text/html;base64,AAAA", "AAAA", "data:image/png,x"]
)
def test_thumbnail_when_not_a_picture_in_base64_is_none(data: str) -> None:
    assert thumbnail({"modelspec.thumbnail": data}) is None


def test_thumbnail_when_there_is_given_as_bytes_and_left_out_of_what_people_read() -> None:
    metadata = {
        "modelspec.thumbnail": "data:image/jpeg;base64," + base64.b64encode(b"jpeg").decode(),
        "ss_bucket_info": '{"0": [512, 512]}', "b": "[broken",
    }  # fmt: skip

    assert thumbnail(metadata) == b"jpeg"
    assert pretty(metadata) == {"b": "[broken", "ss_bucket_info": {"0": [512, 512]}}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('{"error": NaN, "worst": 1e999}', {"error": "NaN", "worst": "1e999"}),
        ('{"word": "half \\ud83d"}', {"word": "half ?"}),
        ("x" * 3_000_000, "x" * LONGEST_SHOWN + " … (3,000,000 characters in all)"),
        ("[" * 90_000, "[" * 90_000),
    ],
)
def test_metadata_when_odd_is_shown_in_a_way_that_everybody_can_read(
    value: str, shown: object
) -> None:
    text = pretty_text({"a": value})

    def fail(word: str) -> None:
        raise AssertionError(f"a browser cannot read {word}")

    assert json.loads(text.encode(), parse_constant=fail) == {"a": shown}


@pytest.mark.parametrize("depth", range(850, 1010, 10))
def test_metadata_when_nested_as_deep_as_can_be_is_shown(depth: int) -> None:
    assert "]" * 850 in "".join(pretty_text({"a": "[" * depth + "]" * depth}).split())


def test_metadata_when_endless_is_shown_in_part() -> None:
    shown = pretty({f"{number:03d}": "x" * 1_000_000 for number in range(100)})

    assert len(shown) == 5 and shown["…"] == "96 more entries"


def test_metadata_when_it_holds_half_letters_can_be_stored(tmp_path: Path) -> None:
    header = (
        b'{"__metadata__": {"a\\ud800": "half \\ud83d"}, "a": '
        + json.dumps(TINY_HEADER["a"]).encode()
    )
    file = write_raw(tmp_path / "a.safetensors", header + b"}", DATA)

    assert read_metadata(file) == read_header(file).metadata == {"a?": "half ?"}


def test_metadata_when_first_in_the_header_is_read_without_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = {"long": "水" * 40_000, "a": "b"}  # cut within a letter by the first reading
    file = write_raw(tmp_path / "a.safetensors", {"__metadata__": metadata, **TINY_HEADER}, DATA)

    def fail(*_: object) -> None:
        raise AssertionError("the whole header was parsed")

    assert read_header(file).metadata == metadata
    monkeypatch.setattr(headers, "_parse", fail)
    assert read_metadata(file) == metadata


@pytest.mark.parametrize(
    "header", [{**TINY_HEADER, "__metadata__": {"a": "b"}}, {"__metadata__": {"a": "b"}}]
)
def test_metadata_when_anywhere_in_the_header_is_found(tmp_path: Path, header: object) -> None:
    assert read_metadata(write_raw(tmp_path / "a.safetensors", header, DATA)) == {"a": "b"}


@pytest.mark.parametrize("header", [TINY_HEADER, {**TINY_HEADER, "__metadata__": 3}])
def test_metadata_when_there_is_none_is_empty(tmp_path: Path, header: object) -> None:
    assert read_metadata(write_raw(tmp_path / "a.safetensors", header, DATA)) == {}


@pytest.mark.parametrize(
    ("header", "length"),
    [(b'{"__metadata__": {"a": ', None), (b"{}", 1 << 40), (b'{"__metadata__": {"a": 1', 200)],
)
def test_metadata_when_the_file_is_damaged_says_so(
    tmp_path: Path, header: bytes, length: int | None
) -> None:
    with pytest.raises(CheckpointError, match=r"damaged|neither"):
        read_metadata(write_raw(tmp_path / "a.safetensors", header, DATA, length))
