"""Changes of weights for a while: exact on the way back, right while they last."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from webui.networks.lora.applying import NetworkChange, changes_in, held_bytes, set_changes
from webui.networks.lora.changes import Difference, LayerChange, LowRank, Replacement
from webui.networks.packing import HeldLayer, can_pack, pack_weights, unpack_weights


def some(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(*, packed: bool) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(8, 72, 3, padding=1), nn.GroupNorm(8, 72), nn.Conv2d(72, 64, 1, bias=False),
        nn.Flatten(2), nn.Linear(64, 96, bias=False),
    ).requires_grad_(False)  # fmt: skip
    if packed:
        assert pack_weights(made) == 3
    return made


PICTURE = some(1, 8, 8, 8)


def output(made: nn.Sequential) -> Tensor:
    with torch.inference_mode():
        return made(PICTURE).clone()


def stored(made: nn.Sequential) -> dict[str, Tensor]:
    copy = network(packed=False)
    copy.load_state_dict(made.state_dict())
    return copy.state_dict()


def lora(path: str, out: int, inputs: int, weight: float = 1.0, seed: int = 1) -> NetworkChange:
    low = LowRank(some(out, 4, seed=seed), some(4, inputs, seed=seed + 1), None, 0.1)
    return NetworkChange((path, weight, seed), {path: LayerChange(low)}, weight)


CHANGES = [lora("0", 72, 72), lora("2", 64, 72, 0.5), lora("4", 96, 64, -0.7)]

packing = pytest.mark.parametrize(
    "packed",
    [False, pytest.param(True, marks=pytest.mark.skipif(not can_pack(), reason="no oneDNN"))],
)


@packing
def test_changes_when_set_are_what_a_network_with_added_weights_gives(packed: bool) -> None:
    made, other = network(packed=packed), network(packed=False)
    for change in CHANGES:
        ((path, layer_change),) = change.layers.items()
        layer: Any = other.get_submodule(path)
        low: Any = layer_change.weight
        added = (low.up @ low.down * 0.1 * change.weight).reshape(layer.weight.shape)
        layer.weight = nn.Parameter(layer.weight + added)

    output(made)
    set_changes(made, CHANGES)

    torch.testing.assert_close(output(made), output(other), rtol=1e-4, atol=1e-4)


@packing
def test_changes_when_taken_off_leave_weights_and_outputs_bit_for_bit(packed: bool) -> None:
    made = network(packed=packed)
    plain = output(made)  # packs the layers
    set_changes(made, CHANGES)
    assert not torch.equal(output(made), plain)
    set_changes(made, CHANGES[:1])
    set_changes(made, ())

    assert torch.equal(output(made), plain)
    wanted = network(packed=False).state_dict()
    assert all(torch.equal(t, wanted[name]) for name, t in stored(made).items())
    assert changes_in(made) == ()


@packing
def test_weights_when_changed_are_never_written_into(packed: bool) -> None:
    made = network(packed=packed)
    layer: Any = made[4]
    own, before = layer.weight, layer.weight.clone()

    set_changes(made, CHANGES)
    output(made)

    assert torch.equal(own, before)
    set_changes(made, ())
    assert layer.weight is own


def test_changes_when_replaced_do_not_add_up() -> None:
    made, fresh = network(packed=False), network(packed=False)
    set_changes(made, CHANGES)
    set_changes(made, [lora("4", 96, 64, 0.3, seed=9)])
    set_changes(fresh, [lora("4", 96, 64, 0.3, seed=9)])

    assert all(torch.equal(t, fresh.state_dict()[name]) for name, t in made.state_dict().items())


def test_changes_of_one_layer_by_several_files_add_up() -> None:
    made = network(packed=False)
    own = made[4].weight.clone()
    both = [lora("4", 96, 64, 0.5), lora("4", 96, 64, 0.25, seed=5)]
    set_changes(made, both)

    lows: list[Any] = [change.layers["4"].weight for change in both]
    wanted = own + 0.5 * lows[0].delta(own) + 0.25 * lows[1].delta(own)
    torch.testing.assert_close(made[4].weight.data, wanted, rtol=1e-6, atol=1e-6)


def test_changes_of_weight_zero_change_nothing_and_count_for_nothing() -> None:
    made = network(packed=False)
    own = made[4].weight
    set_changes(made, [lora("4", 96, 64, 0.0)])

    assert made[4].weight is own and changes_in(made) == ()


def test_changes_when_asked_for_again_are_not_calculated_again() -> None:
    made = network(packed=False)
    set_changes(made, CHANGES)
    changed = made[4].weight
    set_changes(made, list(CHANGES))

    assert made[4].weight is changed


@packing
def test_biases_when_changed_come_and_go_even_where_there_was_none(packed: bool) -> None:
    made = network(packed=packed)
    plain = output(made)
    first, last = made[0].bias, some(96)
    layers = {
        "0": LayerChange(None, some(72)), "1": LayerChange(Difference(some(72)), some(72)),
        "4": LayerChange(None, last),
    }  # fmt: skip
    set_changes(made, [NetworkChange("biases", layers, 0.5)])

    assert torch.equal(made[4].bias, last * 0.5)
    assert torch.allclose(made[0].bias, first + 0.5 * some(72))
    assert not torch.equal(output(made), plain)
    set_changes(made, ())
    assert made[4].bias is None and made[0].bias is first
    assert torch.equal(output(made), plain)


def test_weight_of_one_half_goes_half_the_way() -> None:
    made = network(packed=False)
    own, new = made[4].weight.clone(), some(96, 64)
    set_changes(made, [NetworkChange("x", {"4": LayerChange(Replacement(new))}, 0.5)])

    torch.testing.assert_close(made[4].weight.data, (own + new) / 2)


def test_share_multiplies_the_weight_of_single_layers() -> None:
    made, other = network(packed=False), network(packed=False)
    layers = {**lora("4", 96, 64).layers, **lora("2", 64, 72).layers}
    set_changes(made, [NetworkChange("x", layers, 1.0, share={"4": 0.5, "2": 0.0})])
    set_changes(other, [lora("4", 96, 64, 0.5)])

    assert torch.equal(made[4].weight, other[4].weight)
    assert torch.equal(made[2].weight, other[2].weight)


@packing
def test_failure_part_way_leaves_the_network_as_it_was(packed: bool) -> None:
    made = network(packed=packed)
    plain = output(made)
    misfit = NetworkChange("misfit", {"4": LayerChange(Replacement(some(3, 3)))}, 1.0)
    with pytest.raises(RuntimeError):
        set_changes(made, [*CHANGES, misfit])

    assert torch.equal(output(made), plain)
    set_changes(made, CHANGES)
    assert not torch.equal(output(made), plain)


def test_layers_when_unpacked_meanwhile_still_get_their_weights_back() -> None:
    made = network(packed=can_pack())
    output(made)
    set_changes(made, CHANGES)
    unpack_weights(made)
    set_changes(made, ())

    wanted = network(packed=False).state_dict()
    assert all(torch.equal(t, wanted[name]) for name, t in made.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_when_changed_is_rounded_once(dtype: torch.dtype) -> None:
    made = network(packed=False).to(dtype)
    own = made[4].weight.clone()
    both = [lora("4", 96, 64, 0.01), lora("4", 96, 64, 0.01, seed=5)]
    set_changes(made, both)

    lows: list[Any] = [change.layers["4"].weight for change in both]
    exact = own.float() + sum(0.01 * low.delta(own.float()) for low in lows)
    assert torch.equal(made[4].weight.data, exact.to(dtype))
    assert made[4].weight.dtype == dtype


def test_memory_format_of_a_changed_kernel_stays() -> None:
    made = network(packed=False).to(memory_format=torch.channels_last)
    set_changes(made, CHANGES)

    assert made[0].weight.is_contiguous(memory_format=torch.channels_last)


@packing
def test_weight_of_a_layer_whose_bias_alone_changes_is_neither_copied_nor_counted(
    packed: bool,
) -> None:
    made = network(packed=packed)
    output(made)
    own = [made[n]._parameters.get("weight") for n in (0, 2, 4)]
    layers = {"0": LayerChange(None, some(72)), "4": CHANGES[2].layers["4"]}
    set_changes(made, [NetworkChange("x", layers, 0.5, share={"4": 0.0})])

    assert [made[n]._parameters.get("weight") for n in (0, 2, 4)] == own
    assert held_bytes(made) == 72 * 4


def test_what_a_layer_still_works_with_does_not_leave_its_device() -> None:
    layer = nn.Linear(8, 8, device="meta")  # nothing can be copied from there
    held = HeldLayer(None, None, layer.bias)
    held.wait_aside(layer)

    assert layer.bias.device.type == "meta"
    with pytest.raises(NotImplementedError):
        HeldLayer(None, None, layer.bias).wait_aside(nn.Linear(8, 8, device="meta"))


@pytest.mark.gpu
def test_changes_on_a_gpu_are_those_on_the_cpu_and_what_they_replace_waits_outside() -> None:
    made, other = network(packed=False).to("cuda"), network(packed=False)
    own = made[0].weight
    set_changes(made, CHANGES)
    set_changes(other, CHANGES)
    with torch.inference_mode():
        found = made(PICTURE.to("cuda")).cpu()

    torch.testing.assert_close(found, output(other), rtol=1e-3, atol=1e-3)
    assert own.device.type == "cpu"
    set_changes(made, ())
    assert made[0].weight is own and own.device.type == "cuda"
