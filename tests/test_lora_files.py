"""LoRAs named in prompts, looked up among the files for the model process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkpoints.model_files import SomeFolders, write_raw
from webui.checkpoints.catalog import Catalog
from webui.params import Extras, Hires, TextToImage
from webui.services.lora_files import hypernetwork_files, lora_files, lora_names

HEADER = {"x.lora_up.weight": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}
DATA = b"\0" * 8
HASH = hashlib.sha256(DATA).hexdigest()[:12]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    folder = tmp_path / "models" / "Lora"
    meta = {"__metadata__": {"ss_output_name": "ink"}}
    write_raw(folder / "sub" / "one.safetensors", {**HEADER, **meta}, DATA)
    write_raw(folder / "two.safetensors", HEADER, DATA)
    write_raw(folder / "broken.safetensors", b"no header")
    catalog = Catalog(SomeFolders((tmp_path / "models",)), tmp_path / "facts.sqlite3")
    yield catalog
    catalog.close()


def test_names_when_tagged_in_either_spelling_are_found_once_in_order() -> None:
    prompts = ["a <lora:b:1> <lyco:a> <hypernet:c:1>", "<lora:a:0.5><lora::1><lora:d:te=1>"]

    assert lora_names(prompts) == ["b", "a", "d"]


def test_files_when_found_by_stem_or_alias_come_with_path_and_hash(catalog: Catalog) -> None:
    params = TextToImage(
        prompt="x <lora:ink:1>", hires=Hires(prompt="y <lora:two:1>"), width=64, height=64
    )
    found = lora_files(params, catalog, has_hashes=True)

    assert {name: Path(f["path"]).stem for name, f in found.items()} == {"ink": "one", "two": "two"}
    assert {f["hash"] for f in found.values()} == {HASH}


def test_files_when_an_extensions_prompt_names_them_come_too(catalog: Catalog) -> None:
    extensions = {"detailer": {"prompt": "a face <lora:two:1>", "steps": 3}}
    params = TextToImage(prompt="x <lora:ink:1>", extensions=extensions)

    assert list(lora_files(params, catalog, has_hashes=False)) == ["ink", "two"]


def test_hashes_when_not_wanted_are_not_calculated(catalog: Catalog) -> None:
    found = lora_files(TextToImage(prompt="<lora:two:1>"), catalog, has_hashes=False)

    assert found["two"]["hash"] is None


@pytest.mark.parametrize("name", ["Two", "nowhere", "sub/one"])
def test_files_when_missing_are_told_about_with_what_there_is(catalog: Catalog, name: str) -> None:
    (facts,) = lora_files(TextToImage(prompt=f"<lora:{name}:1>"), catalog, has_hashes=True).values()

    assert name in facts["problem"] and "two" in facts["problem"] and facts["hint"]


def test_requests_when_they_have_no_networks_need_no_files(catalog: Catalog) -> None:
    off = TextToImage(prompt="<lora:two:1>", disable_extra_networks=True)
    extras = Extras(images=("ab" * 32,))

    assert lora_files(off, catalog, has_hashes=True) == {}
    assert lora_files(extras, catalog, has_hashes=True) == {}


def test_hypernetworks_when_named_come_with_path_and_hash_or_the_problem(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "hypernetworks"
    folder.mkdir()
    (folder / "oil.pt").write_bytes(DATA)
    catalog.refresh()
    params = TextToImage(prompt="<lora:two:1><hypernet:oil:1><hypernet:gone>")
    found = hypernetwork_files(params, catalog, has_hashes=True)

    assert set(found) == {"oil", "gone"} and "'gone'" in found["gone"]["problem"]
    assert found["oil"] == {
        "path": str(folder / "oil.pt"), "hash": hashlib.sha256(DATA).hexdigest()[:10],
    }  # fmt: skip
