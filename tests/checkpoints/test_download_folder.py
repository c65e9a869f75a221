"""Diffusers folders from a hub: the right files of the right ones, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.checkpoints.file_server import File, FileServer, serving, weights
from tests.checkpoints.test_download import Places, Watching
from webui.checkpoints.basic_support import read_folder
from webui.checkpoints.download import fetch, folder, transfer
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import FolderPart, Network, Wanted
from webui.checkpoints.download.folder import discard, get, kept
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.mirrors import Mirrors
from webui.checkpoints.download.repositories import Listed, folder_files
from webui.errors import DownloadError, JobCancelled, UnsafeCheckpointError

INDEX = {
    "_class_name": "FluxPipeline", "_diffusers_version": "0.30.0",
    "transformer": ["diffusers", "FluxTransformer2DModel"], "image_encoder": [None, None],
    "vae": ["diffusers", "AutoencoderKL"],
}  # fmt: skip
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
NETWORK = Network(Rules(Keys(None, {})), Mirrors({}))


@dataclass
class Hub:
    """A model on a server, and the folder it shall come to."""

    server: FileServer
    places: Places
    watching: Watching = field(default_factory=Watching)

    def give(self, path: str, data: bytes, **how: Any) -> FolderPart:
        self.server.files[f"/{path}"] = file = File(data, **how)
        sha256 = file.sha256 if path.endswith(".safetensors") else None
        return FolderPart(path, (self.server.url(f"/{path}"),), sha256, len(data))

    def model(self) -> Wanted:
        json_kind = {"kind": "application/json"}
        parts = (
            self.give("model_index.json", json.dumps(INDEX).encode(), **json_kind),
            self.give("transformer/config.json", b"{}", **json_kind),
            self.give("vae/config.json", b"{}", kind="text/plain", has_ranges=False),
            self.give(TRANSFORMER, weights(0.4)),
            self.give("vae/diffusion_pytorch_model.safetensors", weights(0.2, 1)),
        )
        total = sum(part.size_bytes or 0 for part in parts)
        return Wanted((), "checkpoint", "Tiny-Model", size_bytes=total, parts=parts)

    def get(self, wanted: Wanted) -> Path:
        return get(wanted, self.places, NETWORK, self.watching)

    @property
    def left(self) -> list[str]:
        """Every file that lies about."""
        return sorted(p.name for p in self.places.own_models.rglob("*") if p.is_file())


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(transfer, "SEGMENT_BYTES", 64 << 10)
    monkeypatch.setattr(transfer, "CHUNK_BYTES", 16 << 10)
    monkeypatch.setattr(fetch, "TICK_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "*")
    with serving(FileServer()) as server:
        yield Hub(server, Places(tmp_path / "models"))


def test_folder_when_fetched_then_lies_whole_under_its_name_and_is_a_model(hub: Hub) -> None:
    wanted = hub.model()
    path = hub.get(wanted)
    assert path == hub.places.own_models / "Stable-diffusion" / "Tiny-Model"
    for part in wanted.parts:
        assert (path / part.path).read_bytes() == hub.server.files[f"/{part.path}"].data
    model = read_folder(path)
    assert model is not None and model.family == "flux"
    assert len(hub.left) == len(wanted.parts), "nothing else is left"
    last = hub.watching.told[-1]
    assert last.done_bytes == last.total_bytes == wanted.size_bytes
    done = [state.done_bytes for state in hub.watching.told]
    assert done == sorted(done)


def test_folder_when_there_already_then_nothing_is_asked(hub: Hub) -> None:
    wanted = hub.model()
    path = hub.get(wanted)
    hub.server.forget()
    assert hub.get(wanted) == path
    assert hub.server.asked == []


def test_folder_when_another_has_the_name_then_it_stays(hub: Hub) -> None:
    there = hub.places.own_models / "Stable-diffusion" / "Tiny-Model"
    there.mkdir(parents=True)
    (there / "mine.txt").write_text("x", "utf-8")
    with pytest.raises(DownloadError, match="is there already"):
        hub.get(hub.model())
    assert hub.left == ["mine.txt"] and hub.server.asked == []


def test_folder_when_stopped_then_goes_on_with_what_lacks(hub: Hub) -> None:
    wanted = hub.model()
    hub.server.files[f"/{TRANSFORMER}"].pause = 0.01
    hub.watching.stop_at = 200_000
    with pytest.raises(JobCancelled):
        hub.get(wanted)
    came = kept(wanted, hub.places)
    assert 0 < came < (wanted.size_bytes or 0)
    assert not (hub.places.own_models / "Stable-diffusion").exists()
    hub.server.forget()
    hub.watching.stop_at = None
    hub.get(wanted)
    asked = [one.path for one in hub.server.asked]
    assert "/model_index.json" not in asked
    assert hub.server.bytes_asked(f"/{TRANSFORMER}") < len(hub.server.files[f"/{TRANSFORMER}"].data)


def test_folder_when_stopped_and_discarded_then_nothing_is_left(hub: Hub) -> None:
    wanted = hub.model()
    hub.server.files[f"/{TRANSFORMER}"].pause = 0.01
    hub.watching.stop_at = 200_000
    with pytest.raises(JobCancelled):
        hub.get(wanted)
    discard(wanted, hub.places)
    assert hub.left == [] and kept(wanted, hub.places) == 0


def test_folder_when_one_file_has_other_bytes_then_nothing_gets_the_name(hub: Hub) -> None:
    wanted = hub.model()
    hub.server.files[f"/{TRANSFORMER}"].data = weights(0.4, 9)
    with pytest.raises(DownloadError, match="other bytes than were published"):
        hub.get(wanted)
    assert not (hub.places.own_models / "Stable-diffusion").exists()


def test_folder_when_a_page_comes_in_place_of_a_text_then_refused(hub: Hub) -> None:
    wanted = hub.model()
    hub.server.files["/vae/config.json"].kind = "text/html"
    with pytest.raises(DownloadError, match="sent a web page"):
        hub.get(wanted)


def test_folder_when_it_is_unsafe_then_thrown_away(hub: Hub) -> None:
    wanted = hub.model()
    index = {**INDEX, "_class_name": "os.system"}
    data = json.dumps(index).encode()
    part = hub.give("model_index.json", data, kind="application/json")
    with pytest.raises(UnsafeCheckpointError, match=r"Tiny-Model asks .* It was thrown away"):
        hub.get(replace(wanted, parts=(part, *wanted.parts[1:])))
    assert hub.left == []


def test_folder_when_the_disk_is_too_small_then_nothing_is_fetched(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = replace(hub.model(), size_bytes=10**18)
    with pytest.raises(DownloadError, match="no room for the file"):
        hub.get(wanted)
    assert hub.server.asked == []


FILES = [
    "README.md", "model_index.json", "pipeline.py", "single.safetensors",
    "transformer/config.json", "transformer/model.fp16.safetensors", "transformer/evil.py",
    "transformer/model-00001-of-00002.safetensors", "transformer/model-00002-of-00002.safetensors",
    "transformer/model.safetensors.index.json", "transformer/pytorch_model.bin",
    "transformer/../../evil.json", "transformer/deep/er.json",
    "vae/config.json", "vae/model.bin", "vae/model.fp16.bin", "vae/.hidden.json",
    "safety_checker/config.json", "safety_checker/model.safetensors",
]  # fmt: skip


@pytest.mark.parametrize(
    ("class_name", "has_checker"), [("FluxPipeline", True), ("StableDiffusionPipeline", False)]
)
def test_files_of_a_folder_are_its_parts_in_one_variant_without_code(
    class_name: str, has_checker: bool
) -> None:
    index = {**INDEX, "_class_name": class_name, "safety_checker": ["diffusers", "Checker"]}
    chosen = [file.path for file in folder_files(index, [Listed(path) for path in FILES])]
    checker = ["safety_checker/config.json", "safety_checker/model.safetensors"]
    wanted = [
        "model_index.json", "transformer/config.json", "transformer/model.safetensors.index.json",
        "vae/config.json", "transformer/model-00001-of-00002.safetensors",
        "transformer/model-00002-of-00002.safetensors", "vae/model.bin",
        *(checker if has_checker else []),
    ]  # fmt: skip
    assert sorted(chosen) == sorted(wanted)
    assert chosen[0] == "model_index.json" and chosen[-1].endswith((".safetensors", ".bin"))


@pytest.mark.parametrize(
    "index", [None, [], {}, {"_class_name": "FluxPipeline"}, {**INDEX, "text": ["a", "b"]}]
)
def test_files_of_no_folder_or_of_one_that_lacks_a_part_are_none(index: Any) -> None:
    assert folder_files(index, [Listed(path) for path in FILES]) == []


def test_folder_when_it_goes_to_another_disk_then_is_copied_whole(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = hub.model()
    monkeypatch.setattr(folder, "_is_on_one_disk", lambda *_: False)
    path = hub.get(wanted)
    assert sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()) == sorted(
        part.path for part in wanted.parts
    )
    assert len(hub.left) == len(wanted.parts)
