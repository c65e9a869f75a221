"""Checkpoints and VAEs in memory: parts that are read once, and bytes that do not add up."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from webui.checkpoints.families import FAMILIES
from webui.checkpoints.rules import VAE
from webui.torch_setup import prepare_torch

prepare_torch(threads=1)

from tests.checkpoints.small_families import (  # noqa: E402
    folder,
    make,
    single_file,
)
from webui.checkpoints import rereading  # noqa: E402
from webui.checkpoints.load import load_part  # noqa: E402
from webui.checkpoints.memory import Budget  # noqa: E402
from webui.errors import CheckpointError, ModelTooLargeError  # noqa: E402
from webui.model_process import loaded_models  # noqa: E402
from webui.model_process.loaded_models import LoadedModels, ModelPlan, SmallRule  # noqa: E402
from webui.networks.lora.applying import (  # noqa: E402
    NetworkChange,
    is_lost,
    set_changes,
)
from webui.networks.lora.changes import Difference, LayerChange  # noqa: E402
from webui.pipelines.placement import NetworkPart  # noqa: E402
from webui.restoration.networks import Shelf  # noqa: E402

CPU = torch.device("cpu")


def files(checkpoint: Path, vae: Path | None = None) -> dict[str, Any]:
    return {
        "checkpoint": {"path": str(checkpoint)}, "vae": {"path": str(vae)} if vae else None,
    }  # fmt: skip


def models_with(device_bytes: int = 0) -> LoadedModels:
    return LoadedModels(ModelPlan(CPU, torch.float32, torch.float32, device_bytes=device_bytes))


@pytest.fixture(scope="module")
def vae_file(starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tensors = {
        name.removeprefix(VAE): tensor
        for name, tensor in load_file(starter_checkpoint).items()
        if name.startswith(VAE)
    }
    path = tmp_path_factory.mktemp("vae") / "other.vae.safetensors"
    save_file(tensors, path)
    return path


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read from files, in order."""
    done: list[str] = []
    for name in ("load_checkpoint", "load_vae", "load_own_vae"):
        real = getattr(loaded_models, name)

        def noting(*args: Any, _name: str = name, _real: Any = real, **more: Any) -> Any:
            done.append(_name)
            return _real(*args, **more)

        monkeypatch.setattr(loaded_models, name, noting)
    return done


def test_vae_when_another_is_chosen_is_read_alone_and_both_stay(
    starter_checkpoint: Path, vae_file: Path, read: list[str]
) -> None:
    models = models_with(1 << 40)
    model = models.get(files(starter_checkpoint))
    unet, own = model.unet, model.vae
    model.extras["cheap_preview"] = "drawn from the VAE"

    other = models.get(files(starter_checkpoint, vae_file))
    assert other is model and other.unet is unet
    assert other.vae is not own and other.vae_path == vae_file
    assert "cheap_preview" not in other.extras
    assert models.get(files(starter_checkpoint)).vae is own
    assert model.vae_path is None
    assert read == ["load_checkpoint", "load_vae"]


def test_vae_when_chosen_first_spares_the_checkpoints_own_until_that_is_wanted(
    starter_checkpoint: Path, vae_file: Path, read: list[str]
) -> None:
    models = models_with(1 << 40)
    first = models.get(files(starter_checkpoint, vae_file)).vae
    assert models.vae_key(files(starter_checkpoint)) not in models.memory
    assert models.get(files(starter_checkpoint)).vae is not first
    assert read == ["load_checkpoint", "load_own_vae"]


def test_vae_of_two_checkpoints_is_in_memory_once(
    starter_checkpoint: Path, vae_file: Path, tmp_path: Path, read: list[str]
) -> None:
    copy = Path(shutil.copy(starter_checkpoint, tmp_path / "b.safetensors"))
    models = models_with(1 << 40)
    vae = models.get(files(starter_checkpoint, vae_file)).vae
    alone = models.memory.used.device
    assert models.get(files(copy, vae_file)).vae is vae
    assert read == ["load_checkpoint"] * 2
    two = models.memory.used.device
    vae_bytes = alone - sum(
        p.numel() * 4 for part in ("unet", "text_encoder") for p in _own(models, part)
    )
    assert two == pytest.approx(2 * alone - vae_bytes, rel=0.01)


def _own(models: LoadedModels, part: str) -> list[torch.Tensor]:
    first = models.memory.values("checkpoint")[0]
    return list(getattr(first, part).parameters())


