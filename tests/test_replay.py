"""Whether a recipe gives the same picture on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.checkpoints.model_files import SomeFolders
from tests.library.painting import FLAT, facts, painted
from webui import PROGRAM_VERSION
from webui.checkpoints.catalog import Catalog
from webui.infotext import parse_infotext
from webui.library.library import Library
from webui.services.gallery.made_with import MadeWith
from webui.services.gallery.replay import Replays, Verdict, judge
from webui.services.named_weights import NamedWeights

HERE = {"device": "cpu", "device_name": "cpu", "dtype": "float32", "torch": "2.13.0"}
MADE_ON = {**HERE, "program": PROGRAM_VERSION}


UPSCALER = "starter-2x-flat"


@pytest.fixture
def catalog(tmp_path: Path, starter_checkpoint: Path):
    models = tmp_path / "models"
    for folder in ("Stable-diffusion", "Lora", "VAE", "ESRGAN"):
        (models / folder).mkdir(parents=True)
    (models / "Stable-diffusion" / "starter.safetensors").symlink_to(starter_checkpoint)
    project = starter_checkpoint.parent.parent
    (models / "Lora" / "ink.safetensors").symlink_to(next((project / "Lora").glob("*.safetensors")))
    upscaler = project / "ESRGAN" / f"{UPSCALER}.safetensors"
    (models / "ESRGAN" / upscaler.name).symlink_to(upscaler)
    made = Catalog(SomeFolders((models,)), tmp_path / "facts.sqlite3")
    made.refresh()
    yield made
    made.close()


def verdict(
    catalog: Catalog, prompt: str = "a cat", made_on=None, here=None, extensions=None, **more: str
):
    checkpoint = catalog.hash_now(catalog.checkpoints()[0])
    pairs = {"Steps": "3", "Seed": "5", "Model": "starter", "RNG": "CPU"}
    pairs |= {"Model hash": (checkpoint.sha256 or "")[:10]}
    pairs |= {key.replace("_", " "): value for key, value in more.items()}
    line = ", ".join(f'{key}: "{v}"' if ":" in v else f"{key}: {v}" for key, v in pairs.items())
    read = parse_infotext(f"{prompt}\n{line}")
    return judge(
        read, MADE_ON if made_on is None else made_on, catalog, HERE if here is None else here,
        extensions=extensions or {},
    )  # fmt: skip


def keys(found: Verdict) -> list[str]:
    return [reason.key for reason in found.reasons]


def test_all_the_same_is_exact_and_a_process_that_has_not_started_is_not_compared(catalog) -> None:
    assert verdict(catalog) == Verdict("exact")
    assert verdict(catalog, here={}) == Verdict("exact")


def test_lora_is_compared_by_its_hash(catalog) -> None:
    ink = catalog.hash_now(catalog.find_lora("ink"))
    prompt = "a cat <lora:ink:0.5>"
    assert verdict(catalog, prompt, Lora_hashes=f"ink: {ink.short_hash}").level == "exact"
    other = verdict(catalog, prompt, Lora_hashes="ink: 0123456789ab")
    assert (other.level, keys(other)) == ("close", ["other_lora"])
    assert other.reasons[0].here == ink.short_hash
    assert keys(verdict(catalog, prompt)) == ["unhashed"]
    gone = verdict(catalog, "a cat <lora:wash:1>", Lora_hashes="wash: 0123456789ab")
    assert (gone.level, keys(gone)) == ("cannot", ["lacks_lora"])


def test_models_that_are_missing_come_first(catalog) -> None:
    found = verdict(
        catalog, made_on={}, Model_hash="0123456789", VAE="fine.vae.pt", VAE_hash="0123456789"
    )
    assert found.level == "cannot"
    assert keys(found) == ["lacks_checkpoint", "lacks_vae", "unrecorded"]
    assert found.reasons[0].name == "starter [0123456789]"


def test_recipe_that_names_no_checkpoint_is_not_said_to_lack_one(catalog) -> None:
    found = judge(parse_infotext("a cat\nSteps: 3, Seed: 5, RNG: CPU"), MADE_ON, catalog, HERE)
    assert (found.level, keys(found)) == ("close", ["unnamed_checkpoint"])


def test_picture_whose_record_is_gone_is_judged_as_one_from_elsewhere(
    catalog, tmp_path: Path
) -> None:
    library = Library(tmp_path, tmp_path / "library.sqlite3")
    replays = Replays(library, made_with(catalog), lambda: HERE)
    text = "a cat\nSteps: 3, Seed: 5, Model: starter, RNG: CPU"
    found, same = replays.of(text, 77)
    assert found is not None and keys(found) == ["unhashed", "unrecorded"] and same == []
    found, _ = replays.of(text, 77, lacks_picture=True)
    assert found is not None and (found.level, keys(found)[0]) == ("cannot", "lacks_picture")


def made_with(catalog: Catalog) -> MadeWith:
    return MadeWith(catalog, NamedWeights(catalog), lambda acting: dict.fromkeys(acting or (), "1"))


@pytest.mark.parametrize("key", ["Refiner", "Hires checkpoint"])
def test_further_checkpoints_must_be_there_too(catalog, key: str) -> None:
    known = catalog.hash_now(catalog.checkpoints()[0])
    assert verdict(catalog, **{key: f"starter [{known.hash10}]"}).level == "exact"
    assert keys(verdict(catalog, **{key: "starter"})) == ["unhashed"]
    gone = verdict(catalog, **{key: "beauty v2 [0123456789]"})
    assert (gone.level, keys(gone)) == ("cannot", ["lacks_checkpoint"])
    assert gone.reasons[0].name == "beauty v2 [0123456789]"


def test_upscalers_and_face_restorers_are_compared_with_what_was_kept(catalog) -> None:
    recipe = {"Hires upscale": "2", "Hires upscaler": UPSCALER}
    text = ", ".join(f"{key}: {value}" for key, value in (("Steps", "3"), *recipe.items()))
    kept = made_with(catalog).of(f"a cat\n{text}", ())
    assert verdict(catalog, made_on={**MADE_ON, **kept}, **recipe) == Verdict("exact")
    assert keys(verdict(catalog, **recipe)) == ["unhashed"]
    other = verdict(catalog, made_on={**MADE_ON, "files": {UPSCALER: "0123456789"}}, **recipe)
    assert (other.level, keys(other)) == ("close", ["other_file"])
    assert verdict(catalog, **{**recipe, "Hires upscaler": "Latent (bicubic)"}).level == "exact"
    gone = verdict(catalog, **{"SD upscale upscaler": "4x-Sharp", "Face restoration": "GFPGAN"})
    assert (gone.level, keys(gone)) == ("cannot", ["lacks_upscaler", "lacks_face"])


def test_hypernetworks_loras_of_the_second_pass_and_samplers_must_be_there(catalog) -> None:
    gone = verdict(
        catalog, "a cat <hypernet:mood:1>", Sampler="Wave", **{"Hires prompt": "<lora:wash:1>"}
    )
    assert gone.level == "cannot"
    assert sorted(keys(gone)) == ["lacks_hypernetwork", "lacks_lora", "lacks_sampler"]
    assert verdict(catalog, Sampler="DPM++ 2M Karras").level == "exact"


def test_extension_that_acted_is_compared(catalog) -> None:
    kept = made_with(catalog).of("a cat", ["waves"])
    assert kept == {"extensions": {"waves": "1"}} and made_with(catalog).of("a cat", []) == {}
    made_on = {**MADE_ON, **kept}
    assert (
        verdict(catalog, made_on=made_on, extensions={"waves": "1", "more": "2"}).level == "exact"
    )
    for now in ({"waves": "2"}, {}):
        found = verdict(catalog, made_on=made_on, extensions=now)
        assert (found.level, keys(found)) == ("close", ["other_extension"])


def test_word_that_was_an_embedding_is_told_of(catalog) -> None:
    found = verdict(catalog, "a cat, easyneg", TI_hashes="easyneg: 0123456789ab")
    assert (found.level, keys(found)) == ("close", ["other_embedding"])


@pytest.mark.parametrize("key", ["device", "dtype", "torch", "program"])
def test_machine_that_differs_is_named(catalog, key: str) -> None:
    found = verdict(catalog, made_on={**MADE_ON, key: "another"})
    assert (found.level, keys(found)) == ("close", [f"other_{key}"])
    assert found.reasons[0].name == "another"


def test_noise_of_a_card_is_that_cards(catalog) -> None:
    card = {**MADE_ON, "device": "cuda", "device_name": "A"}
    here = {**HERE, "device": "cuda", "device_name": "B"}
    assert keys(verdict(catalog, made_on=card, here=here, RNG="GPU")) == ["gpu_noise"]
    assert verdict(catalog, made_on=card, here=here, RNG="NV").level == "exact"


def test_equal_pixels_prove_it_whatever_the_file_format(tmp_path: Path) -> None:
    library = Library(tmp_path, tmp_path / "app.sqlite3")
    saved = [
        library.save_image(
            job, 0, painted(picture_format=kind), facts(pixels=pixels), FLAT, tmp_path
        )
        for job, kind, pixels in (
            (1, "png", "aa"),
            (2, "webp", "aa"),
            (3, "png", "bb"),
            (4, "png", ""),
        )
    ]
    first, second, third, unknown = saved
    assert [p.id for p in library.same_pixels(first)] == [second.id]
    assert library.same_pixels(third) == library.same_pixels(unknown) == []
    library.close()
