"""Which VAE file a checkpoint is painted with: the wish, what is noted, what is named after it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints.model_files import TINY_HEADER, SomeFolders, write_raw
from tests.ui.serve import FAKE_WORKER
from webui.checkpoints.catalog import Catalog
from webui.errors import CheckpointNotFoundError
from webui.params import TextToImage
from webui.services.vae_choice import choose_vae
from webui.settings import read_settings
from webui.studio import Studio

Choose = Callable[..., str | None]


def tiny(path: Path) -> Path:
    return write_raw(path, TINY_HEADER, b"\0" * 8)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    tiny(folder / "Stable-diffusion" / "dream.safetensors")
    tiny(folder / "VAE" / "other.pt")
    return folder


@pytest.fixture
def choose(models: Path, tmp_path: Path) -> Iterator[Choose]:
    """The name of the file chosen for ``dream``, None for the checkpoint's own VAE."""
    catalogs: list[Catalog] = []

    def run(wanted: str = "Automatic", **how: object) -> str | None:
        catalogs.append(Catalog(SomeFolders((models,)), tmp_path / "facts.sqlite3"))
        record = catalogs[-1].find_checkpoint("dream")
        choice = choose_vae(wanted, record, catalogs[-1], **how)  # type: ignore[arg-type]
        assert not choice.warning
        return choice.record and choice.record.name

    yield run
    for catalog in catalogs:
        catalog.close()


def note(models: Path, vae: object) -> None:
    (models / "Stable-diffusion" / "dream.json").write_text(json.dumps({"vae": vae}))


def test_automatic_when_a_file_starts_with_the_stem_takes_it_unless_noted_otherwise(
    choose: Choose, models: Path
) -> None:
    assert choose() is None
    tiny(models / "VAE" / "dream-v2.vae.pt")
    assert choose() == "dream-v2.vae.pt"
    note(models, "other.pt")
    assert choose() == "other.pt"
    note(models, "None")
    assert choose() is None
    for nothing in ("Automatic", "", 7):
        note(models, nothing)
        assert choose() == "dream-v2.vae.pt"


@pytest.mark.parametrize(
    "name", ["dream.vae.pt", "dream.vae.safetensors", "dream.vae.ckpt", "../VAE/dream.safetensors"]
)
def test_automatic_when_several_are_named_after_it_takes_the_exact_one(
    choose: Choose, models: Path, name: str
) -> None:
    tiny(models / "VAE" / "dream-anything.pt")
    tiny(models / "Stable-diffusion" / name)

    assert choose() == Path(name).name


def test_automatic_when_the_file_is_empty_passes_it_over(choose: Choose, models: Path) -> None:
    (models / "VAE" / "dream.pt").write_bytes(b"")

    assert choose() is None


def test_choice_when_made_wins_over_notes_unless_they_shall_win(
    choose: Choose, models: Path
) -> None:
    tiny(models / "VAE" / "third.pt")
    assert choose("other.pt", overrides_notes=False) == "other.pt"  # nothing is noted
    note(models, "third.pt")

    assert choose("other.pt") == "other.pt" and choose("None") is None and choose("") is None
    assert choose("other.pt", overrides_notes=False) == "third.pt"
    assert choose("None", overrides_notes=False) == "third.pt"


def test_usual_file_when_given_is_what_automatic_means(choose: Choose, models: Path) -> None:
    note(models, "None")
    usual = str(models / "VAE" / "other.pt")

    assert choose(usual=usual) == "other.pt" and choose("None", usual=usual) is None


def test_choice_when_it_is_not_there_is_an_error(choose: Choose) -> None:
    with pytest.raises(CheckpointNotFoundError, match="No VAE named 'gone'"):
        choose("gone")


@pytest.fixture
def studio(models: Path, tmp_path: Path) -> Iterator[Studio]:
    usual = tiny(tmp_path / "elsewhere" / "usual.pt")
    flags = ["--nowebui", "--data-dir", str(tmp_path), "--vae-path", str(usual)]
    made = Studio(read_settings(flags, {}), worker_command=FAKE_WORKER)
    yield made
    made.stop()


def files_of_a_job(studio: Studio, vae: str) -> tuple[dict[str, str] | None, tuple[str, ...]]:
    params = TextToImage(prompt="a boat", checkpoint="dream.safetensors", vae=vae)
    job = studio.submit(params)
    message = studio.job_files.for_job(job)
    return message["vae"], studio.jobs.get(job.id).warnings


def test_job_when_prepared_names_the_vae_with_its_hash(studio: Studio) -> None:
    found, warnings = files_of_a_job(studio, "Automatic")
    other, _ = files_of_a_job(studio, "other")
    own, _ = files_of_a_job(studio, "None")

    assert found is not None and other is not None and own is None and warnings == ()
    assert found["name"] == "usual.pt" and other["name"] == "other.pt"
    assert found["sha256"] == hashlib.sha256(Path(found["path"]).read_bytes()).hexdigest()


def test_job_when_the_checkpoint_was_replaced_carries_no_hash_of_the_old_one(
    studio: Studio, models: Path
) -> None:
    params = TextToImage(prompt="a boat", checkpoint="dream.safetensors", vae="None")
    job = studio.submit(params)
    before = studio.catalog.hash_now(studio.catalog.find_checkpoint("dream.safetensors"))
    assert studio.job_files.for_job(job)["checkpoint"]["sha256"] == before.sha256
    with before.path.open("ab") as file:
        file.write(b"more")

    carried = studio.job_files.for_job(job)["checkpoint"]
    assert (carried["sha256"], carried["size"]) == (None, before.size + 4)


def test_job_when_the_noted_vae_is_gone_is_painted_and_tells(studio: Studio, models: Path) -> None:
    studio.options.set("sd_vae_overrides_per_model_preferences", False)
    note(models, "lost.pt")
    tiny(models / "VAE" / "dream-v2.pt")
    studio.refresh_models()

    found, (told,) = files_of_a_job(studio, "other.pt")

    assert found is not None and found["name"] == "dream-v2.pt"
    assert "'lost.pt'" in told and "dream-v2.pt" in told
