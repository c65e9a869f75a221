"""Weights of one byte: how much memory, how close, with LoRAs and exactly back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from webui.checkpoints.load import estimate_bytes, load_checkpoint, module_bytes
from webui.networks.lora.applying import NetworkChange, set_changes
from webui.networks.lora.changes import LayerChange, LowRank
from webui.networks.small_weights import (
    SMALL,
    SmallWeights,
    first_stored,
    half_bytes,
    small_weights,
    store_small,
    stored_as,
    to_small,
    wide_weight,
    widened,
)


@pytest.fixture(scope="module")
def small(starter_checkpoint: Path) -> Any:
    return load_checkpoint(starter_checkpoint, small_unet=SmallWeights(keeps_half=True))


def answer(model: Any, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    width = model.unet.config["cross_attention_dim"]
    latents, text = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in ((1, 4, 8, 8), (1, 77, width))
    )
    with torch.inference_mode():
        return model.unet(latents, torch.tensor([500.0]), text, return_dict=False)[0]


def test_every_number_of_one_byte_is_widened_exactly() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(SMALL)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        wide, own = widened(every, dtype), every.to(dtype)
        is_number = ~own.isnan()
        assert int(is_number.sum()) == 254
        assert torch.equal(wide[is_number], own[is_number]) and wide.dtype == dtype


def test_numbers_too_large_for_one_byte_become_its_largest() -> None:
    found = to_small(torch.tensor([1e6, -1e6, 448.0, 0.0, 1.0]))
    assert found.float().tolist() == [448.0, -448.0, 448.0, 0.0, 1.0]


@pytest.mark.parametrize("size", [1e-4, 1.0, 3e3])
def test_weights_of_any_size_keep_three_binary_places(size: float) -> None:
    layer = nn.Linear(32, 32)
    store_small(layer)
    weight = torch.randn(32, 32, generator=torch.Generator().manual_seed(0)) * size
    layer.weight = nn.Parameter(first_stored(layer, weight), requires_grad=False)
    error = (wide_weight(layer, torch.float32) - weight).abs()
    is_large = weight.abs() > size / 64
    assert float((error / weight.abs())[is_large].max()) <= 2**-4
    assert float(stored_as(layer, weight * 3, SMALL).float().abs().max()) < 448


def test_unet_when_stored_small_takes_half_of_float16_and_answers_much_the_same(
    starter_checkpoint: Path, small: Any
) -> None:
    half = load_checkpoint(starter_checkpoint, dtype=torch.float16)
    assert module_bytes(small.unet) < module_bytes(half.unet) * 0.53
    estimated = estimate_bytes(starter_checkpoint, torch.float32, has_small_unet=True)
    assert estimated == pytest.approx(small.nbytes, rel=0.05)

    own, stored = answer(load_checkpoint(starter_checkpoint)), answer(small)
    assert stored.dtype == torch.float32
    assert 0 < float((own - stored).abs().mean() / own.abs().mean()) < 0.04
    brain = load_checkpoint(starter_checkpoint, dtype=torch.bfloat16, small_unet=SmallWeights())
    assert answer(brain, torch.bfloat16).dtype == torch.bfloat16


def test_unet_when_stored_small_keeps_everything_else_as_it_was(
    starter_checkpoint: Path, small: Any
) -> None:
    names = set(small_weights(small.unet))
    assert names.isdisjoint({"conv_in.weight", "conv_out.weight"})
    own = load_checkpoint(starter_checkpoint, for_painting=False).unet.state_dict()
    for name, stored in small.unet.state_dict().items():
        assert stored.dtype == (SMALL if name in names else torch.float32)
        if name not in names:
            assert torch.equal(stored, own[name])
    assert len(names) > 100 and all(p.dtype == torch.float32 for p in small.vae.parameters())


def change_of(model: Any, size: float) -> NetworkChange:
    """A LoRA over every matrix of the attention."""
    generator = torch.Generator().manual_seed(2)
    layers = {}
    for path, layer in model.unet.named_modules():
        if isinstance(layer, nn.Linear) and ".attn" in path:
            up, down = (
                torch.randn(shape, generator=generator) * size
                for shape in ((layer.out_features, 4), (4, layer.in_features))
            )
            layers[path] = LayerChange(LowRank(up, down, None, 1.0))
    return NetworkChange("some", layers, 1.0)


def test_lora_on_small_weights_begins_from_the_originals_and_leaves_no_trace(
    starter_checkpoint: Path, small: Any
) -> None:
    before = {name: stored.clone() for name, stored in small.unet.state_dict().items()}
    change = change_of(small, 0.2)
    path = next(iter(change.layers))
    own = load_checkpoint(starter_checkpoint, for_painting=False).unet.get_submodule(path).weight
    delta = change.layers[path].weight.delta(own)  # type: ignore[union-attr]

    set_changes(small.unet, [change])
    changed = small.unet.get_submodule(path).weight
    assert changed.dtype == SMALL
    found, wanted = wide_weight(small.unet.get_submodule(path), torch.float32), own.half() + delta
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 2**-4
    set_changes(small.unet, ())
    after = small.unet.state_dict()
    assert all(torch.equal(before[n].float(), after[n].float()) for n in before)


def test_originals_when_they_are_not_kept_take_no_memory(
    starter_checkpoint: Path, small: Any
) -> None:
    plain = load_checkpoint(starter_checkpoint, small_unet=SmallWeights())
    weights = small_weights(plain.unet)
    assert half_bytes(plain.unet) == 0
    assert half_bytes(small.unet) == sum(2 * x.weight.numel() for x in weights.values())  # type: ignore[arg-type]
    set_changes(plain.unet, [change_of(plain, 0.2)])
    assert torch.isfinite(answer(plain)).all()
