"""The catalog: names, aliases, problems, speed; nothing in a folder makes it fail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from tests.checkpoints.model_files import STARTER, TINY_HEADER, SomeFolders, write_raw
from tests.patience import PATIENCE, wait_until
from webui.checkpoints import catalog as catalog_module
from webui.checkpoints import looking
from webui.checkpoints.catalog import Catalog, repertoire
from webui.checkpoints.filefacts import FACTS_VERSION
from webui.checkpoints.records import Repertoire
from webui.errors import CheckpointNotFoundError

STARTER_SHA256 = hashlib.sha256(STARTER.read_bytes()).hexdigest()


def tiny(path: Path, **metadata: str) -> Path:
    header = {**TINY_HEADER, **({"__metadata__": metadata} if metadata else {})}
    return write_raw(path, header, b"\0" * 8)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def make(models: Path, tmp_path: Path):
    made: list[Catalog] = []

    def build(**extra: tuple[Path, ...]) -> Catalog:
        made.append(Catalog(SomeFolders((models,), **extra), tmp_path / "db" / "facts.sqlite3"))
        return made[-1]

    yield build
    for catalog in made:
        catalog.close()


@pytest.mark.parametrize(
    ("folder", "kind", "file"),
    [
        ("Stable-diffusion", "checkpoint", "a.safetensors"),
        ("checkpoints", "checkpoint", "a.ckpt"),
        ("VAE", "vae", "a.pt"),
        ("vae", "vae", "a.safetensors"),
        ("Lora", "lora", "a.safetensors"),
        ("loras", "lora", "a.pt"),
        ("LyCORIS", "lora", "a.safetensors"),
        ("embeddings", "embedding", "a.bin"),
        ("hypernetworks", "hypernetwork", "a.pt"),
        ("ESRGAN", "upscaler", "a.pth"),
        ("RealESRGAN", "upscaler", "a.pth"),
        ("upscale_models", "upscaler", "a.safetensors"),
        ("Codeformer", "face", "a.pth"),
        ("ControlNet", "controlnet", "a.safetensors"),
    ],
)
def test_folders_of_both_programs_are_known(
    folder: str, kind: str, file: str, models: Path, make
) -> None:
    tiny(models / folder / "sub" / file)
    tiny(models / folder / "Put things here.txt")
    tiny(models / folder / "._a.safetensors")
    assert [r.name for r in make().records(kind)] == [f"sub/{file}"]


def test_extra_folders_and_a_second_models_folder_are_searched(
    models: Path, tmp_path: Path, make
) -> None:
    tiny(models / "Stable-diffusion" / "a.safetensors")
    tiny(tmp_path / "elsewhere" / "b.safetensors")
    tiny(tmp_path / "words" / "c.pt")
    found = make(checkpoints=(tmp_path / "elsewhere",), embeddings=(tmp_path / "words",))
    assert [r.name for r in found.checkpoints()] == ["a.safetensors", "b.safetensors"]
    assert [r.name for r in found.embeddings()] == ["c.pt"]


def test_one_folder_given_twice_or_linked_lists_its_files_once(models: Path, make) -> None:
    tiny(models / "Stable-diffusion" / "a.safetensors")
    (models / "checkpoints").symlink_to(models / "Stable-diffusion")
    found = make(checkpoints=(models / "Stable-diffusion",))
    assert len(found.checkpoints()) == 1


def test_same_name_in_two_folders_gives_two_names(models: Path, make) -> None:
    tiny(models / "Stable-diffusion" / "a.safetensors")
    tiny(models / "checkpoints" / "a.safetensors")
    names = [r.name for r in make().checkpoints()]
    assert len(names) == len(set(names)) == 2
    assert "a.safetensors" in names


def test_starter_has_a1111s_names_and_is_found_by_all_of_them(models: Path, make) -> None:
    target = models / "Stable-diffusion" / "anime" / "starter-emoji.safetensors"
    target.parent.mkdir(parents=True)
    shutil.copy(STARTER, target)
    catalog = make()
    (record,) = catalog.checkpoints()
    assert record.title == record.name == "anime/starter-emoji.safetensors"
    assert record.family == "sd1" and record.problem == ""
    record = catalog.hash_now(record)
    ten = STARTER_SHA256[:10]
    assert record.sha256 == STARTER_SHA256
    assert record.title == f"anime/starter-emoji.safetensors [{ten}]"
    assert record.short_title == f"starter-emoji [{ten}]"
    assert record.model_name == "anime_starter-emoji"
    assert record.stem == "starter-emoji"
    with open(STARTER, "rb") as file:
        file.seek(0x100000)
        old = hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    aliases = [
        old, "anime_starter-emoji", record.title, record.name, "starter-emoji",
        f"{record.name} [{old}]", ten, STARTER_SHA256, record.short_title,
        "anime\\starter-emoji.safetensors", "starter-emoji.safetensors",
    ]  # fmt: skip
    for alias in aliases:
        assert catalog.find_checkpoint(alias).path == target, alias
    assert catalog.closest_checkpoint("emoji").path == target  # type: ignore[union-attr]
    assert catalog.closest_checkpoint("starter [0000000000]").path == target  # type: ignore
    assert catalog.closest_checkpoint("dreamy") is None


def test_unknown_name_lists_what_there_is_and_the_closest(models: Path, make) -> None:
    for name in ("dreamlike", "sketchy"):
        tiny(models / "checkpoints" / f"{name}.safetensors")
    with pytest.raises(CheckpointNotFoundError, match=r"dreamlike.safetensors, sketchy") as caught:
        make().find_checkpoint("dreamlik")
    assert caught.value.closest == ["dreamlike.safetensors"]
    assert "Did you mean dreamlike.safetensors" in caught.value.hint


def test_exact_name_wins_over_anothers_stem(models: Path, make) -> None:
    tiny(models / "checkpoints" / "a" / "x.safetensors")
    tiny(models / "checkpoints" / "x.safetensors")
    assert make().find_checkpoint("x.safetensors").name == "x.safetensors"


def test_unusable_files_are_listed_with_their_problem(models: Path, make) -> None:
    folder = models / "Stable-diffusion"
    folder.mkdir()
    (folder / "empty.safetensors").touch()
    (folder / "page.safetensors").write_text("<!DOCTYPE html>")
    (folder / "gone.safetensors").symlink_to(folder / "nowhere")
    tiny(folder / "style.safetensors")
    write_raw(folder / "lora.safetensors", {"x.lora_down.weight": TINY_HEADER["a"]}, b"\0" * 8)
    catalog = make()
    problems = {r.stem: r.problem for r in catalog.checkpoints()}
    assert "0 bytes" in problems["empty"]
    assert "a web page" in problems["page"]
    assert "link to a file that is not there" in problems["gone"]
    assert "no model known" in problems["style"]
    assert "is a LoRA" in problems["lora"] and "models/Lora" in problems["lora"]


@pytest.mark.parametrize("name", ["梦境 v2", "two  spaces", "new\nline", "quote'\"", "perc%20"])
def test_odd_names_are_kept_and_found(name: str, models: Path, make) -> None:
    path = tiny(models / "checkpoints" / name / f"{name}.safetensors")
    record = make().find_checkpoint(name)
    assert record.path == path and record.name == f"{name}/{name}.safetensors"


def test_undecodable_name_is_listed_and_can_be_shown(models: Path, make) -> None:
    folder = models / "checkpoints"
    folder.mkdir()
    raw = os.fsencode(folder) + b"/caf\xe9.safetensors"
    try:
        Path(os.fsdecode(raw)).write_bytes(tiny(folder / "x.safetensors").read_bytes())
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    catalog = make()
    record = next(r for r in catalog.checkpoints() if r.stem != "x")
    record.title.encode("utf-8")
    assert catalog.hash_now(record).sha256


def test_folder_inside_itself_ends(models: Path, make) -> None:
    tiny(models / "checkpoints" / "deep" / "a.safetensors")
    (models / "checkpoints" / "deep" / "again").symlink_to(models / "checkpoints")
    assert len(make().checkpoints()) == 1


def test_unreadable_folder_is_skipped(models: Path, make, monkeypatch) -> None:
    tiny(models / "checkpoints" / "a.safetensors")
    tiny(models / "checkpoints" / "locked" / "b.safetensors")
    real = os.scandir

    def refuse(path: object) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return real(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
    assert [r.name for r in make().checkpoints()] == ["a.safetensors"]


def test_diffusers_folder_is_one_checkpoint(models: Path, make) -> None:
    folder = models / "checkpoints" / "my model v1.5"
    tiny(folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / "model_index.json").write_text("{}")
    (record,) = make().checkpoints()
    assert record.name == record.stem == "my model v1.5"
    assert record.size > 0 and "unknown folder" in record.problem


def test_vae_beside_a_checkpoint_is_a_vae(models: Path, make) -> None:
    tiny(models / "Stable-diffusion" / "a.safetensors")
    tiny(models / "Stable-diffusion" / "a.vae.safetensors")
    tiny(models / "Stable-diffusion" / "b.vae.pt")
    catalog = make()
    assert [r.name for r in catalog.checkpoints()] == ["a.safetensors"]
    assert [r.name for r in catalog.vaes()] == ["a.vae.safetensors", "b.vae.pt"]


def test_vae_is_found_by_file_name_and_stem(models: Path, make) -> None:
    tiny(models / "VAE" / "sub" / "soft.safetensors")
    catalog = make()
    assert catalog.find_vae("soft.safetensors") == catalog.find_vae("soft")
    with pytest.raises(CheckpointNotFoundError, match="No VAE named"):
        catalog.find_vae("hard")


def test_lora_is_found_by_stem_then_by_an_alias_only_one_file_has(models: Path, make) -> None:
    folder = models / "Lora"
    tiny(folder / "one.safetensors", ss_output_name="ink")
    tiny(folder / "two.safetensors", ss_output_name="oil")
    tiny(folder / "three.safetensors", ss_output_name="oil")
    tiny(folder / "four.safetensors", ss_output_name="none")
    catalog = make()
    assert catalog.find_lora("one").stem == catalog.find_lora("ink").stem == "one"
    for name in ("oil", "none", "One"):
        with pytest.raises(CheckpointNotFoundError):
            catalog.find_lora(name)


def test_lora_hash_skips_the_header_and_shows_twelve_digits(models: Path, make) -> None:
    tiny(models / "Lora" / "a.safetensors")
    catalog = make()
    record = catalog.hash_now(catalog.find_lora("a"))
    wanted = hashlib.sha256(b"\0" * 8).hexdigest()
    assert record.sha256 == wanted and record.short_hash == wanted[:12]


def test_background_hash_arrives_and_is_remembered(
    models: Path, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tiny(models / "checkpoints" / "a.safetensors")
    catalog = make()
    monkeypatch.setattr(looking, "misplaced", lambda *_: "")
    catalog.inspect(catalog.checkpoints()[0])
    catalog.hash_in_background(catalog.checkpoints()[0])
    wait_until(lambda: not catalog.is_busy())
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    assert catalog.find_checkpoint(wanted[:10]).sha256 == wanted
    catalog.close()
    monkeypatch.setattr(catalog_module, "sha256_of_file", None)
    assert make().checkpoints()[0].sha256 == wanted


def test_changed_file_loses_its_facts(models: Path, make) -> None:
    path = tiny(models / "Lora" / "a.safetensors", ss_output_name="ink")
    catalog = make()
    assert catalog.hash_now(catalog.find_lora("ink")).alias == "ink"
    tiny(path, ss_output_name="oil")  # of the same size
    os.utime(path, ns=(1, 1))
    catalog.refresh()
    (record,) = catalog.loras()
    assert record.sha256 is None and record.alias != "ink"
    assert catalog.find_lora("oil").path == path


def test_moved_file_keeps_what_was_found_and_deleted_ones_are_forgotten(
    models: Path, tmp_path: Path, make, monkeypatch
) -> None:
    path = tiny(models / "Lora" / "a.safetensors", ss_v2="False", ss_output_name="ink")
    twin = tiny(models / "Lora" / "b.safetensors", ss_v2="False", ss_output_name="oil")
    for file in (path, twin):
        os.utime(file, ns=(5, 5))
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    wanted = [catalog.hash_now(catalog.find_lora(stem)).sha256 for stem in ("a", "b")]
    monkeypatch.setattr(catalog_module, "lora_hash", None)
    monkeypatch.setattr(looking, "read_metadata", None)
    (models / "Lora" / "style").mkdir()
    path.rename(models / "Lora" / "style" / "a.safetensors")
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    record = catalog.find_lora("ink")
    assert (record.name, record.sha256) == ("style/a.safetensors", wanted[0])
    catalog.close()

    again = make()
    assert again.hash_now(again.find_lora("ink")).sha256 == wanted[0]
    with sqlite3.connect(tmp_path / "db" / "facts.sqlite3") as database:
        rows = database.execute("SELECT path FROM model_files").fetchall()
    assert {os.fsdecode(path) for (path,) in rows} == {str(twin), str(record.path)}


def test_copy_of_a_file_that_is_still_there_is_looked_into_itself(models: Path, make) -> None:
    path = tiny(models / "Lora" / "a.safetensors", ss_v2="False", ss_output_name="ink")
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    catalog.hash_now(catalog.find_lora("a"))
    other = tiny(models / "Lora" / "style" / "a.safetensors", ss_v2="False", ss_output_name="oil")
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    assert sorted(r.alias for r in catalog.records("lora")) == ["ink", "oil"]


def test_file_on_a_drive_that_is_not_plugged_in_keeps_what_was_found(
    models: Path, tmp_path: Path, make, monkeypatch
) -> None:
    path = tiny(models / "Lora" / "drive" / "a.safetensors", ss_v2="False")
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    path.parent.rename(tmp_path / "unplugged")
    catalog.refresh()
    assert catalog.loras() == ()
    (tmp_path / "unplugged").rename(path.parent)
    monkeypatch.setattr(looking, "read_metadata", None)
    catalog.refresh()
    wait_until(lambda: not catalog.is_busy())
    assert catalog.loras()[0].is_labelled


def test_file_replaced_under_its_name_has_a_new_hash_at_once(models: Path, make) -> None:
    path = tiny(models / "Lora" / "a.safetensors")
    catalog = make()
    before = catalog.hash_now(catalog.find_lora("a"))
    header = {"a": {"dtype": "F16", "shape": [8], "data_offsets": [0, 16]}}
    write_raw(path, header, b"\1" * 16)
    after = catalog.hash_now(before)
    assert after.sha256 == hashlib.sha256(b"\1" * 16).hexdigest() != before.sha256
    assert catalog.find_lora("a").sha256 == after.sha256
    path.unlink()
    assert catalog.current(after).path == path, "that it is gone shows when it is opened"


def test_file_that_comes_while_others_are_labelled_is_labelled_too(
    models: Path, make, monkeypatch
) -> None:
    tiny(models / "Lora" / "a.safetensors", ss_v2="False")
    has_begun, may_go_on = threading.Event(), threading.Event()
    read_metadata = looking.read_metadata

    def wait_first(path: Path) -> dict[str, str]:
        has_begun.set()
        assert may_go_on.wait(PATIENCE)
        return read_metadata(path)

    monkeypatch.setattr(looking, "read_metadata", wait_first)
    catalog = make()
    assert has_begun.wait(PATIENCE)
    tiny(models / "Lora" / "b.safetensors", ss_v2="False")
    catalog.refresh()
    may_go_on.set()
    wait_until(lambda: not catalog.is_busy())
    assert [r.is_labelled for r in catalog.loras()] == [True, True]


def test_file_that_cannot_be_looked_into_keeps_no_other_waiting(
    models: Path, make, monkeypatch
) -> None:
    path = tiny(models / "Lora" / "a.safetensors")

    def fail(path: Path) -> None:
        raise MemoryError

    monkeypatch.setattr(looking, "read_metadata", fail)
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    monkeypatch.undo()
    catalog.hash_in_background(catalog.loras()[0])
    wait_until(lambda: not catalog.is_busy())
    assert catalog.loras()[0].path == path and catalog.loras()[0].sha256


def test_folders_when_looked_at_by_two_show_what_the_later_saw(
    models: Path, make, monkeypatch
) -> None:
    tiny(models / "Lora" / "a.safetensors")
    catalog = make()
    scan, has_looked, may_go_on = catalog_module.scan, threading.Event(), threading.Event()

    def scan_slowly(*arguments: object) -> object:
        files = list(scan(*arguments))  # type: ignore[arg-type]
        if threading.current_thread() is slow:
            has_looked.set()
            may_go_on.wait(0.5)
        return files

    monkeypatch.setattr(catalog_module, "scan", scan_slowly)
    slow = threading.Thread(target=catalog.refresh)
    slow.start()
    assert has_looked.wait(PATIENCE)
    tiny(models / "Lora" / "b.safetensors")
    catalog.refresh()
    may_go_on.set()
    slow.join()
    assert len(catalog.loras()) == 2


def test_closing_interrupts_hashing_at_once(models: Path, make, monkeypatch) -> None:
    path = models / "Lora" / "big.pt"
    path.parent.mkdir()
    with open(path, "wb") as file:
        file.truncate(200 << 30)  # a hole: hashing it would take longer than a test may
    catalog = make()
    catalog.hash_in_background(catalog.loras()[0])
    time.sleep(0.1)
    catalog.close()


def test_second_start_opens_no_file(models: Path, make, monkeypatch) -> None:
    for number in range(20):
        tiny(models / "checkpoints" / f"{number}.safetensors")
        tiny(models / "Lora" / f"{number}.safetensors")
    first = make()
    wait_until(lambda: not first.is_busy())
    first.close()

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(looking, "read_header", fail)
    monkeypatch.setattr(looking, "read_metadata", fail)
    second = make()
    wait_until(lambda: not second.is_busy())
    assert all(r.is_inspected for r in second.checkpoints())
    assert all(r.is_labelled for r in second.loras())


def test_lora_that_states_its_family_is_read_by_its_metadata_alone(
    models: Path, make, monkeypatch
) -> None:
    stated = {"ss_base_model_version": "sdxl_base_v1-0", "ss_output_name": "ink"}
    tiny(models / "Lora" / "a.safetensors", **stated, sshs_model_hash="AB" * 32)
    read_header = looking.read_header

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was read whole")

    monkeypatch.setattr(looking, "read_header", fail)
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    (record,) = catalog.loras()
    assert (record.family, record.alias, record.short_hash) == ("sdxl", "ink", "abababababab")
    assert record.is_labelled and not record.is_inspected
    monkeypatch.setattr(looking, "read_header", read_header)
    assert catalog.inspect(record).is_inspected


def test_lora_that_was_cut_says_so_though_its_metadata_is_whole(models: Path, make) -> None:
    stated = {"__metadata__": {"ss_base_model_version": "sd_v1"}}
    tensors = {
        f"lora_unet_conv_{n}.diff": {
            "dtype": "F16", "shape": [99], "data_offsets": [198 * n, 198 * n + 198],
        }
        for n in range(20)
    }  # fmt: skip
    write_raw(models / "Lora" / "cut.safetensors", {**stated, **tensors}, bytes(198 * 20 - 1))
    write_raw(models / "Lora" / "whole.safetensors", {**stated, **tensors}, bytes(198 * 20))
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    cut, whole = catalog.loras()
    assert "cut.safetensors is damaged: it was cut: 3959 of 3960 bytes" in cut.problem
    assert (whole.problem, whole.family, whole.is_inspected) == ("", "sd1", False)


def test_lora_that_states_nothing_is_known_by_its_shapes(models: Path, make) -> None:
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight"
    header = {name: {"dtype": "F16", "shape": [1, 2048], "data_offsets": [0, 4096]}}
    write_raw(models / "Lora" / "a.safetensors", header, b"\0" * 4096)
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    assert [r.family for r in catalog.loras()] == ["sdxl"]


@pytest.mark.parametrize("version", [FACTS_VERSION, FACTS_VERSION - 1])
def test_database_of_an_older_version_keeps_its_hashes_and_learns_the_rest(
    version: int, models: Path, tmp_path: Path, make
) -> None:
    file = tiny(
        models / "Lora" / "a.safetensors", ss_v2="False", ss_tag_frequency='{"x":{"ink":1}}'
    )
    info, database = file.stat(), tmp_path / "db" / "facts.sqlite3"
    database.parent.mkdir()
    with sqlite3.connect(database) as old:
        columns = (
            "size, mtime_ns, is_inspected, kind, family, title, problem, alias, sha256, old_hash"
        )
        old.execute(f"CREATE TABLE model_files (path BLOB PRIMARY KEY, version, {columns})")
        row = (os.fsencode(file), version, info.st_size, info.st_mtime_ns, 1)
        rest = ("lora", "", "a LoRA", "", "", "cd" * 32, "01234567")
        old.execute(f"INSERT INTO model_files VALUES ({', '.join('?' * 12)})", (*row, *rest))
    catalog = make()
    wait_until(lambda: not catalog.is_busy())
    (record,) = catalog.loras()
    assert (record.sha256, record.old_hash, record.family) == ("cd" * 32, "01234567", "sd1")
    assert record.contents == ("a LoRA" if version == FACTS_VERSION else "")
    assert catalog.label(record).words == ("ink",)


def test_thousands_of_files_are_found_again_without_opening_one(
    models: Path, make, monkeypatch
) -> None:
    content = tiny(models / "Lora" / "first.safetensors").read_bytes()
    for number in range(5000):
        path = models / "Lora" / str(number % 40) / f"{number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    for number in range(200):
        tiny(models / "checkpoints" / f"{number}.safetensors")
    first = make()
    wait_until(lambda: not first.is_busy())
    first.close()

    def fail(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    monkeypatch.setattr(looking, "read_header", fail)
    second = make()
    assert len(second.loras()) == 5001 and len(second.checkpoints()) == 200


@pytest.mark.parametrize("damage", [b"this is no database", b""])
def test_damaged_database_costs_only_the_remembered_facts(
    damage: bytes, models: Path, tmp_path: Path, make
) -> None:
    tiny(models / "checkpoints" / "a.safetensors")
    database = tmp_path / "db" / "facts.sqlite3"
    database.parent.mkdir()
    database.write_bytes(damage)
    catalog = make()
    assert catalog.hash_now(catalog.checkpoints()[0]).sha256
    assert catalog.checkpoints()[0].sha256


def test_database_is_shared_with_other_tables(models: Path, tmp_path: Path, make) -> None:
    database = tmp_path / "db" / "facts.sqlite3"
    database.parent.mkdir()
    with sqlite3.connect(database) as other:
        other.execute("CREATE TABLE jobs (id)")
    tiny(models / "Lora" / "a.safetensors", ss_output_name="ink")
    catalog = make()
    assert catalog.metadata(catalog.loras()[0]) == {"ss_output_name": "ink"}
    with sqlite3.connect(database) as other:
        tables = {name for (name,) in other.execute("SELECT name FROM sqlite_master")}
    assert {"jobs", "model_files", "model_metadata"} <= tables


def test_many_threads_may_ask_while_it_refreshes(models: Path, make) -> None:
    for number in range(60):
        tiny(models / "Lora" / f"{number}.safetensors", ss_output_name=f"alias{number}")
    catalog = make()
    faults: list[Exception] = []

    def ask(seed: int) -> None:
        try:
            for number in range(15):
                name = f"alias{(seed * 7 + number) % 60}"
                assert catalog.find_lora(name).alias == name
                catalog.hash_now(catalog.find_lora(str(number)))
                if number % 5 == 0:
                    catalog.refresh()
        except Exception as err:  # collected for the main thread
            faults.append(err)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_missing_folders_make_an_empty_catalog(tmp_path: Path) -> None:
    catalog = Catalog(SomeFolders((tmp_path / "no",)), tmp_path / "db.sqlite3")
    assert catalog.checkpoints() == ()
    with pytest.raises(CheckpointNotFoundError, match="hold: none"):
        catalog.find_checkpoint("x")
    catalog.close()


def test_repertoire_when_written_beside_a_checkpoint_is_given(models: Path, make) -> None:
    file = tiny(models / "Stable-diffusion" / "a.safetensors")
    notes = {"prompt ideas": ["a cat", 7], "words": {"subjects": ["cat", "dog"]}}
    file.with_suffix(".json").write_text(json.dumps(notes), encoding="utf-8")
    catalog = make()
    record = catalog.find_checkpoint("a")
    assert repertoire(record) == Repertoire(("a cat",), ("cat", "dog"))


@pytest.mark.parametrize("notes", ["{}", "[]", "no json", '{"prompt ideas": 3, "words": [1]}'])
def test_repertoire_when_notes_hold_none_is_empty(models: Path, make, notes: str) -> None:
    file = tiny(models / "Stable-diffusion" / "a.safetensors")
    file.with_suffix(".json").write_text(notes, encoding="utf-8")
    catalog = make()
    record = catalog.find_checkpoint("a")
    assert repertoire(record) == Repertoire()
