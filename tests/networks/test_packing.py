"""Packed weights: the same results, and the same weights back."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from webui.networks import packing
from webui.networks.packing import (
    PackedConv2d,
    PackedLinear,
    can_pack,
    pack_weights,
    packed_bytes,
    unpack_weights,
)
from webui.networks.tiling import set_tiling

pytestmark = pytest.mark.skipif(not can_pack(), reason="torch without oneDNN")


class Small(nn.Module):
    """Convolutions of every kind a U-Net has, and a matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 64, 3, padding=1)
        self.down = nn.Conv2d(64, 80, 3, stride=2, padding=1)
        self.flat = nn.Conv2d(80, 96, 1, bias=False)
        self.matrix = nn.Linear(96, 96)
        self.tiny = nn.Linear(96, 3)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.flat(self.down(self.first(pixels)).relu())
        return self.tiny(self.matrix(hidden.permute(0, 2, 3, 1)))


@pytest.fixture
def small() -> Small:
    torch.manual_seed(3)
    return Small().eval().requires_grad_(False)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randn(2, 4, 12, 20, generator=torch.Generator().manual_seed(1))


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return bool((one - other).abs().max() <= 1e-5 * other.abs().max())


def test_packed_network_gives_the_same_result(small: Small, pixels: torch.Tensor) -> None:
    wanted = small(pixels)
    assert pack_weights(small) == 3
    for size in (pixels, pixels[:1], pixels.repeat(3, 1, 2, 1)):  # packed for one size, any runs
        unpacked = copy.deepcopy(small)
        unpack_weights(unpacked)
        assert close(small(size), unpacked(size))
    assert close(small(pixels), wanted)


def test_weights_are_packed_once_and_held_once(small: Small, pixels: torch.Tensor) -> None:
    count = sum(p.numel() for p in small.parameters())
    pack_weights(small)
    small(pixels)
    packed = small.down._packed
    assert packed is not None and isinstance(small.down, PackedConv2d)
    small(pixels)
    assert small.down._packed is packed
    assert sum(p.numel() for p in small.parameters()) * 4 + packed_bytes(small) == count * 4


def test_unpacking_gives_back_exactly_the_same_network(small: Small, pixels: torch.Tensor) -> None:
    before = copy.deepcopy(small.state_dict())
    wanted = small(pixels)
    pack_weights(small)
    with torch.inference_mode():
        small(pixels)
    unpack_weights(small)
    assert type(small.matrix) is nn.Linear and type(small.down) is nn.Conv2d
    assert list(small.state_dict()) == list(before) or set(small.state_dict()) == set(before)
    assert all(torch.equal(small.state_dict()[name], before[name]) for name in before)
    assert torch.equal(small(pixels), wanted)
    small.matrix.weight.add_(1)  # an ordinary tensor, though it was packed in inference mode


def test_changing_a_weight_through_its_layer_takes_effect(
    small: Small, pixels: torch.Tensor
) -> None:
    plain = copy.deepcopy(small)
    pack_weights(small)
    small(pixels)
    for network in (small, plain):
        network.matrix.weight.mul_(2)
        network.down.weight = nn.Parameter(network.down.weight * -1, requires_grad=False)
    assert close(small(pixels), plain(pixels))
    assert small.matrix._packed is not None


def test_state_dict_and_dtype_change_see_the_weights(small: Small, pixels: torch.Tensor) -> None:
    before = copy.deepcopy(small.state_dict())
    pack_weights(small)
    small(pixels)
    found = small.state_dict()
    assert set(found) == set(before)
    assert all(torch.equal(found[name], before[name]) for name in before)
    small(pixels)
    half = small.to(torch.bfloat16)
    assert half.matrix.weight.dtype == torch.bfloat16
    assert half(pixels.bfloat16()).dtype == torch.bfloat16


def test_inputs_that_need_a_gradient_take_the_ordinary_way(
    small: Small, pixels: torch.Tensor
) -> None:
    pack_weights(small)
    small(pixels)
    wanting = pixels.clone().requires_grad_(True)
    small(wanting).sum().backward()
    assert wanting.grad is not None and wanting.grad.abs().sum() > 0


def test_only_large_float32_layers_are_packed(small: Small) -> None:
    assert pack_weights(copy.deepcopy(small).to(torch.bfloat16)) == 0
    grouped = nn.Sequential(nn.Conv2d(128, 128, 9, groups=128), nn.Linear(8, 8))
    assert pack_weights(grouped) == 0


def test_packing_twice_is_packing_once(small: Small, pixels: torch.Tensor) -> None:
    wanted = small(pixels)
    assert (pack_weights(small), pack_weights(small)) == (3, 0)
    assert close(small(pixels), wanted)


def test_machine_without_the_operators_runs_the_ordinary_way(
    small: Small, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = small(pixels)
    monkeypatch.setattr(packing, "can_pack", lambda: False)
    assert pack_weights(small) == 0
    assert torch.equal(small(pixels), wanted)


def test_matrix_of_any_leading_shape(small: Small) -> None:
    plain = copy.deepcopy(small.matrix)
    pack_weights(small)
    assert isinstance(small.matrix, PackedLinear)
    for shape in ((96,), (1, 96), (2, 3, 96), (2, 3, 5, 96), (0, 96)):
        rows = torch.randn(shape)
        found, wanted = small.matrix(rows), plain(rows)
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, atol=1e-5)


# Tiling


def model_of(network: nn.Module) -> Any:
    return SimpleNamespace(unet=network, vae=nn.Conv2d(1, 1, 3, padding=1))


@pytest.mark.parametrize("is_packed", [False, True])
def test_tiled_network_wraps_around(is_packed: bool, small: Small, pixels: torch.Tensor) -> None:
    wanted_off = small(pixels)
    if is_packed:
        pack_weights(small)
    model = model_of(small)
    set_tiling(model, True)
    tiled = small(pixels)
    moved = small(pixels.roll((4, 6), dims=(2, 3)))  # a shift of the input shifts the output
    assert close(moved, tiled.roll((2, 3), dims=(1, 2)))
    assert not close(tiled, wanted_off)
    set_tiling(model, True)
    set_tiling(model, False)
    assert close(small(pixels), wanted_off)
    assert model.vae.padding_mode == "zeros"


def test_tiling_off_restores_other_padding_modes() -> None:
    odd = nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect")
    model = SimpleNamespace(unet=odd, vae=nn.Identity())
    set_tiling(model, True)
    assert odd.padding_mode == "circular"
    set_tiling(model, False)
    assert odd.padding_mode == "reflect"
    set_tiling(model, False)
    assert odd.padding_mode == "reflect"
