"""Networks changed for a while whose own weights are read again from their files."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.checkpoints.small_families import folder, make, single_file
from webui.checkpoints.load import load_checkpoint
from webui.errors import CheckpointError
from webui.networks.lora.applying import (
    NetworkChange,
    bytes_to_hold,
    changes_in,
    held_bytes,
    set_changes,
)
from webui.networks.lora.changes import Difference, LayerChange, LowRank
from webui.networks.small_weights import SmallWeights
from webui.pipelines import placement
from webui.pipelines.placement import NetworkPart


def changes(network: nn.Module, seed: int, weight: float = 1.0) -> NetworkChange:
    """One of rank 2 for every matrix and kernel, and a bias for each."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) * 0.1

    layers: dict[str, LayerChange] = {}
    for path, layer in network.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            rows, *rest = layer.weight.shape
            low = LowRank(some(rows, 2), some(2, *rest), None, 0.5)
            layers[path] = LayerChange(low, some(rows))
        elif isinstance(layer, nn.GroupNorm):
            layers[path] = LayerChange(Difference(some(layer.num_channels)))
    return NetworkChange((seed, weight), layers, weight)


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        torch.equal(tensor, wanted[name]) for name, tensor in found.items()
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of float16, as most are."""
    path = single_file(make("sd2"), tmp_path_factory.mktemp("stored") / "model.safetensors")
    save_file({n: t.half() for n, t in load_file(path).items()}, path)
    return path


@pytest.fixture
def file(stored: Path, tmp_path: Path) -> Path:
    """A copy that a test may do to what it likes."""
    return Path(shutil.copy(stored, tmp_path))


def unet_of(path: Path, **how: Any) -> Any:
    return load_checkpoint(path, **how).unet


def run(unet: Any) -> Tensor:
    latents = torch.ones(1, 4, 8, 8, dtype=unet.dtype)
    text = torch.ones(1, 2, 64, dtype=unet.dtype)
    with torch.inference_mode():
        return unet(latents, torch.tensor([5]), text, return_dict=False)[0]


def kept_and_read(path: Path, **how: Any) -> tuple[Any, Any]:
    """The same U-Net twice: what is replaced in it is kept; is read again."""
    kept, read = unet_of(path, **how), unet_of(path, **how)
    kept.__dict__["_can_be_read_again"].open = lambda: None
    return kept, read


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_packed", [True, False])
def test_sets_when_they_come_and_go_are_those_of_kept_weights_and_take_no_memory(
    file: Path, dtype: torch.dtype, is_packed: bool
) -> None:
    kept, read = kept_and_read(file, dtype=dtype, for_painting=is_packed)
    before = weights(read)
    one, two = changes(read, 1), changes(read, 2, -0.3)
    fewer = NetworkChange("fewer", dict(list(one.layers.items())[::3]), 0.7)
    sets: Sequence[list[NetworkChange]] = ([one], [one, two], [fewer], [two], [])
    for wanted in sets:
        assert bytes_to_hold(read, wanted) == 0
        for unet in (kept, read):
            set_changes(unet, wanted)
            run(unet)  # packs
        assert held_bytes(read) == 0 and (held_bytes(kept) > 0) == bool(wanted)
        found = weights(read)
        assert same(found, weights(kept)) and same(found, before) == (not wanted)


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("is_folder", [True, False])
def test_every_network_of_files_with_other_names_and_layouts_is_read_again(
    family: str, is_folder: bool, tmp_path: Path
) -> None:
    small = make(family)
    path = folder(small, tmp_path / "m") if is_folder else single_file(small, tmp_path / "m.s")
    for name, network in load_checkpoint(path, for_painting=False).parts.items():
        if name == "vae":
            continue
        before = weights(network)
        set_changes(network, [changes(network, 1)])
        assert held_bytes(network) == 0 and not same(weights(network), before)
        set_changes(network, [])
        assert same(weights(network), before)


@pytest.mark.parametrize("deed", ["deleted", "replaced"])
@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be deleted there")
def test_file_when_deleted_or_replaced_by_another_while_changes_are_in_is_still_read(
    file: Path, deed: str
) -> None:
    unet = unet_of(file)
    before = weights(unet)
    set_changes(unet, [changes(unet, 1)])
    if deed == "deleted":
        file.unlink()
    else:
        other = file.with_name("other.safetensors")
        save_file({n: torch.zeros_like(t) for n, t in load_file(file).items()}, other)
        other.replace(file)
    set_changes(unet, [changes(unet, 2)])
    set_changes(unet, [])
    assert same(weights(unet), before)

    set_changes(unet, [changes(unet, 1)])  # now it is gone, or another
    assert held_bytes(unet) > 0
    assert bytes_to_hold(unet, [changes(unet, 1)]) == 0
    set_changes(unet, [])
    assert same(weights(unet), before)


def test_file_when_written_to_before_changes_come_is_not_trusted(file: Path) -> None:
    unet = unet_of(file)
    before = weights(unet)
    save_file({n: t + 1 for n, t in load_file(file).items()}, file)
    set_changes(unet, [changes(unet, 1)])

    assert held_bytes(unet) > 0
    set_changes(unet, [])
    assert same(weights(unet), before)


def test_file_with_other_weights_is_not_trusted_whatever_its_date_says(file: Path) -> None:
    unet = unet_of(file)
    before, stat = weights(unet), file.stat()
    other = {n: t + 1 for n, t in load_file(file).items()}
    with open(file, "r+b") as opened:
        written = file.with_name("other")
        save_file(other, written)
        shutil.copyfileobj(open(written, "rb"), opened)  # noqa: SIM115
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    set_changes(unet, [changes(unet, 1)])

    assert held_bytes(unet) > 0
    set_changes(unet, [])
    assert same(weights(unet), before)


def test_file_of_a_system_that_gives_little_at_a_time_is_read_all_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.FileIO):
        def readinto(self, buffer: Any, /) -> int | None:
            return super().readinto(buffer[:1000])

    unet = unet_of(file)
    before = weights(unet)
    monkeypatch.setattr("webui.checkpoints.rereading.io.FileIO", Slow)
    set_changes(unet, [changes(unet, 1)])
    assert held_bytes(unet) == 0
    set_changes(unet, [])
    assert same(weights(unet), before)


@pytest.mark.parametrize("deed", ["written", "cut"])
def test_file_when_written_to_while_changes_are_in_is_an_error_each_time(
    file: Path, deed: str
) -> None:
    unet = unet_of(file)
    set_changes(unet, [changes(unet, 1)])
    with open(file, "r+b") as opened:
        if deed == "cut":
            opened.truncate(file.stat().st_size // 2)
        else:
            opened.seek(-64, os.SEEK_END)
            opened.write(bytes(64))

    for _ in range(2):
        with pytest.raises(CheckpointError, match="was changed since"):
            set_changes(unet, [])
        assert changes_in(unet) not in ((), (changes(unet, 1).key,))


def test_layer_that_somebody_changed_for_good_gets_back_what_it_had(file: Path) -> None:
    unet = unet_of(file, for_painting=False)
    unet.conv_in.weight.data *= 2
    before = weights(unet)
    set_changes(unet, [changes(unet, 1)])

    assert held_bytes(unet) == unet.conv_in.weight.nbytes + unet.conv_in.bias.nbytes
    set_changes(unet, [])
    assert same(weights(unet), before)


def test_layer_that_somebody_put_in_gets_back_what_it_had(file: Path) -> None:
    unet = unet_of(file, for_painting=False)
    unet.conv_in = nn.Conv2d(9, unet.conv_in.out_channels, 3)  # of another size
    unet.more = nn.Linear(3, 3)
    before = weights(unet)
    set_changes(unet, [changes(unet, 1)])

    own = sum(one.nbytes for layer in (unet.conv_in, unet.more) for one in layer.parameters())
    assert changes_in(unet) and held_bytes(unet) == own
    set_changes(unet, [])
    assert same(weights(unet), before)


def test_small_weights_are_kept(file: Path) -> None:
    unet = unet_of(file, small_unet=SmallWeights())
    before = {n: t.float() for n, t in weights(unet).items()}
    set_changes(unet, [changes(unet, 1)])

    assert held_bytes(unet) > 0
    set_changes(unet, [])
    assert same({n: t.float() for n, t in weights(unet).items()}, before)


def test_failure_part_way_leaves_the_network_as_it_was(file: Path) -> None:
    unet = unet_of(file)
    before = weights(unet)
    misfit = LayerChange(Difference(torch.zeros(3, 3)))
    last = list(changes(unet, 1).layers)[-1]
    with pytest.raises(RuntimeError):
        set_changes(unet, [changes(unet, 1), NetworkChange("misfit", {last: misfit}, 1.0)])

    assert same(weights(unet), before) and changes_in(unet) == ()


def test_network_loaded_while_painting_can_be_changed_and_is_put_back(file: Path) -> None:
    with torch.inference_mode():
        unet = unet_of(file)
        before = weights(unet)
        set_changes(unet, [changes(unet, 1)])
        run(unet)
        set_changes(unet, [])
        run(unet)
        assert same(weights(unet), before)


def test_changes_that_take_no_memory_stay_when_memory_is_short(file: Path) -> None:
    unet = unet_of(file)
    part = NetworkPart(unet, torch.device("cpu"))
    set_changes(unet, [changes(unet, 1)])

    assert part.bytes().ram == 0 and not part.slim() and changes_in(unet)


class Device:
    """A device that is not in this machine: networks sent there, or away from it, get memory of
    their own each time, and are where they were sent to last."""

    def __init__(self, *networks: nn.Module) -> None:
        self.places = {id(network): torch.device("cuda") for network in networks}
        for network in networks:
            network.to = partial(self._send, network)  # type: ignore[assignment]

    def _send(self, network: nn.Module, place: Any) -> nn.Module:
        self.places[id(network)] = torch.device(place)
        return network._apply(torch.clone)

    def home(self, network: nn.Module) -> torch.device:
        return self.places[id(network)]


@pytest.mark.parametrize("name", ["unet", "text_encoder"])
@pytest.mark.parametrize("is_packed", [True, False])
def test_network_that_leaves_its_device_and_comes_back_keeps_its_changes_and_its_own_weights(
    file: Path, name: str, is_packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [load_checkpoint(file, for_painting=is_packed) for _ in range(3)]
    kept, read, fresh = (getattr(model, name) for model in models)
    kept.__dict__["_can_be_read_again"].open = lambda: None
    before = weights(fresh)
    device = Device(kept, read)
    monkeypatch.setattr(placement, "_home", device.home)
    worn = {}
    for seed in (1, 2):
        set_changes(fresh, [changes(fresh, seed)])
        worn[seed] = weights(fresh)
    for network in (kept, read):
        part = NetworkPart(network, torch.device("cuda"))
        set_changes(network, [changes(network, 1)])
        assert part.wait() and device.home(network).type == "cpu"
        assert same(weights(network), worn[1])
        assert part.missing() > 0
        part.come()
        assert device.home(network).type == "cuda" and same(weights(network), worn[1])
        set_changes(network, [changes(network, 2)])
        assert same(weights(network), worn[2])
        assert part.wait()
        set_changes(network, [])  # while it is away
        assert same(weights(network), before)
        part.come()
        set_changes(network, [changes(network, 1)])
        assert same(weights(network), worn[1])
        part.wait()
        part.come()
        set_changes(network, [])
        assert same(weights(network), before) and held_bytes(network) == 0


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_on_a_gpu_weights_are_put_back_where_they_are_by_then(
    file: Path, dtype: torch.dtype
) -> None:
    kept, read = kept_and_read(file, dtype=dtype, device="cuda")
    before = weights(read.cpu())
    read.cuda()
    for home, number in (("cuda", 1), ("cpu", 2), ("cuda", 3)):
        for unet in (kept, read):
            unet.to(home)
            set_changes(unet, [changes(unet, number)])
        assert held_bytes(read) == 0
        assert read.conv_in.weight.stride() == kept.conv_in.weight.stride()
        torch.testing.assert_close(weights(read), weights(kept), rtol=1e-3, atol=1e-3)
    read.cpu()
    set_changes(read, [])
    assert same(weights(read), before)
