"""The web process's downloads: beside each other, stopped, taken up again, remembered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.file_server import File, FileServer, serving, weights
from tests.patience import wait_until
from webui.checkpoints.download.fetch import FolderPart, Wanted
from webui.checkpoints.download.hubs import Offer
from webui.checkpoints.known_weights import BY_NAME, KnownWeights
from webui.errors import CheckpointNotFoundError
from webui.services import downloads as downloads_module
from webui.services.downloads import Downloads
from webui.settings import Folders

PATH = "/net.safetensors"


class Place:
    """A server, a folder, and the downloads between them; may be closed and opened again."""

    def __init__(self, folder: Path, server: FileServer) -> None:
        data = folder / "data"
        self.folders = Folders(data, (data / "models",), embeddings=(data / "embeddings",))
        self.server = server
        self.came = 0
        self.open()
        (data / "mirrors.txt").write_text("", "utf-8")

    def open(self) -> None:
        self.downloads = Downloads(self.folders, public_only=False, on_come=self._note)

    def _note(self) -> None:
        self.came += 1

    def give(self, path: str = PATH, **how: Any) -> str:
        self.server.files[path] = File(how.pop("data", weights(0.5)), **how)
        return self.server.url(path)

    def add(self, link: str, kind: str = "checkpoint") -> int:
        (offer,) = self.downloads.offers(link, kind)
        return self.downloads.add(offer)

    def stage(self, download_id: int) -> str:
        return self.downloads.get(download_id).stage

    def wait(self, download_id: int, *stages: str) -> None:
        wait_until(lambda: self.stage(download_id) in stages)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    with serving(FileServer()) as server:
        made = Place(tmp_path, server)
        yield made
        made.downloads.close()


def test_download_when_it_has_come_then_listed_with_its_place(place: Place) -> None:
    link = place.give()
    number = place.add(link)
    place.wait(number, "done", "failed")
    found = place.downloads.get(number)
    assert found.stage == "done" and place.came == 1
    assert Path(found.path) == place.folders.own_models / "Stable-diffusion/net.safetensors"
    assert Path(found.path).read_bytes() == place.server.files[PATH].data


def test_download_when_nobody_said_what_it_is_then_what_it_turned_out_to_be_is_kept(
    place: Place, starter_checkpoint: Path
) -> None:
    link = place.give(data=starter_checkpoint.read_bytes())
    number = place.add(link, "")
    place.wait(number, "done", "failed")
    found = place.downloads.get(number)
    assert (found.stage, found.wanted.kind) == ("done", "checkpoint")
    again = place.add(link, "")
    place.wait(again, "done", "failed")
    assert [(d.id, d.stage, d.path) for d in place.downloads.all()] == [(again, "done", found.path)]
    assert not list((place.folders.own_models / ".downloads").iterdir())


def test_folder_when_stopped_by_the_programs_end_then_goes_on_and_is_forgotten_whole(
    place: Place,
) -> None:
    index = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"]}
    given = {"model_index.json": json.dumps(index).encode(), "vae/w.safetensors": weights(0.5)}
    parts = tuple(
        FolderPart(path, (place.give(f"/{path}", data=data, pause=0.05),), size_bytes=len(data))
        for path, data in given.items()
    )
    offer = Offer("Tiny", Wanted((), "checkpoint", "Tiny", size_bytes=600_000, parts=parts))
    number = place.downloads.add(offer)
    wait_until(lambda: (state := place.downloads.get(number).state) and state.done_bytes > 50_000)
    place.downloads.close()
    place.open()
    found = place.downloads.get(number)
    assert found.stage == "interrupted" and found.kept_bytes > 0 and found.wanted == offer.wanted
    place.downloads.resume(number)
    place.wait(number, "done", "failed")
    path = place.folders.own_models / "Stable-diffusion" / "Tiny"
    assert place.downloads.get(number).path == str(path)
    assert (path / "vae/w.safetensors").read_bytes() == given["vae/w.safetensors"]


def test_download_when_its_kind_is_said_at_the_second_attempt_then_is_one(place: Place) -> None:
    link = place.give()
    place.wait(place.add(link, ""), "failed")
    place.server.asked.clear()
    number = place.add(link, "lora")
    place.wait(number, "done", "failed")
    assert [(d.id, d.stage) for d in place.downloads.all()] == [(number, "done")]
    assert {one.range for one in place.server.asked} == {"bytes=0-0"}, "it had come before"
    other = place.add(place.give("/other.safetensors"), "")
    place.wait(other, "failed")
    assert (place.downloads.get(other).error or {})["code"] == "unknown_kind"
    place.downloads.resume(other, "vae")
    place.wait(other, "done", "failed")
    assert Path(place.downloads.get(other).path).parent.name == "VAE"


def test_download_when_it_fails_then_says_why_and_may_be_tried_again(place: Place) -> None:
    number = place.add(place.server.url(PATH))
    place.wait(number, "failed")
    error = place.downloads.get(number).error
    assert error is not None and "HTTP 404" in error["message"]
    place.give()
    place.downloads.resume(number)
    place.wait(number, "done")


def test_downloads_when_many_are_asked_for_then_two_run_and_the_rest_waits(place: Place) -> None:
    numbers = [place.add(place.give(f"/{n}.safetensors", pause=0.05)) for n in range(4)]
    wait_until(lambda: sum(place.stage(n) == "running" for n in numbers) == 2)
    assert [place.stage(n) for n in numbers].count("waiting") == 2
    place.downloads.stop(numbers[3])
    assert place.stage(numbers[3]) == "stopped"
    for file in place.server.files.values():
        file.pause = 0
    for number in numbers[:3]:
        place.wait(number, "done")
    assert place.stage(numbers[3]) == "stopped"


def test_download_when_asked_for_twice_then_is_one(place: Place) -> None:
    link = place.give(pause=0.05)
    assert place.add(link) == place.add(link)
    assert len(place.downloads.all()) == 1


def test_download_when_stopped_then_goes_on_or_is_forgotten(place: Place) -> None:
    link = place.give(pause=0.1)
    number = place.add(link)
    wait_until(lambda: (s := place.downloads.get(number).state) is not None and s.done_bytes > 0)
    place.downloads.stop(number)
    place.wait(number, "stopped")
    kept = place.downloads.get(number).kept_bytes
    assert 0 < kept < len(place.server.files[PATH].data)
    place.server.files[PATH].pause = 0
    place.server.asked.clear()
    place.downloads.resume(number)
    place.wait(number, "done")
    place.give("/other.safetensors", pause=0.1)
    other = place.add(place.server.url("/other.safetensors"))
    wait_until(lambda: (s := place.downloads.get(other).state) is not None and s.done_bytes > 0)
    place.downloads.stop(other)
    place.wait(other, "stopped")
    place.downloads.forget(other)
    assert [found.id for found in place.downloads.all()] == [number]
    assert not list((place.folders.own_models / ".downloads").iterdir())


def test_downloads_when_the_program_ends_then_listed_as_interrupted_and_go_on(
    place: Place,
) -> None:
    running = place.add(place.give(pause=0.1))
    wait_until(lambda: (s := place.downloads.get(running).state) is not None and s.done_bytes > 0)
    place.downloads.close()
    place.server.files[PATH].pause = 0
    place.open()
    found = place.downloads.get(running)
    assert found.stage == "interrupted" and found.kept_bytes > 0
    place.downloads.resume(running)
    place.wait(running, "done")


def test_known_when_asked_for_by_name_then_comes_from_its_sources(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = place.give("/net.bin")
    file = place.server.files["/net.bin"]
    known = KnownWeights(
        "Tiny", "upscaler", "tiny.pth", "RealESRGAN", "MIT", sha256=file.sha256, urls=(url,)
    )
    monkeypatch.setattr(downloads_module, "BY_NAME", {**BY_NAME, "Tiny": known})
    number = place.downloads.add_known("Tiny")
    place.wait(number, "done", "failed")
    found = place.downloads.get(number)
    assert found.path == str(place.folders.own_models / "RealESRGAN" / "tiny.pth")
    with pytest.raises(CheckpointNotFoundError, match="No well-known weights"):
        place.downloads.add_known("Nonsense")


def test_download_for_people_elsewhere_never_reaches_into_the_private_network(
    place: Place,
) -> None:
    link = place.give()
    place.downloads.close()
    place.downloads = Downloads(place.folders, public_only=True, on_come=place._note)
    number = place.add(link)
    place.wait(number, "failed")
    assert place.server.asked == []
