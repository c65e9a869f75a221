"""Frozen layers answer as torch's own do, forwards and backwards, and keep less."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from webui.training.adapters import Adapter, Dropouts
from webui.training.frozen import FrozenLayers, frozen_output


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(12, 20), (2, 7, 12)),
        (nn.Linear(12, 20, bias=False), (5, 12)),
        (nn.Conv2d(6, 10, 3, 1, 1), (2, 6, 5, 7)),
        (nn.Conv2d(6, 10, 3, 2, 1), (2, 6, 8, 6)),
        (nn.Conv2d(6, 10, 1), (2, 6, 4, 4)),
        (nn.Conv2d(6, 10, 3, 1, 1), (2, 6, 15, 17)),
        (nn.Conv2d(6, 10, 3, 2, 1), (2, 6, 40, 40)),
    ],
    ids=str,
)
def test_frozen_layer_when_asked_then_answers_as_torch(
    layer: nn.Linear | nn.Conv2d, shape: tuple[int, ...]
) -> None:
    layer.requires_grad_(False)
    torch.manual_seed(0)
    own, ours = (torch.randn(shape).requires_grad_() for _ in range(2))
    with torch.no_grad():
        ours.copy_(own)
    wanted, found = layer(own), frozen_output(layer, ours)
    gradient = torch.randn_like(wanted)
    wanted.backward(gradient)
    found.backward(gradient)
    assert torch.allclose(wanted, found, atol=1e-5)
    assert own.grad is not None and ours.grad is not None
    assert torch.allclose(own.grad, ours.grad, atol=1e-5)


def test_frozen_convolution_when_on_the_way_back_then_its_input_was_not_kept() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1).requires_grad_(False)
    kept: list[torch.Tensor] = []
    inputs = torch.randn(1, 4, 32, 32, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        frozen_output(layer, inputs)
        assert not [t for t in kept if t.shape == inputs.shape]
        layer(inputs)
        assert [t for t in kept if t.shape == inputs.shape], "what is saved, torch's own keeps"


def test_frozen_layers_when_put_on_then_only_the_free_ones_and_all_come_off() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.Conv2d(4, 4, 1))
    first = network[0]
    assert isinstance(first, nn.Linear)
    adapter = Adapter(first, 2, 2.0)
    adapter.put_on()
    layers = FrozenLayers(network)
    layers.put_on()
    assert first.forward == adapter.forward and "forward" in network[1].__dict__
    layers.take_off()
    adapter.take_off()
    assert not any("forward" in layer.__dict__ for layer in network)


@pytest.mark.parametrize("layer", [nn.Linear(8, 6), nn.Conv2d(8, 6, 3, 2, 1)], ids=str)
def test_adapter_when_trained_then_equals_the_changed_weight(layer: nn.Linear | nn.Conv2d) -> None:
    layer.requires_grad_(False)
    adapter = Adapter(layer, 3, 6.0)
    nn.init.normal_(adapter.lora_up)
    inputs = torch.randn(2, 8) if isinstance(layer, nn.Linear) else torch.randn(2, 8, 5, 5)
    found = adapter(inputs)
    plain = layer(inputs)
    layer.weight.data += adapter.delta()
    assert torch.allclose(found, layer(inputs), atol=1e-5)
    adapter.multiplier = 0.0
    layer.weight.data -= adapter.delta()
    assert torch.allclose(adapter(inputs), plain, atol=1e-5)
    found.square().sum().backward()
    assert adapter.lora_up.grad is not None and adapter.lora_down.grad is not None


def test_dropout_when_of_whole_ranks_then_the_mean_stays() -> None:
    layer = nn.Linear(4, 4).requires_grad_(False)
    adapter = Adapter(layer, 4, 4.0, Dropouts(ranks=0.5))
    nn.init.normal_(adapter.lora_up)
    inputs = torch.randn(1, 4).expand(20_000, 4)
    torch.manual_seed(0)
    changed = (adapter(inputs) - layer(inputs)).mean(0)
    adapter.eval()
    assert torch.allclose(changed, (adapter(inputs) - layer(inputs))[0], atol=0.05)