def test_twenty_turns_between_checkpoints_end_with_the_memory_of_two(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    paths = [Path(shutil.copy(starter_checkpoint, tmp_path / f"{n}.safetensors")) for n in range(4)]
    models = models_with()
    one = models.get(files(paths[0])).nbytes
    models = models_with(int(one * 2.2))
    process, resident, counted = psutil.Process(), [], []
    for turn in range(20):
        wish = files(paths[turn % 4])
        models.begin([wish], {})
        models.get(wish)
        resident.append(process.memory_info().rss)
        counted.append(models.memory.used.device)
    kept = [models.checkpoint_key(files(path)) in models.memory for path in paths]
    assert kept == [False, False, True, True]
    assert set(counted[1:]) == {counted[1]} and counted[1] == pytest.approx(2 * one, rel=0.01)
    assert max(resident[2:]) < resident[1] + one * 0.5, "memory that was let go of stays taken"
    models.unload_all()
    assert process.memory_info().rss < resident[1] - one


def test_checkpoint_when_its_file_is_replaced_is_read_again_and_there_once(
    starter_checkpoint: Path, tmp_path: Path, read: list[str]
) -> None:
    wish = files(Path(shutil.copy(starter_checkpoint, tmp_path / "a.safetensors")))
    models = models_with(1 << 40)
    models.begin([wish], {})
    first = models.get(wish)
    one = models.memory.used
    os.utime(wish["checkpoint"]["path"], ns=(1, 1))
    assert models.get(wish) is first, "a job ends with what it began with"

    models.begin([wish], {})
    assert not models.has(wish) and len(models.memory) == 0
    assert models.get(wish) is not first and models.memory.used == one
    assert read == ["load_checkpoint"] * 2


def test_folder_when_a_part_in_it_is_replaced_is_read_again(
    tmp_path: Path, read: list[str]
) -> None:
    wish = files(folder(make("sd2"), tmp_path / "m"))
    models = models_with(1 << 40)
    models.begin([wish], {})
    models.get(wish)
    models.begin([wish], {})
    assert models.has(wish)

    (part,) = (tmp_path / "m" / "unet").glob("*.safetensors")
    os.utime(part, ns=(1, 1))
    models.begin([wish], {})
    assert len(models.memory) == 0


def test_checkpoint_whose_own_weights_are_lost_is_loaded_anew_and_harms_no_other_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = single_file(make("sd2"), tmp_path / "a.safetensors")
    wish, models = files(path), models_with(1 << 40)
    models.begin([wish], {})
    unet = models.get(wish).unet
    layers = {"conv_in": LayerChange(Difference(torch.ones_like(unet.conv_in.weight)))}
    set_changes(unet, [NetworkChange("a", layers, 1.0)])

    def gone(*_: Any) -> Any:  # a drive that was unplugged: what the file was, it still is
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(rereading, "read_into", gone)
    with pytest.raises(CheckpointError, match=os.strerror(errno.ESTALE)):
        set_changes(unet, [])
    assert is_lost(unet) and not NetworkPart(unet, CPU).slim()
    monkeypatch.undo()

    models.begin([wish], {})
    assert not models.has(wish)
    assert torch.equal(models.get(wish).unet.conv_in.weight, load_part(path, "unet").conv_in.weight)


def test_bytes_of_a_checkpoint_are_those_of_its_tensors(starter_checkpoint: Path) -> None:
    models = models_with()
    model = models.get(files(starter_checkpoint))
    networks = (model.unet, model.text_encoder, model.vae)
    tensors = {id(t): t for n in networks for t in (*n.parameters(), *n.buffers())}
    wanted = sum(t.numel() * t.element_size() for t in tensors.values())
    assert models.memory.used.device == wanted


@pytest.mark.parametrize(("limit", "left"), [(0, 3), (2, 2), (1, 1)])
def test_number_of_checkpoints_when_limited_is_kept_when_a_job_begins(
    starter_checkpoint: Path, tmp_path: Path, limit: int, left: int
) -> None:
    paths = [Path(shutil.copy(starter_checkpoint, tmp_path / f"{n}.safetensors")) for n in range(3)]
    models = models_with(1 << 40)
    for path in paths:
        models.begin([files(path)], {"checkpoints": limit})
        models.get(files(path))
    assert len(models.memory.values("checkpoint")) == left


def test_unet_when_wanted_small_is_another_model_of_the_same_file(starter_checkpoint: Path) -> None:
    models = models_with(1 << 40)
    wish = files(starter_checkpoint)
    sizes = {}
    for storage in ("Disable", "Enable for SDXL", "Enable"):
        models.begin([wish], {}, SmallRule(storage))
        layer = models.get(wish).unet.mid_block.resnets[0].conv1
        sizes[storage] = layer.weight.element_size()
    assert sizes == {"Disable": 4, "Enable for SDXL": 4, "Enable": 1}
    assert len(models.memory.values("checkpoint")) == 2
    first, second = models.memory.values("checkpoint")
    assert first.vae is second.vae


@pytest.mark.parametrize(
    ("plan", "family", "waits"),
    [
        ({"medvram_sdxl": True}, "sdxl", True),
        ({"medvram_sdxl": True}, "sdxl-refiner", True),
        ({"medvram_sdxl": True}, "sd1", False),
        ({"medvram": True}, "sd1", True),
        ({}, "sdxl", False),
    ],
)
def test_medvram_for_sdxl_acts_on_models_of_its_latents_only(
    plan: dict[str, bool], family: str, waits: bool
) -> None:
    parts = {name: torch.nn.Linear(2, 2) for name in ("text_encoder_2", "unet", "vae")}
    gpu = torch.device("cuda:0")  # nothing is moved there
    model: Any = SimpleNamespace(device=gpu, parts=parts, family=FAMILIES[family])

    ModelPlan(gpu, torch.float16, torch.float16, **plan).put_aside(model)

    # what waits in main memory is not missed on the device
    aside = [name for name, part in parts.items() if not NetworkPart(part, gpu).missing()]
    assert aside == (["text_encoder_2", "vae"] if waits else [])


def test_networks_beside_count_and_go_after_idle_models_and_before_those_at_work(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    shelf = Shelf(CPU)
    plan = ModelPlan(CPU, torch.float32, torch.float32, device_bytes=1 << 40)
    models = LoadedModels(plan, beside=shelf)
    idle = files(Path(shutil.copy(starter_checkpoint, tmp_path / "idle.safetensors")))
    for wish in (idle, files(starter_checkpoint)):
        models.begin([wish], {})
        models.get(wish)
    for name in "ab":
        shelf.get(name, lambda: SimpleNamespace(model=torch.nn.Linear(512, 512, bias=False)))
    two = models.memory.used.device
    assert shelf.bytes().device == 2 << 20

    present = models.get(files(starter_checkpoint)).nbytes
    models.memory.budget = Budget(device=present + (2 << 20))
    models.memory.settle()
    assert not models.has(idle) and shelf.bytes().device == 2 << 20
    models.memory.budget = Budget(device=present + (1 << 20))
    models.memory.settle()
    assert models.has(files(starter_checkpoint)) and shelf.bytes().device == 1 << 20
    assert two == 2 * present + (2 << 20)


def test_model_when_a_job_wants_no_half_is_another_one_in_float32(starter_checkpoint: Path) -> None:
    half = torch.bfloat16
    models = LoadedModels(ModelPlan(CPU, half, half))
    wanted = files(starter_checkpoint)
    for no_half, dtype in ((False, half), (True, torch.float32), (False, half)):
        models.begin([wanted], {}, no_half=no_half)
        unet = models.get(wanted).unet
        assert next(unet.parameters()).dtype is dtype
    assert len(models.memory.values("checkpoint")) == 2


@pytest.mark.parametrize("is_low", [False, True])
def test_model_when_the_device_cannot_hold_it_whole_waits_in_main_memory(
    starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, is_low: bool
) -> None:
    homes: list[Any] = []
    real = loaded_models.load_checkpoint

    def load(path: Path, **options: Any) -> Any:
        homes.append(options["home"])
        if options["home"] is None:
            raise ModelTooLargeError("It does not fit.")
        return real(path, **options)

    monkeypatch.setattr(loaded_models, "load_checkpoint", load)
    device = torch.device("meta")
    models = LoadedModels(ModelPlan(device, torch.float16, torch.float16, lowvram=is_low))
    wanted = files(starter_checkpoint)
    models.begin([wanted], {})
    model = models.get(wanted)
    assert homes == ([CPU] if is_low else [None, CPU])
    assert model.device == device
    assert {next(n.parameters()).device.type for n in model.parts.values()} == {"cpu"}


def test_model_when_main_memory_cannot_hold_it_either_is_refused(
    starter_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_path: Path, **_options: Any) -> Any:
        raise ModelTooLargeError("It does not fit.")

    monkeypatch.setattr(loaded_models, "load_checkpoint", load)
    for device in (CPU, torch.device("meta")):
        models = LoadedModels(ModelPlan(device, torch.float16, torch.float16))
        models.begin([files(starter_checkpoint)], {})
        with pytest.raises(ModelTooLargeError):
            models.get(files(starter_checkpoint))
